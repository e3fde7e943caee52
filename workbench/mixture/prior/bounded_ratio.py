"""Hathaway's bound on the ratio of the largest to the smallest eigenvalue of all covariances."""

from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array
from pydantic import Field

from workbench.data.moments import Moments
from workbench.mixture.covariance import Covariance, Statistics, lower_triangular
from workbench.mixture.mixture import Mixture
from workbench.mixture.prior.base import Hyperparameters, Prior, centred, uniform_site_values, uniform_sites


class BoundedRatioPrior(Prior):
    """Constant where the largest eigenvalue of all covariances is at most `ratio` times the smallest, zero elsewhere.

    Hathaway (1985), "A constrained formulation of maximum-likelihood estimation for normal mixture distributions",
    Annals of Statistics 13, for one dimension; Garcia-Escudero, Gordaliza, Matran & Mayo-Iscar (2008), "A general
    trimming approach to robust cluster analysis", Annals of Statistics 36, for eigenvalues. No component can shrink
    alone, and K components cannot all shrink on N > K distinct points, so `log_joint` is bounded.

    Eigenvalues are taken in working units, in which the data have unit covariance. For full and tied covariances the
    bound is therefore equivariant under every affine map of the data, which it would not be in the data's units. For
    diagonal and spherical covariances it is equivariant under the maps that their family admits.

    A maximum often lies on the bound, where the gradient does not vanish and a gradient method cannot recognise it.
    Gradient methods are therefore refused (`smooth` is False). EM is accepted, because its M-step is the exact maximum
    within the bound. A start outside the bound has a log_joint of minus infinity, and the first step leads inside.
    """

    family: Literal["bounded_ratio"] = "bounded_ratio"
    ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        100.0, description="c, the largest eigenvalue over the smallest; 100 allows widths to differ tenfold"
    )

    proper: ClassVar[bool] = False
    closed_form: ClassVar[bool] = True
    smooth: ClassVar[bool] = False

    def hyperparameters(self, moments: Moments, components: int, covariance: Covariance) -> Hyperparameters:
        """Ratio [], the working units [D, D] and their inverse, and the data's mean [D]."""
        units = covariance.units(moments.covariance)
        return {
            "ratio": jnp.asarray(self.ratio),
            "units": jnp.asarray(units),
            "inverse": jnp.asarray(np.linalg.inv(units)),
            "centre": jnp.asarray(moments.mean),
        }

    def bounds_components(self, covariance: Covariance, dimensions: int) -> bool:
        """True: no component is narrower than the widest one divided by the square root of the ratio."""
        return True

    @property
    def bounds_hyperplanes(self) -> bool:
        """True: components as wide as the data along the hyperplane cannot be arbitrarily narrow across it."""
        return True

    def log_density(self, mixture: Mixture, hyperparameters: Hyperparameters) -> Array:
        """0 within the bound and minus infinity outside, with a relative tolerance of the square root of eps. []"""
        h, family = hyperparameters, mixture.covariance
        working = family.transform(jax.lax.stop_gradient(mixture.scales), h["inverse"])
        eigenvalues = _eigenvalues(working, family)
        slack = 1.0 + float(np.finfo(eigenvalues.dtype).eps) ** 0.5
        inside = jnp.max(eigenvalues) <= slack * h["ratio"] * jnp.min(eigenvalues)
        return jnp.where(inside, 0.0, -jnp.inf).astype(eigenvalues.dtype)

    def maximise(self, statistics: Statistics, mixture: Mixture, hyperparameters: Hyperparameters) -> Mixture:
        """The flat prior's M-step with the eigenvalues of all covariances truncated to the best common interval.

        Fritz, Garcia-Escudero & Mayo-Iscar (2013), "A fast algorithm for robust constrained clustering",
        Computational Statistics & Data Analysis 61, sec. 3.
        """
        h, family = hyperparameters, mixture.covariance
        counts, d = statistics.counts, mixture.num_dimensions
        step, scatter = centred(statistics, family)
        degrees = family.degrees(counts, d)
        # The covariance of a component without points is zero here, and the truncation makes it as wide as the bound.
        covariance = family.transform_second(scatter / jnp.where(degrees > 0, degrees, 1.0), h["inverse"])
        if family.has_correlations:
            values, vectors = jnp.linalg.eigh(covariance)  # [..., D], [..., D, D]
            points = jnp.broadcast_to(degrees[..., 0] if degrees.ndim else degrees, values.shape)
            kept = truncated(values.ravel(), points.ravel(), h["ratio"]).reshape(values.shape)
            scales = lower_triangular(vectors * jnp.sqrt(kept)[..., None, :])
        else:
            points = jnp.broadcast_to(degrees, covariance.shape)
            kept = truncated(covariance.ravel(), points.ravel(), h["ratio"]).reshape(covariance.shape)
            scales = family.factor(kept)
        scales = family.transform(scales, h["units"])
        return Mixture(counts / jnp.sum(counts), mixture.means + step, scales, family)

    def sites(self, components: int, covariance: Covariance, hyperparameters: Hyperparameters) -> Mixture:
        """Improper uniform sites and the bound as a factor; the density can be evaluated but not sampled from."""
        mixture = uniform_sites(components, len(hyperparameters["centre"]), covariance)
        numpyro.factor("bound", self.log_density(mixture, hyperparameters))
        return mixture

    def site_values(self, mixture: Mixture) -> dict[str, Array]:
        """Weights, means and scales, unchanged."""
        return uniform_site_values(mixture)


def truncated(values: Array, points: Array, ratio: Array) -> Array:
    """The variances that minimise `sum_b points_b (log v_b + values_b / v_b)` with `max v <= ratio min v`. [B]

    They are the values clipped to the interval from m to `ratio m`. The m at which a value starts or ceases to be
    clipped divide the axis into 2 B + 1 intervals. In each of them the optimal m has a closed form, and the best of
    these is taken (Fritz et al. 2013, proposition 1).

    Args:
        values: variances without the bound; non-negative up to rounding. [B]
        points: number of points that determine each. [B]
        ratio: the bound, at least one. []
    """
    values = jnp.maximum(values, 0.0)
    edges = jnp.sort(jnp.concatenate([values, values / ratio]))
    between = jnp.concatenate([edges[:1] / 2, (edges[1:] + edges[:-1]) / 2, 2 * edges[-1:]])[:, None]  # [2 B + 1, 1]
    below, above = values < between, values > ratio * between
    cut = jnp.sum(points * (below | above), -1)
    total = jnp.sum(points * (jnp.where(below, values, 0.0) + jnp.where(above, values / ratio, 0.0)), -1)
    m = jnp.where(cut > 0, total / jnp.where(cut > 0, cut, 1.0), between[:, 0])[:, None]
    variances = jnp.clip(values, m, ratio * m)  # [2 B + 1, B]
    loss = jnp.sum(points * (jnp.log(variances) + values / variances), -1)
    best = variances[jnp.argmin(jnp.where(m[:, 0] > 0, loss, jnp.inf))]
    # Values that are already within the bound are returned without rounding errors.
    return jnp.where(jnp.max(values) <= ratio * jnp.min(values), values, best)


def _eigenvalues(scales: Array, family: Covariance) -> Array:
    """Eigenvalues of all covariances, as squared singular values of the scales to keep the smallest accurate."""
    return (jnp.linalg.svd(scales, compute_uv=False) if family.has_correlations else scales) ** 2
