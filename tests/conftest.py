"""What the tests of the numerical core share: float64, small problems, random mixtures and an independent density."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from workbench.data import load_dataset
from workbench.mixture import PRIORS, Mixture, covariance_named
from workbench.problem import Problem

jax.config.update("jax_enable_x64", True)

Points = NDArray[np.float64]

# The shape that most tests share, so that its programs are compiled once: N points, D columns, K components.
N, D, K = 60, 2, 3


def random_mixture_near(
    x: Points, components: int, covariance: str, seed: int, *, width: float = 1.0
) -> Mixture:
    """A random mixture of the family: means at rows of x, correlated covariances `width` times as wide as x."""
    rng = np.random.default_rng(seed)
    k, d = components, x.shape[1]
    family = covariance_named(covariance)
    spread = np.atleast_2d(np.cov(x, rowvar=False))
    units = np.linalg.cholesky(spread)
    noise = rng.normal(size=(k, d, d + 3)) / np.sqrt(d + 3)
    dense = width**2 * units @ (0.2 * np.eye(d) + noise @ noise.transpose(0, 2, 1)) @ units.T  # [K, D, D]
    variances = np.diagonal(dense, axis1=1, axis2=2)
    covariances = {
        "full": dense,
        "tied": dense[0],
        "diagonal": variances,
        "spherical": variances.mean(axis=1),
    }[covariance]
    weights = rng.dirichlet(np.full(k, 5.0))
    means = x[rng.choice(len(x), k, replace=False)] + 0.3 * rng.normal(size=(k, d)) @ units.T
    scales = family.factor(jnp.asarray(covariances))
    return Mixture(jnp.asarray(weights), jnp.asarray(means), scales, family)


def scipy_component_log_joint(mixture: Mixture, x: Points) -> Points:
    """`log pi_k + log N(x_n | mu_k, Sigma_k)` by SciPy, from the mixture's dense covariances. [N, K]"""
    weights, means = np.asarray(mixture.weights), np.asarray(mixture.means)
    covariances = np.asarray(mixture.covariances)
    parts = [
        np.log(w) + np.atleast_1d(multivariate_normal(m, c, allow_singular=False).logpdf(x))
        for w, m, c in zip(weights, means, covariances, strict=True)
    ]
    return np.stack(parts, axis=1)


@pytest.fixture(scope="session")
def random_mixture() -> Callable[..., Mixture]:
    return random_mixture_near


@pytest.fixture(scope="session")
def component_log_joint() -> Callable[[Mixture, Points], Points]:
    return scipy_component_log_joint


@pytest.fixture(scope="session")
def reference_log_likelihood() -> Callable[[Mixture, Points], float]:
    """The log-likelihood by SciPy alone."""

    def reference(mixture: Mixture, x: Points) -> float:
        return float(logsumexp(scipy_component_log_joint(mixture, x), axis=1).sum())

    return reference


@pytest.fixture(scope="session")
def points() -> Points:
    """N correlated points of D columns in two groups, far from standardised: own units, own origin. [N, D]"""
    rng = np.random.default_rng(7)
    groups = np.where(np.arange(N)[:, None] < 25, -1.5, 1.0)
    z = rng.normal(size=(N, D)) + groups
    return z @ np.array([[2.0, 0.0], [9.0, 30.0]]).T + np.array([3.0, 70.0])


@pytest.fixture(scope="session")
def problem_of(points: Points) -> Callable[..., Problem]:
    """A problem on `points`, or a named data set, made once per family, K and prior."""

    @functools.cache
    def make(covariance: str, prior: str = "flat", components: int = K, name: str | None = None) -> Problem:
        x = points if name is None else load_dataset(name).x
        return Problem(x, components, covariance, PRIORS[prior]())

    return make


@pytest.fixture(scope="session")
def log_joint() -> Callable[[Problem, Mixture], Any]:
    return jax.jit(Problem.log_joint)


@pytest.fixture(scope="session")
def em_step() -> Callable[[Problem, Mixture], Any]:
    return jax.jit(Problem.em_step)


@pytest.fixture(scope="session")
def gradient() -> Callable[[Problem, Mixture], Mixture]:
    """Gradient of the log-likelihood with respect to weights, means and scales."""
    return jax.jit(jax.grad(lambda mixture, problem: problem.log_likelihood(mixture)))


@pytest.fixture(scope="session")
def batch_at_rows() -> Callable[[Problem, int, int], Mixture]:
    """Mixtures with means at random rows and the data's covariance, by NumPy. Leaves [R, ...]"""

    def batch(problem: Problem, restarts: int, seed: int) -> Mixture:
        rng = np.random.default_rng(seed)
        k, x = problem.components, np.asarray(problem.x)
        means = np.stack([x[rng.choice(len(x), k, replace=False)] for _ in range(restarts)])
        scales = problem.covariance.broadcast(
            jnp.asarray(np.atleast_2d(np.cov(x, rowvar=False))), problem.components
        )
        repeated = jnp.repeat(scales[None], restarts, axis=0)
        return Mixture(jnp.full((restarts, k), 1 / k), jnp.asarray(means), repeated, problem.covariance)

    return batch
