"""The independent prior: weights, means, standard deviations and correlations are independent."""

from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import gammaln
from pydantic import Field

from workbench.data.moments import Moments
from workbench.errors import InputError
from workbench.mixture.covariance import Covariance
from workbench.mixture.covariance.base import LOG_2PI
from workbench.mixture.mixture import Mixture
from workbench.mixture.prior.base import (
    Hyperparameters,
    Numbers,
    Positive,
    Prior,
    sample_weights,
    weights_value,
)
from workbench.mixture.prior.conjugate import log_dirichlet


class IndependentPrior(Prior):
    """pi ~ Dirichlet(a), mu_kd ~ N(m_d, s_d), sd ~ half-normal or log-normal, correlations ~ LKJ(eta).

    Densities are with respect to the weights, the means, the standard deviations and the Cholesky factors of the
    correlations (Lewandowski, Kurowicka & Joe 2009), and posterior modes are modes of these densities. There is no
    closed-form M-step.
    """

    family: Literal["independent"] = "independent"
    concentration: Positive = Field(1.0, description="a of the symmetric Dirichlet")
    mean_location: Numbers | None = Field(None, description="m, one number per column; default: the data's mean")
    mean_scale: Numbers | None = Field(
        None, description="s, one positive number per column; default: the data's standard deviations"
    )
    deviation: Literal["half_normal", "log_normal"] = Field(
        "half_normal", description="prior of the components' standard deviations"
    )
    deviation_scale: Numbers | None = Field(
        None,
        description="scale of the half-normal, median of the log-normal, per column (spherical: one number); "
        "default: the data's standard deviations",
    )
    deviation_spread: Positive = Field(1.0, description="standard deviation of the logarithm, log-normal only")
    correlation_concentration: Positive = Field(1.0, description="eta of LKJ: 1 is uniform over correlations")

    proper: ClassVar[bool] = True
    closed_form: ClassVar[bool] = False

    def hyperparameters(self, moments: Moments, components: int, covariance: Covariance) -> Hyperparameters:
        """Hyperparameters: mean_location [D], mean_scale [D], deviation_scale [D] or [], and the others []."""
        spread = np.sqrt(np.diag(moments.covariance))
        per_variance = np.sqrt(covariance.scatter_of(np.diag(spread**2)))
        scale_default = np.diag(per_variance) if per_variance.ndim == 2 else per_variance
        h = {
            "mean_location": _given("mean_location", self.mean_location, moments.mean),
            "mean_scale": _given("mean_scale", self.mean_scale, spread, positive=True),
            "deviation_scale": _given("deviation_scale", self.deviation_scale, scale_default, positive=True),
            "concentration": np.asarray(self.concentration),
            "deviation_spread": np.asarray(self.deviation_spread),
            "correlation_concentration": np.asarray(self.correlation_concentration),
        }
        return {name: jnp.asarray(value) for name, value in h.items()}

    def bounds_components(self, covariance: Covariance, dimensions: int) -> bool:
        """True for log-normal deviations without correlations and a concentration of at least 1.

        A half-normal density is largest where the deviation vanishes. LKJ(eta) does not bound a component of D points
        on a hyperplane: as the determinant of the correlations falls, the prior adds `(eta - 1) log det` to the log
        density, and the points add `-D / 2 log det`.
        """
        correlated = covariance.has_correlations and dimensions > 1
        return self.deviation == "log_normal" and not correlated and self.concentration >= 1.0

    def log_density(self, mixture: Mixture, hyperparameters: Hyperparameters) -> Array:
        """Sum of the Dirichlet, normal, half-normal or log-normal and LKJ log densities. []"""
        h, family = hyperparameters, mixture.covariance
        total = log_dirichlet(mixture.weights, h["concentration"])
        total += jnp.sum(_log_normal(mixture.means, h["mean_location"], h["mean_scale"]))
        deviations = family.deviations(mixture.scales)
        if self.deviation == "half_normal":
            total += jnp.sum(jnp.log(2.0) + _log_normal(deviations, 0.0, h["deviation_scale"]))
        else:
            logs = jnp.log(deviations)
            centre = jnp.log(h["deviation_scale"])
            total += jnp.sum(_log_normal(logs, centre, h["deviation_spread"]) - logs)
        if family.has_correlations and mixture.num_dimensions > 1:
            trils = family.correlation_trils(mixture.scales)
            total += jnp.sum(log_lkj_cholesky(trils, h["correlation_concentration"]))
        return total

    def sites(self, components: int, covariance: Covariance, hyperparameters: Hyperparameters) -> Mixture:
        """Sites `weights` [K], `means` [K, D], `deviations`, and `correlations` if the family has them."""
        h = hyperparameters
        dimensions = len(h["mean_location"])
        weights = sample_weights(h["concentration"], components)
        normal = dist.Normal(h["mean_location"], h["mean_scale"]).expand([components, dimensions]).to_event(2)
        means = numpyro.sample("means", normal)
        shape = covariance.shape(components, dimensions)
        shape = shape[:-1] if covariance.has_correlations else shape
        scale = h["deviation_scale"]
        if self.deviation == "half_normal":
            prior = dist.HalfNormal(scale)
        else:
            prior = dist.LogNormal(jnp.log(scale), h["deviation_spread"])
        scales = numpyro.sample("deviations", prior.expand(shape).to_event(len(shape)))
        if covariance.has_correlations and dimensions > 1:
            lkj = dist.LKJCholesky(dimensions, h["correlation_concentration"]).expand(shape[:-1])
            scales = scales[..., None] * numpyro.sample("correlations", lkj.to_event(len(shape) - 1))
        elif covariance.has_correlations:
            scales = scales[..., None]
        return Mixture(weights, means, scales, covariance)

    def site_values(self, mixture: Mixture) -> dict[str, Array]:
        """Weights, means, standard deviations, and Cholesky factors of the correlations."""
        family = mixture.covariance
        values = {**weights_value(mixture), "means": mixture.means}
        values["deviations"] = family.deviations(mixture.scales)
        if family.has_correlations and mixture.num_dimensions > 1:
            values["correlations"] = family.correlation_trils(mixture.scales)
        return values


