"""Bootstraps of a fitted mixture: the mixture is fitted again to replicated data sets, many in one batch."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from workbench.engine.keys import restart_keys
from workbench.methods import EM
from workbench.mixture import Mixture
from workbench.problem import Problem

Scheme = Callable[[Array, Problem, Mixture], Problem]  # (key, problem, estimate) -> the problem of one replicate

# Replicates that climb in one batch, which waits for the slowest of them.
TOGETHER = 250


def nonparametric(key: Array, problem: Problem, estimate: Mixture) -> Problem:
    """Rows drawn with replacement; each counts as often as it is drawn (Efron 1979)."""
    n = problem.num_points
    drawn = jax.random.randint(key, (n,), 0, n)
    return problem.over(problem.rows.weighted(jnp.zeros(n, problem.dtype).at[drawn].add(1.0)))


def parametric(key: Array, problem: Problem, estimate: Mixture) -> Problem:
    """The same number of new points, drawn from the fitted mixture."""
    x, _ = estimate.sample(key, problem.num_points)
    return problem.over(problem.rows.holding(x))


def weighted(key: Array, problem: Problem, estimate: Mixture) -> Problem:
    """Rows with uniform Dirichlet weights: the weighted likelihood bootstrap (Newton & Raftery 1994, JRSS B 56)."""
    weights = jax.random.exponential(key, (problem.num_points,), problem.dtype)
    return problem.over(problem.rows.weighted(weights))


SCHEMES: dict[str, Scheme] = {"nonparametric": nonparametric, "parametric": parametric, "weighted": weighted}


class Fitted(NamedTuple):
    """The end of a climb."""

    mixture: Mixture
    converged: Array  # []
    passes: Array  # []


def refits(scheme: str, problem: Problem, estimate: Mixture, key: Array, replicates: int, *, em: EM) -> Fitted:
    """EM from the estimate on every replicate of a bootstrap, in one compiled program. Leaves [B, ...]

    The prior does not change. A replicate in which a component collapses has not converged.

    Args:
        scheme: one of `SCHEMES`.
        problem: the problem that was fitted.
        estimate: its maximum.
        key: replicate b uses the b-th key derived from it.
        replicates: B.
        em: gives the steps and the stopping rule.
    """
    return _refits(problem, estimate, restart_keys(key, replicates), scheme=scheme, em=em)


def climb(em: EM, problem: Problem, start: Mixture) -> Fitted:
    """EM from a start until its stopping rule is met; pure, so that it can be batched over starts and problems."""
    algorithm = em.bind(problem)
    key = jax.random.key(0)  # EM draws nothing

    def step(carry: tuple[object, Fitted, Array]) -> tuple[object, Fitted, Array]:
        state, info = algorithm.step(key, carry[0])
        now = Fitted(algorithm.mixture(state), info.converged, carry[1].passes + info.passes)
        return state, now, info.stopped

    def goes_on(carry: tuple[object, Fitted, Array]) -> Array:
        return ~carry[2] & (carry[1].passes < em.max_iterations)

    no = jnp.asarray(False)
    begin = algorithm.init(key, start), Fitted(start, no, jnp.asarray(0)), no
    return jax.lax.while_loop(goes_on, step, begin)[1]


@partial(jax.jit, static_argnames=("scheme", "em"))
def _refits(problem: Problem, estimate: Mixture, keys: Array, *, scheme: str, em: EM) -> Fitted:
    def one(key: Array) -> Fitted:
        return climb(em, SCHEMES[scheme](key, problem, estimate), estimate)

    return jax.lax.map(one, keys, batch_size=TOGETHER)
