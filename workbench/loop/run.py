"""The one loop: it advances any method from its starts, records rows on its schedule, and scores them off the clock."""

import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax import Array

from workbench.engine.compat.compilation import OLD_EMITTERS, STEPPING, jit_with
from workbench.engine.hosts import from_first_host
from workbench.loop.batch import Advanced, advance, placed
from workbench.loop.pool import WORTH_COMPILING, Checkpoint, RestartPool, work_of
from workbench.loop.trace import Trace
from workbench.memory_maps import make_room
from workbench.methods import Method
from workbench.mixture import Mixture
from workbench.problem import Problem

# Seconds that a call of the compiled loop should take, so that progress can be shown and checkpoints written.
SLICE = 1.0

# Numbers of mixtures that are scored together. They share the features of a chunk of rows, and memory stays bounded.
SCORED_TOGETHER = (1, 4, 16, 64)
# With more than MANY_NUMBERS of data, at most FEW_TOGETHER are: repeats that fill up a batch would cost more than
# sharing saves.
MANY_NUMBERS, FEW_TOGETHER = 2**18, 4

Progress = Callable[[int, int], None]  # (rows recorded, most rows), over all restarts


def run(
    method: Method,
    problem: Problem,
    starts: Mixture,
    key: Array,
    *,
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
) -> Trace:
    """Run a method from given starts and return its trace.

    One compiled program advances the restarts in batches, and serves any number of restarts. When a restart stops, the
    next one takes its slot; when none is waiting, the batch shrinks. A restart that has stopped therefore costs neither
    passes nor seconds. The time to compile is recorded apart from that of stepping, and scoring is not charged to the
    method. If labels are ordered, the components of every row are put in order (`Problem.labelled`).

    Args:
        method: a frozen config.
        problem: the problem to solve.
        starts: one mixture per restart, leaves [R, ...].
        key: random key of this method; restart r uses the r-th key derived from it.
        checkpoint: stores progress; a run that continues from it gives bit-identical results.
        progress: called with the number of rows recorded and the most that there can be.

    Raises:
        InputError: the method cannot solve this problem.
    """
    method.admit(problem)
    # A loop over problems of different shapes compiles for each of them, and programs take up memory maps.
    make_room()
    schedule = method.schedule()
    begun = time.perf_counter()
    pool = RestartPool.at_starts(method, problem, starts, key)
    compile_seconds = time.perf_counter() - begun
    identity = f"{method.model_dump_json()} {pool.digest()}"
    if checkpoint is not None:
        checkpoint.restore(pool, identity)

    last = len(schedule.marks)

    def between() -> None:
        if checkpoint is not None and checkpoint.is_due:
            checkpoint.save(pool, identity)
        if progress is not None:
            recorded = np.where(pool.states.stopped | pool.dropped, last, pool.states.rows)
            progress(int(np.sum(recorded)), len(recorded) * last)

    race = method.racing()
    if race is not None and pool.races == 0:
        # The first mark at or after the end of the race.
        pause = min(last, 1 + int(np.searchsorted(schedule.marks, race.after)))
        compile_seconds += _advance_all(method, problem, pool, pause, between)
        compile_seconds += _end_race(problem, pool, race.keep)
    compile_seconds += _advance_all(method, problem, pool, last, between)

    rows = pool.recorded()
    mixtures = rows.mixture if problem.labels == "free" else jax.device_get(_labelled(problem, rows.mixture))
    begun = time.perf_counter()
    log_joint, log_likelihood = score(problem, mixtures)
    return Trace(
        mixtures=mixtures,
        log_joint=log_joint,
        log_likelihood=log_likelihood,
        passes=np.asarray(rows.passes),
        ok=np.asarray(rows.ok),
        converged=np.asarray(pool.states.converged),
        collapsed=np.asarray(pool.states.collapsed),
        seconds=_shared_out(float(pool.clock), np.asarray(rows.passes)),
        compile_seconds=compile_seconds,
        score_seconds=time.perf_counter() - begun,
        draws=schedule.draws,
        dropped=None if race is None else pool.dropped,
        log_evidence=jax.device_get(pool.states.log_evidence),
        energy=None if rows.energy is None else np.asarray(rows.energy),
        evidence_bound=jax.device_get(pool.states.evidence_bound),
    )


