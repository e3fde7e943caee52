from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm, rankdata

from workbench.diagnostics import Mixing, mixing_of
from workbench.diagnostics.convergence import BATCH, energy_fractions, followed_rows, functionals, rank_statistics
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.problem import Problem

Make = Callable[..., Trace]

# One shape for all: chains and draws.
R, S = 4, 250


def _around(mixture: Mixture, shifts: np.ndarray) -> Mixture:
    """Draws that depend on shifts [R, S]: of the means in both coordinates, and in logarithms of widths and weights."""
    r, s = shifts.shape
    drawn = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (r, s, *leaf.shape)).copy(), mixture)
    drawn.means[...] += shifts[..., None, None]
    drawn.scales[...] *= np.exp(0.1 * shifts[..., None, None, None])
    first = drawn.weights[..., 0] * np.exp(0.1 * shifts)
    drawn.weights[..., 0] = first / (first + drawn.weights[..., 1])
    drawn.weights[..., 1] = 1 - drawn.weights[..., 0]
    return drawn


@pytest.fixture(scope="module")
def chains(two_groups: Problem, shapes: dict[str, Mixture], trace_of: Make) -> Callable[[np.ndarray], Trace]:
    return lambda shifts: trace_of(two_groups, _around(shapes["good"], shifts), draws=shifts.shape[1])


@pytest.fixture(scope="module")
def independent(chains: Callable[[np.ndarray], Trace]) -> Trace:
    return chains(0.3 * np.random.default_rng(0).normal(size=(R, S)))


def _r_hat(draws: np.ndarray) -> float:
    """Larger of the rank-normalised split R-hats of draws [R, S] and of their folds (Vehtari et al. 2021, sec. 3-4)."""

    def split(values: np.ndarray) -> float:
        halves = values.reshape(2 * len(values), -1)
        scores = norm.ppf((rankdata(halves).reshape(halves.shape) - 0.375) / (halves.size + 0.25))
        length = scores.shape[1]
        within, between = scores.var(1, ddof=1).mean(), length * scores.mean(1).var(ddof=1)
        return float(np.sqrt(((length - 1) / length * within + between / length) / within))

    return max(split(draws), split(np.abs(draws - np.median(draws))))


def test_a_point_estimate_has_no_mixing(two_groups, shapes, trace_of):
    assert mixing_of(trace_of(two_groups, [[shapes["start"], shapes["good"]]]), two_groups) is None


def test_functionals_are_scores_and_log_densities_at_rows(two_groups, independent, component_log_joint):
    found = functionals(independent, two_groups)
    order = np.argsort(np.asarray(two_groups.x)[:, 0])
    rows = np.asarray(two_groups.x)[order[[0, -1]]]
    densities = logsumexp(component_log_joint(independent.at(1, 7), rows), axis=1)
    assert found.values.shape == (R, S, len(found.names))
    np.testing.assert_array_equal(found.values[..., 0], independent.log_joint)
    np.testing.assert_array_equal(found.values[..., 1], independent.log_likelihood)
    # The extreme rows of the first column come first and last; two sums of two terms each.
    places = [found.names.index(name) for name in ("log_density[1]", "log_density[8]")]
    np.testing.assert_allclose(found.values[1, 7, places], densities, rtol=1e-12)


def test_co_clustering_is_the_chance_that_one_component_made_both(two_groups, independent, component_log_joint):
    found = functionals(independent, two_groups)
    joint = component_log_joint(independent.at(1, 7), followed_rows(two_groups))
    member = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    pairs = [q for q, name in enumerate(found.names) if name.startswith("co_clustering")]
    assert [found.names[q] for q in pairs] == [f"co_clustering[{a}, {a + 1}]" for a in range(1, 8)]
    # Sums of two products of numbers below one.
    np.testing.assert_allclose(found.values[1, 7, pairs], np.sum(member[:-1] * member[1:], 1), rtol=1e-10, atol=1e-15)


