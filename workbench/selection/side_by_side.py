"""Climbing small problems of one shape side by side, by one call of one program, as the folds of a candidate are.

The one loop (`loop/run.py`) goes back to Python whenever a restart stops, to write rows, to tell how far it is and to
keep a checkpoint. Where a climb takes less time than that, all climbs of all problems wait in one queue on the device
instead: a lane whose climb has ended takes the next. What is kept is where each climb ends.
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

# Climbs side by side: as many as make the loop's own cost vanish, and few beside all, because the last lanes to end
# keep the others waiting.
LANES = 32


class Ends(NamedTuple):
    """Where M climbs ended."""

    mixture: Mixture  # leaves [M, ...]
    passes: Array  # [M]
    ok: Array  # [M]
    converged: Array  # [M]
    collapsed: Array  # [M]


class Lane(NamedTuple):
    """One climb on its way."""

    number: Array  # []   of the climb; M where none is left
    problem: Problem
    state: State
    passes: Array  # []
    ok: Array  # []
    converged: Array  # []
    collapsed: Array  # []
    stopped: Array  # []


def climb_side_by_side(method: EM, problems: Sequence[Problem], starts: Sequence[Mixture], key: Array) -> list[Trace]:
    """The ends of a problem's starts, as traces of one row, for each of several problems; each step costs a pass.

    Args:
        method: EM, which races no starts here.
        problems: of one shape, family and prior, on one device; they are nested (`nesting.is_nested`).
        starts: of each problem, equally many; leaves [R, ...].
        key: of the method.
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
                seconds=np.zeros(1),  # nobody asks what a fold costs
                compile_seconds=0.0,
                score_seconds=0.0,
                draws=0,
            )
        )
    return traces


@jit_with(STEPPING, static_argnums=0)
def _ends(method: EM, problems: Problem, starts: Mixture, key: Array) -> Ends:
    """Of all climbs of problems with leaves [F, ...], from starts with leaves [F R, ...]."""
    count = len(starts.weights)
    restarts, most = count // len(jax.tree.leaves(problems)[0]), method.max_iterations
    no = jnp.asarray(False)

    def begin(number: Array) -> Lane:
        # Beyond the last climb: any other, whose end is not written.
        place = jnp.minimum(number, count - 1)
        problem = jax.tree.map(lambda leaf: leaf[place // restarts], problems)
        state = method.bind(problem).init(key, jax.tree.map(lambda leaf: leaf[place], starts))
        return Lane(number, problem, state, jnp.asarray(0), ~no, no, no, no)

    def step(lane: Lane) -> Lane:
        state, info = method.bind(lane.problem).step(key, lane.state)
        passes, ok = lane.passes + info.passes, lane.ok & info.ok
        return Lane(
            lane.number,
            lane.problem,
            state,
            passes,
            ok,
            info.converged,
            info.collapsed,
            info.stopped | (passes >= most),
        )

    def to_next_end(carry: tuple[Lane, Ends, Array]) -> tuple[Lane, Ends, Array]:
        lanes, ends, following = carry
        lanes = jax.lax.while_loop(lambda now: ~jnp.any(has_ended(now)), jax.vmap(step), lanes)
        ended = has_ended(lanes)
        where = jnp.where(ended, lanes.number, count)
        mixtures = jax.vmap(lambda lane: method.bind(lane.problem).mixture(lane.state))(lanes)
        told = Ends(mixtures, lanes.passes, lanes.ok, lanes.converged, lanes.collapsed)
        ends = jax.tree.map(lambda kept, new: kept.at[where].set(new, mode="drop"), ends, told)
        numbers = jnp.where(ended, jnp.minimum(following + jnp.cumsum(ended) - 1, count), lanes.number)
        fresh = jax.vmap(begin)(numbers)
        chosen = jax.tree.map(
            lambda new, old: jnp.where(ended.reshape(-1, *(1,) * (old.ndim - 1)), new, old), fresh, lanes
        )
        return chosen, ends, following + jnp.sum(ended)

    def has_ended(lanes: Lane) -> Array:
        return lanes.stopped & (lanes.number < count)

    lanes = jax.vmap(begin)(jnp.minimum(jnp.arange(LANES), count))
    first = jax.vmap(lambda lane: method.bind(lane.problem).mixture(lane.state))(lanes)
    blank = Ends(first, lanes.passes, lanes.ok, lanes.converged, lanes.collapsed)
    ends = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape[1:]), leaf.dtype), blank)
    return jax.lax.while_loop(
        lambda carry: jnp.any(carry[0].number < count), to_next_end, (lanes, ends, jnp.asarray(LANES))
    )[1]
