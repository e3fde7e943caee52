"""The interface of a prior, used for maximum a posteriori estimation and for sampling; and the flat prior."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import constraints
from pydantic import BeforeValidator, Field

from workbench.config import Config, Listed
from workbench.data.moments import Moments
from workbench.mixture.covariance import Covariance, Statistics
from workbench.mixture.mixture import Mixture

# Lists, as read from TOML, are converted to tuples because configs must be hashable.
Numbers = Annotated[
    tuple[Annotated[float, Field(allow_inf_nan=False)], ...],
    Listed,
    Field(min_length=1),
]


def as_tuples(value: Any) -> Any:
    """Nested lists, and arrays of NumPy and JAX, as nested tuples."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(as_tuples(v) for v in value) if isinstance(value, list | tuple) else value


Nested = Annotated[tuple[Any, ...], BeforeValidator(as_tuples)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Hyperparameters = dict[str, Array]


class Prior(Config, ABC):
    """A prior of mixtures, as a frozen config. Hyperparameters that are not given are scaled to the data."""

    proper: ClassVar[bool]  # whether it can be sampled from, which MCMC needs
    closed_form: ClassVar[bool]  # whether `maximise` exists, which EM needs
    smooth: ClassVar[bool] = True  # whether the gradient vanishes at modes, which gradient ascent needs
    exchangeable: ClassVar[bool] = True  # whether the density is invariant under permutations of the components

    @property
    def varies_with_components(self) -> bool:
        """Whether the prior of one component depends on the number of components."""
        return False

    @abstractmethod
    def hyperparameters(self, moments: Moments, components: int, covariance: Covariance) -> Hyperparameters:
        """The hyperparameters for data with these moments: values that are given, and data-scaled defaults.

        Raises:
            InputError: a given value does not fit the data's dimension.
        """

    @abstractmethod
    def log_density(self, mixture: Mixture, hyperparameters: Hyperparameters) -> Array:
        """Normalised log prior density of a mixture. []"""

    def bounds_components(self, covariance: Covariance, dimensions: int) -> bool:
        """Whether `log_joint` is bounded and has modes with regular covariances, however few points a component holds.

        If so, a component with fewer points than its covariance needs, or with none, is no singularity, because the
        prior determines what the points leave open. If not, such a component can shrink indefinitely.
        """
        return False

    @property
    def bounds_hyperplanes(self) -> bool:
        """Whether `log_joint` is bounded if all points lie on a hyperplane and covariances are full or tied."""
        return False

    @abstractmethod
    def sites(self, components: int, covariance: Covariance, hyperparameters: Hyperparameters) -> Mixture:
        """Sample the mixture inside a NumPyro model, with one `numpyro.sample` site for each group of parameters."""

    @abstractmethod
    def site_values(self, mixture: Mixture) -> dict[str, Array]:
        """The values of the sites of `sites` that give this mixture."""

    def still(self, means: Array, hyperparameters: Hyperparameters) -> Array:
        """First moments about means [K, D] from which `maximise` leaves these means where they are. [K, D]"""
        return jnp.zeros_like(means)

    def maximise(self, statistics: Statistics, mixture: Mixture, hyperparameters: Hyperparameters) -> Mixture:
        """The M-step: the maximum of the expected complete-data log-likelihood plus log prior, in closed form.

        Args:
            statistics: about origins at `mixture.means`, as `one_pass` returns them.
            mixture: the mixture at which the statistics were taken.
            hyperparameters: the result of `hyperparameters`.

        Raises:
            TypeError: this prior has no closed-form M-step.
        """
        raise TypeError(f"{type(self).__name__} has no closed-form M-step")


def sample_weights(concentration: Array, components: int) -> Array:
    """The `weights` site: symmetric Dirichlet. [K]"""
    prior = dist.Dirichlet(concentration * np.ones(components))
    # A single component has weight one, which is not sampled.
    if components == 1:
        return numpyro.deterministic("weights", np.ones(1))
    return numpyro.sample("weights", prior)


def weights_value(mixture: Mixture) -> dict[str, Array]:
    """The value of the `weights` site, if there is one."""
    return {"weights": mixture.weights} if mixture.num_components > 1 else {}


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
