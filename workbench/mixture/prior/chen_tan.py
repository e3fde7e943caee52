"""The penalty of Chen & Tan on covariances far smaller than the data's, with a strength that vanishes as N grows."""

from typing import ClassVar, Literal

import jax.numpy as jnp
import numpyro
from jax import Array
from pydantic import Field

from workbench.data.moments import Moments
from workbench.mixture.covariance import Covariance, Statistics
from workbench.mixture.mixture import Mixture
from workbench.mixture.prior.base import Hyperparameters, Positive, Prior, centred, uniform_site_values, uniform_sites


class ChenTanPrior(Prior):
    """log prior = `-a_n sum_k {tr(S Sigma_k^-1) + log|Sigma_k|}`, S the data's covariance; weights and means are flat.

    Chen & Tan (2009), "Inference for multivariate normal mixtures", J. Multivariate Analysis 100; for D = 1
    Chen, Tan & Zhang (2008), "Inference for normal mixtures in mean and variance", Statistica Sinica 18. As a component
    shrinks, the penalty `-tr(S Sigma^-1)` falls faster than any number of points can raise the likelihood, so
    `log_joint` is bounded. With a_n = n^-1/2, which Chen & Tan recommend, or with 1/n, the penalty vanishes fast enough
    for the estimate to be consistent (the proof is corrected in Alexandrovich 2014, J. Multivariate Analysis 129).

    The prior is an inverse-Wishart density for each component with too few degrees of freedom to be integrable, so it
    is improper. It is smooth, so gradient ascent can be used, and it is equivariant under the affine maps that the
    family admits. In the tied family the shared covariance is penalised K times, as the sum says.
    """

    family: Literal["chen_tan"] = "chen_tan"
    strength: Positive | None = Field(None, description="a_n; default: one over the root of the number of points")

    proper: ClassVar[bool] = False
    closed_form: ClassVar[bool] = True

    def hyperparameters(self, moments: Moments, components: int, covariance: Covariance) -> Hyperparameters:
        """Strength [], scatter S [D, D], [D] or [], and the data's mean [D], whose length D the sites need."""
        strength = moments.num_points**-0.5 if self.strength is None else self.strength
        return {
            "strength": jnp.asarray(strength),
            "scatter": jnp.asarray(covariance.scatter_of(moments.covariance)),
            "centre": jnp.asarray(moments.mean),
        }

    def bounds_components(self, covariance: Covariance, dimensions: int) -> bool:
        """True: the covariance of n points is `(2 a_n S + scatter) / (2 a_n + n)`, which is S itself for no points."""
        return True

    def log_density(self, mixture: Mixture, hyperparameters: Hyperparameters) -> Array:
        """The penalty itself, which cannot be normalised. []"""
        h, family = hyperparameters, mixture.covariance
        # Each block counts `copies` times in the sum: K times for tied, D times for spherical, once otherwise.
        copies = jnp.max(family.degrees(jnp.ones_like(mixture.weights), mixture.num_dimensions))
        blocks = family.block_traces(mixture.scales, h["scatter"])
        blocks += jnp.sum(family.block_log_determinants(mixture.scales))
        return -h["strength"] * copies * blocks

    def maximise(self, statistics: Statistics, mixture: Mixture, hyperparameters: Hyperparameters) -> Mixture:
        """`Sigma_k = (2 a_n S + scatter_k) / (2 a_n + n_k)`; weights and means as under the flat prior.

        Chen & Tan (2009), sec. 4.
        """
        h, family, d = hyperparameters, mixture.covariance, mixture.num_dimensions
        counts = statistics.counts
        step, scatter = centred(statistics, family)
        pseudo = family.degrees(jnp.full_like(counts, 2.0 * h["strength"]), d)
        scales = family.factor((scatter + pseudo * h["scatter"]) / (family.degrees(counts, d) + pseudo))
        return Mixture(counts / jnp.sum(counts), mixture.means + step, scales, family)

    def sites(self, components: int, covariance: Covariance, hyperparameters: Hyperparameters) -> Mixture:
        """Improper uniform sites and the penalty as a factor; the density can be evaluated but not sampled from."""
        mixture = uniform_sites(components, len(hyperparameters["centre"]), covariance)
        numpyro.factor("penalty", self.log_density(mixture, hyperparameters))
        return mixture

    def site_values(self, mixture: Mixture) -> dict[str, Array]:
        """Weights, means and scales, unchanged."""
        return uniform_site_values(mixture)
