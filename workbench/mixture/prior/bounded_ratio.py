"""Hathaway's bound: no direction of any component more than so many times as wide as another."""

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
from workbench.mixture.prior.base import Hyperparameters, Prior
from workbench.mixture.prior.flat import centred, uniform_site_values, uniform_sites


class BoundedRatioPrior(Prior):
    """Flat where the largest eigenvalue of all covariances is at most `ratio` times the smallest, zero elsewhere.

    Hathaway (1985), "A constrained formulation of maximum-likelihood estimation for normal mixture distributions",
    Annals of Statistics 13, for one dimension; Garcia-Escudero, Gordaliza, Matran & Mayo-Iscar (2008), "A general
    trimming approach to robust cluster analysis", Annals of Statistics 36, for eigenvalues. No component can shrink
    alone, and all of them cannot shrink on N > K distinct points: `log_joint` is bounded.

    Eigenvalues are those in working units, in which the data have unit covariance. For full and tied covariances the
    bound therefore moves with the data under every affine map, which in the data's units it would not; for
    diagonal and spherical ones under those that their family admits.

    A maximum often lies on the bound, where the gradient does not vanish and no ascent of the likelihood can tell that
    it has arrived: gradient methods are refused (`smooth` is False). EM is not: its M-step is the exact maximiser
    within the bound. A start outside has a log_joint of minus infinity; the first step leads inside.
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
        """Yes: no component is narrower than the widest over the root of the ratio, whatever it holds."""
        return True

    @property
    def bounds_hyperplanes(self) -> bool:
        """Yes: components as wide as the data along the hyperplane are not much narrower across it."""
        return True

    def log_density(self, mixture: Mixture, hyperparameters: Hyperparameters) -> Array:
        """0 within the bound, minus infinity outside; the bound is met to the root of the arithmetic's eps. []"""
        h, family = hyperparameters, mixture.covariance
        working = family.transform(jax.lax.stop_gradient(mixture.scales), h["inverse"])
        eigenvalues = _eigenvalues(working, family)
        slack = 1.0 + float(np.finfo(eigenvalues.dtype).eps) ** 0.5
        inside = jnp.max(eigenvalues) <= slack * h["ratio"] * jnp.min(eigenvalues)
        return jnp.where(inside, 0.0, -jnp.inf).astype(eigenvalues.dtype)

    def maximise(self, statistics: Statistics, mixture: Mixture, hyperparameters: Hyperparameters) -> Mixture:
        """The flat prior's M-step with the eigenvalues of the covariances truncated, all to one best interval.

        Fritz, Garcia-Escudero & Mayo-Iscar (2013), "A fast algorithm for robust constrained clustering",
        Computational Statistics & Data Analysis 61, sec. 3.
        """
        h, family = hyperparameters, mixture.covariance
        counts, d = statistics.counts, mixture.num_dimensions
        step, scatter = centred(statistics, family)
        degrees = family.degrees(counts, d)
        # A component without a point has no covariance of its own: as wide as the bound makes it.
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
        """Improper uniform sites and the bound as a factor: enough for `log_density`, nothing to sample from."""
        mixture = uniform_sites(components, len(hyperparameters["centre"]), covariance)
        numpyro.factor("bound", self.log_density(mixture, hyperparameters))
        return mixture

    def site_values(self, mixture: Mixture) -> dict[str, Array]:
        """Weights, means and scales as they are."""
        return uniform_site_values(mixture)


def truncated(values: Array, points: Array, ratio: Array) -> Array:
    """The variances that minimise `sum_b points_b (log v_b + values_b / v_b)` with `max v <= ratio min v`. [B]

    They are the values cut off below m and above `ratio m`. Between two of the points where a value begins or ceases to
    be cut off, the best m has a closed form; the best of these 2 B + 1 is taken (Fritz et al. 2013, proposition 1).

    Args:
        values: variances without the bound, at least zero but for rounding. [B]
        points: how many points each rests on. [B]
        ratio: at least one. []
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
    # Where all are within the bound already, not even rounding is added.
    return jnp.where(jnp.max(values) <= ratio * jnp.min(values), values, best)


def _eigenvalues(scales: Array, family: Covariance) -> Array:
    """Of all covariances, as squared singular values: squaring first would lose the smallest."""
    return (jnp.linalg.svd(scales, compute_uv=False) if family.has_correlations else scales) ** 2
