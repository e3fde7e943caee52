"""The Gaussian mixture: parameters, density, responsibilities, samples, and changes of units and labels.

A mixture can be padded with components of negligible weight, so that one compiled program serves several values of K.
For D = 1 these programs use variances instead of 1 x 1 matrices: each Cholesky factor is a call of LAPACK for each
component, which takes longer than the rest of a small pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from workbench.data.observed import MissingCells
from workbench.errors import LINE, InputError, checks_arguments, cut, shown
from workbench.mixture.background import BACKGROUND, Background
from workbench.mixture.checks import check_order, check_places, checked_draws, finite_numbers, names_of, points_of
from workbench.mixture.covariance import Covariance, covariance_named, lower_triangular
from workbench.mixture.covariance.given import in_family
from workbench.mixture.density import check_reached, log_density_at, log_joint_at

if TYPE_CHECKING:
    from workbench.mixture.conditioning import Moments
    from workbench.mixture.relative_entropy import Bounds, MonteCarlo


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("weights", "means", "scales", "background"), meta_fields=("covariance",),
)  # fmt: skip
@checks_arguments
@dataclass(frozen=True, repr=False)
class Mixture:
    """P(x) = sum_k weights_k N(x | means_k, Sigma_k), always in constrained parameters.

    `scales` are square roots of the covariances, in the shape of the family: Cholesky factors [K, D, D] for full and
    [D, D] for tied, standard deviations [K, D] for diagonal and [K] for spherical. The methods below are written for
    one mixture; batches have leading axes and use `jax.vmap`.

    Methods that take points raise `InputError` for points that a problem would refuse: NaN, infinity, masked or sparse
    arrays, a wrong number of columns. Inside a compiled program only the shape is checked.
    """

    weights: Array  # [K]
    means: Array  # [K, D]
    scales: Array  # the family's shape
    covariance: Covariance
    background: Background | None = None  # takes its share of the points before the weights, which sum to one
    # Names by which columns of a table are found: no part of what is computed with, which loses them; see `named`.
    columns: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.covariance, Covariance):
            raise InputError(
                f"covariance: must be a family, got {shown(self.covariance)}; from_covariances takes a name"
            )

    def named(self, columns: Sequence[str]) -> "Mixture":
        """The same mixture with a distinct name for each of its D columns, or without any; all else is an error."""
        found = replace(self)
        object.__setattr__(found, "columns", names_of(columns, self.num_dimensions))
        return found

    @classmethod
    @checks_arguments
    def from_covariances(
        cls, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike, covariance: str = "full"
    ) -> "Mixture":
        """A mixture from weights [K], means [K, D] and covariances in the family's shape, or dense.

        Dense covariances [K, D, D], such as `mixture.covariances`, are accepted for every family that contains them.

        Raises:
            InputError: a shape is wrong, weights are not a distribution, or a covariance is not positive definite or
                not a member of the family.
        """
        family = covariance_named(covariance)
        given = {"weights": weights, "means": means, "covariances": covariances}
        w, mu, sigma = (finite_numbers(name, array) for name, array in given.items())
        if mu.ndim != 2 or w.shape != mu.shape[:1]:
            raise InputError(f"means: expected [K, D] with K = {w.size} weights, got shape {mu.shape}")
        if not (np.all(w >= 0) and np.isclose(w.sum(), 1.0, rtol=0, atol=1e-3)):
            raise InputError(f"weights: must be non-negative and sum to 1, got {shown(w.tolist())}")
        scales = family.factor(jnp.asarray(in_family(family, sigma, *mu.shape)))
        if not bool(jnp.all(jnp.isfinite(scales))):
            raise InputError(f"covariances: must be positive definite, got {shown(sigma.tolist())}")
        return cls(jnp.asarray(w / w.sum()), jnp.asarray(mu), scales, family)

    def __repr__(self) -> str:
        """Weights and means of one mixture; shapes of several."""
        shape = tuple(np.shape(self.weights))
        if len(shape) != 1 or isinstance(self.weights, jax.core.Tracer):
            return f"Mixture({self.covariance.name}; weights {shape}, means {tuple(np.shape(self.means))})"
        arrays = (np.array2string(np.asarray(a), precision=4, separator=", ") for a in (self.weights, self.means))
        weights, means = (cut(" ".join(text.split()), LINE // 4) for text in arrays)
        beside = "" if self.background is None else f"; background {float(self.background.weight):.4g}"
        return f"Mixture({self.covariance.name}; weights {weights}, means {means}{beside})"

    def _repr_html_(self) -> str:
        from workbench.mixture.saved import html_of

        return html_of(self)

    def to_dataframe(self) -> Any:
        """A row for each component: weight, means, standard deviations; pandas, polars or Arrow."""
        from workbench.mixture.saved import frame_of_components

        return frame_of_components(self)

    @property
    def num_components(self) -> int:
        """K."""
        return int(self.means.shape[-2])

    @property
    def num_dimensions(self) -> int:
        """D."""
        return int(self.means.shape[-1])

    @property
    def num_parameters(self) -> int:
        """Number of free parameters: K - 1 weights, K D means, those of the covariances, a background's weight."""
        own = num_parameters(self.covariance, self.num_components, self.num_dimensions)
        return own + (self.background is not None)

    @property
    def scale_trils(self) -> Array:
        """Dense lower Cholesky factors of the covariances. [K, D, D]"""
        return self.covariance.scale_trils(self.scales, self.num_components, self.num_dimensions)

    @property
    def covariances(self) -> Array:
        """Dense covariances. [K, D, D]"""
        trils = self.scale_trils
        return trils @ jnp.swapaxes(trils, -1, -2)

    # Of the following methods, `missing` says what becomes of NaN: it is refused unless it is a missing cell, without
    # which the row then counts ("marginal").

    def component_log_joint(self, x: ArrayLike, *, missing: MissingCells = "refuse") -> Array:
        """`log pi_k + log N(x_n | mu_k, Sigma_k)` for points x [N, D], less a background's share. [N, K]"""
        return log_joint_at(self, *self._points(x, missing))

    def log_density(self, x: ArrayLike, *, missing: MissingCells = "refuse") -> Array:
        """`log P(x_n)` for points x [N, D]. [N]

        Its derivative with respect to a weight is `N(x_n | mu_k, Sigma_k) / P(x_n)`, also where the weight is zero.
        """
        return log_density_at(self, *self._points(x, missing))

    def responsibilities(self, x: ArrayLike, *, missing: MissingCells = "refuse") -> Array:
        """`P(k | x_n)` for points x [N, D]; rows sum to one, or to what a background leaves. [N, K]

        Raises:
            InputError: a point is so far away that its density underflows for every component, or that rounding hides
                which component is the nearest.
        """
        return jax.nn.softmax(self._reaching(x, missing), axis=-1)[:, : self.num_components]

    def predict(self, x: ArrayLike, *, missing: MissingCells = "refuse") -> Array:
        """The most probable component of each point x [N, D], -1 for the background. [N]

        Raises:
            InputError: as for `responsibilities`.
        """
        found = jnp.argmax(self._reaching(x, missing), axis=-1)
        return found if self.background is None else jnp.where(found == self.num_components, BACKGROUND, found)

    def _reaching(self, x: ArrayLike, missing: MissingCells) -> Array:
        """`component_log_joint`, a background's last, after a check that it says which is near of every point."""
        points, missing = self._points(x, missing)
        joint = log_joint_at(self, points, missing)
        if self.background is not None:
            joint = jnp.concatenate([joint, self.background.log_joint(points)[:, None]], axis=-1)
        if not isinstance(joint, jax.core.Tracer):
            check_reached(joint)
        return joint

    @checks_arguments
    def sample(self, key: Array, num_samples: int) -> tuple[Array, Array]:
        """Independent draws and the components they came from, -1 for the background. [N, D], [N]

        Raises:
            InputError: `num_samples` is no whole number from 0 to 2^30 / D (8 GiB), or `key` is no key, or several.
        """
        num_samples = checked_draws(key, num_samples, self.num_dimensions)
        if self.background is not None:
            return self.background.sample(key, num_samples, replace(self, background=None).sample)
        key_component, key_noise = jax.random.split(key)
        components = jax.random.choice(key_component, self.num_components, (num_samples,), p=self.weights)
        noise = jax.random.normal(key_noise, (num_samples, self.num_dimensions), self.means.dtype)
        x = self.means[components] + jnp.einsum("nij,nj->ni", self.scale_trils[components], noise)
        return x, components

    def marginal(self, columns: Sequence[int | str]) -> "Mixture":
        """The mixture of these columns, by name or by position; `conditioning.marginal` says more."""
        from workbench.mixture.conditioning import marginal

        return marginal(self, columns)

    def conditional(self, given: Mapping[int | str, ArrayLike]) -> "Mixture":
        """The mixture of the other columns given values of these; see `conditioning.conditional`."""
        from workbench.mixture.conditioning import conditional

        return conditional(self, given)

    def regression(self, given: Mapping[int | str, ArrayLike]) -> "Moments":
        """Mean and covariance of the other columns given values of these; see `conditioning.regression`."""
        from workbench.mixture.conditioning import regression

        return regression(self, given)

    def complete(self, x: ArrayLike) -> NDArray[np.float64]:
        """Points x [N, D] with missing cells filled in by their expectations given the others; see `completion`."""
        from workbench.mixture.completion import complete

        return complete(self, x)

    def moments(self) -> "Moments":
        """Mean [D] and covariance [D, D] of the whole mixture."""
        from workbench.mixture.conditioning import moments

        return moments(self)

    @checks_arguments
    def kl_divergence(self, other: "Mixture", key: Array, num_samples: int = 10_000) -> "MonteCarlo":
        """`E ln p(x) / q(x)` over draws from this mixture, p, with its error; see `relative_entropy.kl_divergence`."""
        from workbench.mixture.relative_entropy import kl_divergence

        return kl_divergence(self, other, key, num_samples)

    @checks_arguments
    def kl_bounds(self, other: "Mixture") -> "Bounds":
        """A lower and an upper bound of the divergence of `other`; see `relative_entropy.kl_bounds`."""
        from workbench.mixture.relative_entropy import kl_bounds

        return kl_bounds(self, other)

    def affine(self, matrix: ArrayLike, shift: ArrayLike = 0.0) -> "Mixture":
        """The mixture of `matrix x + shift`, a change of units.

        Args:
            matrix: [D, D], [D] for a diagonal matrix, or a number.
            shift: [D] or a number.

        Raises:
            InputError: the transformed covariances are not in the family (for example a rotation of diagonal ones).
        """
        d = self.num_dimensions
        a, shift = finite_numbers("matrix", matrix), finite_numbers("shift", shift)
        if a.shape not in ((), (d,), (d, d)) or shift.shape not in ((), (d,)):
            raise InputError(
                f"matrix: expected {d} numbers, or [{d}, {d}], and a shift of {d}, got {a.shape}, {shift.shape}"
            )
        a = np.diag(np.broadcast_to(a, (d,))) if a.ndim < 2 else a
        turns = self.background is not None and np.any(a != np.diag(np.diagonal(a)))
        if not self.covariance.admits(a) or turns:
            kept = f"a {self.covariance.name} mixture of {d} dimensions in its family"
            raise InputError(f"matrix: {shown(a.tolist())} does not keep {'a background in a box' if turns else kept}")
        scales = self.covariance.transform(self.scales, jnp.asarray(a))
        if self.covariance.has_correlations:
            scales = lower_triangular(scales)
        moved = replace(self, means=self.means @ a.T + jnp.asarray(shift), scales=scales)
        if self.background is None:
            return moved
        return replace(moved, background=self.background.affine(jnp.diagonal(jnp.asarray(a)), jnp.asarray(shift)))

    def permute(self, order: ArrayLike) -> "Mixture":
        """The same density with component `order[k]` at position k.

        Raises:
            InputError: the order is no permutation of 0 to K - 1.
        """
        check_order(order, self.num_components)
        return self.take(order)

    def take(self, places: ArrayLike) -> "Mixture":
        """Component `places[k]`, with its weight, at position k; a component may be taken more than once.

        Raises:
            InputError: a place is no whole number from 0 to K - 1.
        """
        check_places("places", places, self.num_components)
        index = jnp.asarray(places)
        scales = self.covariance.permute(self.scales, index)
        taken = replace(self, weights=self.weights[index], means=self.means[index], scales=scales)
        return taken.named(self.columns)

    def canonical(self) -> "Mixture":
        """The components ordered by the first coordinate of their means; ties are broken by the next coordinate.

        Where rows or fixed parameters number the components, `Problem.presented` keeps these numbers.
        """
        return self.permute(jnp.lexsort(self.means.T[::-1]))

    def save(self, path: Path | str, columns: Sequence[str] = ()) -> None:
        """Write the mixture, with names of its D columns, to a small JSON file; `saved.save_mixture` says more."""
        from workbench.mixture.saved import save_mixture

        save_mixture(path, self, columns=columns or self.columns)

    @classmethod
    def load(cls, path: Path | str) -> "Mixture":
        """The mixture in a file that `save` or `workbench fit` wrote; errors are those of `saved.load_mixture`."""
        from workbench.mixture.saved import load_mixture

        return load_mixture(path).mixture

    def to_sklearn(self) -> Any:
        """A fitted `sklearn.mixture.GaussianMixture` with these parameters; needs scikit-learn."""
        from workbench.mixture.converted import to_sklearn

        return to_sklearn(self)

    @classmethod
    def from_sklearn(cls, fitted: Any) -> "Mixture":
        """The mixture of a fitted `GaussianMixture`, or `BayesianGaussianMixture` at its expected parameters."""
        from workbench.mixture.converted import from_sklearn

        return from_sklearn(fitted)

    def to_numpyro(self) -> Any:
        """The mixture as a `MixtureSameFamily` of multivariate normals of NumPyro; `converted.to_numpyro` says more."""
        from workbench.mixture.converted import to_numpyro

        return to_numpyro(self)

    @classmethod
    def from_numpyro(cls, distribution: Any) -> "Mixture":
        """The mixture of a NumPyro `MixtureSameFamily` of normals, or what `to_numpyro` gives; see `converted`."""
        from workbench.mixture.converted import from_numpyro

        return from_numpyro(distribution)

    def _points(self, x: ArrayLike, missing: MissingCells) -> tuple[Array, MissingCells]:
        points, missing = points_of(x, self.columns, self.num_dimensions, missing)
        return jnp.asarray(points, self.means.dtype), missing


def num_parameters(covariance: Covariance, components: int, dimensions: int) -> int:
    """Free parameters of a mixture: K - 1 weights, K D means and the family's covariances."""
    return components - 1 + components * dimensions + covariance.num_parameters(components, dimensions)
