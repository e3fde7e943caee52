"""The refits of a bootstrap: EM from the estimate on replicates of the data, by one of three schemes."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.engine.keys import restart_keys
from workbench.engine.observations import drawn_observations
from workbench.methods import EM
from workbench.mixture import Mixture
from workbench.problem import Problem

Scheme = Callable[[Array, Problem, Mixture], Problem]  # (key, problem, estimate) -> the problem of one replicate

# Replicates that climb in one batch, which waits for the slowest of them.
TOGETHER = 250

# Seconds that one call of a compiled program should take. Between calls Python runs, and an interruption is heeded.
BETWEEN = 0.5


def nonparametric(key: Array, problem: Problem, estimate: Mixture) -> Problem:
    """Observations drawn with replacement; a row counts as often as it is drawn (Efron 1979).

    If rows have weights, as many observations are drawn as these sum up to, rounded.
    """
    rows, count = problem.rows, round(problem.num_points)
    if rows.weights is None:
        drawn = jax.random.randint(key, (count,), 0, count)
    else:
        drawn = drawn_observations(key, count, rows.each_weight, rows.num_points)
    return problem.over(rows.weighted(jnp.zeros(rows.num_rows, problem.dtype).at[drawn].add(1.0)))


def parametric(key: Array, problem: Problem, estimate: Mixture) -> Problem:
    """The same number of new points, drawn from the fitted mixture."""
    x, _ = estimate.sample(key, round(problem.num_points))
    return problem.over(problem.rows.holding(x))


def weighted(key: Array, problem: Problem, estimate: Mixture) -> Problem:
    """Rows with uniform Dirichlet weights: the weighted likelihood bootstrap (Newton & Raftery 1994, JRSS B 56).

    The weight of a row that stands for w observations is the sum of theirs, which has a gamma distribution of shape w.
    """
    rows = problem.rows
    if rows.weights is None:
        return problem.over(rows.weighted(jax.random.exponential(key, (rows.num_rows,), problem.dtype)))
    return problem.over(rows.weighted(jax.random.gamma(key, rows.each_weight, dtype=problem.dtype)))


SCHEMES: dict[str, Scheme] = {"nonparametric": nonparametric, "parametric": parametric, "weighted": weighted}


class Fitted(NamedTuple):
    """The end of a climb."""

    mixture: Mixture
    converged: Array  # []
    passes: Array  # []


def refits(scheme: str, problem: Problem, estimate: Mixture, key: Array, replicates: int, *, em: EM) -> Fitted:
    """EM from the estimate on every replicate of a bootstrap. Leaves [B, ...]

    The prior does not change. A replicate in which a component collapses has not converged. Ctrl-C is heeded within a
    second or two, because Python runs between short calls of compiled programs.

    Args:
        scheme: one of `SCHEMES`.
        problem: the problem that was fitted.
        estimate: its maximum.
        key: replicate b uses the b-th key derived from it.
        replicates: B.
        em: gives the steps and the stopping rule.
    """
    keys, parts = restart_keys(key, replicates), []
    for first in range(0, replicates, TOGETHER):
        some = keys[first : first + TOGETHER]
        until, steps = 0, 1
        at = _advanced(problem, estimate, some, None, until, scheme=scheme, em=em)
        while until < em.max_iterations and not np.all(at.stopped):
            until, began = min(until + steps, em.max_iterations), time.perf_counter()
            at = jax.block_until_ready(_advanced(problem, estimate, some, at, until, scheme=scheme, em=em))
            share = BETWEEN / (time.perf_counter() - began)
            steps = max(1, int(steps * min(share, 2.0)))
        parts.append(at.fitted)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


class _Climb(NamedTuple):
    """How far a climb is."""

    state: Any  # of the algorithm
    fitted: Fitted
    stopped: Array  # []


def climb(em: EM, problem: Problem, start: Mixture) -> Fitted:
    """EM from a start until its stopping rule is met; pure, so that it can be batched over starts and problems."""
    return _climbed(em, problem, _begun(em, problem, start), em.max_iterations).fitted


def _begun(em: EM, problem: Problem, start: Mixture) -> _Climb:
    """A climb before its first step. EM draws nothing."""
    no = jnp.asarray(False)
    return _Climb(em.bind(problem).init(jax.random.key(0), start), Fitted(start, no, jnp.asarray(0)), no)


def _climbed(em: EM, problem: Problem, climb: _Climb, until: Array | int) -> _Climb:
    """A climb after its stopping rule is met, or after so many passes in all."""
    algorithm, key = em.bind(problem), jax.random.key(0)

    def step(at: _Climb) -> _Climb:
        state, info = algorithm.step(key, at.state)
        now = Fitted(algorithm.mixture(state), info.converged, at.fitted.passes + info.passes)
        return _Climb(state, now, info.stopped)

    return jax.lax.while_loop(lambda at: ~at.stopped & (at.fitted.passes < until), step, climb)


@partial(jax.jit, static_argnames=("scheme", "em"))
def _advanced(
    problem: Problem, estimate: Mixture, keys: Array, climbs: _Climb | None, until: Array, *, scheme: str, em: EM
) -> _Climb:
    """The climbs of a batch of replicates [B], none of which is begun if there are none, until so many passes."""

    def one(key: Array, climb: _Climb | None) -> _Climb:
        own = SCHEMES[scheme](key, problem, estimate)
        return _begun(em, own, estimate) if climb is None else _climbed(em, own, climb, until)

    return jax.vmap(one)(keys, climbs)