def score(problem: Problem, mixtures: Mixture) -> tuple[np.ndarray, np.ndarray]:
    """log_joint and log_likelihood of recorded mixtures, leaves [R, T, ...], for all methods alike. [R, T], [R, T]

    A row that equals the one before it is not scored again.
    """
    fresh, sized = _fresh(mixtures), problem.of_any_size()
    places = np.nonzero(fresh)
    scores = np.empty((2, len(places[0])))
    # Batches have one of a few sizes, and the last is filled up with repeats: few programs serve all traces of the
    # problem, and a handful of mixtures does not cost the passes of many.
    most = FEW_TOGETHER if problem.rows.z.size > MANY_NUMBERS else SCORED_TOGETHER[-1]
    together = min(size for size in SCORED_TOGETHER if size >= min(scores.shape[1], most))
    for first in range(0, scores.shape[1], together):
        size = min(together, scores.shape[1] - first)
        batch = tuple(np.resize(place[first : first + size], together) for place in places)
        chosen = jax.tree.map(lambda leaf, b=batch: np.asarray(leaf)[b], mixtures)
        scores[:, first : first + size] = np.stack(_score(sized, chosen))[:, :size]
    # A row has the score of the last fresh row up to it. The first row of a restart is fresh.
    log_joint, log_likelihood = scores[:, np.cumsum(fresh) - 1].reshape(2, *fresh.shape)
    return log_joint, log_likelihood


@jit_with({})
def _labelled(problem: Problem, mixtures: Mixture) -> Mixture:
    """All recorded mixtures, with their components in an order that the problem allows. Leaves [R, T, ...]"""
    return jax.vmap(jax.vmap(problem.labelled))(mixtures)


@jit_with(STEPPING | OLD_EMITTERS)
def _score(problem: Problem, mixtures: Mixture) -> tuple[Array, Array]:
    values = jax.vmap(problem.log_likelihood)(mixtures)
    return values + jax.vmap(problem.log_prior)(mixtures), values


def _fresh(mixtures: Mixture) -> np.ndarray:
    """Whether a row differs from the one before it in any number. [R, T]"""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(mixtures)]
    fresh = np.zeros(leaves[0].shape[:2], bool)
    fresh[:, 0] = True
    for leaf in leaves:
        fresh[:, 1:] |= np.any(leaf[:, 1:] != leaf[:, :-1], axis=tuple(range(2, leaf.ndim)))
    return fresh


def _advance_all(method: Method, problem: Problem, pool: RestartPool, until: int, between: Callable[[], None]) -> float:
    """Advance every restart until it has stopped or recorded `until` rows. Returns the seconds spent compiling."""
    compiled, seconds = 0, 0.0
    while pool.fill_batch():
        if len(pool.in_batch) != compiled:
            begun = time.perf_counter()
            # A call of no steps only compiles.
            jax.block_until_ready(
                advance(method.as_compiled(), *placed(method, problem, pool.batch), method.schedule().marks, until, 0)
            )
            seconds += time.perf_counter() - begun
            compiled = len(pool.in_batch)
        for _ in _calls(method, problem, pool, until):
            between()
    return seconds


def _end_race(problem: Problem, pool: RestartPool, keep: int) -> float:
    """End the race: score every restart and drop those that lose. Returns the seconds spent compiling."""
    begun = time.perf_counter()
    score(problem, jax.tree.map(lambda leaf: leaf[:1], pool.ends))
    compiled = time.perf_counter()
    log_joint, _ = score(problem, pool.ends)
    pool.clock += time.perf_counter() - compiled
    pool.drop(log_joint[:, 0], keep)
    return compiled - begun


def _calls(method: Method, problem: Problem, pool: RestartPool, until: int) -> Iterator[Advanced]:
    """Make calls with the same restarts in the batch until one of them is done or the batch can shrink."""
    marks, (here, batch) = method.schedule().marks, placed(method, problem, pool.batch)
    # Work of a step in slots that duplicate another.
    waste = work_of(problem) * pool.idle
    going = True
    while going:
        steps = int(pool.steps_per_call)
        if waste > 0 and pool.wasted < WORTH_COMPILING:
            # The batch shrinks exactly when it has wasted enough work, so this does not depend on the clock.
            steps = min(steps, -(-(WORTH_COMPILING - int(pool.wasted)) // waste))
        begun = time.perf_counter()
        advanced = jax.block_until_ready(advance(method.as_compiled(), here, batch, marks, until, steps))
        # Hosts must agree on the steps of the next call, and clocks differ.
        spent = float(from_first_host(time.perf_counter() - begun))
        pool.clock += spent
        pool.wasted += waste * int(advanced.steps)
        pool.write(advanced)
        batch, going = advanced.states, not (np.any(advanced.done) or pool.can_shrink)
        steps_in_a_slice = SLICE / max(spent / max(int(advanced.steps), 1), 1e-9)
        pool.steps_per_call[...] = np.clip(steps_in_a_slice, 1, 2 * pool.steps_per_call)
        yield advanced


def _shared_out(seconds: float, passes: np.ndarray) -> np.ndarray:
    """Seconds spent up to each row: the seconds of the whole run times the row's share of its passes. [T]"""
    paid = np.sum(passes, axis=0)
    return np.asarray(seconds * paid / paid[-1] if paid[-1] > 0 else np.zeros_like(paid))
