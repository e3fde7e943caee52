"""The flat prior: pure maximum likelihood."""

from typing import ClassVar, Literal

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import constraints

from workbench.data.moments import Moments
from workbench.mixture.covariance import Covariance, Statistics
from workbench.mixture.mixture import Mixture
from workbench.mixture.prior.base import Hyperparameters, Prior, weights_value


class FlatPrior(Prior):
    """Constant in the weights, means and scales: `log_joint` is the log-likelihood.

    It is improper, and the likelihood is unbounded because a component can collapse on a point.
    """

    family: Literal["flat"] = "flat"
    proper: ClassVar[bool] = False
    closed_form: ClassVar[bool] = True

    def hyperparameters(self, moments: Moments, components: int, covariance: Covariance) -> Hyperparameters:
        """The data's mean [D], whose length D the sites need."""
        return {"centre": jnp.asarray(moments.mean)}

    def log_density(self, mixture: Mixture, hyperparameters: Hyperparameters) -> Array:
        """Zero."""
        return jnp.zeros((), mixture.means.dtype)

    def maximise(self, statistics: Statistics, mixture: Mixture, hyperparameters: Hyperparameters) -> Mixture:
        """Weighted maximum likelihood (Bishop 2006, eq. 9.24-9.26)."""
        counts, family = statistics.counts, mixture.covariance
        step, scatter = centred(statistics, family)
        scales = family.factor(scatter / family.degrees(counts, mixture.num_dimensions))
        return Mixture(counts / jnp.sum(counts), mixture.means + step, scales, family)

    def sites(self, components: int, covariance: Covariance, hyperparameters: Hyperparameters) -> Mixture:
        """Improper uniform sites; the density can be evaluated but not sampled from."""
        return uniform_sites(components, len(hyperparameters["centre"]), covariance)

    def site_values(self, mixture: Mixture) -> dict[str, Array]:
        """Weights, means and scales, unchanged."""
        return uniform_site_values(mixture)


def centred(statistics: Statistics, covariance: Covariance) -> tuple[Array, Array]:
    """The change of each mean [K, D], and the scatter about the new means in the family's shape.

    The mean of a component without points does not change, since under a flat prior of means nothing determines it.
    """
    counts, first, second = statistics
    step = first / jnp.where(counts > 0, counts, 1.0)[:, None]
    return step, second - covariance.cross_products(first, step)


def uniform_sites(components: int, dimensions: int, covariance: Covariance) -> Mixture:
    """A mixture from improper uniform sites `weights`, `means` and `scales`; there is no `weights` site if K = 1."""

    def uniform(name: str, support: constraints.Constraint, shape: tuple[int, ...]) -> Array:
        return numpyro.sample(name, dist.ImproperUniform(support, (), shape))

    weights = uniform("weights", constraints.simplex, (components,)) if components > 1 else jnp.ones(1)
    means = uniform("means", constraints.real, (components, dimensions))
    support = constraints.lower_cholesky if covariance.has_correlations else constraints.positive
    scales = uniform("scales", support, covariance.shape(components, dimensions))
    return Mixture(weights, means, scales, covariance)


def uniform_site_values(mixture: Mixture) -> dict[str, Array]:
    """The values of `uniform_sites`: weights, means and scales, unchanged."""
    return {**weights_value(mixture), "means": mixture.means, "scales": mixture.scales}
