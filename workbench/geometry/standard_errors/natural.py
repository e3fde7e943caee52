"""The parameters whose standard errors are reported: all K weights, the means, and the entries of the covariances."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_solve, cholesky

from workbench.charts.coordinates import distinct
from workbench.geometry.curvature import Coordinated, raveled
from workbench.mixture import Covariance, Mixture
from workbench.mixture.arithmetic import pairs
from workbench.mixture.covariance.base import product


def natural(mixture: Mixture) -> Array:
    """Weights, means, and the distinct variances and covariances in the family's shape. [Q]"""
    family = mixture.covariance
    entries = family.square(mixture.scales)
    entries = distinct(entries) if family.has_correlations else entries
    return jnp.concatenate([mixture.weights, mixture.means.ravel(), entries.ravel()])


def names(family: Covariance, components: int, dimensions: int) -> tuple[str, ...]:
    """Names of the entries of `natural`, such as "weight 2", "mean 2", "variance 2". [Q]

    The first number is that of the component, unless all components share the parameter. With several columns, their
    numbers follow.
    """
    weights = [f"weight {k + 1}" for k in range(components)]
    columns = _places(dimensions, alone=dimensions == 1)
    means = [_called("mean", k + 1, *column) for k in range(components) for column in columns]
    return (*weights, *means, *_covariance_names(family, components, dimensions))


def covariance_of(information: Array) -> Array:
    """The inverse of an information matrix [P, P]; NaN if it is not positive definite. [P, P]"""
    identity = jnp.eye(len(information), dtype=information.dtype)
    return cho_solve((cholesky(information, lower=True), True), identity)


def delta(mixture: Mixture, chart: Coordinated, covariance: Array) -> Array:
    """Covariance of `natural` at a mixture, to first order, from that of its coordinates [P, P]. [Q, Q]

    It is singular, because the weights sum to one. From an inverse information at a maximum, the result does not depend
    on the chart.
    """
    u, constrain = raveled(mixture, chart)
    slopes = jax.jacfwd(lambda v: natural(constrain(v)))(u)  # [Q, P]
    return product(product(slopes, covariance), slopes.T)


def deviations(covariance: Array) -> Array:
    """Standard errors: the roots of the diagonal, NaN where it is negative. [Q]"""
    return jnp.sqrt(jnp.diagonal(covariance))


def _covariance_names(family: Covariance, components: int, dimensions: int) -> list[str]:
    owners = _places(components, alone=family.is_shared)
    if family.has_correlations and dimensions > 1:
        entries = [(int(i) + 1, int(j) + 1) for i, j in zip(*pairs(dimensions), strict=True)]
        return [_called("variance" if i == j else "covariance", *own, i, j) for own in owners for i, j in entries]
    columns = _places(dimensions, alone=family.num_parameters(1, dimensions) == 1)
    return [_called("variance", *own, *column) for own in owners for column in columns]


def _places(count: int, *, alone: bool) -> list[tuple[int, ...]]:
    """The numbers from one to `count`, each as a tuple; one empty tuple if there is nothing to distinguish."""
    return [()] if alone else [(place + 1,) for place in range(count)]


def _called(word: str, *places: int) -> str:
    return " ".join([word, ",".join(map(str, places))]).strip()
