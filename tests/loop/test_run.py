"""The loop: it records, stops and scores in the same way for every method."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.errors import InputError
from workbench.loop import pool
from workbench.loop import run as loop
from workbench.loop.batch import MOST_ROWS
from workbench.loop.pool import BATCH_SIZES
from workbench.loop.run import SCORED_TOGETHER, run, score
from workbench.methods import EM, NUTS, Algorithm, Climber, Info, Race, Schedule
from workbench.mixture import Mixture
from workbench.problem import Problem

Points = NDArray[np.float64]
R = 3


class Walk(Climber):
    """Moves the first mean by one at each step, at a price of two passes; restart r stops after 2 (r + 1) steps."""

    method: str = "walk"
    clock: str = "passes"
    marks: tuple[int, ...] = (1, 2, 3, 8, 100)
    max_steps: int = 1000
    draws: int = 0

    def schedule(self) -> Schedule:
        return Schedule(np.asarray(self.marks), self.clock, self.max_steps, draws=self.draws)

    def bind(self, problem: Problem) -> Algorithm:
        def init(key: jax.Array, start: Mixture) -> tuple[Mixture, jax.Array]:
            return start, jnp.asarray(0)

        def step(key: jax.Array, state: tuple[Mixture, jax.Array]) -> tuple[tuple[Mixture, jax.Array], Info]:
            mixture, taken = state
            # The restart is written into the start's second mean.
            stopped = taken + 1 >= 2 * (mixture.means[1, 0] + 1)
            moved = Mixture(mixture.weights, mixture.means.at[0].add(1.0), mixture.scales, mixture.covariance)
            info = Info(
                passes=jnp.asarray(2),
                ok=taken < 3,
                converged=stopped & (taken < 3),
                collapsed=stopped & (taken >= 3),
                stopped=stopped,
            )
            return (moved, taken + 1), info

        return Algorithm(init, step, lambda state: state[0])


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem(np.random.default_rng(0).normal(size=30), 2, "spherical")


@pytest.fixture(scope="module")
def starts(problem: Problem) -> Mixture:
    means = jnp.stack([jnp.zeros(R), jnp.arange(R, dtype=float)], axis=1)[..., None]
    return Mixture(jnp.full((R, 2), 0.5), means, jnp.ones((R, 2)), problem.covariance)


KEY = jax.random.key(0)


def test_a_row_is_recorded_when_the_clock_reaches_each_mark(problem: Problem, starts: Mixture) -> None:
    trace = run(Walk(), problem, starts, KEY)
    # Steps of two passes: marks 1, 2, 3, 8 are reached at 2, 2, 4, 8; the last restart stops after six steps.
    np.testing.assert_array_equal(trace.passes, [[0, 2, 2, 4, 4, 4], [0, 2, 2, 4, 8, 8], [0, 2, 2, 4, 8, 12]])
    # The mixture of each row is the one its passes paid for.
    np.testing.assert_array_equal(np.asarray(trace.mixtures.means)[:, :, 0, 0], trace.passes / 2)


def test_a_stopped_restart_waits_for_the_others_at_no_price(problem: Problem, starts: Mixture) -> None:
    together = run(Walk(), problem, starts, KEY)
    for r in range(R):
        alone = run(Walk(), problem, jax.tree.map(lambda leaf, r=r: leaf[r : r + 1], starts), KEY)
        assert alone.passes[0, -1] == together.passes[r, -1] == 4 * (r + 1)


class Weighing(Walk):
    """Says after each step what it makes of the evidence: half of what it has walked."""

    def bind(self, problem: Problem) -> Algorithm:
        told = {"log_evidence": lambda state: state[1] / 2, "energy": lambda state: 3.0 * state[1]}
        return super().bind(problem)._replace(**told)


def test_the_evidence_is_that_of_the_last_state_and_energies_of_all(problem: Problem, starts: Mixture) -> None:
    trace = run(Weighing(), problem, starts, KEY)
    assert trace.log_evidence is not None
    np.testing.assert_array_equal(trace.log_evidence, trace.passes[:, -1] / 4)
    # Of every row, at the mixture that it holds.
    np.testing.assert_array_equal(trace.energy, 3.0 * trace.passes / 2)
    without = run(Walk(), problem, starts, KEY)
    assert without.log_evidence is None and without.energy is None


def test_the_loop_ends_when_all_have_stopped(problem: Problem, starts: Mixture) -> None:
    trace = run(Walk(marks=(1, 50, 60, 70, 80)), problem, starts, KEY)
    assert trace.num_rows == 3 and trace.seconds.shape == (3,)


def test_what_the_last_step_says_is_kept(problem: Problem, starts: Mixture) -> None:
    trace = run(Walk(), problem, starts, KEY)
    np.testing.assert_array_equal(trace.converged, [True, False, False])
    np.testing.assert_array_equal(trace.collapsed, [False, True, True])
    # A broken promise is not forgotten.
    np.testing.assert_array_equal(trace.ok[:, -1], [True, False, False])
    assert trace.ok[:, :4].all()


def test_the_budget_ends_a_run_that_has_not_converged(problem: Problem, starts: Mixture) -> None:
    trace = run(Walk(max_steps=1), problem, starts, KEY)
    np.testing.assert_array_equal(trace.passes[:, -1], [2, 2, 2])
    assert not trace.converged.any()


def test_progress_grows_to_all_rows_of_all_restarts(problem: Problem, starts: Mixture) -> None:
    told: list[tuple[int, int]] = []
    run(Walk(), problem, starts, KEY, progress=lambda done, total: told.append((done, total)))
    done, totals = np.transpose(told)
    assert np.all(np.diff(done) > 0) and done[-1] == 15 and np.all(totals == 15)


def test_draws_are_recorded_step_by_step_across_calls(problem: Problem, starts: Mixture) -> None:
    many = MOST_ROWS + 7
    marks = tuple(range(1, many + 1))
    far = Mixture(starts.weights, starts.means.at[:, 1].set(1000.0), starts.scales, starts.covariance)
    trace = run(Walk(clock="steps", marks=marks, draws=many), problem, far, KEY)
    expected = np.tile(np.arange(many + 1), (R, 1))
    np.testing.assert_array_equal(np.asarray(trace.mixtures.means)[:, :, 0, 0], expected)
    np.testing.assert_array_equal(trace.passes, 2 * expected)
    assert trace.is_sampler and trace.draws == many and np.all(np.diff(trace.seconds) > 0)


def test_the_judge_scores_every_mixture_by_the_problem(
    problem: Problem, log_joint: Callable[[Problem, Mixture], jax.Array]
) -> None:
    rows = SCORED_TOGETHER[-1] + 5
    means = jnp.asarray(np.random.default_rng(1).normal(size=(2, rows, 2, 1)))
    shape = (2, rows, 2)
    mixtures = Mixture(jnp.full(shape, 0.5), means, jnp.ones(shape), problem.covariance)
    joint, likelihood = score(problem, mixtures)
    assert joint.shape == likelihood.shape == (2, rows)
    # Under the flat prior the two are one.
    np.testing.assert_array_equal(joint, likelihood)
    for r, t in ((0, 0), (0, rows - 1), (1, 3)):
        mixture = jax.tree.map(lambda leaf, r=r, t=t: leaf[r, t], mixtures)
        assert joint[r, t] == pytest.approx(float(log_joint(problem, mixture)), rel=1e-13)


def test_a_mixture_that_is_not_finite_is_scored_as_such(problem: Problem, starts: Mixture) -> None:
    broken = jax.tree.map(lambda leaf: leaf[:, None], starts)
    broken = Mixture(broken.weights, broken.means.at[0].set(jnp.nan), broken.scales, broken.covariance)
    log_joint, _ = score(problem, broken)
    assert np.isnan(log_joint[0, 0]) and np.all(np.isfinite(log_joint[1:]))


def test_a_problem_that_the_method_cannot_solve_is_refused_before_any_work(
    points: Points, random_mixture: Callable[..., Mixture], problem_of: Callable[..., Problem]
) -> None:
    one = jax.tree.map(lambda leaf: leaf[None], random_mixture(points, 3, "full", seed=0))
    with pytest.raises(InputError, match="NUTS needs a proper prior"):
        run(NUTS(), problem_of("full", "flat"), one, KEY)
    with pytest.raises(InputError, match="no closed-form M-step"):
        run(EM(), problem_of("full", "independent"), one, KEY)


class TestRestartsBeyondTheLanes:
    """More restarts than a batch holds, of many lengths: the next takes the slot of one that has stopped."""

    COUNT = 3 * BATCH_SIZES[-1] + 5

    @pytest.fixture
    def many(self, problem: Problem) -> Mixture:
        lengths = np.random.default_rng(0).permutation(self.COUNT)
        means = np.stack([np.zeros(self.COUNT), lengths], axis=1)[..., None]
        ones = np.ones((self.COUNT, 2))
        return Mixture(0.5 * ones, means, ones, problem.covariance)  # type: ignore[arg-type]

    def test_each_takes_the_steps_it_would_take_alone(self, problem: Problem, many: Mixture) -> None:
        trace = run(Walk(), problem, many, KEY)
        taken = 2 * (np.asarray(many.means)[:, 1, 0] + 1)
        np.testing.assert_array_equal(trace.passes[:, -1], np.minimum(2 * taken, 100))
        np.testing.assert_array_equal(np.asarray(trace.mixtures.means)[:, :, 0, 0], trace.passes / 2)
        # Lengths whose every row is a mark of its own.
        np.testing.assert_array_equal(trace.passes[:, 1:3], 2)

    def test_a_batch_that_shrinks_changes_nothing(
        self, problem: Problem, many: Mixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = run(Walk(), problem, many, KEY)
        sizes = []
        monkeypatch.setattr(pool, "WORTH_COMPILING", 1)
        fill = pool.RestartPool.fill_batch
        monkeypatch.setattr(
            pool.RestartPool, "fill_batch", lambda self: (fill(self), sizes.append(len(self.in_batch)))[0]
        )
        monkeypatch.setattr(loop, "WORTH_COMPILING", 1)
        shrunk = run(Walk(), problem, many, KEY)
        assert set(sizes) >= {1, 4, BATCH_SIZES[-1]}
        np.testing.assert_array_equal(whole.passes, shrunk.passes)
        np.testing.assert_array_equal(whole.mixtures.means, shrunk.mixtures.means)


def test_the_restarts_that_lose_a_race_are_dropped_and_pay_for_the_judge(
    problem: Problem, starts: Mixture, log_joint: Callable[[Problem, Mixture], jax.Array]
) -> None:
    alone = run(Walk(), problem, starts, KEY)
    raced = run(Walk(race=Race(after=3, keep=2)), problem, starts, KEY)
    # At mark 3 all have taken two steps, which end the first restart; it is judged like the others.
    np.testing.assert_array_equal(alone.passes[:, 3], 4)
    loser = int(np.argmin(alone.log_joint[:, 3]))
    assert loser != 0 and raced.dropped is not None
    np.testing.assert_array_equal(np.nonzero(raced.dropped)[0], [loser])
    assert raced.passes[loser, -1] == 5 and alone.passes[loser, -1] > 5
    # Whoever goes on walks as it would have without the race, and pays a pass more.
    others = np.arange(R) != loser
    np.testing.assert_array_equal(raced.passes[others, -1], alone.passes[others, -1] + 1)
    np.testing.assert_array_equal(raced.ends.means[others], alone.ends.means[others])
    assert alone.dropped is None


def test_a_race_that_all_win_drops_none(problem: Problem, starts: Mixture) -> None:
    raced = run(Walk(race=Race(after=2, keep=R)), problem, starts, KEY)
    assert raced.dropped is not None and not raced.dropped.any()
