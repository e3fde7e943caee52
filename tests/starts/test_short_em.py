"""Starts by short EM: its steps are those of EM, the result is higher and no spike, and the cost is bounded."""

from collections.abc import Callable

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.data import load_dataset
from workbench.loop.run import score
from workbench.mixture import COVARIANCES, Mixture
from workbench.problem import Problem
from workbench.soundness import Soundness
from workbench.starts import RandomPoints, ShortEM, VariedSeeds, climbing, draw_starts, short_em
from workbench.starts.climbing import Climber
from workbench.starts.moves import KINDS, Moves
from workbench.starts.short_em import in_data_units
from workbench.starts.storage import Mixtures, kind_of

Points = NDArray[np.float64]
K = 3
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)


def climber_of(problem: Problem) -> Climber:
    """The climber of all rows of a problem, in its working units."""
    z = (problem.x - np.asarray(problem.rows.shift)) @ np.asarray(problem.rows.inverse).T
    return Climber.of(z, problem.covariance, problem.components)


def in_working_units(problem: Problem, starts: Mixture) -> Mixtures:
    """Mixtures with leaves [R, ...] in the form of the climber."""
    working = jax.jit(jax.vmap(problem.rows.to_working))(starts)
    kind, weights, dense = kind_of(problem.covariance), np.asarray(working.weights), jax.vmap(lambda m: m.covariances)
    covariances = [kind.of_dense(w, c) for w, c in zip(weights, np.asarray(dense(working)), strict=True)]
    return Mixtures(weights, np.asarray(working.means), np.stack(covariances))


