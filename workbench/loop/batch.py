"""Batches: one compiled program advances several restarts of a method together, and serves any number of restarts."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from workbench.engine import native
from workbench.engine.compat.compilation import jit_by_size, jit_to_step
from workbench.engine.keys import of_words, quick
from workbench.engine.rows import Rows
from workbench.methods import Method
from workbench.methods.base import Algorithm, State
from workbench.mixture import Mixture
from workbench.problem import Problem

# Limits on the rows that a call records for each restart. There are enough for the overhead of a call to be negligible
# when every step is a row. The rows of a batch take at most BLOCK_BYTES, unless that leaves fewer than FEWEST_ROWS.
FEWEST_ROWS, MOST_ROWS = 16, 400
BLOCK_BYTES = 2**22

# With at most this many numbers of data, and enough restarts, devices share the batch instead of the rows. The cache of
# a core then holds all rows, and devices need not synchronise in every pass.
ROWS_SHARED_BEYOND = 2**18

# Devices that share a batch synchronise to see whether any restart is done: after this many multiplications, which take
# some milliseconds, so that the synchronisation is short beside them, and after at most this many steps.
WORK_BETWEEN, MOST_BETWEEN = 2**22, 32

# The name of the mesh axis along which a batch is split.
BATCH_AXIS = "batch"


class RestartState(NamedTuple):
    """The progress of one restart."""

    state: State
    key: Array
    passes: Array  # []   a float, because a step may cost a fraction of a pass
    steps: Array  # []
    rows: Array  # []   rows recorded after the start
    ok: Array  # []
    converged: Array  # []
    collapsed: Array  # []
    stopped: Array  # []
    log_evidence: Array | None  # []   None where the method estimates none
    energy: Array | None  # []   None where the method has none
    evidence_bound: Array | None  # []   None where the method climbs none


class RecordedRow(NamedTuple):
    """One restart at one mark."""

    mixture: Mixture
    passes: Array  # []
    ok: Array  # []
    energy: Array | None  # []


class Advanced(NamedTuple):
    """The result of one call of `advance`."""

    states: RestartState  # leaves [L, ...]
    rows: RecordedRow  # leaves [L, B, ...]   B the most that a call records
    filled: Array  # [L]   number of rows that were recorded
    done: Array  # [L]   the restart has stopped or has recorded its last row
    steps: Array  # []   steps that each restart of the batch took


class KeyData(NamedTuple):
    """A random key as numbers, so that it can leave the device and be written to disk."""

    numbers: Array


def begin(method: Method, problem: Problem, starts: Mixture, key: Array, restarts: ArrayLike) -> RestartState:
    """Restarts at their starts, leaves [L, ...]; restart r uses the r-th key derived from `key`."""
    compiled = method.as_compiled()
    sized = _compiled_for(compiled, problem)
    return _begin(problem.rows.z.size, compiled, sized, starts, quick(key), jnp.asarray(restarts))


def _compiled_for(method: Method, problem: Problem) -> Problem:
    """The problem that a program is compiled for; if the method allows it, for all N of one padded shape."""
    return problem.of_any_size() if method.takes_any_size else problem


def _at_starts(method: Method, problem: Problem, starts: Mixture, key: Array, restarts: Array) -> RestartState:
    """The states at the starts. The batch is split as in `advance`, so that JAX need not trace again there."""
    mesh = _batch_mesh(problem.rows, len(restarts))
    if mesh is None:
        return _states_at(method, problem, starts, key, restarts)
    everywhere, own = PartitionSpec(), PartitionSpec(BATCH_AXIS)
    shared: Callable[..., RestartState] = jax.shard_map(
        partial(_states_at, method),
        mesh=mesh,
        in_specs=(everywhere, own, everywhere, own),
        out_specs=own,
        check_vma=False,
    )
    return shared(problem.over(problem.rows.whole), starts, key, restarts)


def _states_at(method: Method, problem: Problem, starts: Mixture, key: Array, restarts: Array) -> RestartState:
    algorithm = method.bind(problem)

    def one(start: Mixture, restart: Array) -> RestartState:
        own = jax.random.fold_in(key, restart)
        zero, no = jnp.asarray(0), jnp.asarray(False)
        state = algorithm.init(own, start)
        return RestartState(state, own, jnp.zeros(()), zero, zero, ~no, no, no, no, *_reported(algorithm, state))

    return _with_key_data(jax.vmap(one)(starts, restarts))


_begin = jit_by_size(_at_starts, static_argnums=(0,))


def placed(method: Method, problem: Problem, batch: RestartState) -> tuple[Problem, RestartState]:
    """A problem and a batch from the host, on the devices where `advance` expects them and leaves them.

    For a batch on other devices `advance` would be compiled again, and would move the points in every call.
    """
    problem = _compiled_for(method, problem)
    mesh, spec = _batch_mesh(problem.rows, len(batch.steps)), PartitionSpec(BATCH_AXIS)
    if mesh is not None:
        problem = jax.device_put(problem, NamedSharding(mesh, PartitionSpec()))
    elif problem.rows.shared:
        mesh, spec = problem.rows.mesh, PartitionSpec()
    if mesh is None:
        return problem, batch
    place = NamedSharding(mesh, spec)
    put = partial(jax.make_array_from_callback, sharding=place)
    return problem, jax.tree.map(lambda leaf: put(leaf.shape, data_callback=lambda index: leaf[index]), batch)


def advance(
    method: Method, problem: Problem, batch: RestartState, marks: ArrayLike, until: ArrayLike, limit: ArrayLike
) -> Advanced:
    """Advance all restarts of a batch together, and record each at its marks.

    The call ends when a restart is done (it has stopped, or has recorded `until` rows) or has filled its block of rows,
    and at the latest after `limit` steps. No restart of the batch is done on entry.

    Devices share the rows in every pass or, if passes are short, the batch. In the second case a restart may be done
    for up to `MOST_BETWEEN` steps before the other devices learn of it, and the limit is rounded up to the next
    synchronisation.

    Args:
        method: a frozen config.
        problem: the problem to solve.
        batch: unfinished restarts, leaves [L, ...], as `placed` puts them.
        marks: of the method's schedule. [T - 1]
        until: number of rows after which a restart is done.
        limit: most steps; a call with zero only compiles.
    """
    is_native = not method.computes_outside_pass and native.goes_over(problem.rows, problem.covariance)
    return _to_next_end(is_native, method, problem, batch, marks, until, limit)


def advance_program(
    method: Method, problem: Problem, batch: RestartState, marks: ArrayLike, until: ArrayLike, limit: ArrayLike
) -> Advanced:
    """The program of `advance`."""
    mesh = _batch_mesh(problem.rows, len(batch.steps))
    if mesh is None:
        return _advance(method, problem, batch, jnp.asarray(marks), until, limit)
    everywhere, own = PartitionSpec(), PartitionSpec(BATCH_AXIS)
    shared: Callable[..., tuple[Any, ...]] = jax.shard_map(
        lambda *given: tuple(_advance(method, *given, meets=True)),
        mesh=mesh,
        in_specs=(everywhere, own, everywhere, everywhere, everywhere),
        out_specs=(own, own, own, own, everywhere),
        check_vma=False,
    )
    return Advanced._make(shared(problem.over(problem.rows.whole), batch, jnp.asarray(marks), until, limit))


_to_next_end = jit_to_step(advance_program, static_argnums=(0,))


def _advance(
    method: Method,
    problem: Problem,
    batch: RestartState,
    marks: Array,
    until: ArrayLike,
    limit: ArrayLike,
    *,
    meets: bool = False,
) -> Advanced:
    """Advance the restarts of one device; with `meets`, it synchronises with the others."""
    schedule = method.schedule()
    algorithm = method.bind(problem)
    work = problem.rows.num_numbers * problem.components * len(batch.steps)
    between = min(max(WORK_BETWEEN // work, 1), MOST_BETWEEN)
    most = np.inf if schedule.max_steps is None else schedule.max_steps

    def put(rows: Array, row: Array, place: Array) -> Array:
        return rows.at[place].set(row)

    def is_due(states: RestartState) -> Array:
        clock = states.passes if schedule.clock == "passes" else states.steps
        return states.stopped | (clock >= marks[states.rows])  # [L]

    def step(restart: RestartState) -> RestartState:
        state, info = algorithm.step(jax.random.fold_in(restart.key, restart.steps), restart.state)
        log_evidence, energy, evidence_bound = _reported(algorithm, state)
        return restart._replace(
            state=state,
            passes=restart.passes + info.passes,
            steps=restart.steps + 1,
            ok=restart.ok & info.ok,
            converged=info.converged,
            collapsed=info.collapsed,
            stopped=info.stopped | (restart.steps + 1 >= most),
            log_evidence=log_evidence,
            energy=energy,
            evidence_bound=evidence_bound,
        )

    def to_next_mark(now: Advanced, limit: ArrayLike) -> Advanced:
        states, steps = jax.lax.while_loop(
            lambda carry: ~jnp.any(is_due(carry[0])) & (carry[1] < limit),
            lambda carry: (jax.vmap(step)(carry[0]), carry[1] + 1),
            (now.states, now.steps),
        )
        due = is_due(states)
        row = RecordedRow(jax.vmap(algorithm.mixture)(states.state), states.passes, states.ok, states.energy)
        # A restart that is not due writes as well; its next row will overwrite what it writes.
        rows = jax.tree.map(lambda block, one: jax.vmap(put)(block, one, now.filled), now.rows, row)
        states = states._replace(rows=states.rows + due)
        done = due & (states.stopped | (states.rows >= until))
        return Advanced(states, rows, now.filled + due, done, steps)

    def has_ended(now: Advanced) -> Array:
        return jnp.any(now.done) | jnp.any(now.filled >= block)

    def alone(now: Advanced, limit: ArrayLike) -> Advanced:
        return jax.lax.while_loop(
            lambda now: (now.steps < limit) & ~has_ended(now), lambda now: to_next_mark(now, limit), now
        )

    def together(now: Advanced) -> Advanced:
        def to_meeting(carry: tuple[Advanced, Array, Array]) -> tuple[Advanced, Array, Array]:
            now = alone(carry[0], carry[1] + between)
            return now, carry[1] + between, jax.lax.pmax(has_ended(now), BATCH_AXIS)

        zero, no = jnp.asarray(0), jnp.asarray(False)
        end, _, _ = jax.lax.while_loop(lambda carry: (carry[1] < limit) & ~carry[2], to_meeting, (now, zero, no))
        return end._replace(steps=jax.lax.pmax(end.steps, BATCH_AXIS))

    states = _with_keys(batch)
    none = jnp.zeros_like(states.rows)
    first = RecordedRow(jax.vmap(algorithm.mixture)(states.state), states.passes, states.ok, states.energy)
    block = block_of(first)
    rows = jax.tree.map(lambda leaf: jnp.zeros((len(leaf), block, *leaf.shape[1:]), leaf.dtype), first)
    begun = Advanced(states, rows, none, none > 0, jnp.asarray(0))
    end = together(begun) if meets else alone(begun, limit)
    return end._replace(states=_with_key_data(end.states))


def block_of(row: RecordedRow) -> int:
    """Most rows that a call records for each restart, from the size of one row of all restarts."""
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(row))
    return min(max(BLOCK_BYTES // size, FEWEST_ROWS), MOST_ROWS)


def _batch_mesh(rows: Rows, size: int) -> Mesh | None:
    """The devices that share a batch of this size, with equally many restarts each; None if they do not share it."""
    if rows.mesh is None or rows.mesh.is_multi_process or rows.num_numbers > ROWS_SHARED_BEYOND:
        return None
    count = max(number for number in range(1, rows.mesh.size + 1) if size % number == 0)
    if count == 1 or (rows.shared and count < rows.mesh.size):
        return None
    return Mesh(rows.mesh.devices[:count], (BATCH_AXIS,), axis_types=(AxisType.Auto,))


def _reported(algorithm: Algorithm, state: State) -> tuple[Array | None, Array | None, Array | None]:
    """The estimate of the evidence, the energy, and the lower bound of the evidence; None where the method has none."""
    parts = (algorithm.log_evidence, algorithm.energy, algorithm.evidence_bound)
    return tuple(None if of is None else of(state) for of in parts)  # type: ignore[return-value]


def _with_key_data(states: RestartState) -> RestartState:
    """Keys as numbers, and no weak types, because the second call would compile again for a weakly typed state."""

    def plain(leaf: Array) -> Any:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return KeyData(jax.random.key_data(leaf))
        return jax.lax.convert_element_type(leaf, leaf.dtype)

    return RestartState(*jax.tree.map(plain, tuple(states)))


def _with_keys(states: RestartState) -> RestartState:
    """Inverse of `_with_key_data`."""

    def typed(leaf: Any) -> Any:
        return of_words(leaf.numbers) if isinstance(leaf, KeyData) else leaf

    return RestartState(*jax.tree.map(typed, tuple(states), is_leaf=lambda leaf: isinstance(leaf, KeyData)))
