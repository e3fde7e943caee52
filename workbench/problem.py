"""The problem: data, covariance family, number of components and prior, with the one objective of all methods."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import Array

from workbench.data import as_points, check_points
from workbench.data.moments import moments_of
from workbench.devices import mesh_of
from workbench.errors import InputError
from workbench.mixture import (
    FlatPrior,
    Mixture,
    Prior,
    Rows,
    Statistics,
    covariance_named,
    log_likelihood,
    one_pass,
)
from workbench.mixture.covariance import Covariance
from workbench.mixture.prior import Hyperparameters

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, init=False)
class Problem:
    """What every method is asked: maximise, or sample from, `log_joint` over mixtures of K components.

    Args:
        x: points [N, D], or [N] for one dimension. Rows may repeat; they count as often as they occur. Beyond half a
            GiB they are not copied but read in blocks, in every pass, from where they are: a memory map will do.
        components: K.
        covariance: "full", "tied", "diagonal" or "spherical".
        prior: `FlatPrior()` (pure maximum likelihood) unless given.
        devices: how many of JAX's devices share the rows; all of them unless given, or one for few data.

    Raises:
        InputError: x has NaN, infinity, a constant column or fewer rows than components; or there are fewer devices.
    """

    rows: Rows
    hyperparameters: Hyperparameters
    components: int
    covariance: Covariance
    prior: Prior

    def __init__(
        self,
        x: "ArrayLike",
        components: int,
        covariance: str = "full",
        prior: Prior | None = None,
        *,
        devices: int | None = None,
    ) -> None:
        if isinstance(components, bool) or not isinstance(components, int) or components < 1:
            raise InputError(f"components: must be a whole number of at least 1, got {components!r}")
        points = as_points(x)
        check_points(points, "x", components)
        family = covariance_named(covariance)
        chosen = FlatPrior() if prior is None else prior
        moments = moments_of(points)
        rows = Rows.of(points, family, components, mesh_of(devices, points.size), moments=moments)
        values = {
            "_x": points,
            "rows": rows,
            "hyperparameters": chosen.hyperparameters(moments, components, family),
            "components": components,
            "covariance": family,
            "prior": chosen,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Rows as leaves, so that the data are an argument of compiled programs and not a constant in them."""
        return (self.rows, self.hyperparameters), (self.components, self.covariance, self.prior)

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], arrays: tuple[Any, ...]) -> "Problem":
        """Inverse of `tree_flatten`; nothing is checked or worked out again."""
        problem = object.__new__(cls)
        names = ("rows", "hyperparameters", "components", "covariance", "prior")
        for name, value in zip(names, (*arrays, *static), strict=True):
            object.__setattr__(problem, name, value)
        return problem

    @property
    def x(self) -> "NDArray[np.float64]":
        """The points as they were given, on the host. [N, D]

        Raises:
            TypeError: inside a compiled program, which sees the `rows` only.
        """
        points: NDArray[np.float64] | None = getattr(self, "_x", None)
        if points is None:
            raise TypeError("x: a compiled program sees the points as rows only")
        return points

    @property
    def sample(self) -> "NDArray[np.float64]":
        """The points to draw and to follow: all of them, or an even sample of those that are streamed. [N', D]"""
        if self.rows.stream is None:
            return self.x
        return np.asarray(self.rows.at(np.arange(self.rows.num_resident)))  # type: ignore[arg-type]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of every number of the computation: float64 where it is switched on."""
        return self.rows.dtype

    @property
    def num_points(self) -> int:
        """N."""
        return self.rows.num_points

    @property
    def num_dimensions(self) -> int:
        """D."""
        return int(self.rows.shift.shape[-1])

    def log_likelihood(self, mixture: Mixture) -> Array:
        """ln L = sum_n ln sum_k pi_k N(x_n | mu_k, Sigma_k), one pass over the data. []"""
        return log_likelihood(mixture, self.rows)

    def log_prior(self, mixture: Mixture) -> Array:
        """Log density of the prior, in the coordinates that its class states. []"""
        return self.prior.log_density(mixture, self.hyperparameters)

    def log_joint(self, mixture: Mixture) -> Array:
        """Log-likelihood plus log prior: the objective of every method. []"""
        return self.log_likelihood(mixture) + self.log_prior(mixture)

    def em_step(self, mixture: Mixture) -> tuple[Mixture, Array]:
        """One EM step, one pass, and the log_joint *before* it.

        Never lowers `log_joint` (Dempster, Laird & Rubin 1977, Theorem 1). The result is not finite where a
        component has lost all its points or its covariance is singular.
        """
        value, statistics = one_pass(mixture, self.rows)
        # The origins of the statistics are constants, in their derivatives too: what varies is the points about them.
        about = replace(mixture, means=jax.lax.stop_gradient(mixture.means))
        return self.maximise(statistics, about), value + self.log_prior(mixture)

    def maximise(self, statistics: Statistics, mixture: Mixture) -> Mixture:
        """The prior's closed-form M-step, from statistics about `mixture.means`."""
        return self.prior.maximise(statistics, mixture, self.hyperparameters)
