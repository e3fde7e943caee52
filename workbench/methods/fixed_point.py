"""Fixed-point methods: each step applies one map from a mixture to the next, so that they can be accelerated."""

from abc import abstractmethod
from collections.abc import Callable

from jax import Array

from workbench.methods.base import Climber
from workbench.mixture import Mixture
from workbench.problem import Problem

# mixture -> (the next mixture, log_joint of the given mixture), in one pass over the data
Map = Callable[[Mixture], tuple[Mixture, Array]]


class FixedPoint(Climber):
    """A method that repeats a map, which never lowers `log_joint`, until `log_joint` hardly rises."""

    tolerance: float  # stop when log_joint rises by less than this share of its size
    max_iterations: int

    @abstractmethod
    def map(self, problem: Problem) -> Map:
        """The map whose fixed points the method looks for; an application costs one pass."""
