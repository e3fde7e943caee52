"""Solving small problems of every K by one compiled program, each nested in a larger problem of one of a few sizes.

On few data, compiling a method takes longer than running it, and a compiled program serves one number of components. A
problem is therefore solved for mixtures of more components, of which only the first K can have points
(`Problem.nested_in`), and the answers are cut to these. The size depends on the problem alone, and so do the answers,
whichever other K are requested.

Several problems of one shape, such as the folds of a candidate, are climbed by one call of one program. The one loop
(`loop/run.py`) returns to Python whenever a restart stops, to write rows, report progress and keep a checkpoint. If a
climb takes less time than that, all climbs of all problems wait in one queue on the device instead, and a slot whose
climb has ended takes the next one. Only the end of each climb is kept.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.engine import native
from workbench.engine.compat.compilation import jit_to_step
from workbench.loop.pool import work_of
from workbench.loop.run import run, score
from workbench.loop.trace import Trace
from workbench.methods import EM, Method
from workbench.methods.base import State
from workbench.methods.parts import Sampler
from workbench.mixture import ConjugatePrior, FlatPrior, Mixture
from workbench.mixture.covariance import Diagonal
from workbench.mixture.filled import COMPONENTS, first_components, of_variances
from workbench.problem import Problem

# A problem is nested in the largest size if a pass there is at most SMALL work, because the added work then costs less
# than compiling. Up to MODERATE work, it is nested in the smallest size that holds its components.
SMALL, MODERATE = 2**15, 2**18
SIZES = (6, COMPONENTS)


def run_nested(method: Method, problem: Problem, starts: Mixture, key: Array) -> Trace:
    """`run` of EM or of a sampler, nested where that is quicker; the trace is that of the given problem.

    If it is nested, its log-joints are those of the given problem up to a constant.
    """
    if not is_nested(method, problem):
        return run(method, problem, starts, key)
    trace = run(method, nested(problem), padded(starts, problem), key)
    return replace(trace, mixtures=restored(trace.mixtures, problem))


def nested(problem: Problem) -> Problem:
    """The larger problem that a problem is nested in; for one column, with variances instead of 1 x 1 covariances.

    In one column the two families are the same, and so are their conjugate priors: a 1 x 1 inverse-Wishart matrix is an
    inverse-gamma number.
    """
    (rows, h, *_), (k, family, prior, _, labels) = problem.tree_flatten()
    if family.is_unrestricted and problem.num_dimensions == 1 and isinstance(prior, FlatPrior | ConjugatePrior):
        h = h | {"scatter": h["scatter"][..., 0]} if "scatter" in h else h
        problem = Problem.tree_unflatten((k, Diagonal(), prior, (), labels), (rows, h, None, None))
    return problem.nested_in(size_of(problem))


def size_of(problem: Problem) -> int:
    """The number of components of the larger problem, which depends on the problem alone.

    It is smaller than the problem's own number if there is no larger problem.
    """
    if is_small(problem):
        return COMPONENTS
    return next((size for size in SIZES if size >= problem.components and _work(problem, size) <= MODERATE), 0)


def is_small(problem: Problem) -> bool:
    """Whether a pass over the points is `SMALL` work with as many components as the largest size has."""
    return _work(problem, COMPONENTS) <= SMALL


def _work(problem: Problem, components: int) -> int:
    """The work of a pass with `components` components."""
    return work_of(problem) // problem.components * components


def restored(mixtures: Mixture, problem: Problem) -> Mixture:
    """The first K components of mixtures of the larger problem, leaves [..., K, ...]: the inverse of `padded`."""
    own = first_components(mixtures, problem.components)
    if own.covariance == problem.covariance:
        return own
    return Mixture(own.weights, own.means, own.scales[..., None], problem.covariance)


def is_nested(method: Method, problem: Problem) -> bool:
    """Whether a problem is solved in a larger one. It needs few points, few components, and a flat prior on weights.

    A component without points does not affect a mode, unless it shares its covariance with the others: then the prior
    of its mean does. A sampler integrates over such a component.
    """
    prior = problem.prior
    flat = float(problem.hyperparameters.get("concentration", 1.0)) == 1.0
    alone = isinstance(prior, FlatPrior) or (isinstance(prior, ConjugatePrior) and not problem.covariance.is_shared)
    suits = prior.proper if isinstance(method, Sampler) else alone
    alike = not problem.fixed and problem.background is None
    return flat and suits and alike and problem.components <= size_of(problem)


def padded(mixtures: Mixture, problem: Problem) -> Mixture:
    """Mixtures with leaves [R, ...] and with added components, which have the mean and the covariance of the data."""
    family, size = nested(problem).covariance, size_of(problem)
    mixtures = mixtures if family == mixtures.covariance else of_variances(mixtures)
    k, d, rows = problem.components, problem.num_dimensions, problem.rows
    weights, means, scales = (np.asarray(leaf) for leaf in (mixtures.weights, mixtures.means, mixtures.scales))
    restarts, more = len(weights), size - k
    added = np.full((restarts, more), 1 / size)
    weights = np.concatenate([weights * k / size, added], 1)
    means = np.concatenate([means, np.broadcast_to(rows.shift, (restarts, more, d))], 1)
    if not family.is_shared:
        # For one component and then for all, so that one program serves every K.
        wide = np.asarray(family.broadcast(rows.matrix @ rows.matrix.T, 1))[0]
        scales = np.concatenate([scales, np.broadcast_to(wide, (restarts, more, *wide.shape))], 1)
    return Mixture(weights, means, scales, family)  # type: ignore[arg-type]


# The number of climbs side by side: enough to make the overhead of the loop negligible, and few compared with all
# climbs, because the last slots to end keep the others idle.
SLOTS = 32

# One program climbs to all points and to the folds. It takes this many problems, of which surplus ones repeat another,
# and at least this many starts, of which surplus ones are not climbed from. Callers pad rows to a multiple of WIDTH, so
# that the points of a small problem and its folds mostly have equal shapes.
PROBLEMS, STARTS, WIDTH = 10, 512, 64


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
        problems: nested problems (`is_nested`) of one shape, family and prior, on one device; at most `PROBLEMS` of
            them share a program with others.
        starts: the starts of each problem, equally many; leaves [R, ...].
        key: the random key of the method.
    """
    larger = [nested(problem) for problem in problems]
    begun = [padded(mixtures, problem) for mixtures, problem in zip(starts, problems, strict=True)]
    restarts = len(begun[0].weights)
    count = len(problems) * restarts
    most = max(STARTS, 1 << (count - 1).bit_length())
    sized = [_of_any_size(problem) for problem in larger] + [_of_any_size(larger[0])] * (PROBLEMS - len(larger))
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *sized)
    every = jax.tree.map(lambda *leaves: np.concatenate(leaves)[np.arange(most) % count], *begun)
    owners = np.repeat(np.arange(len(problems)), restarts)[np.arange(most) % count]
    is_native = native.goes_over(stacked.rows, stacked.covariance)
    ends = jax.device_get(_ends(is_native, method, stacked, every, owners, np.asarray(count), key))
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


