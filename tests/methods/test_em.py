"""EM: a preconditioned gradient step that never lowers the objective and commutes with changes of units and labels."""

from collections.abc import Callable
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import admitted, projected
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from workbench.data import dataset_names
from workbench.errors import InputError
from workbench.methods import EM
from workbench.mixture import COVARIANCES, PRIORS, ConjugatePrior, Mixture
from workbench.problem import Problem

K = 3
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
CLOSED = [name for name, prior in PRIORS.items() if prior.closed_form]
# The figure: how far rounding may lower log_joint in one step, relative to its size.
FALL = 1e-9

Points = NDArray[np.float64]
Random = Callable[..., Mixture]
Problems = Callable[..., Problem]
Step = Callable[[Problem, Mixture], Any]


@FAMILIES
def test_a_step_of_the_means_is_the_covariance_times_the_gradient_over_the_counts(
    family: str,
    points: Points,
    problem_of: Problems,
    random_mixture: Random,
    em_step: Step,
    gradient: Callable[[Mixture, Problem], Mixture],
) -> None:
    # Xu & Jordan (1996), Theorem 1: mu_new - mu = Sigma_k grad_mu / n_k.
    problem, mixture = problem_of(family), random_mixture(points, K, family, seed=0)
    new, _ = em_step(problem, mixture)
    slope = np.asarray(gradient(mixture, problem).means)
    counts = np.asarray(mixture.responsibilities(points)).sum(0)
    expected = np.einsum("kij,kj->ki", np.asarray(mixture.covariances), slope) / counts[:, None]
    moved = np.asarray(new.means - mixture.means)
    np.testing.assert_allclose(moved, expected, rtol=1e-10, atol=1e-10 * np.max(np.abs(moved)))


@FAMILIES
def test_a_step_of_the_weights_is_the_simplexs_metric_times_the_gradient_over_n(
    family: str,
    points: Points,
    problem_of: Problems,
    random_mixture: Random,
    em_step: Step,
    gradient: Callable[[Mixture, Problem], Mixture],
) -> None:
    # Xu & Jordan (1996), Theorem 1: pi_new - pi = (diag(pi) - pi pi^T) grad_pi / N.
    problem, mixture = problem_of(family), random_mixture(points, K, family, seed=0)
    new, _ = em_step(problem, mixture)
    pi, slope = np.asarray(mixture.weights), np.asarray(gradient(mixture, problem).weights)
    expected = (np.diag(pi) - np.outer(pi, pi)) @ slope / len(points)
    np.testing.assert_allclose(np.asarray(new.weights) - pi, expected, rtol=1e-10, atol=1e-12)


@jax.jit
def thirty_steps(problem: Problem, starts: Mixture) -> jax.Array:
    """log_joint on the way of plain EM steps. [R, T]"""

    def climb(start: Mixture) -> jax.Array:
        return jax.lax.scan(lambda m, _: problem.em_step(m), start, None, length=30)[1]

    return jax.vmap(climb)(starts)


def assert_never_falls(problem: Problem, starts: Mixture) -> None:
    values = np.asarray(thirty_steps(problem, starts))
    assert np.all(np.isfinite(values[:, :2]))
    # A collapse ends in values that are not finite (newcomb's outlier takes two steps); up to there nothing falls.
    rises = np.diff(values, axis=1) / np.abs(values[:, :-1])
    assert np.min(rises[np.isfinite(rises)]) > -FALL


