"""Fixed-point methods: those whose step is one map from a mixture to the next, so that they can be accelerated."""

from abc import abstractmethod
from collections.abc import Callable

from jax import Array

from workbench.methods.base import Climber
from workbench.mixture import Mixture
from workbench.problem import Problem

# mixture -> (the next mixture, log_joint of the one given), one pass over the data
Map = Callable[[Mixture], tuple[Mixture, Array]]


class FixedPoint(Climber):
    """A method that repeats one map, which never lowers `log_joint`, until its rise is small."""

    tolerance: float  # stop when log_joint rises by less than this share of its size
    max_iterations: int

    @abstractmethod
    def map(self, problem: Problem) -> Map:
        """The map whose fixed points are the method's answers; an application costs one pass."""
