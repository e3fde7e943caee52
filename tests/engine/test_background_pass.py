"""The one pass beside a background: a plain formula's likelihood, statistics, gradient and Hessian."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import summed
from jax.scipy.special import logsumexp
from numpy.typing import NDArray
from plain_density import component_terms

from workbench.engine.one_pass import log_likelihood, one_pass
from workbench.mixture import COVARIANCES, Mixture
from workbench.mixture.background import of_all_points
from workbench.problem import Problem

N, D, K = 60, 3, 3
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
HOLES = pytest.mark.parametrize("holes", [False, True], ids=["whole", "missing cells"])

Points = NDArray[np.float64]
Random = Callable[..., Mixture]

sweep = jax.jit(one_pass)


@pytest.fixture(scope="module")
def x() -> Points:
    """Correlated points. [N, D]"""
    rng = np.random.default_rng(1)
    return rng.normal(size=(N, D)) @ rng.normal(size=(D, D)) + [0.0, 10.0, 5.0]


def problem_at(x: Points, family: str, holes: bool, weights: Points | None = None) -> Problem:
    lost = np.random.default_rng(3).random(x.shape) < 0.2 * holes
    lost[np.all(lost, axis=1)] = False
    return Problem(np.where(lost, np.nan, x), K, family, background=True, missing="marginal", weights=weights)


def beside(problem: Problem, mixture: Mixture, weight: float = 0.3) -> Mixture:
    assert problem.background is not None
    return replace(mixture, background=problem.background.weighing(jnp.asarray(weight)))


def terms(mixture: Mixture, x: Points) -> jax.Array:
    """Log terms of the density of the cells that are there, the background's last. [N, K + 1]"""
    back, seen = mixture.background, jnp.asarray(~jnp.isnan(x), float)
    assert back is not None
    components = component_terms(mixture, x) + jnp.log1p(-back.weight)
    outside = jnp.log(back.weight) - seen @ jnp.log(back.high - back.low)
    return jnp.concatenate([components, outside[:, None]], axis=1)


@jax.jit
def formula(mixture: Mixture, x: Points, weights: Points) -> jax.Array:
    return jnp.sum(weights * logsumexp(terms(mixture, x), axis=1))


def with_fixed_box(
    function: Callable[[Mixture], jax.Array], problem: Problem
) -> Callable[[Mixture, jax.Array], jax.Array]:
    """The function of the components and of the background's weight; its box is no parameter."""
    back = problem.background
    assert back is not None
    return lambda mixture, weight: function(replace(mixture, background=back.weighing(weight)))