def test_a_co_clustering_that_rounds_to_one_still_tells_chains_apart(two_groups, shapes, trace_of):
    narrow = replace(shapes["good"], scales=np.asarray(shapes["good"].scales) / 4)
    shifts = 0.1 * np.random.default_rng(6).normal(size=(R, S))
    found = functionals(trace_of(two_groups, _around(narrow, shifts), draws=S), two_groups)
    certain = [q for q, name in enumerate(found.names) if "co_cl" in name and np.all(found.values[..., q] == 1.0)]
    assert certain
    assert np.all(np.ptp(found.ranked[..., certain], axis=1) > 0)


def test_means_are_sorted_coordinate_by_coordinate_and_carry_the_names_of_their_columns(two_groups, independent):
    found = functionals(independent, two_groups, ("a", "b"))
    assert found.names[-4:] == ("sorted_means[1, a]", "sorted_means[1, b]", "sorted_means[2, a]", "sorted_means[2, b]")
    expected = np.sort(independent.answer.means, axis=2).reshape(R, S, 4)
    np.testing.assert_array_equal(found.values[..., -4:], expected)


def test_weights_and_volumes_are_sorted_each_for_itself(two_groups, independent):
    found = functionals(independent, two_groups)
    draws = independent.answer
    places = [found.names.index(f"sorted_weights[{k}]") for k in (1, 2)]
    np.testing.assert_array_equal(found.values[..., places], np.sort(draws.weights, axis=-1))
    places = [found.names.index(f"sorted_log_determinants[{k}]") for k in (1, 2)]
    dense = draws.scales @ np.swapaxes(draws.scales, -1, -2)
    # Logarithms of products of two numbers, and of a difference of such.
    np.testing.assert_allclose(found.values[..., places], np.sort(np.linalg.slogdet(dense)[1], axis=-1), rtol=1e-10)


@pytest.mark.parametrize(("family", "count"), [("full", 3), ("tied", 1), ("diagonal", 3), ("spherical", 3)])
def test_components_that_share_their_covariance_have_one_volume(family, count, points, random_mixture, trace_of):
    problem = Problem(points, 3, family)
    draws = [[random_mixture(points, 3, family, seed=s) for s in range(4)]]
    names = functionals(trace_of(problem, draws, draws=4), problem).names
    assert sum(name.startswith("sorted_log_determinants") for name in names) == count


def test_chains_that_differ_in_a_covariance_alone_do_not_agree(two_groups, chains):
    rng = np.random.default_rng(8)
    trace = chains(0.3 * rng.normal(size=(R, S)))
    # A thousandth in width, by chain: lost in what every density varies by. The first component is the wider one.
    draws = replace(trace.mixtures, scales=np.array(trace.mixtures.scales))
    noise = 0.0003 * rng.normal(size=(R, S)) + np.array([[-0.001], [-0.001], [0.001], [0.001]])
    draws.scales[:, :, 1] = trace.mixtures.scales[0, 0, 1] * np.exp(noise)[..., None, None]
    draws.scales[:, :, 0] = 2 * draws.scales[:, :, 0]
    apart = replace(trace, mixtures=draws)
    found = functionals(apart, two_groups)
    others = [q for q, name in enumerate(found.names) if not name.startswith("sorted_log_determinants")]
    assert np.max(rank_statistics(found.ranked[..., others])[0]) < 1.01
    assert mixing_of(apart, two_groups).r_hat_max > 1.1


def test_tails_are_judged_as_well_as_the_bulk(two_groups, independent):
    mixing = mixing_of(independent, two_groups)
    # Indicators of a twentieth of the draws: the estimate's own error is some 15 %, and the least of thirty is taken.
    assert 0.4 * R * S < mixing.ess_tail_min < 1.3 * R * S


