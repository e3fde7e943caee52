"""Fixed-point methods: each step applies one map from a mixture to the next, so that they can be accelerated."""

from abc import abstractmethod
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.methods.base import Climber
from workbench.mixture import Mixture
from workbench.problem import Problem

# mixture -> (the next mixture, log_joint of the given mixture), in one pass over the data
Map = Callable[[Mixture], tuple[Mixture, Array]]


# A fall of log_joint by less than this many eps of its size is due to rounding, not to the algorithm. The largest such
# fall observed is 350 eps in 120,000 steps (every data set and family, K = 3, flat prior, random points), and 5,000 eps
# close to a singular covariance (iris, full).
ROUNDING = 1e4


def change_of(value: Array, before: Array, tolerance: float) -> tuple[Array, Array]:
    """Whether an objective fell by more than rounding, and whether its rise is too small to continue. [], []

    A fall also counts as a small rise; the caller decides whether it counts as convergence.

    Args:
        value: the objective at the present mixture. []
        before: the objective at the previous mixture; minus infinity at the start. []
        tolerance: the smallest rise that is worth a step, as a share of the objective's size.
    """
    rise, size = value - before, jnp.maximum(jnp.abs(value), 1.0)
    fell = rise < -ROUNDING * float(np.finfo(size.dtype).eps) * size
    return fell, rise <= jnp.maximum(tolerance * size, 0.0)


class FixedPoint(Climber):
    """A method that repeats a map, which never lowers `log_joint`, until `log_joint` hardly rises."""

    tolerance: float  # stop when log_joint rises by less than this share of its size
    max_iterations: int

    @abstractmethod
    def map(self, problem: Problem) -> Map:
        """The map whose fixed points the method looks for; an application costs one pass."""
