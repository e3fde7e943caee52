"""Climbs by the steps of a method: compiled in a fifth of the time that the harness's loop takes.

The tests compile without optimisation, and what steps in the harness says itself that it is compiled with.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from workbench.methods import Info, Method
from workbench.mixture import Mixture
from workbench.problem import Problem

KEY = jax.random.key(0)


def climbed(method: Method, problem: Problem, start: Mixture) -> tuple[Mixture, list[Info]]:
    """Where a method stops, and what each of its steps says."""
    algorithm, infos = method.bind(problem), list[Info]()
    state, step = jax.jit(algorithm.init)(KEY, start), jax.jit(algorithm.step)
    while not infos or not infos[-1].stopped:
        state, info = step(KEY, state)
        infos.append(info)
    return algorithm.mixture(state), infos


def all_climbed(method: Method, problem: Problem, starts: Mixture) -> tuple[Mixture, Array, Array]:
    """Where a method stops from starts [R, ...], whether it kept its promise all the way, and whether it converged."""
    algorithm = method.bind(problem)

    @jax.jit
    def advance(states: Any, stopped: Array, ok: Array) -> tuple[Any, Array, Array, Array]:
        moved, info = jax.vmap(algorithm.step, in_axes=(None, 0))(KEY, states)
        # What has stopped stays, until the last has.
        kept = jax.vmap(lambda still, old, new: jax.tree.map(lambda a, b: jnp.where(still, a, b), old, new))
        return kept(stopped, states, moved), stopped | info.stopped, ok & (stopped | info.ok), info.converged

    states = jax.jit(jax.vmap(algorithm.init, in_axes=(None, 0)))(KEY, starts)
    stopped = jnp.zeros(len(starts.weights), bool)
    ok, converged = ~stopped, stopped
    while not stopped.all():
        before = stopped
        states, stopped, ok, now = advance(states, stopped, ok)
        converged = jnp.where(before, converged, now)
    return jax.vmap(algorithm.mixture)(states), ok, converged