def test_the_fraction_of_missing_information_is_betancourts(two_groups, independent):
    rng = np.random.default_rng(9)
    free, slow = rng.normal(size=(2, S)), np.cumsum(rng.normal(size=(2, S)), axis=1)
    energy = np.concatenate([free, slow])
    trace = replace(independent, energy=energy)
    expected = np.sum(np.diff(energy, axis=1) ** 2, 1) / np.sum((energy - energy.mean(1, keepdims=True)) ** 2, 1)
    np.testing.assert_allclose(energy_fractions(trace), expected, rtol=1e-10)
    mixing = mixing_of(trace, two_groups)
    # Independent energies have a fraction of two, a random walk has hardly any.
    assert mixing.slow_in_energy and mixing.e_bfmi == pytest.approx(expected[2:].min(), rel=1e-10)
    assert not mixing_of(replace(trace, energy=np.tile(free, (2, 1))), two_groups).slow_in_energy
    assert energy_fractions(independent) is None and mixing_of(independent, two_groups).e_bfmi is None


def test_an_energy_that_is_not_finite_or_never_moves_is_no_information(independent):
    energy = np.random.default_rng(10).normal(size=(R, S))
    energy[1, 3], energy[2] = np.nan, 1.0
    found = energy_fractions(replace(independent, energy=energy))
    assert found[1] == found[2] == 0.0 and found[0] > 1


def test_one_component_has_no_pairs_to_follow(points, trace_of):
    problem = Problem(points, 1)
    means = np.random.default_rng(5).normal(size=(R, 20, 1, 2)) + points.mean(0)
    scales = np.tile(np.linalg.cholesky(np.cov(points.T)), (R, 20, 1, 1, 1))
    drawn = Mixture(np.ones((R, 20, 1)), means, scales, problem.covariance)
    found = functionals(trace_of(problem, drawn, draws=20), problem)
    assert not [name for name in found.names if name.startswith("co_clustering")]
    assert not [name for name in found.names if name.startswith("sorted_weights")]
    assert np.all(np.isfinite(found.ranked))


def test_a_component_of_no_weight_leaves_every_functional_finite(two_groups, shapes, trace_of):
    empty = replace(shapes["good"], weights=np.array([1.0, 0.0]))
    found = functionals(trace_of(two_groups, [[empty] * 4], draws=4), two_groups)
    assert np.all(np.isfinite(found.ranked))
    assert np.all(found.values[..., [q for q, name in enumerate(found.names) if "co_cl" in name]] == 1.0)


def test_functionals_do_not_see_labels_permuted_draw_by_draw(two_groups, independent, trace_of):
    swapped = np.random.default_rng(1).random((R, S)) < 0.5

    def swap(leaf: np.ndarray) -> np.ndarray:
        return np.where(swapped.reshape(R, S, *[1] * (leaf.ndim - 2)), leaf[:, :, ::-1], leaf)

    permuted = trace_of(two_groups, jax.tree.map(swap, independent.mixtures), draws=S)
    assert not np.array_equal(permuted.mixtures.means, independent.mixtures.means)
    # Swapping the two terms of a sum changes it by rounding only.
    seen, unseen = functionals(independent, two_groups), functionals(permuted, two_groups)
    np.testing.assert_allclose(unseen.values, seen.values, rtol=1e-12)
    np.testing.assert_allclose(unseen.ranked, seen.ranked, rtol=1e-12)
    # Ranks move only where two draws agree to the last digits.
    one, other = mixing_of(independent, two_groups), mixing_of(permuted, two_groups)
    assert (other.r_hat_max, other.ess_min) == pytest.approx((one.r_hat_max, one.ess_min), rel=1e-6)


def test_r_hat_is_the_largest_of_the_rank_normalised_split_r_hats(two_groups, chains):
    # Chains whose centres differ a little: an R-hat that is neither one nor saturated.
    shifts = 0.3 * np.random.default_rng(2).normal(size=(R, S)) + 0.2 * np.arange(R)[:, None]
    trace = chains(shifts)
    expected = max(_r_hat(column) for column in np.moveaxis(functionals(trace, two_groups).ranked, -1, 0))
    assert expected > 1.02
    # The same formula in another order of operations.
    assert mixing_of(trace, two_groups).r_hat_max == pytest.approx(expected, rel=1e-6)