# Two components or three, in turn along each of the three.
EVERY = [
    (name, family, prior, 2 + (i + j + k) % 2)
    for (i, name), (j, family), (k, prior) in product(*map(enumerate, (dataset_names(), COVARIANCES, CLOSED)))
]
# Compiling is what costs. The everyday run takes one family and one prior for each data set, in turn.
TURNS = [
    (name, list(COVARIANCES)[i % len(COVARIANCES)], CLOSED[(i + i // len(COVARIANCES)) % len(CLOSED)])
    for i, name in enumerate(dataset_names())
]


@pytest.mark.parametrize(("name", "family", "prior"), TURNS)
def test_log_joint_never_falls(
    name: str,
    family: str,
    prior: str,
    problem_of: Problems,
    batch_at_rows: Callable[[Problem, int, int], Mixture],
) -> None:
    problem = problem_of(family, prior, 2, name)
    assert_never_falls(problem, batch_at_rows(problem, 4, 0))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "family", "prior", "components"), EVERY)
def test_log_joint_never_falls_under_any_closed_form_prior(
    name: str,
    family: str,
    prior: str,
    components: int,
    problem_of: Problems,
    batch_at_rows: Callable[[Problem, int, int], Mixture],
) -> None:
    problem = problem_of(family, prior, components, name)
    assert_never_falls(problem, batch_at_rows(problem, 10, 1))


# The most general first: a family is asked for the first that keeps it.
CHANGES = np.array([[2.0, 0.0], [-1.5, 0.1]]), np.diag([0.01, 30.0]), np.diag([250.0, 250.0])


@FAMILIES
@pytest.mark.parametrize("prior", [name for name in CLOSED if name != "diagonal_loading"])  # it is in the data's units
def test_affine_data_give_affine_iterates(
    family: str, prior: str, points: Points, problem_of: Problems, random_mixture: Random, em_step: Step
) -> None:
    matrix, shift = admitted(family, *CHANGES), np.array([-40.0, 3.0])
    here, mixture = problem_of(family, prior), random_mixture(points, K, family, seed=1)
    there, moved = Problem(points @ matrix.T + shift, K, family, PRIORS[prior]()), mixture.affine(matrix, shift)
    for _ in range(5):
        mixture, moved = em_step(here, mixture)[0], em_step(there, moved)[0]
    expected = mixture.affine(matrix, shift)
    for name in ("weights", "means", "covariances"):
        a, b = np.asarray(getattr(moved, name)), np.asarray(getattr(expected, name))
        # Five steps on data of condition 1e4 between the two units.
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.max(np.abs(b)))


@FAMILIES
@pytest.mark.parametrize("prior", CLOSED)
def test_permuting_labels_commutes_with_a_step(
    family: str, prior: str, points: Points, problem_of: Problems, random_mixture: Random, em_step: Step
) -> None:
    problem, mixture = problem_of(family, prior), random_mixture(points, K, family, seed=2)
    order = [2, 0, 1]
    first, last = em_step(problem, mixture.permute(order))[0], em_step(problem, mixture)[0].permute(order)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(last), strict=True):
        # A sum over components in another order.
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12 * np.max(np.abs(b)))


@FAMILIES
def test_one_component_is_solved_in_one_step(
    family: str, points: Points, random_mixture: Random, em_step: Step
) -> None:
    problem = Problem(points, 1, family)
    once, _ = em_step(problem, random_mixture(points, 1, family, seed=0))
    expected = projected(family, np.cov(points.T, ddof=0)[None])[0]
    np.testing.assert_allclose(once.means[0], points.mean(0), rtol=1e-12)
    np.testing.assert_allclose(once.covariances[0], expected, rtol=1e-11, atol=1e-11)
    twice, _ = em_step(problem, once)
    np.testing.assert_allclose(twice.covariances, once.covariances, rtol=1e-12)