def _of_any_size(problem: Problem) -> Problem:
    """The problem with N as an array; on the host."""
    sized: Problem = jax.tree.map(np.asarray, problem.of_any_size())
    return sized


def _every_end(method: EM, problems: Problem, starts: Mixture, owners: Array, count: Array, key: Array) -> Ends:
    """The ends of the first `count` climbs, from starts with leaves [M, ...], of problems with leaves [F, ...].

    Args:
        method: EM.
        problems: the problems.
        starts: the starts.
        owners: the problem of each start. [M]
        count: the number of climbs. []
        key: the random key of the method.
    """
    size, most = len(starts.weights), method.max_iterations
    no = jnp.asarray(False)

    def begin(number: Array) -> Slot:
        # Beyond the last climb, any climb will do, because its end is not written.
        place = jnp.minimum(number, count - 1)
        problem = jax.tree.map(lambda leaf: leaf[owners[place]], problems)
        # It goes over no rows, so that a step costs hardly more than the climbs that are left.
        counted = jnp.where(number < count, problem.rows.counted, 0)
        problem = problem.over(replace(problem.rows, counted=counted))
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
        where = jnp.where(ended, slots.number, size)
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
    ends = jax.tree.map(lambda leaf: jnp.zeros((size, *leaf.shape[1:]), leaf.dtype), blank)
    return jax.lax.while_loop(
        lambda carry: jnp.any(carry[0].number < count), to_next_end, (slots, ends, jnp.asarray(SLOTS))
    )[1]


_ends = jit_to_step(_every_end, static_argnums=(0,))