@FAMILIES
@HOLES
def test_likelihood_and_statistics_are_those_of_the_formula(
    x: Points, family: str, holes: bool, random_mixture: Random
) -> None:
    weights = np.random.default_rng(4).uniform(0.5, 2.0, N)
    problem = problem_at(x, family, holes, weights)
    mixture = beside(problem, random_mixture(x, K, family, 0))
    value, statistics = sweep(mixture, problem.rows)
    np.testing.assert_allclose(value, formula(mixture, problem.x, weights), rtol=1e-12)
    shares = np.asarray(jax.nn.softmax(terms(mixture, problem.x), axis=1)) * weights[:, None]
    np.testing.assert_allclose(statistics.counts, shares[:, :-1].sum(0), rtol=1e-11)
    if not holes:
        gaps, own = x - np.asarray(mixture.means)[:, None], shares[:, :-1]  # [K, N, D]
        second = summed(family, np.einsum("nk,kni,knj->kij", own, gaps, gaps))
        np.testing.assert_allclose(statistics.first, np.einsum("nk,kni->ki", own, gaps), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(statistics.second, second, rtol=1e-9, atol=1e-9)


@FAMILIES
@HOLES
def test_the_gradient_is_that_of_the_formula(x: Points, family: str, holes: bool, random_mixture: Random) -> None:
    problem = problem_at(x, family, holes)
    mixture, weight = random_mixture(x, K, family, 1), jnp.asarray(0.3)
    ours = with_fixed_box(lambda m: log_likelihood(m, problem.rows), problem)
    theirs = with_fixed_box(lambda m: formula(m, problem.x, np.ones(N)), problem)
    got, wanted = (jax.jit(jax.grad(f, argnums=(0, 1)))(mixture, weight) for f in (ours, theirs))
    triangle = np.tril(np.ones((D, D))) if COVARIANCES[family].has_correlations else 1.0
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        # Entries above the diagonal of a factor are no parameters.
        kept = triangle if one.shape[-2:] == (D, D) and COVARIANCES[family].has_correlations else 1.0
        np.testing.assert_allclose(one * kept, other * kept, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("family", ["full", "tied"])
def test_the_hessian_is_that_of_the_formula(x: Points, family: str, random_mixture: Random) -> None:
    problem = problem_at(x, family, False)
    mixture, weight = random_mixture(x, K, family, 2), jnp.asarray(0.3)

    def turned(function: Callable[[Mixture, jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        def of(v: jax.Array) -> jax.Array:
            return function(replace(mixture, means=v[:-1].reshape(K, D)), v[-1])

        return of

    v = jnp.append(mixture.means.ravel(), weight)
    ours = with_fixed_box(lambda m: log_likelihood(m, problem.rows), problem)
    theirs = with_fixed_box(lambda m: formula(m, problem.x, np.ones(N)), problem)
    got, wanted = (jax.jit(jax.jacfwd(jax.grad(turned(f))))(v) for f in (ours, theirs))
    np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-7 * float(jnp.max(jnp.abs(wanted))))


def test_a_batch_and_a_narrow_component_are_as_each_alone(x: Points, random_mixture: Random) -> None:
    problem = problem_at(x, "diagonal", False)
    wide, narrow = (beside(problem, random_mixture(x, K, "diagonal", s)) for s in (3, 4))
    # In its own deviations a component is far from the origin, so that the other form of the sweep is taken.
    narrow = replace(narrow, scales=narrow.scales.at[0].multiply(1e-3))
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), wide, narrow)
    values, statistics = jax.jit(jax.vmap(one_pass, in_axes=(0, None)))(both, problem.rows)
    for place, mixture in enumerate((wide, narrow)):
        value, alone = sweep(mixture, problem.rows)
        np.testing.assert_allclose(values[place], value, rtol=1e-13)
        np.testing.assert_allclose(statistics.counts[place], alone.counts, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(value, formula(mixture, x, np.ones(N)), rtol=1e-11)


def test_a_background_of_no_weight_changes_nothing(x: Points, random_mixture: Random) -> None:
    problem, alone = problem_at(x, "full", False), Problem(x, K)
    mixture = random_mixture(x, K, "full", 5)
    value, statistics = sweep(beside(problem, mixture, 0.0), problem.rows)
    expected, sums = sweep(mixture, alone.rows)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(statistics.counts, sums.counts, rtol=1e-11)


def test_the_weights_among_all_points_leave_the_backgrounds(x: Points, random_mixture: Random) -> None:
    mixture = beside(problem_at(x, "full", False), random_mixture(x, K, "full", 6))
    np.testing.assert_allclose(jnp.sum(of_all_points(mixture)), 0.7, rtol=1e-14)


@FAMILIES
@HOLES
def test_a_row_of_known_component_is_none_of_the_backgrounds(
    x: Points, family: str, holes: bool, random_mixture: Random
) -> None:
    plain, known = problem_at(x, family, holes), np.random.default_rng(5).choice([-1, 0, 1, 2], N)
    problem = Problem(plain.x, K, family, background=True, missing="marginal", label_known=known)
    mixture = beside(problem, random_mixture(x, K, family, 7))
    value, statistics = sweep(mixture, problem.rows)
    each = np.asarray(terms(mixture, plain.x))
    own = np.take_along_axis(each, np.maximum(known, 0)[:, None], axis=1)[:, 0]
    log_density = np.where(known < 0, np.asarray(logsumexp(each, axis=1)), own)
    np.testing.assert_allclose(value, np.sum(log_density), rtol=1e-12)
    shares = np.where(known[:, None] < 0, np.exp(each[:, :K] - log_density[:, None]), known[:, None] == np.arange(K))
    np.testing.assert_allclose(statistics.counts, shares.sum(0), rtol=1e-11)