@FAMILIES
@pytest.mark.parametrize("in_one_product", [climbing.ONE_THREAD, 200])
def test_short_climbs_are_steps_of_em(
    family: str, in_one_product: int, problem_of: Callable[..., Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A small limit gives blocks of a few rows, the last padded.
    monkeypatch.setattr(climbing, "ONE_THREAD", in_one_product)
    problem = problem_of(family)
    starts = draw_starts(VariedSeeds(), problem, 4, seed=0)
    ends, values = climber_of(problem).climb(in_working_units(problem, starts), 3)
    step = jax.jit(jax.vmap(problem.em_step))
    for _ in range(3):
        starts, _ = step(starts)
    expected = in_working_units(problem, starts)
    # Three steps with a few hundred rounding errors each, in another order.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), tuple(ends), tuple(expected))
    shift = problem.num_points * float(problem.rows.log_determinant)
    # A step of EM returns the log-likelihood before it.
    np.testing.assert_allclose(values - shift, step(starts)[1], rtol=1e-11)


@FAMILIES
def test_a_leap_never_lowers_the_likelihood_and_ends_where_em_does(
    family: str, problem_of: Callable[..., Problem]
) -> None:
    problem = problem_of(family)
    climber = climber_of(problem)
    mixtures = in_working_units(problem, draw_starts(VariedSeeds(), problem, 6, seed=0))
    values, (_, far) = climber.climb(mixtures, 0)[1], climber.climb(mixtures, 5000)
    leapt, reached, narrow = mixtures, values, np.zeros(6, bool)
    for _ in range(50):
        leapt, higher = climber.leap(leapt, 1)
        # Up to rounding of a sum over the rows; a mixture on its way into a singularity loses digits.
        narrow |= np.isneginf(higher) | (np.min(climber.kind.smallest(leapt.covariances), axis=1) < 1e-4)
        assert np.all((higher >= reached - 1e-9) | narrow)
        reached = higher
    # EM's limit, to what thousands of steps leave of it; from one of six a leap may pass over to another optimum.
    _, reached = climber.leap(leapt, 1600)
    assert np.sum(~narrow) >= 5 and np.sum(np.abs(reached - far)[~narrow] < 1e-6) >= np.sum(~narrow) - 1


def test_leaps_are_ahead_of_em_where_it_is_slow() -> None:
    problem = Problem(np.random.default_rng(0).normal(size=(300, 1)), 3)
    climber, starts = climber_of(problem), draw_starts(VariedSeeds(), problem, 8, seed=0)
    mixtures = in_working_units(problem, starts)
    # The same ninety passes over the rows.
    assert np.mean(climber.leap(mixtures, 30)[1] - climber.climb(mixtures, 90)[1]) > 0.1


@pytest.mark.parametrize("family", ["full", "diagonal", "spherical"])
def test_what_is_usable_is_sound_and_not_suspicious(family: str) -> None:
    # There are so few points for the components that some runs end on spikes.
    x = np.random.default_rng(0).normal(size=(30, 2))
    problem = Problem(x, 6, family)
    climber, rule = climber_of(problem), Soundness()
    starts = draw_starts(RandomPoints(), problem, 40, seed=0)
    ends, _ = climber.climb(in_working_units(problem, starts), 60)
    usable = climber.usable(ends)
    assert 0 < np.sum(usable) < 40
    kept = in_data_units(problem, Mixtures.stack([ends.at(r) for r in np.flatnonzero(usable)]))
    for health in rule.check_all(problem, kept):
        assert health.sound and not health.suspicious


def test_of_few_steps_and_many_moves_a_start_is_higher_than_all_candidates() -> None:
    problem = Problem(load_dataset("iris").x, 4)
    reached, _ = score(problem, jax.tree.map(lambda leaf: leaf[:, None], draw_starts(ShortEM(), problem, 4, seed=0)))
    for rule in (RandomPoints(), VariedSeeds()):
        _, values = climber_of(problem).climb(in_working_units(problem, draw_starts(rule, problem, 20, seed=0)), 10)
        short = values - problem.num_points * float(problem.rows.log_determinant)
        # Compared with the median, because the highest candidates may be spikes, which a start must not be.
        assert float(np.min(reached)) > float(np.median(short)) + 10


@FAMILIES
def test_no_start_is_on_its_way_into_a_singularity(family: str) -> None:
    # Two close rows: the likelihood of a component on them increases for a very long time.
    x = np.concatenate([np.random.default_rng(1).normal(size=(40, 2)), [[9.0, 9.0], [9.0, 9.0 + 1e-6]]])
    problem = Problem(x, 4, family)
    for health in Soundness().check_all(problem, draw_starts(ShortEM(), problem, 4, seed=0)):
        assert health.finite and not health.singular and not health.suspicious


def test_fewer_distinct_rows_than_components_still_make_a_proper_start() -> None:
    starts = draw_starts(ShortEM(), Problem(np.repeat([1.0, 2.0], 5), 3), 2, seed=0)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(starts))
    # At least a third of the data's standard deviation of one half: not on the way into a spike.
    assert np.min(starts.scales) > 0.16 and np.min(starts.weights) > 0


def test_short_runs_are_of_a_sample_of_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    whole = Climber.of
    monkeypatch.setattr(short_em.Climber, "of", lambda z, *rest: seen.append(len(z)) or whole(z, *rest))
    draw_starts(ShortEM(), Problem(np.random.default_rng(0).normal(size=(5_000, 1)), 2), 2, seed=0)
    assert seen == [short_em.MOST_ROWS] * 2


def test_wide_data_take_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[int] = []
    of = Moves.of
    monkeypatch.setattr(Moves, "of", lambda *given: moves.append(0) or of(*given))
    problem = Problem(np.random.default_rng(0).normal(size=(300, 3)), 2)
    draw_starts(ShortEM(), problem, 1, seed=0)
    assert len(moves) >= short_em.PATIENCE
    moves.clear()
    # The work of three rounds: two components, ten features and an exponential for each of 300 rows, 17 runs of ten
    # steps.
    monkeypatch.setattr(short_em, "MOST_WORK", 3 * 2 * 17 * 10 * 2 * 300 * (10 + short_em.EXPONENTIAL))
    draw_starts(ShortEM(), problem, 1, seed=0)
    assert len(moves) == 3


def one_component_each(problem: Problem, weights: list[float], means: Points, variances: list[float]) -> Mixtures:
    """A mixture with spherical covariances, in the form of the climber."""
    scales = np.asarray(variances)[:, None, None] * np.eye(means.shape[1])
    mixture = Mixture.from_covariances(np.asarray(weights), means, scales, problem.covariance.name)
    return in_working_units(problem, jax.tree.map(lambda leaf: np.asarray(leaf)[None], mixture))


@pytest.mark.parametrize(("tied_rows", "usable"), [(30, False), (10, True)])
def test_a_tight_component_mostly_on_equal_values_is_not_usable(tied_rows: int, usable: bool) -> None:
    rng = np.random.default_rng(0)
    # 40 rows about zero, some of them exactly zero, which are tight relative to 60 others; and 70 rows at one value
    # elsewhere, so that zero is not the most frequent value.
    close = np.concatenate([np.zeros(tied_rows), 0.01 * rng.normal(size=40 - tied_rows)])
    x = np.concatenate([close, 50.0 + 10.0 * rng.normal(size=60), np.full(70, 30.0)])[:, None]
    problem = Problem(x, 2, "full")
    weights, means = [40 / 170, 130 / 170], np.array([[0.0], [40.0]])
    mixtures = one_component_each(problem, weights, means, [1e-3, 200.0])
    z = (problem.x - np.asarray(problem.rows.shift)) @ np.asarray(problem.rows.inverse).T
    assert Climber.of(z, problem.covariance, 2, problem.x).usable(mixtures)[0] == usable
    assert climber_of(problem).usable(mixtures)[0]  # without the rows in the data's units ties are not looked for


def test_a_component_of_one_row_is_usable_where_the_covariance_is_shared() -> None:
    x = np.concatenate([np.random.default_rng(0).normal(size=(50, 2)), [[40.0, 0.0]]])
    problem = Problem(x, 2, "tied")
    drawn = draw_starts(ShortEM(), problem, 2, seed=0)
    # With a component on one row 40 standard deviations away, the likelihood is by far the highest.
    np.testing.assert_allclose(np.min(drawn.weights, axis=1), 1 / 51, rtol=1e-6)


def test_what_passes_through_a_singularity_is_left_out() -> None:
    x = np.concatenate([np.random.default_rng(0).normal(size=(40, 1)), np.full((20, 1), 9.0)])
    problem = Problem(x, 2, "diagonal")
    # The second component shrinks onto the equal rows in a few steps, and starts again when it becomes singular.
    ends, values = climber_of(problem).climb(
        one_component_each(problem, [0.5, 0.5], np.array([[0.0], [9.0]]), [1.0, 1.0]), 200
    )
    assert np.isneginf(values[0])
    assert np.all(np.isfinite(ends.weights))


def variants(problem: Problem, others: int, count: int) -> tuple[Mixtures, Mixtures, Climber]:
    """Two mixtures, variants of the first with `others` (0 or 1) to take components from, and the climber."""
    pair = in_working_units(problem, draw_starts(VariedSeeds(), problem, 2, seed=0))
    climber = climber_of(problem)
    z = (problem.x - np.asarray(problem.rows.shift)) @ np.asarray(problem.rows.inverse).T
    moves = Moves(climber, z, np.random.default_rng(0))
    return pair, moves.of(pair.at(0), pair.some(slice(1, 1 + others)), count), climber


@FAMILIES
def test_a_move_changes_one_component(family: str, problem_of: Callable[..., Problem]) -> None:
    pair, children, climber = variants(problem_of(family), 0, 24)
    np.testing.assert_allclose(np.sum(children.weights, axis=1), 1.0, rtol=1e-12)
    assert np.all(climber.kind.smallest(children.covariances) > 0)
    # All kinds of moves but the second, which weights the rows anew.
    moved = children.some(np.flatnonzero(np.arange(24) % len(KINDS) != 1))
    assert np.all(np.sum(np.any(moved.means != pair.means[0], axis=2), axis=1) == 1)
    changed = np.any(moved.covariances != pair.covariances[0], axis=tuple(range(2, moved.covariances.ndim)))
    assert np.all(np.sum(changed, axis=1) == (0 if pair.covariances.shape[1] < K else 1))


@FAMILIES
def test_a_splice_has_the_first_components_of_one_mixture_and_the_last_of_the_other(
    family: str, problem_of: Callable[..., Problem]
) -> None:
    pair, children, _ = variants(problem_of(family), 1, 48)
    from_each = np.any(np.all(children.means[:, :, None, None] == pair.means, axis=-1), axis=-1)  # [C, K, 2]
    spliced = from_each[2 :: len(KINDS)]
    assert len(spliced) == 8 and np.all(np.sum(spliced, axis=2) == 1)
    assert np.all(np.sum(spliced, axis=1) >= 1)  # some of each


class AllOnes(np.random.Generator):
    """Weights of one."""

    def exponential(self, size: tuple[int, ...]) -> Points:  # type: ignore[override]
        """Ones."""
        return np.ones(size)


@FAMILIES
@pytest.mark.parametrize("in_one_product", [climbing.ONE_THREAD, 200])
def test_with_equal_weights_the_rows_weighted_anew_are_a_step_of_em(
    family: str, in_one_product: int, problem_of: Callable[..., Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(climbing, "ONE_THREAD", in_one_product)
    problem = problem_of(family)
    mixtures, climber = in_working_units(problem, draw_starts(VariedSeeds(), problem, 3, seed=0)), climber_of(problem)
    step, _ = climber.climb(mixtures, 1)
    for a, b in zip(climber.reweighted(mixtures, AllOnes(np.random.PCG64(0))), step, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@FAMILIES
def test_rows_weighted_anew_move_a_mean_by_its_standard_error(family: str) -> None:
    problem = Problem(np.random.default_rng(0).normal(size=(400, 2)), 1, family)
    one = in_working_units(problem, draw_starts(RandomPoints(), problem, 1, seed=0))
    many = Mixtures(*(np.repeat(leaf, 2000, axis=0) for leaf in one))
    means = climber_of(problem).reweighted(many, np.random.default_rng(0)).means[:, 0]
    # In working units the variance is one. The standard deviation of 2,000 draws has a relative error of 1 in 63; four
    # of them, and one in 400 because the weights are divided by their sum.
    np.testing.assert_allclose(np.std(means, axis=0), 1 / 20, rtol=4 / 63 + 1 / 400)


def test_a_long_search_is_no_lower_than_the_starts_before_it() -> None:
    problem = Problem(load_dataset("iris").x, 5)
    starts = draw_starts(ShortEM(), problem, 7, seed=0)
    reached, _ = score(problem, jax.tree.map(lambda leaf: leaf[:, None], starts))
    values = np.asarray(reached).ravel()
    for restart in (1, 3, 5):
        assert values[restart] > np.max(values[:restart]) - short_em.SAME
    assert len(np.unique(np.round(values, 1))) > 1  # otherwise every start would be as high


@FAMILIES
def test_the_work_of_a_start_is_bounded_however_many_rows_and_rounds(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[int] = []
    leap = Climber.leap

    def counted(self: Climber, mixtures: Mixtures, leaps: int) -> tuple[Mixtures, Points]:
        assert self.num_rows <= short_em.MOST_ROWS
        multiplications = 2 * self.num_rows * mixtures.means.shape[1] * (self.features.shape[1] + short_em.EXPONENTIAL)
        work.append(len(mixtures.weights) * (3 * leaps + 1) * multiplications)
        return leap(self, mixtures, leaps)

    monkeypatch.setattr(Climber, "leap", counted)
    monkeypatch.setattr(short_em, "PATIENCE", 1000)
    rng = np.random.default_rng(0)
    problem = Problem(rng.normal(size=(5_000, 8)) + 4.0 * rng.integers(4, size=(5_000, 1)), 8, family)
    draw_starts(ShortEM(), problem, 1, seed=0)
    # At last a single mixture continues for at most as many climbs as settle it, from each of those that are kept.
    rounds, settling = [each for each in work if each > min(work)], work.count(min(work))
    assert 0.8 * short_em.MOST_WORK < sum(rounds) <= short_em.MOST_WORK
    assert settling <= short_em.KEPT * short_em.SETTLING


@pytest.mark.parametrize(("n", "d"), [(6, 2), (8, 2), (5, 1)])
def test_a_sample_without_a_usable_mixture_costs_no_more_rounds_than_patience(
    n: int, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six points hold no two sound full covariances in the plane; the rounds were then bounded by work alone."""
    rounds = []
    whole = short_em._round
    monkeypatch.setattr(short_em, "_round", lambda *given: (rounds.append(1), whole(*given))[1])
    points = np.random.default_rng(0).normal(size=(n, d))
    starts = draw_starts(ShortEM(), Problem(points, 2, "full"), 1, seed=0)
    assert np.all(np.isfinite(starts.means))
    if (n, d) == (6, 2):
        assert len(rounds) == short_em.PATIENCE * 2 * short_em.MORE_PATIENCE
    # What is found puts the count back to nothing, a few times.
    assert len(rounds) < 100 * short_em.PATIENCE
