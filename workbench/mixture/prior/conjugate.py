"""The conjugate prior: Dirichlet weights, normal means given inverse-Wishart covariances."""

from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import gammaln, multigammaln
from pydantic import Field

from workbench.config import Whole
from workbench.data.moments import Moments
from workbench.errors import InputError
from workbench.mixture.covariance import Covariance, Statistics
from workbench.mixture.covariance.base import LOG_2PI
from workbench.mixture.mixture import Mixture
from workbench.mixture.prior.base import (
    Hyperparameters,
    Nested,
    Numbers,
    Positive,
    Prior,
    sample_weights,
    weights_value,
)


class ConjugatePrior(Prior):
    """pi ~ Dirichlet(a), Sigma ~ inverse-Wishart(nu, Psi), mu_k | Sigma ~ N(m, Sigma / kappa).

    For diagonal and spherical covariances each variance is inverse-gamma(nu / 2, psi / 2), the one-dimensional
    inverse-Wishart. Densities are with respect to the weights, the means and the *covariances*, and posterior modes are
    modes of these densities. The defaults are those of Fraley & Raftery (2007), "Bayesian regularization for normal
    mixture estimation and model-based clustering", J. Classification 24, sec. 3: weak, scaled to the data, and strong
    enough to keep the posterior bounded.
    """

    family: Literal["conjugate"] = "conjugate"
    concentration: Positive = Field(1.0, description="a of the symmetric Dirichlet; EM needs at least 1")
    mean_location: Numbers | None = Field(None, description="m, one number per column; default: the data's mean")
    mean_shrinkage: Positive = Field(0.01, description="kappa: how many points the prior mean counts as")
    degrees_of_freedom: Positive | None = Field(None, description="nu, above D - 1; default: number of columns plus 2")
    scatter: Nested | None = Field(
        None, description="Psi, a D x D table of numbers; default: the data's covariance over K^(2/D)"
    )
    scatter_components: Whole | None = Field(
        None, description="K of the default Psi, to give mixtures of all K the same prior; default: their own K"
    )

    proper: ClassVar[bool] = True
    closed_form: ClassVar[bool] = True

    @property
    def varies_with_components(self) -> bool:
        """True for the default scatter, which depends on K."""
        return self.scatter is None and self.scatter_components is None

    def hyperparameters(self, moments: Moments, components: int, covariance: Covariance) -> Hyperparameters:
        """Concentration [], mean_location [D], mean_shrinkage [], degrees [], scatter [D, D], [D] or []."""
        n, mean, covariance_of_data = moments
        dimensions = len(mean)
        spread = covariance_of_data * (n / (n - 1))
        location = mean if self.mean_location is None else np.asarray(self.mean_location)
        if location.shape != (dimensions,):
            raise InputError(f"prior.mean_location: needs {dimensions} numbers, one per column, got {location.size}")
        degrees = dimensions + 2.0 if self.degrees_of_freedom is None else self.degrees_of_freedom
        if degrees <= covariance.block_dimension(dimensions) - 1:
            raise InputError(
                f"prior.degrees_of_freedom: must exceed {covariance.block_dimension(dimensions) - 1} "
                f"(dimensions less one), got {degrees}"
            )
        if self.scatter is None:
            scatter = spread / (self.scatter_components or components) ** (2.0 / dimensions)
        else:
            scatter = self._given_scatter(dimensions)
        return {
            "concentration": jnp.asarray(self.concentration),
            "mean_location": jnp.asarray(location),
            "mean_shrinkage": jnp.asarray(self.mean_shrinkage),
            "degrees": jnp.asarray(degrees),
            "scatter": jnp.asarray(covariance.scatter_of(scatter)),
        }

    def _given_scatter(self, dimensions: int) -> np.ndarray:
        try:
            scatter = np.asarray(self.scatter, float)
        except (TypeError, ValueError):
            raise InputError(f"prior.scatter: must be a table of numbers, got {self.scatter}") from None
        if scatter.shape != (dimensions, dimensions):
            raise InputError(f"prior.scatter: needs {dimensions} rows of {dimensions} numbers, got {self.scatter}")
        if not np.allclose(scatter, scatter.T) or not np.all(np.linalg.eigvalsh(scatter) > 0):
            raise InputError(f"prior.scatter: must be symmetric and positive definite, got {self.scatter}")
        return scatter

    def bounds_components(self, covariance: Covariance, dimensions: int) -> bool:
        """True if the concentration is at least 1.

        The covariance of a component without points is `Psi / (nu + b + 2)`, with b the block's side, and points only
        add to Psi. With a concentration below 1 the density is unbounded where a weight vanishes.
        """
        return self.concentration >= 1.0

    @property
    def bounds_hyperplanes(self) -> bool:
        """True if the scatter is given. The default scatter is singular for such data, and the prior improper."""
        return self.scatter is not None

    def log_density(self, mixture: Mixture, hyperparameters: Hyperparameters) -> Array:
        """Sum of the Dirichlet, inverse-Wishart and normal log densities. []"""
        h = hyperparameters
        family, (k, d) = mixture.covariance, mixture.means.shape
        # Inverse-Wishart for blocks of side b: one formula for matrices and for single variances.
        b, nu = family.block_dimension(d), h["degrees"]
        prior_scales = family.factor(jnp.broadcast_to(h["scatter"], family.shape(k, d)))
        log_scatter = family.block_log_determinants(prior_scales)
        log_covariance = family.block_log_determinants(mixture.scales)
        constants = 0.5 * nu * (log_scatter - b * jnp.log(2.0)) - multigammaln(0.5 * nu, b)
        blocks = jnp.sum(constants - 0.5 * (nu + b + 1) * log_covariance)
        blocks -= 0.5 * family.block_traces(mixture.scales, h["scatter"])
        # Normal means with covariance Sigma_k / kappa.
        difference = (mixture.means - h["mean_location"])[..., None]
        white = family.whiten(family.whitener(mixture.scales), difference)[..., 0]
        kappa = h["mean_shrinkage"]
        log_means = -0.5 * d * (LOG_2PI - jnp.log(kappa)) - 0.5 * kappa * jnp.sum(white**2, -1)
        log_means -= family.half_log_determinants(mixture.scales, k, d)
        return blocks + jnp.sum(log_means) + log_dirichlet(mixture.weights, h["concentration"])

    def still(self, means: Array, hyperparameters: Hyperparameters) -> Array:
        """Moments that undo the pull of the prior's location. [K, D]"""
        return hyperparameters["mean_shrinkage"] * (means - hyperparameters["mean_location"])

    def maximise(self, statistics: Statistics, mixture: Mixture, hyperparameters: Hyperparameters) -> Mixture:
        """Posterior mode given the responsibilities (Fraley & Raftery 2007, eq. 13-18), for all families."""
        h = hyperparameters
        counts, first, second = statistics
        family, d = mixture.covariance, mixture.num_dimensions
        kappa = h["mean_shrinkage"]
        pull = h["mean_location"] - mixture.means  # [K, D], relative to the origins of the statistics
        step = (first + kappa * pull) / (counts + kappa)[:, None]
        # Scatter about the new means of the points and of the prior's kappa pseudo-points at m.
        scatter = h["scatter"] + second + kappa * family.cross_products(pull, pull)
        scatter = scatter - family.cross_products((counts + kappa)[:, None] * step, step)
        degrees = h["degrees"] + family.block_dimension(d) + 1 + family.degrees(counts + 1.0, d)
        pseudo = h["concentration"] - 1.0
        weights = (counts + pseudo) / (jnp.sum(counts) + pseudo * len(counts))
        return Mixture(weights, mixture.means + step, family.factor(scatter / degrees), family)

    def sites(self, components: int, covariance: Covariance, hyperparameters: Hyperparameters) -> Mixture:
        """Sites `weights` [K], `covariances` in the family's shape and `means` [K, D]."""
        h = hyperparameters
        dimensions = len(h["mean_location"])
        weights = sample_weights(h["concentration"], components)
        prior = covariance.conjugate(h["degrees"], h["scatter"], components)
        scales = covariance.factor(numpyro.sample("covariances", prior))
        trils = covariance.scale_trils(scales, components, dimensions) / jnp.sqrt(h["mean_shrinkage"])
        normal = dist.MultivariateNormal(h["mean_location"], scale_tril=trils).to_event(1)
        return Mixture(weights, numpyro.sample("means", normal), scales, covariance)

    def site_values(self, mixture: Mixture) -> dict[str, Array]:
        """Weights, covariances in the family's shape, and means."""
        covariances = mixture.covariance.square(mixture.scales)
        return {**weights_value(mixture), "covariances": covariances, "means": mixture.means}


def log_dirichlet(weights: Array, concentration: Array) -> Array:
    """Log density of the symmetric Dirichlet at weights [K]. []"""
    k = len(weights)
    normaliser = gammaln(k * concentration) - k * gammaln(concentration)
    # A flat Dirichlet has gradient zero, also where a weight is zero.
    terms = jnp.where(concentration == 1.0, 0.0, (concentration - 1.0) * jnp.log(weights))
    return jnp.sum(terms) + normaliser
