"""The conjugate update agrees with the prior's own density, and with SciPy's Student t for one point at a time."""

import jax
import numpy as np
import pytest
from jax import Array
from scipy.stats import multivariate_t, t

from workbench.mixture import COVARIANCES, ConjugatePrior, Covariance, Mixture
from workbench.mixture.prior.update import Updated, log_marginal_likelihood, log_predictive, update
from workbench.problem import Problem

FAMILIES = sorted(COVARIANCES)


def _prior() -> ConjugatePrior:
    """Hyperparameters that all differ from their defaults, so that each has an effect."""
    return ConjugatePrior(
        concentration=1.7,
        mean_location=(0.4, -1.0),
        mean_shrinkage=0.3,
        degrees_of_freedom=4.5,
        scatter=((2.0, 0.6), (0.6, 1.5)),
    )


@jax.jit
def _update(problem: Problem, x: Array, member: Array, origins: Array) -> tuple[Updated, Array]:
    family, h = problem.covariance, problem.hyperparameters
    updated = update(family.statistics_of(family.weighted_sums(member, origins, x.T), origins), origins, h, family)
    return updated, log_marginal_likelihood(updated, h, family)


def _updated(problem: Problem, member: np.ndarray, origins: np.ndarray) -> tuple[Updated, float]:
    """The posterior of K components given an allocation [K, N], and the log marginal likelihood of the points.

    The statistics are taken about the given origins.
    """
    updated, evidence = _update(problem, problem.x, member, origins)
    return jax.tree.map(np.asarray, updated), float(evidence)


_predictive = jax.jit(lambda problem, updated, x: log_predictive(updated, x, problem.covariance))
_log_density = jax.jit(lambda problem, mixture, h: problem.prior.log_density(mixture, h))


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(7, 2)) @ np.array([[1.0, 0.0], [0.7, 2.0]]).T


@pytest.mark.parametrize("family", FAMILIES)
def test_joint_density_over_posterior_density_is_the_evidence_whatever_the_mixture(
    family, x, random_mixture, log_joint
):
    # Chib (1995): p(x) = p(x | theta) p(theta) / p(theta | x). For K = 1 the posterior is the updated prior.
    problem = Problem(x, 1, family, _prior())
    updated, evidence = _updated(problem, np.ones((1, 7)), np.array([[3.0, 1.0]]))
    after = {
        **problem.hyperparameters,
        "mean_location": updated.locations[0],
        "mean_shrinkage": updated.shrinkages[0],
        "degrees": updated.degrees.ravel()[0],
        "scatter": updated.scatter if problem.covariance.is_shared else updated.scatter[0],
    }
    for seed in range(3):
        mixture: Mixture = random_mixture(x, 1, family, seed)
        posterior = _log_density(problem, mixture, after)
        # Rounding of sums of a few dozen terms of size 1 to 100.
        assert float(log_joint(problem, mixture) - posterior) == pytest.approx(evidence, abs=1e-10)


def _student(family: Covariance, updated: Updated, k: int, point: np.ndarray) -> float:
    """One component's predictive density by SciPy."""
    d = len(point)
    widening = (updated.shrinkages[k] + 1) / updated.shrinkages[k]
    degrees = float(np.ravel(updated.degrees)[k if np.size(updated.degrees) > 1 else 0])
    location, scatter = np.asarray(updated.locations[k]), np.asarray(updated.scatter)
    scatter = scatter if family.is_shared else scatter[k]
    if scatter.ndim == 1:
        return float(np.sum(t.logpdf(point, degrees, location, np.sqrt(scatter * widening / degrees))))
    if scatter.ndim == 0:
        return float(multivariate_t(location, scatter * widening / degrees * np.eye(d), degrees).logpdf(point))
    free = degrees - d + 1
    return float(multivariate_t(location, scatter * widening / free, free).logpdf(point))


@pytest.mark.parametrize("family", FAMILIES)
def test_marginal_likelihood_is_the_product_of_student_predictives(family, x):
    problem = Problem(x, 2, family, _prior())
    z = np.array([0, 1, 1, 0, 1, 1, 0])
    member = np.eye(2)[:, z]
    origins = np.array([[1.0, -2.0], [0.0, 0.5]])
    total = 0.0
    for n, point in enumerate(x):
        so_far, _ = _updated(problem, np.where(np.arange(7) < n, member, 0.0), origins)
        expected = _student(problem.covariance, so_far, z[n], point)
        found = _predictive(problem, so_far, point[None])[0, z[n]]
        # Two formulas for the same density, in double precision.
        assert float(found) == pytest.approx(expected, abs=1e-11)
        total += expected
    assert _updated(problem, member, origins)[1] == pytest.approx(total, abs=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_allocation_leaves_the_prior(family, x):
    problem = Problem(x, 2, family, _prior())
    empty, evidence = _updated(problem, np.zeros((2, 7)), np.zeros((2, 2)))
    np.testing.assert_allclose(empty.locations, np.tile([0.4, -1.0], (2, 1)), rtol=1e-15)
    expected = np.broadcast_to(problem.hyperparameters["scatter"], empty.scatter.shape)
    # kappa m m^T is added and subtracted again; for tied once for each component.
    np.testing.assert_allclose(empty.scatter, expected, rtol=1e-14)
    assert evidence == pytest.approx(0.0, abs=1e-13)


def test_the_origins_of_the_statistics_do_not_matter(x):
    problem = Problem(x, 2, "full", _prior())
    member = np.eye(2)[:, [0, 0, 1, 1, 0, 1, 1]]
    one, other = (_updated(problem, member, o)[0] for o in (np.zeros((2, 2)), np.array([[2.0, 1.0], [-3.0, 4.0]])))
    # Squares of distances up to 5 cancel.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), one, other)
