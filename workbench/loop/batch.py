"""Lanes: restarts of any method side by side in one compiled program, which serves however many restarts there are."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from workbench.engine.compat.compilation import STEPPING, jit_by_size, jit_with
from workbench.engine.keys import of_words, quick
from workbench.engine.rows import Rows
from workbench.methods import Method
from workbench.methods.base import Algorithm, State
from workbench.mixture import Mixture
from workbench.problem import Problem

# Rows a lane can record in one call: enough to make the call's own cost vanish where every step is a row, and no more
# than so many bytes of all lanes, if that leaves the fewest.
FEWEST_ROWS, MOST_ROWS = 16, 400
BLOCK_BYTES = 2**22

# Up to so many numbers of data, and where there are enough lanes, devices share the lanes and not the rows: a core's
# cache holds all rows, and devices need not meet in every pass.
ROWS_SHARED_BEYOND = 2**18

# Devices that share the lanes meet to see whether a lane of any of them is done: after so many products of numbers,
# some milliseconds, beside which a meeting is short, and after so many steps at most.
WORK_BETWEEN, MOST_BETWEEN = 2**22, 32

# The name of the mesh axis along which lanes are shared out.
LANES = "lanes"


class Walker(NamedTuple):
    """One restart on its way."""

    state: State
    key: Array
    passes: Array  # []   a float: a step may cost a fraction of a pass
    steps: Array  # []
    rows: Array  # []   rows recorded after the start
    ok: Array  # []
    converged: Array  # []
    collapsed: Array  # []
    stopped: Array  # []
    log_evidence: Array | None  # []   None where the method estimates none
    energy: Array | None  # []   None where the method has none
    evidence_bound: Array | None  # []   None where the method climbs none


class Row(NamedTuple):
    """One restart at one mark."""

    mixture: Mixture
    passes: Array  # []
    ok: Array  # []
    energy: Array | None  # []


class Stretch(NamedTuple):
    """What one call of `advance` did."""

    lanes: Walker  # leaves [L, ...]
    rows: Row  # leaves [L, B, ...]   B the most that a call records
    filled: Array  # [L]   how many of the rows were recorded
    done: Array  # [L]   stopped, or recorded its last row
    steps: Array  # []   that every lane took


class KeyData(NamedTuple):
    """A random key as numbers, so that walkers can leave the device and be written to disk."""

    numbers: Array


def begin(method: Method, problem: Problem, starts: Mixture, key: Array, restarts: ArrayLike) -> Walker:
    """Walkers at their starts, leaves [L, ...]; restart r uses the r-th key derived from `key`."""
    return _begin(problem.rows.z.size, method, _asked(method, problem), starts, quick(key), jnp.asarray(restarts))


def _asked(method: Method, problem: Problem) -> Problem:
    """What a program is compiled for: where the method can do without N, one for all N of one padded shape."""
    return problem.of_any_size() if method.takes_any_size else problem


def _at_starts(method: Method, problem: Problem, starts: Mixture, key: Array, restarts: Array) -> Walker:
    """Lanes are shared out as `advance` shares them: then JAX need not trace anew there what it has traced here."""
    mesh = _lanes_mesh(problem.rows, len(restarts))
    if mesh is None:
        return _walkers(method, problem, starts, key, restarts)
    everywhere, own = PartitionSpec(), PartitionSpec(LANES)
    shared: Callable[..., Walker] = jax.shard_map(
        partial(_walkers, method),
        mesh=mesh,
        in_specs=(everywhere, own, everywhere, own),
        out_specs=own,
        check_vma=False,
    )
    return shared(problem.over(problem.rows.whole), starts, key, restarts)


def _walkers(method: Method, problem: Problem, starts: Mixture, key: Array, restarts: Array) -> Walker:
    algorithm = method.bind(problem)

    def one(start: Mixture, restart: Array) -> Walker:
        own = jax.random.fold_in(key, restart)
        zero, no = jnp.asarray(0), jnp.asarray(False)
        state = algorithm.init(own, start)
        return Walker(state, own, jnp.zeros(()), zero, zero, ~no, no, no, no, *_told(algorithm, state))

    return _plain(jax.vmap(one)(starts, restarts))


_begin = jit_by_size(_at_starts, static_argnums=(0,))


def seated(method: Method, problem: Problem, lanes: Walker) -> tuple[Problem, Walker]:
    """A problem and walkers from the host, where `advance` wants them and leaves them.

    It would be compiled anew for walkers that lie elsewhere, and would move the points in every call.
    """
    problem = _asked(method, problem)
    mesh, spec = _lanes_mesh(problem.rows, len(lanes.steps)), PartitionSpec(LANES)
    if mesh is not None:
        problem = jax.device_put(problem, NamedSharding(mesh, PartitionSpec()))
    elif problem.rows.shared:
        mesh, spec = problem.rows.mesh, PartitionSpec()
    if mesh is None:
        return problem, lanes
    place = NamedSharding(mesh, spec)
    put = partial(jax.make_array_from_callback, sharding=place)
    return problem, jax.tree.map(lambda leaf: put(leaf.shape, data_callback=lambda index: leaf[index]), lanes)


@jit_with(STEPPING, static_argnums=0)
def advance(
    method: Method, problem: Problem, lanes: Walker, marks: ArrayLike, until: ArrayLike, limit: ArrayLike
) -> Stretch:
    """Advance all lanes together, recording each at its marks.

    It ends when a lane is done (its restart has stopped, or has recorded `until` rows) or has filled its block of rows,
    and after `limit` steps. None of the lanes is ever done on entry.

    Devices share the rows in every pass, or, where passes are short, the lanes: then a lane may be done for up to
    `MOST_BETWEEN` steps before the others hear of it, and the limit is rounded up to their next meeting.

    Args:
        method: a frozen config.
        problem: what to solve.
        lanes: walkers on their way, leaves [L, ...], as `seated` places them.
        marks: of the method's schedule. [T - 1]
        until: rows after which a lane is done.
        limit: most steps; zero only compiles.
    """
    mesh = _lanes_mesh(problem.rows, len(lanes.steps))
    if mesh is None:
        return _advance(method, problem, lanes, jnp.asarray(marks), until, limit)
    everywhere, own = PartitionSpec(), PartitionSpec(LANES)
    shared: Callable[..., tuple[Any, ...]] = jax.shard_map(
        lambda *given: tuple(_advance(method, *given, meets=True)),
        mesh=mesh,
        in_specs=(everywhere, own, everywhere, everywhere, everywhere),
        out_specs=(own, own, own, own, everywhere),
        check_vma=False,
    )
    return Stretch._make(shared(problem.over(problem.rows.whole), lanes, jnp.asarray(marks), until, limit))


def _advance(
    method: Method,
    problem: Problem,
    lanes: Walker,
    marks: Array,
    until: ArrayLike,
    limit: ArrayLike,
    *,
    meets: bool = False,
) -> Stretch:
    """Advance the lanes of a device, which meets the others or is the only one."""
    schedule = method.schedule()
    algorithm = method.bind(problem)
    work = problem.rows.num_numbers * problem.components * len(lanes.steps)
    between = min(max(WORK_BETWEEN // work, 1), MOST_BETWEEN)
    most = np.inf if schedule.max_steps is None else schedule.max_steps

    def put(rows: Array, row: Array, place: Array) -> Array:
        return rows.at[place].set(row)

    def is_due(walkers: Walker) -> Array:
        clock = walkers.passes if schedule.clock == "passes" else walkers.steps
        return walkers.stopped | (clock >= marks[walkers.rows])  # [L]

    def step(walker: Walker) -> Walker:
        state, info = algorithm.step(jax.random.fold_in(walker.key, walker.steps), walker.state)
        log_evidence, energy, evidence_bound = _told(algorithm, state)
        return walker._replace(
            state=state,
            passes=walker.passes + info.passes,
            steps=walker.steps + 1,
            ok=walker.ok & info.ok,
            converged=info.converged,
            collapsed=info.collapsed,
            stopped=info.stopped | (walker.steps + 1 >= most),
            log_evidence=log_evidence,
            energy=energy,
            evidence_bound=evidence_bound,
        )

    def to_next_mark(now: Stretch, limit: ArrayLike) -> Stretch:
        walkers, steps = jax.lax.while_loop(
            lambda carry: ~jnp.any(is_due(carry[0])) & (carry[1] < limit),
            lambda carry: (jax.vmap(step)(carry[0]), carry[1] + 1),
            (now.lanes, now.steps),
        )
        due = is_due(walkers)
        row = Row(jax.vmap(algorithm.mixture)(walkers.state), walkers.passes, walkers.ok, walkers.energy)
        # A lane that is not due writes as well, where its next row will take the place.
        rows = jax.tree.map(lambda block, one: jax.vmap(put)(block, one, now.filled), now.rows, row)
        walkers = walkers._replace(rows=walkers.rows + due)
        done = due & (walkers.stopped | (walkers.rows >= until))
        return Stretch(walkers, rows, now.filled + due, done, steps)

    def has_ended(now: Stretch) -> Array:
        return jnp.any(now.done) | jnp.any(now.filled >= block)

    def alone(now: Stretch, limit: ArrayLike) -> Stretch:
        return jax.lax.while_loop(
            lambda now: (now.steps < limit) & ~has_ended(now), lambda now: to_next_mark(now, limit), now
        )

    def together(now: Stretch) -> Stretch:
        def to_meeting(carry: tuple[Stretch, Array, Array]) -> tuple[Stretch, Array, Array]:
            now = alone(carry[0], carry[1] + between)
            return now, carry[1] + between, jax.lax.pmax(has_ended(now), LANES)

        zero, no = jnp.asarray(0), jnp.asarray(False)
        end, _, _ = jax.lax.while_loop(lambda carry: (carry[1] < limit) & ~carry[2], to_meeting, (now, zero, no))
        return end._replace(steps=jax.lax.pmax(end.steps, LANES))

    walkers = _typed(lanes)
    none = jnp.zeros_like(walkers.rows)
    first = Row(jax.vmap(algorithm.mixture)(walkers.state), walkers.passes, walkers.ok, walkers.energy)
    block = block_of(first)
    rows = jax.tree.map(lambda leaf: jnp.zeros((len(leaf), block, *leaf.shape[1:]), leaf.dtype), first)
    begun = Stretch(walkers, rows, none, none > 0, jnp.asarray(0))
    end = together(begun) if meets else alone(begun, limit)
    return end._replace(lanes=_plain(end.lanes))


def block_of(row: Row) -> int:
    """How many rows like this one, of all lanes, a call records at most."""
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(row))
    return min(max(BLOCK_BYTES // size, FEWEST_ROWS), MOST_ROWS)


def _lanes_mesh(rows: Rows, lanes: int) -> Mesh | None:
    """The devices that share so many lanes, equally many each; None where they do not."""
    if rows.mesh is None or rows.mesh.is_multi_process or rows.num_numbers > ROWS_SHARED_BEYOND:
        return None
    count = max(number for number in range(1, rows.mesh.size + 1) if lanes % number == 0)
    if count == 1 or (rows.shared and count < rows.mesh.size):
        return None
    return Mesh(rows.mesh.devices[:count], (LANES,), axis_types=(AxisType.Auto,))


def _told(algorithm: Algorithm, state: State) -> tuple[Array | None, Array | None, Array | None]:
    """The estimate of the evidence, the energy, and the lower bound of the evidence, where the method has them."""
    told = (algorithm.log_evidence, algorithm.energy, algorithm.evidence_bound)
    return tuple(None if of is None else of(state) for of in told)  # type: ignore[return-value]


def _plain(walkers: Walker) -> Walker:
    """Keys as numbers, and no weak types: a weakly typed walker would make the second call compile anew."""

    def plain(leaf: Array) -> Any:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return KeyData(jax.random.key_data(leaf))
        return jax.lax.convert_element_type(leaf, leaf.dtype)

    return Walker(*jax.tree.map(plain, tuple(walkers)))


def _typed(walkers: Walker) -> Walker:
    """Inverse of `_plain`."""

    def typed(leaf: Any) -> Any:
        return of_words(leaf.numbers) if isinstance(leaf, KeyData) else leaf

    return Walker(*jax.tree.map(typed, tuple(walkers), is_leaf=lambda leaf: isinstance(leaf, KeyData)))