@pytest.mark.parametrize(
    ("family", "name"), [("full", "full"), ("tied", "tied"), ("diagonal", "diag"), ("spherical", "spherical")]
)
def test_steps_are_scikit_learns(
    family: str, name: str, points: Points, problem_of: Problems, random_mixture: Random, em_step: Step
) -> None:
    mixture = random_mixture(points, K, family, seed=3)
    kept = COVARIANCES[family].nearest(np.linalg.inv(np.asarray(mixture.covariances)))
    theirs = GaussianMixture(
        K,
        covariance_type=name,
        reg_covar=0.0,
        # Its tolerance bounds the change of the mean log-likelihood: below zero it never stops before max_iter.
        tol=0.0,
        max_iter=5,
        weights_init=np.asarray(mixture.weights),
        means_init=np.asarray(mixture.means),
        precisions_init=kept,
    )
    with pytest.warns(match="did not converge"):
        theirs.fit(points)
    for _ in range(5):
        mixture, _ = em_step(problem_of(family), mixture)
    # Five steps, each with an inverse of a covariance of condition up to 1e4 on their side.
    np.testing.assert_allclose(mixture.weights, theirs.weights_, rtol=1e-8)
    np.testing.assert_allclose(mixture.means, theirs.means_, rtol=1e-8)
    stored = mixture.covariance.square(mixture.scales)
    np.testing.assert_allclose(stored, theirs.covariances_, rtol=1e-7)


def bound_step(method: EM, problem: Problem, start: Mixture, values: list[float]) -> list[Any]:
    """What a step reports when log_joint takes these values, one after the other, and the mixture is usable."""
    infos: list[Any] = []
    state = method.bind(problem).init(jax.random.key(0), start)
    for value in values:
        object.__setattr__(problem, "em_step", lambda m, v=value: (m, jnp.asarray(v)))
        state, info = method.bind(problem).step(jax.random.key(1), state)
        infos.append(info)
    return infos


def test_a_fall_is_never_convergence(points: Points, random_mixture: Random) -> None:
    problem, start = Problem(points, K), random_mixture(points, K, "full", seed=0)
    for fall in (1e-6, 1e-2, 10.0):
        *_, last = bound_step(EM(tolerance=1e-4), problem, start, [-100.0, -90.0, -90.0 - fall])
        assert not bool(last.converged) and not bool(last.ok) and not bool(last.stopped)


def test_a_small_rise_is_convergence_and_a_large_one_is_not(points: Points, random_mixture: Random) -> None:
    problem, start = Problem(points, K), random_mixture(points, K, "full", seed=0)
    first, large, small = bound_step(EM(tolerance=1e-4), problem, start, [-100.0, -90.0, -89.995])
    assert not bool(first.converged) and not bool(large.converged)
    assert bool(small.converged) and bool(small.stopped) and bool(small.ok)


def test_rounding_is_not_taken_for_a_fall(points: Points, random_mixture: Random) -> None:
    problem, start = Problem(points, K), random_mixture(points, K, "full", seed=0)
    *_, last = bound_step(EM(), problem, start, [-100.0, -100.0 - 1e-11])
    assert bool(last.ok) and bool(last.converged)


def test_a_step_into_a_singular_covariance_is_refused_and_is_collapse(points: Points) -> None:
    x = np.concatenate([np.zeros(10), points[:, 0] + 50.0])
    problem = Problem(x, 2, "spherical")
    start = Mixture.from_covariances([0.2, 0.8], [[0.0], [53.0]], [1.0, 10.0], "spherical")
    algorithm = EM().bind(problem)
    state, info = algorithm.step(jax.random.key(0), algorithm.init(jax.random.key(0), start))
    assert bool(info.collapsed) and bool(info.stopped) and not bool(info.converged)
    for kept, old in zip(jax.tree.leaves(algorithm.mixture(state)), jax.tree.leaves(start), strict=True):
        np.testing.assert_array_equal(kept, old)


@pytest.mark.parametrize("name", [n for n in PRIORS if n not in CLOSED])
def test_a_prior_without_a_closed_form_is_refused(name: str, problem_of: Problems) -> None:
    with pytest.raises(InputError, match=r'no closed-form M-step under the .*use family = "conjugate" or "flat"'):
        EM().check(problem_of("full", name))


def test_a_concentration_below_one_is_refused(points: Points) -> None:
    problem = Problem(points, K, prior=ConjugatePrior(concentration=0.5))
    with pytest.raises(InputError, match=r"concentration: EM needs at least 1, got 0\.5"):
        EM().check(problem)
