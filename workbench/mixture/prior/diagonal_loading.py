"""Diagonal loading as a penalty: the objective behind scikit-learn's `reg_covar`."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array
from pydantic import Field

from workbench.data.moments import Moments
from workbench.mixture.covariance import Covariance, Statistics
from workbench.mixture.mixture import Mixture
from workbench.mixture.prior.base import Hyperparameters, Positive, Prior, centred, uniform_site_values, uniform_sites


class DiagonalLoadingPrior(Prior):
    """log prior = `-(N / 2 K) loading sum_k tr(Sigma_k^-1)`, and for tied `-(N / 2) loading tr(Sigma^-1)`; flat else.

    The M-step adds `N / (K n_k) loading` to the diagonal of the covariance of a component of n_k points: exactly
    `loading` for a component of average size and for the tied family, more for a smaller component and less for a
    larger one. scikit-learn adds `reg_covar` to all alike, by an M-step that climbs no known objective
    (`methods.FlooredEM`). The penalty is the limit of an inverse-gamma one (Ciuperca, Ridolfi & Idier 2003, "Penalized
    maximum likelihood estimator for normal mixtures", Scandinavian J. Statistics 30) and of its inverse-Wishart form.

    As a component shrinks, the penalty falls faster than its points can raise the likelihood, so `log_joint` is
    bounded. It is in squared units of the data, so it matters in some units and not in others; `ChenTanPrior` is scaled
    to the data. A component without points is not bounded: nothing keeps its covariance from growing.
    """

    family: Literal["diagonal_loading"] = "diagonal_loading"
    loading: Positive = Field(
        1e-6, description="added to the variances of a component of average size, in squared units of the data"
    )

    proper: ClassVar[bool] = False
    closed_form: ClassVar[bool] = True

    @property
    def varies_with_components(self) -> bool:
        """True: each of K components counts N / K points of the penalty."""
        return True

    def hyperparameters(self, moments: Moments, components: int, covariance: Covariance) -> Hyperparameters:
        """Loading [D, D], [D] or []; the points of the penalty of one block []; and the data's mean [D]."""
        d = len(moments.mean)
        each = moments.num_points / (1 if covariance.is_shared else components)
        # A spherical variance has D times the observations of a point.
        observed = d // (covariance.block_dimension(d) * covariance.blocks(d))
        # In one call, and of arrays: JAX compiles a program for a Python number.
        loading, points = covariance.scatter_of(self.loading * np.eye(d)), np.asarray(each * observed, float)
        return jax.device_put({"loading": loading, "points": points, "centre": moments.mean})

    @property
    def bounds_hyperplanes(self) -> bool:
        """True: across a hyperplane no covariance falls below the loading."""
        return True

    def log_density(self, mixture: Mixture, hyperparameters: Hyperparameters) -> Array:
        """The penalty itself, which cannot be normalised. []"""
        h = hyperparameters
        return -0.5 * h["points"] * mixture.covariance.block_traces(mixture.scales, h["loading"])

    def maximise(self, statistics: Statistics, mixture: Mixture, hyperparameters: Hyperparameters) -> Mixture:
        """`Sigma_k = (scatter_k + N / K loading) / n_k`; weights and means as under the flat prior."""
        h, family, counts = hyperparameters, mixture.covariance, statistics.counts
        step, scatter = centred(statistics, family)
        degrees = family.degrees(counts, mixture.num_dimensions)
        scales = family.factor((scatter + h["points"] * h["loading"]) / degrees)
        return Mixture(counts / jnp.sum(counts), mixture.means + step, scales, family)

    def sites(self, components: int, covariance: Covariance, hyperparameters: Hyperparameters) -> Mixture:
        """Improper uniform sites and the penalty as a factor; the density can be evaluated but not sampled from."""
        mixture = uniform_sites(components, len(hyperparameters["centre"]), covariance)
        numpyro.factor("penalty", self.log_density(mixture, hyperparameters))
        return mixture

    def site_values(self, mixture: Mixture) -> dict[str, Array]:
        """Weights, means and scales, unchanged."""
        return uniform_site_values(mixture)
