"""Standard errors by independent methods: published figures, identities between methods, and ambiguous labels."""

from dataclasses import replace
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench.charts import Chart
from workbench.geometry.bootstrap import SCHEMES, climb, refits
from workbench.geometry.curvature import curvature, information, raveled
from workbench.geometry.rate import displaced
from workbench.geometry.sandwich import score_information
from workbench.geometry.standard_errors import (
    covariance_of,
    delta,
    deviations,
    labelled_as,
    missing_information,
    names,
    natural,
    supplemented,
)
from workbench.methods import EM
from workbench.mixture import COVARIANCES, Mixture
from workbench.mixture.matching import Components, divergence, match
from workbench.problem import Problem

# Acidity, K = 2, equal variances, by observed information, and by mclust's bootstrap of 999 replicates: the weights
# (the second is what the first leaves), the means and the variance.
OBSERVED = [0.0404, 0.0404, 0.0474, 0.0630, 0.0223]
MCLUST = [0.0413, 0.0413, 0.0467, 0.0672, 0.0238]


def chart_of(problem: Problem) -> Chart:
    return Chart.of(problem, weights="log_ratio")


@jax.jit
def known_at(problem, mixture):
    return information(problem, mixture, chart_of(problem)), missing_information(problem, mixture, chart_of(problem))


@jax.jit
def supplemented_at(problem, mixture, info):
    start = displaced(problem, mixture, info, chart_of(problem), jax.random.key(2))
    return supplemented(problem, mixture, start, chart_of(problem), info.complete)


@pytest.fixture(scope="module")
def acidity(problem_of, em_step):
    """The problem of the published figures and its maximum, by EM until nothing changes."""
    problem = problem_of("tied", components=2, name="acidity")
    mixture = Mixture.from_covariances([0.6, 0.4], [[4.4], [6.3]], [[0.2]], "tied")
    for _ in range(200):
        mixture, _ = em_step(problem, mixture)
    return problem, mixture


@pytest.fixture(scope="module")
def known(acidity):
    return known_at(*acidity)


def errors_at(acidity, covariance):
    problem, mixture = acidity
    return deviations(delta(mixture, chart_of(problem), covariance))


def test_observed_information_gives_the_known_standard_errors(acidity, known) -> None:
    found = errors_at(acidity, covariance_of(known[0].observed))
    # To the digits that are given.
    np.testing.assert_allclose(found, OBSERVED, rtol=0, atol=5e-5)


