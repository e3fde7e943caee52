"""The penalty of Chen & Tan: no component's covariance far below the data's, at a strength that fades as N grows."""

from typing import ClassVar, Literal

import jax.numpy as jnp
import numpyro
from jax import Array
from pydantic import Field

from workbench.data.moments import Moments
from workbench.mixture.covariance import Covariance, Statistics
from workbench.mixture.mixture import Mixture
from workbench.mixture.prior.base import Hyperparameters, Positive, Prior
from workbench.mixture.prior.flat import centred, uniform_site_values, uniform_sites


class ChenTanPrior(Prior):
    """log prior = `-a_n sum_k {tr(S Sigma_k^-1) + log|Sigma_k|}`, S the data's covariance; weights and means are flat.

    Chen & Tan (2009), "Inference for multivariate normal mixtures", J. Multivariate Analysis 100; for D = 1
    Chen, Tan & Zhang (2008), "Inference for normal mixtures in mean and variance", Statistica Sinica 18. As a component
    shrinks, `tr(S Sigma^-1)` falls faster than any number of points can lift the likelihood, so `log_joint` is
    bounded. With a_n = n^-1/2, which Chen & Tan recommend, or 1/n the penalty fades fast enough for the estimate to be
    consistent (the proof is mended in Alexandrovich 2014, J. Multivariate Analysis 129).

    It is an inverse-Wishart density for each component with its degrees of freedom below what an integral needs:
    improper. It is smooth, so ascent climbs it too, and it moves with the data under any affine map that the family
    admits. In the tied family the one covariance is penalised K times, as the sum says.
    """

    family: Literal["chen_tan"] = "chen_tan"
    strength: Positive | None = Field(None, description="a_n; default: one over the root of the number of points")

    proper: ClassVar[bool] = False
    closed_form: ClassVar[bool] = True

    def hyperparameters(self, moments: Moments, components: int, covariance: Covariance) -> Hyperparameters:
        """Strength [], scatter S [D, D], [D] or [], and the data's mean [D], which the sites need for its length."""
        strength = moments.num_points**-0.5 if self.strength is None else self.strength
        return {
            "strength": jnp.asarray(strength),
            "scatter": jnp.asarray(covariance.scatter_of(moments.covariance)),
            "centre": jnp.asarray(moments.mean),
        }

    def bounds_components(self, covariance: Covariance, dimensions: int) -> bool:
        """Yes: of no points the covariance is S itself, of few `(2 a_n S + scatter) / (2 a_n + n)`."""
        return True

    def log_density(self, mixture: Mixture, hyperparameters: Hyperparameters) -> Array:
        """The penalty itself; no constant would make it a density. []"""
        h, family = hyperparameters, mixture.covariance
        # A tied covariance stands for K of them, a spherical variance for D: all blocks of a family for equally many.
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
        """Improper uniform sites and the penalty as a factor: enough for `log_density`, nothing to sample from."""
        mixture = uniform_sites(components, len(hyperparameters["centre"]), covariance)
        numpyro.factor("penalty", self.log_density(mixture, hyperparameters))
        return mixture

    def site_values(self, mixture: Mixture) -> dict[str, Array]:
        """Weights, means and scales as they are."""
        return uniform_site_values(mixture)