def log_lkj_cholesky(tril: Array, concentration: Array) -> Array:
    """Log density of LKJ(eta) over Cholesky factors of correlations [..., D, D], per matrix.

    `prod_{i=2}^D L_ii^(D - i + 2 eta - 2) / c`, with the normaliser of Lewandowski, Kurowicka & Joe (2009), eq. 16.
    """
    d = tril.shape[-1]
    diagonal = jnp.diagonal(tril, axis1=-2, axis2=-1)[..., 1:]
    powers = d - jnp.arange(2, d + 1) + 2.0 * concentration - 2.0
    k = jnp.arange(1, d)
    normaliser = 0.5 * k * jnp.log(jnp.pi) + gammaln(concentration + 0.5 * (d - 1 - k))
    normaliser -= gammaln(concentration + 0.5 * (d - 1))
    return jnp.sum(powers * jnp.log(diagonal), -1) - jnp.sum(normaliser)


def _log_normal(value: Array, location: Array | float, scale: Array) -> Array:
    return -0.5 * (LOG_2PI + ((value - location) / scale) ** 2) - jnp.log(scale)


def _given(name: str, value: tuple[float, ...] | None, default: np.ndarray, *, positive: bool = False) -> np.ndarray:
    if value is None:
        return default
    array = np.asarray(value).reshape(default.shape if len(value) == default.size else (-1,))
    if array.shape != default.shape:
        raise InputError(f"prior.{name}: needs {default.size} numbers, got {array.size}")
    if positive and np.any(array <= 0):
        raise InputError(f"prior.{name}: must be positive, got {list(value)}")
    return array