def test_louis_formula_is_the_hessian_at_a_maximum_and_anywhere(acidity, known) -> None:
    problem, mixture = acidity
    elsewhere = replace(mixture, means=mixture.means + jnp.asarray([[0.3], [-0.2]]))
    for info, missing in (known, known_at(problem, elsewhere)):
        # Two sums over the same rows, each to rounding.
        np.testing.assert_allclose(info.complete - missing, info.observed, rtol=1e-8, atol=1e-8)
    by_louis = errors_at(acidity, covariance_of(known[0].complete - known[1]))
    np.testing.assert_allclose(by_louis, errors_at(acidity, covariance_of(known[0].observed)), rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("prior", ["flat", "conjugate"])
def test_louis_formula_is_the_hessian_for_every_family(covariance, prior, problem_of, random_mixture) -> None:
    problem = problem_of(covariance, prior)
    info, missing = known_at(problem, random_mixture(problem.x, 3, covariance, seed=5))
    np.testing.assert_allclose(info.complete - missing, info.observed, rtol=1e-8, atol=1e-8)


def test_rows_of_known_component_have_no_missing_information_and_their_own_scores(points, random_mixture) -> None:
    numbers = np.arange(len(points))
    known = np.where(numbers % 3 == 0, numbers % 2, -1)
    problem, mixture = Problem(points, 2, "diagonal", label_known=known), random_mixture(points, 2, "diagonal", seed=5)
    info, missing = known_at(problem, mixture)
    # Louis' formula holds at any mixture.
    np.testing.assert_allclose(info.complete - missing, info.observed, rtol=1e-8, atol=1e-8)
    chart = chart_of(problem)
    u, constrain = raveled(mixture, chart)

    def terms(v: jax.Array) -> jax.Array:
        joint = constrain(v).component_log_joint(points)
        return jnp.where(known < 0, jax.nn.logsumexp(joint, axis=1), joint[numbers, np.maximum(known, 0)])

    found, scores = jax.jit(lambda v: (score_information(problem, mixture, chart), jax.jacfwd(terms)(v)))(u)
    centred = scores - jnp.mean(scores, axis=0)
    np.testing.assert_allclose(found, centred.T @ centred, rtol=1e-8, atol=1e-8 * np.max(np.abs(found)))


def test_supplemented_em_finds_the_same_by_differences_of_em_steps(acidity, known) -> None:
    info, _ = known
    found = supplemented_at(*acidity, info)
    # Differences over 1e-6 or less of a smooth map; what they are off by, they still change by.
    np.testing.assert_allclose(found.jacobian, info.jacobian, rtol=0, atol=1e-6)
    assert float(jnp.max(found.change)) < 1e-6
    # Divided by what is not missing, a third in the slowest direction.
    expected = errors_at(acidity, covariance_of(info.observed))
    np.testing.assert_allclose(errors_at(acidity, found.covariance), expected, rtol=1e-5)


@pytest.mark.slow
def test_the_standard_errors_of_a_maximum_are_the_same_in_every_chart(acidity, known) -> None:
    problem, mixture = acidity
    chart = Chart.of(problem, weights="stick_breaking", scales="raw")
    there = covariance_of(-curvature(problem, mixture, chart).hessian)
    found = deviations(delta(mixture, chart, there))
    # The gradient that EM leaves over bends the chart by as much.
    np.testing.assert_allclose(found, errors_at(acidity, covariance_of(known[0].observed)), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_bootstraps_agree_with_the_published_one(scheme, acidity) -> None:
    fitted = refits(scheme, *acidity, jax.random.key(5), 1000, em=EM())
    labelled = labelled_as(acidity[1], fitted.mixture)
    assert np.all(fitted.converged) and labelled.ambiguous == 0
    found = np.std(labelled.values, axis=0, ddof=1)
    # Both are standard deviations of a thousand draws: z = 4 errors of their ratio, sqrt(2 / 2000). Other schemes than
    # mclust's differ in the next order, the parametric one by not knowing the points' long tails: a fifth at most.
    slack = 4 * np.sqrt(2 / 2000) if scheme == "nonparametric" else 0.2
    np.testing.assert_allclose(found, MCLUST, rtol=slack)


@pytest.mark.slow
def test_rows_that_are_drawn_again_are_fitted_as_rows_that_repeat(points, random_mixture) -> None:
    """A replicate's fit is the fit of the rows it drew, as a data set of its own."""
    drawn = np.sort(np.random.default_rng(0).integers(0, len(points), len(points)))
    counts = jnp.asarray(np.bincount(drawn, minlength=len(points)), float)
    start, em = random_mixture(points, 2, "tied", seed=1), EM(max_iterations=8, tolerance=0.0)
    fit = jax.jit(lambda problem, start: climb(em, problem, start))
    problem = Problem(points, 2, "tied")
    found = fit(problem.over(problem.rows.weighted(counts)), start)
    expected = fit(Problem(points[drawn], 2, "tied"), start)
    assert int(found.passes) == int(expected.passes) == 8
    # Eight steps each round in units of their own, of condition below 100.
    np.testing.assert_allclose(natural(found.mixture), natural(expected.mixture), rtol=1e-9)


def test_refits_take_the_labels_of_the_estimate_whatever_their_own() -> None:
    estimate = Mixture.from_covariances([0.3, 0.7], [[0.0], [4.0]], [[0.5], [1.0]], "diagonal")
    batch = jax.tree.map(lambda a, b: jnp.stack([a, b]), estimate, estimate.permute([1, 0]))
    found = labelled_as(estimate, batch)
    np.testing.assert_array_equal(found.values, np.stack([natural(estimate)] * 2))
    assert found.ambiguous == 0


def test_labels_half_way_between_two_orders_are_in_doubt() -> None:
    estimate = Mixture.from_covariances([0.5, 0.5], [[-1.0], [1.0]], [[0.5], [0.5]], "diagonal")
    merged = replace(estimate, means=jnp.zeros((2, 1)))
    near = replace(estimate, means=0.7 * estimate.means)
    batch = jax.tree.map(lambda a, b: jnp.stack([a, b]), merged, near)
    found = labelled_as(estimate, batch)
    np.testing.assert_array_equal(found.clear, [False, True])
    assert found.ambiguous == 0.5


def test_a_match_is_the_best_order_and_the_next_best_one(points, random_mixture) -> None:
    one, other = (Components.of(random_mixture(points, 4, "full", seed=s), np.arange(4)) for s in (1, 2))

    def under(order) -> float:
        i = list(order)
        same = Components(other.weights[i], other.means[i], other.scale_trils[i])
        # Of one component against one: no order to choose.
        singles = [
            [Components(c.weights[[k]], c.means[[k]], c.scale_trils[[k]]) for k in range(4)] for c in (one, same)
        ]
        return sum(divergence(a, b) for a, b in zip(*singles, strict=True))

    values = sorted((under(order), order) for order in permutations(range(4)))
    found = match(one, other)
    assert tuple(found.order) == values[0][1]
    assert found.divergence == pytest.approx(values[0][0], rel=1e-12)
    assert found.second == pytest.approx(values[1][0], rel=1e-12)


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize(("k", "d"), [(2, 1), (3, 2)])
def test_every_parameter_has_a_name_of_its_own(covariance, k, d) -> None:
    family = COVARIANCES[covariance]
    mixture = Mixture(jnp.full(k, 1 / k), jnp.zeros((k, d)), family.broadcast(jnp.eye(d), k), family)
    found = names(family, k, d)
    # All weights, where one of them is free no more.
    assert len(found) == len(set(found)) == len(natural(mixture)) == mixture.num_parameters + 1
    kinds = dict(zip(found, np.asarray(natural(mixture)), strict=True))
    wanted = {"weight": 1 / k, "mean": 0.0, "variance": 1.0, "covariance": 0.0}
    assert all(value == pytest.approx(wanted[name.split()[0]]) for name, value in kinds.items())


def test_the_numbers_of_a_name_are_component_and_columns() -> None:
    full, tied = (names(COVARIANCES[name], 2, 2) for name in ("full", "tied"))
    assert full[2:6] == ("mean 1,1", "mean 1,2", "mean 2,1", "mean 2,2")
    assert full[6:9] == ("variance 1,1,1", "covariance 1,1,2", "variance 1,2,2")
    assert tied[6:] == ("variance 1,1", "covariance 1,2", "variance 2,2")
    assert names(COVARIANCES["tied"], 2, 1)[2:] == ("mean 1", "mean 2", "variance")


def test_an_information_that_is_not_positive_definite_has_no_inverse() -> None:
    assert np.all(np.isnan(covariance_of(jnp.asarray([[1.0, 2.0], [2.0, 1.0]]))))
