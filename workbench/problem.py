"""The problem: data, covariance family, number of components and prior, with the one objective of all methods."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.data import Tie, as_points, check_points, default_columns, ties_of
from workbench.data.collinear import is_collinear, relation
from workbench.data.moments import Moments, check_scales, moments_of
from workbench.engine.devices import mesh_of
from workbench.engine.one_pass import log_likelihood, one_pass
from workbench.engine.rows import Rows
from workbench.errors import InputError
from workbench.mixture import FlatPrior, Mixture, Prior, Statistics, covariance_named, num_parameters
from workbench.mixture.covariance import Covariance
from workbench.mixture.prior import Hyperparameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

Labels: TypeAlias = Literal["free", "ordered"]


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, init=False, repr=False)
class Problem:
    """What every method is asked: maximise, or sample from, `log_joint` over mixtures of K components.

    Every mixture has K! labellings of one density. Where labels are ordered, only the one is allowed in which the first
    coordinates of the means ascend, and the prior has K! times the density there (Stephens 2000, JRSS B 62).
    `log_joint` is that of free labels all the same: a constant `ln K!` would change no answer, and one number is
    comparable whatever the labels.

    Args:
        x: points [N, D], or [N] for one dimension. Rows may repeat; they count as often as they occur. Beyond half a
            GiB they are not copied but read in blocks, in every pass, from where they are: a memory map will do.
        components: K.
        covariance: "full", "tied", "diagonal" or "spherical".
        prior: `FlatPrior()` (pure maximum likelihood) unless given.
        labels: "free" (all K! labellings) or "ordered".
        devices: how many of JAX's devices work on it; all of them unless given. They share the rows, or, where a pass
            is too short for that, the restarts.
        columns: names of the D columns, for messages; `x1` to `xD` unless given.

    Raises:
        InputError: x has NaN, infinity, a constant column or fewer rows than components; all points lie on a
            hyperplane, and neither the family nor the prior bounds a covariance there; the prior tells components
            apart, so that ordering them changes the model; or there are fewer devices.
    """

    rows: Rows
    hyperparameters: Hyperparameters
    components: int
    covariance: Covariance
    prior: Prior
    labels: Labels
    active: Array | None  # [K]   the components that points can come from; all unless nested in a larger problem

    def __init__(
        self,
        x: "ArrayLike",
        components: int,
        covariance: str = "full",
        prior: Prior | None = None,
        *,
        labels: Labels = "free",
        devices: int | None = None,
        columns: "Sequence[str] | None" = None,
    ) -> None:
        if isinstance(components, bool) or not isinstance(components, int) or components < 1:
            raise InputError(f"components: must be a whole number of at least 1, got {components!r}")
        points = as_points(x)
        check_points(points, "x", components, columns=columns)
        family = covariance_named(covariance)
        chosen = FlatPrior() if prior is None else prior
        _check_labels(labels, chosen)
        moments = moments_of(points)
        names = default_columns(points.shape[1]) if columns is None else columns
        check_scales(moments, "x", dtype=np.dtype(jnp.result_type(float)), columns=names)
        _check_rank(moments, family, chosen, names)
        rows = Rows.of(points, family, components, mesh_of(devices), moments=moments)
        values = {
            "_x": points,
            "rows": rows,
            "hyperparameters": chosen.hyperparameters(moments, components, family),
            "components": components,
            "covariance": family,
            "prior": chosen,
            "labels": labels,
            "active": None,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Rows as leaves, so that the data are an argument of compiled programs and not a constant in them."""
        static = (self.components, self.covariance, self.prior, self.labels)
        return (self.rows, self.hyperparameters, self.active), static

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], arrays: tuple[Any, ...]) -> "Problem":
        """Inverse of `tree_flatten`; nothing is checked or worked out again."""
        problem = object.__new__(cls)
        names = ("rows", "hyperparameters", "active", "components", "covariance", "prior", "labels")
        for name, value in zip(names, (*arrays, *static), strict=True):
            object.__setattr__(problem, name, value)
        return problem

    def over(self, rows: Rows) -> "Problem":
        """The same question, prior and all, of other rows in the same working units.

        Inside compiled programs: it knows the points as rows only.
        """
        (_, *others), static = self.tree_flatten()
        return Problem.tree_unflatten(static, (rows, *others))

    def of_any_size(self) -> "Problem":
        """The same question for a program that serves every N whose rows are padded to the same shape."""
        return self.over(self.rows.of_any_size())

    def nested_in(self, components: int) -> "Problem":
        """The same question asked of mixtures of more components, of which only the first K can have points.

        Which K these are is an array, so that one compiled program serves problems of every K up to `components`. The
        likelihood is that of the active part (`active_part`). What it leaves out is distributed by its prior, which
        integrates to one, and a part of symmetric Dirichlet weights, divided by its sum, is Dirichlet of the same
        concentration: posterior and evidence of the first K are those of this problem. `log_prior` is too, but for a
        constant, where the concentration is one; of tied covariances it holds the means that are left out as well.
        """
        (rows, hyperparameters, _), (_, *static) = self.tree_flatten()
        active = np.arange(components) < self.components
        return Problem.tree_unflatten((components, *static), (rows, hyperparameters, active))

    def active_part(self, mixture: Mixture) -> Mixture:
        """The mixture without what is not active: weights next to nothing, and all others in proportion."""
        if self.active is None:
            return mixture
        # Not zero, whose logarithm has no slope; the smallest normal number leaves every sum as it is.
        weights = jnp.where(self.active, mixture.weights, float(np.finfo(self.dtype).tiny))
        return replace(mixture, weights=weights / jnp.sum(weights))

    def __repr__(self) -> str:
        """One line; the points and what is derived from them can be millions of numbers."""
        shape = f"{self.num_points} x {self.num_dimensions} points"
        model = f"K = {self.components}, {self.covariance.name} covariance, {self.labels} labels"
        return f"Problem({shape}, {model}, {self.prior!r})"

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
    def ties(self) -> tuple[Tie, ...]:
        """The most frequent row and the most frequent value of each column, where they occur twice or more.

        Found when first asked for, outside compiled programs.
        """
        found: tuple[Tie, ...] | None = getattr(self, "_ties", None)
        if found is None:
            found = ties_of(self.x)
            object.__setattr__(self, "_ties", found)
        return found

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

    @property
    def num_parameters(self) -> int:
        """Free parameters of a mixture of K components."""
        return num_parameters(self.covariance, self.components, self.num_dimensions)

    def labelled(self, mixture: Mixture) -> Mixture:
        """The same density in a labelling that is allowed: its components in order where labels are ordered.

        Under a prior that does not tell components apart, to put draws of the free posterior in order is to draw from
        the ordered one: each of its mixtures is met in K! labellings of equal density.
        """
        return mixture if self.labels == "free" else mixture.canonical()

    def log_likelihood(self, mixture: Mixture) -> Array:
        """ln L = sum_n ln sum_k pi_k N(x_n | mu_k, Sigma_k), one pass over the data. []"""
        return log_likelihood(self.active_part(mixture), self.rows)

    def log_prior(self, mixture: Mixture) -> Array:
        """Log density of the prior, in the coordinates that its class states. []"""
        return self.prior.log_density(self._settled(mixture), self.hyperparameters)

    def log_joint(self, mixture: Mixture) -> Array:
        """Log-likelihood plus log prior: the objective of every method. []"""
        return self.log_likelihood(mixture) + self.log_prior(mixture)

    def em_step(self, mixture: Mixture) -> tuple[Mixture, Array]:
        """One EM step, one pass, and the log_joint *before* it.

        Never lowers `log_joint` (Dempster, Laird & Rubin 1977, Theorem 1). The result is not finite where a
        component has lost all its points or its covariance is singular.
        """
        value, statistics = one_pass(self.active_part(mixture), self.rows)
        # The origins of the statistics are constants, in their derivatives too: what varies is the points about them.
        about = replace(mixture, means=jax.lax.stop_gradient(mixture.means))
        return self._settled(self.maximise(statistics, about)), value + self.log_prior(mixture)

    def _settled(self, mixture: Mixture) -> Mixture:
        """The active part, with what is not active at one place."""
        if self.active is None:
            return mixture
        part, (k, d) = self.active_part(mixture), mixture.means.shape
        means = jnp.where(self.active[:, None], part.means, self.rows.shift)
        if self.covariance.shape(k, d) == self.covariance.shape(1, d):
            return replace(part, means=means)
        apart = self.covariance.broadcast(self.rows.matrix @ self.rows.matrix.T, k)
        kept = self.active.reshape(-1, *(1,) * (part.scales.ndim - 1))
        return replace(part, means=means, scales=jnp.where(kept, part.scales, apart))

    def maximise(self, statistics: Statistics, mixture: Mixture) -> Mixture:
        """The prior's closed-form M-step, from statistics about `mixture.means`."""
        return self.prior.maximise(statistics, mixture, self.hyperparameters)


def _check_rank(moments: Moments, family: Covariance, prior: Prior, columns: "Sequence[str]") -> None:
    """Refuse points on a hyperplane where a covariance could be singular across it without end."""
    if not family.has_correlations or len(columns) == 1 or prior.bounds_hyperplanes:
        return
    if is_collinear(moments.covariance):
        raise InputError(
            f"x: {relation(moments, columns)}: all points lie on a hyperplane, across which {family.name} covariances "
            f"can shrink without end under the {type(prior).__name__}; leave columns out, use covariance = "
            '"diagonal" or "spherical", or a conjugate prior whose scatter is stated'
        )


def _check_labels(labels: Labels, prior: Prior) -> None:
    if labels not in get_args(Labels):
        raise InputError(f"labels: unknown {labels!r}; allowed: {', '.join(get_args(Labels))}")
    if labels == "ordered" and not prior.exchangeable:
        raise InputError(
            f"labels: {type(prior).__name__} tells components apart, so that ordering them changes the model; "
            'use labels = "free", or a prior that is the same for all components'
        )
