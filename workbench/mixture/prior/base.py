"""What a prior must answer, for maximum a posteriori estimates and for sampling alike."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar

import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from pydantic import BeforeValidator, Field

from workbench.config import Config
from workbench.data.moments import Moments
from workbench.mixture.covariance import Covariance, Statistics
from workbench.mixture.mixture import Mixture

# TOML has arrays, Python configs want hashable values: lists are read as tuples.
Numbers = Annotated[
    tuple[Annotated[float, Field(allow_inf_nan=False)], ...],
    BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v),
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
    """A frozen config. Hyperparameters left out are scaled to the data by `hyperparameters`."""

    proper: ClassVar[bool]  # whether it can be sampled from: MCMC needs this
    closed_form: ClassVar[bool]  # whether `maximise` exists: EM needs this
    smooth: ClassVar[bool] = True  # whether its modes are stationary: gradient ascent needs this
    exchangeable: ClassVar[bool] = True  # whether permuting components leaves the density as it is

    @property
    def varies_with_components(self) -> bool:
        """Whether a component's prior is another where the mixture has another number of them."""
        return False

    @abstractmethod
    def hyperparameters(self, moments: Moments, components: int, covariance: Covariance) -> Hyperparameters:
        """Numbers of the prior for points of these moments, given values and data-scaled defaults alike.

        Raises:
            InputError: a given value does not fit the data's dimension.
        """

    @abstractmethod
    def log_density(self, mixture: Mixture, hyperparameters: Hyperparameters) -> Array:
        """Normalised log prior density of a mixture. []"""

    def bounds_components(self, covariance: Covariance, dimensions: int) -> bool:
        """Whether a component keeps a bounded density and a regular covariance at modes, however few points it holds.

        Where it does, a component of fewer points than its covariance needs, or of none, is no singularity: what the
        points do not tell, the prior does. Where it does not, such a component can shrink without end.
        """
        return False

    @property
    def bounds_hyperplanes(self) -> bool:
        """Whether `log_joint` is bounded where all points lie on one hyperplane, under full and tied covariances."""
        return False

    @abstractmethod
    def sites(self, components: int, covariance: Covariance, hyperparameters: Hyperparameters) -> Mixture:
        """Draws the mixture inside a NumPyro model, one `numpyro.sample` site for each block of parameters."""

    @abstractmethod
    def site_values(self, mixture: Mixture) -> dict[str, Array]:
        """The values of the sites of `sites` that give this mixture."""

    def maximise(self, statistics: Statistics, mixture: Mixture, hyperparameters: Hyperparameters) -> Mixture:
        """The M-step: maximum of expected complete log-likelihood plus log prior, where it has a closed form.

        Args:
            statistics: about origins at `mixture.means`, as `one_pass` returns them.
            mixture: where the statistics were taken.
            hyperparameters: of this prior.
        """
        raise TypeError(f"{type(self).__name__} has no closed-form M-step")


def sample_weights(concentration: Array, components: int) -> Array:
    """The `weights` site: symmetric Dirichlet. [K]"""
    prior = dist.Dirichlet(concentration * np.ones(components))
    # One component has weight one and nothing to sample.
    if components == 1:
        return numpyro.deterministic("weights", np.ones(1))
    return numpyro.sample("weights", prior)


def weights_value(mixture: Mixture) -> dict[str, Array]:
    """The value of the `weights` site, if there is one."""
    return {"weights": mixture.weights} if mixture.num_components > 1 else {}
