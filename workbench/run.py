"""The one loop: advances any method from its starts, records rows on its schedule, and scores them off the clock."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.keys import restart_keys
from workbench.methods import Method
from workbench.methods.base import State
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.trace import Trace

# Rows recorded by one call of the compiled loop where rows are draws: enough to make the call's own cost vanish.
DRAWS_PER_CALL = 50

# Mixtures scored side by side: shares the features of a chunk of rows without holding every row at once.
SCORED_TOGETHER = 64

Progress = Callable[[int, int], None]  # (rows recorded, rows at most)


class Walker(NamedTuple):
    """One restart on its way."""

    state: State
    key: Array
    passes: Array  # []
    steps: Array  # []
    ok: Array  # []
    converged: Array  # []
    collapsed: Array  # []
    stopped: Array  # []


class Row(NamedTuple):
    """One restart at one mark."""

    mixture: Mixture
    passes: Array  # []
    ok: Array  # []


def run(method: Method, problem: Problem, starts: Mixture, key: Array, *, progress: Progress | None = None) -> Trace:
    """Run a method from given starts and return its trace.

    All restarts advance in one compiled program. A restart that has stopped takes no more steps and costs no more
    passes. Compiling is timed apart from stepping, scoring is not timed against the method.

    Args:
        method: a frozen config.
        problem: what to solve.
        starts: one mixture per restart, leaves [R, ...].
        key: random key of this method; restart r uses the r-th key derived from it.
        progress: called with the number of rows recorded and the number there can be.

    Raises:
        InputError: the method cannot solve this problem.
    """
    method.check(problem)
    schedule = method.schedule()
    restarts = len(starts.weights)
    begun = time.perf_counter()
    walkers = jax.block_until_ready(_begin(method, problem, starts, restart_keys(key, restarts)))
    # A call with marks that have been reached already takes no step: it only compiles.
    block = DRAWS_PER_CALL if schedule.clock == "steps" else 1
    jax.block_until_ready(_advance(method, problem, walkers, jnp.zeros(block, int)))
    compile_seconds = time.perf_counter() - begun

    rows = [jax.tree.map(lambda leaf: np.asarray(leaf)[:, None], Row(starts, walkers.passes, walkers.ok))]
    seconds = [0.0]
    for first in range(0, len(schedule.marks), block):
        marks = schedule.marks[first : first + block]
        padded = np.concatenate([marks, np.repeat(marks[-1:], block - len(marks))])
        begun = time.perf_counter()
        walkers, recorded = jax.block_until_ready(_advance(method, problem, walkers, jnp.asarray(padded)))
        spent = time.perf_counter() - begun
        taken = slice(len(marks))
        rows.append(jax.tree.map(lambda leaf, taken=taken: np.asarray(leaf)[:, taken], recorded))
        # Within a call the clock is read by share of marks.
        seconds.extend(seconds[-1] + spent * (np.arange(len(marks)) + 1) / len(marks))
        if progress is not None:
            progress(first + len(marks), len(schedule.marks))
        if bool(jnp.all(walkers.stopped)):
            break
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *rows)

    begun = time.perf_counter()
    log_joint, log_likelihood = score(problem, joined.mixture)
    return Trace(
        mixtures=joined.mixture,
        log_joint=log_joint,
        log_likelihood=log_likelihood,
        passes=joined.passes,
        ok=joined.ok,
        converged=np.asarray(walkers.converged),
        collapsed=np.asarray(walkers.collapsed),
        seconds=np.asarray(seconds),
        compile_seconds=compile_seconds,
        score_seconds=time.perf_counter() - begun,
        draws=schedule.draws,
    )


def score(problem: Problem, mixtures: Mixture) -> tuple[np.ndarray, np.ndarray]:
    """The judge: log_joint and log_likelihood of saved mixtures with leaves [R, T, ...]. [R, T], [R, T]"""
    shape = mixtures.weights.shape[:2]
    total = shape[0] * shape[1]
    flat = jax.tree.map(lambda leaf: np.reshape(leaf, (total, *leaf.shape[2:])), mixtures)
    scores = []
    # Batches of one size, the last filled up with repeats: one program serves every trace of the problem.
    for first in range(0, total, SCORED_TOGETHER):
        batch = np.minimum(np.arange(first, first + SCORED_TOGETHER), total - 1)
        scores.append(np.stack(_score(problem, jax.tree.map(lambda leaf, b=batch: leaf[b], flat))))
    log_joint, log_likelihood = np.concatenate(scores, axis=1)[:, :total].reshape(2, *shape)
    return log_joint, log_likelihood


@jax.jit
def _score(problem: Problem, mixtures: Mixture) -> tuple[Array, Array]:
    values = jax.vmap(problem.log_likelihood)(mixtures)
    return values + jax.vmap(problem.log_prior)(mixtures), values


@partial(jax.jit, static_argnums=0)
def _begin(method: Method, problem: Problem, starts: Mixture, keys: Array) -> Walker:
    algorithm = method.bind(problem)

    def begin(start: Mixture, key: Array) -> Walker:
        zero, no = jnp.asarray(0), jnp.asarray(False)
        return Walker(algorithm.init(key, start), key, zero, zero, ~no, no, no, no)

    return _strong(jax.vmap(begin)(starts, keys))


@partial(jax.jit, static_argnums=0)
def _advance(method: Method, problem: Problem, walkers: Walker, marks: Array) -> tuple[Walker, Row]:
    """Advance every restart to each mark in turn; rows with leaves [R, number of marks, ...]."""
    algorithm = method.bind(problem)
    schedule = method.schedule()

    def step(walker: Walker) -> Walker:
        key = jax.random.fold_in(walker.key, walker.steps)
        state, info = algorithm.step(key, walker.state)
        return Walker(
            state,
            walker.key,
            walker.passes + info.passes,
            walker.steps + 1,
            walker.ok & info.ok,
            info.converged,
            info.collapsed,
            info.stopped | (walker.steps + 1 >= schedule.max_steps),
        )

    def to_mark(walker: Walker, mark: Array) -> tuple[Walker, Row]:
        def short(w: Walker) -> Array:
            return ~w.stopped & ((w.passes if schedule.clock == "passes" else w.steps) < mark)

        walker = jax.lax.while_loop(short, step, walker)
        return walker, Row(algorithm.mixture(walker.state), walker.passes, walker.ok)

    return _strong(jax.vmap(lambda walker: jax.lax.scan(to_mark, walker, marks))(walkers))


def _strong(tree: Any) -> Any:
    """The same values without weak types: a weakly typed walker would make the second call compile anew."""
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), tree)