def test_independent_chains_have_converged_with_about_as_many_effective_draws_as_draws(two_groups, independent):
    mixing = mixing_of(independent, two_groups)
    assert mixing.converged
    # The estimate's own error at 1000 draws is some 10 %, and the smallest of twenty is taken.
    assert 0.6 * R * S < mixing.ess_min < 1.3 * R * S


def test_chains_stuck_in_two_places_do_not_agree(two_groups, chains):
    shifts = 0.1 * np.random.default_rng(3).normal(size=(R, S)) + np.array([[0.0], [0.0], [3.0], [3.0]])
    mixing = mixing_of(chains(shifts), two_groups)
    assert mixing.r_hat_max > 1.5
    assert mixing.ess_min < 50
    assert not mixing.converged


def test_chains_that_never_move_do_not_agree(two_groups, chains):
    mixing = mixing_of(chains(np.tile([[0.0], [0.0], [1.0], [1.0]], S)), two_groups)
    assert not mixing.converged
    assert not mixing.r_hat_max < 1.01


def test_one_chain_that_never_moves_has_not_converged(two_groups, chains):
    assert not mixing_of(chains(np.zeros((1, S))), two_groups).converged


def test_a_slow_chain_has_few_effective_draws(two_groups, chains):
    walk = np.cumsum(0.05 * np.random.default_rng(4).normal(size=(R, S)), axis=1)
    assert mixing_of(chains(walk), two_groups).ess_min < 0.2 * R * S


def test_a_draw_that_is_not_finite_is_the_worst_of_mixings(two_groups, independent):
    log_joint = independent.log_joint.copy()
    log_joint[2, 3] = -np.inf
    mixing = mixing_of(replace(independent, log_joint=log_joint), two_groups)
    assert mixing == Mixing(np.inf, 0.0, 0.0, chains=4)
    assert not mixing.converged


def test_warm_up_does_not_count(two_groups, independent):
    # The same chains, of which only the second half are draws.
    half = S // 2
    kept = replace(independent, draws=half)
    assert functionals(kept, two_groups).values.shape[1] == half
    np.testing.assert_array_equal(functionals(kept, two_groups).values[..., 0], independent.log_joint[:, half:])


@pytest.mark.parametrize(
    ("mixing", "converged"),
    [
        (Mixing(1.009, 401.0), True),
        # One chain has none to agree with, however alike its halves.
        (Mixing(1.0, 4000.0, chains=1), False),
        (Mixing(1.011, 401.0), False),
        (Mixing(1.009, 399.0), False),
        (Mixing(np.nan, 1000.0), False),
        (Mixing(1.0, np.nan), False),
        (Mixing(1.009, 401.0, 399.0), False),
        (Mixing(1.009, 401.0, np.nan), False),
        # Slow in energy: a warning beside chains that agree.
        (Mixing(1.009, 401.0, 401.0, 0.1), True),
    ],
)
def test_both_limits_of_vehtari_et_al_must_hold(mixing, converged):
    assert mixing.converged is converged


def test_one_component_is_judged_by_many_draws_too(problem_of, trace_of) -> None:
    # More draws than are looked at together, of functionals that one component does not have.
    problem, rng, chains = problem_of("full", "conjugate", 1), np.random.default_rng(0), (4, 200)
    assert np.prod(chains) > BATCH
    tril = np.linalg.cholesky(np.cov(problem.x.T))
    means = problem.x.mean(0) + rng.normal(size=(*chains, 1, 2)) @ tril.T / np.sqrt(len(problem.x))
    scales = np.exp(0.1 * rng.normal(size=(*chains, 1, 1, 1))) * tril
    draws = Mixture(np.ones((*chains, 1)), means, scales, problem.covariance)
    mixing = mixing_of(trace_of(problem, draws, draws=chains[1]), problem)
    assert mixing is not None and mixing.converged
