"""Climbing small problems of one shape side by side, by one call of one program, such as the folds of a candidate.

The one loop (`loop/run.py`) returns to Python whenever a restart stops, to write rows, report progress and keep a
checkpoint. If a climb takes less time than that, all climbs of all problems wait in one queue on the device instead,
and a slot whose climb has ended takes the next one. Only the end of each climb is kept.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.engine.compat.compilation import STEPPING, jit_with
from workbench.loop.run import score
from workbench.loop.trace import Trace
from workbench.methods import EM
from workbench.methods.base import State
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.selection.nesting import nested, padded, restored

# The number of climbs side by side: enough to make the overhead of the loop negligible, and few compared with all
# climbs, because the last slots to end keep the others idle.
SLOTS = 32


class Ends(NamedTuple):
    """The ends of M climbs."""

    mixture: Mixture  # leaves [M, ...]
    passes: Array  # [M]
    ok: Array  # [M]
    converged: Array  # [M]
    collapsed: Array  # [M]


class Slot(NamedTuple):
    """One climb in progress."""

    number: Array  # []   the number of the climb; M if none is left
    problem: Problem
    state: State
    passes: Array  # []
    ok: Array  # []
    converged: Array  # []
    collapsed: Array  # []
    stopped: Array  # []


def climb_side_by_side(method: EM, problems: Sequence[Problem], starts: Sequence[Mixture], key: Array) -> list[Trace]:
    """Climb from the starts of several problems; a trace of one row, the end, for each problem. A step costs a pass.

    Args:
        method: EM, which races no starts here.
        problems: nested problems (`nesting.is_nested`) of one shape, family and prior, on one device.
        starts: the starts of each problem, equally many; leaves [R, ...].
        key: the random key of the method.
    """
    larger = [nested(problem) for problem in problems]
    begun = [padded(mixtures, problem) for mixtures, problem in zip(starts, problems, strict=True)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *larger)
    ends = jax.device_get(_ends(method, stacked, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *begun), key))
    restarts = len(begun[0].weights)
    traces = []
    for place, problem in enumerate(larger):
        own = jax.tree.map(lambda leaf, p=place: leaf[p * restarts : (p + 1) * restarts, None], ends)
        log_joint, log_likelihood = score(problem, own.mixture)
        traces.append(
            Trace(
                mixtures=restored(own.mixture, problems[place]),
                log_joint=log_joint,
                log_likelihood=log_likelihood,
                passes=own.passes,
                ok=own.ok,
                converged=own.converged[:, 0],
                collapsed=own.collapsed[:, 0],
                seconds=np.zeros(1),  # the cost of a fold is not reported
                compile_seconds=0.0,
                score_seconds=0.0,
                draws=0,
            )
        )
    return traces


@jit_with(STEPPING, static_argnums=0)
def _ends(method: EM, problems: Problem, starts: Mixture, key: Array) -> Ends:
    """The ends of all climbs of problems with leaves [F, ...], from starts with leaves [F R, ...]."""
    count = len(starts.weights)
    restarts, most = count // len(jax.tree.leaves(problems)[0]), method.max_iterations
    no = jnp.asarray(False)

    def begin(number: Array) -> Slot:
        # Beyond the last climb, any climb will do, because its end is not written.
        place = jnp.minimum(number, count - 1)
        problem = jax.tree.map(lambda leaf: leaf[place // restarts], problems)
        state = method.bind(problem).init(key, jax.tree.map(lambda leaf: leaf[place], starts))
        return Slot(number, problem, state, jnp.asarray(0), ~no, no, no, no)

    def step(slot: Slot) -> Slot:
        state, info = method.bind(slot.problem).step(key, slot.state)
        passes, ok = slot.passes + info.passes, slot.ok & info.ok
        return Slot(
            slot.number,
            slot.problem,
            state,
            passes,
            ok,
            info.converged,
            info.collapsed,
            info.stopped | (passes >= most),
        )

    def to_next_end(carry: tuple[Slot, Ends, Array]) -> tuple[Slot, Ends, Array]:
        slots, ends, following = carry
        slots = jax.lax.while_loop(lambda now: ~jnp.any(has_ended(now)), jax.vmap(step), slots)
        ended = has_ended(slots)
        where = jnp.where(ended, slots.number, count)
        mixtures = jax.vmap(lambda slot: method.bind(slot.problem).mixture(slot.state))(slots)
        reached = Ends(mixtures, slots.passes, slots.ok, slots.converged, slots.collapsed)
        ends = jax.tree.map(lambda kept, new: kept.at[where].set(new, mode="drop"), ends, reached)
        numbers = jnp.where(ended, jnp.minimum(following + jnp.cumsum(ended) - 1, count), slots.number)
        fresh = jax.vmap(begin)(numbers)
        chosen = jax.tree.map(
            lambda new, old: jnp.where(ended.reshape(-1, *(1,) * (old.ndim - 1)), new, old), fresh, slots
        )
        return chosen, ends, following + jnp.sum(ended)

    def has_ended(slots: Slot) -> Array:
        return slots.stopped & (slots.number < count)

    slots = jax.vmap(begin)(jnp.minimum(jnp.arange(SLOTS), count))
    first = jax.vmap(lambda slot: method.bind(slot.problem).mixture(slot.state))(slots)
    blank = Ends(first, slots.passes, slots.ok, slots.converged, slots.collapsed)
    ends = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape[1:]), leaf.dtype), blank)
    return jax.lax.while_loop(
        lambda carry: jnp.any(carry[0].number < count), to_next_end, (slots, ends, jnp.asarray(SLOTS))
    )[1]
