"""The number of passes, counted one by one, until a method comes within a given distance of a known optimum."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.charts import Chart
from workbench.geometry.curvature import raveled
from workbench.methods import Method
from workbench.methods.base import Algorithm, Info
from workbench.mixture import Mixture
from workbench.problem import Problem


class Counted(NamedTuple):
    """The passes of each restart; one that did not arrive has stopped or reached the limit."""

    passes: np.ndarray  # [R]
    arrived: np.ndarray  # [R]


def passes_to(method: Method, problem: Problem, starts: Mixture, level: float, limit: int) -> Counted:
    """Passes of a method from starts, leaves [R, ...], until `log_joint` is at least `level`, or `limit` passes.

    The rows of a trace are at geometric marks, a tenth apart; here every pass counts. Scoring after each step is not
    charged. A method that stops by its own rule ends the count, so give it a rule that does not stop it early.
    """
    return Counted(*(np.asarray(a) for a in _of_method(method, problem, starts, level, limit)))


def passes_of_ascent(problem: Problem, starts: Mixture, step: float, level: float, limit: int) -> Counted:
    """Passes of gradient ascent with a fixed step, in the chart without redundant directions.

    Args:
        problem: the problem to climb.
        starts: leaves [R, ...].
        step: factor on the gradient of `log_joint`. It is an argument of the compiled program, so that one program
            serves every step size; the config of a method would be compiled again for each.
        level: value of log_joint to reach.
        limit: most passes.
    """
    return Counted(*(np.asarray(a) for a in _of_ascent(problem, starts, step, level, limit)))


@partial(jax.jit, static_argnums=0)
def _of_method(method: Method, problem: Problem, starts: Mixture, level: Array, limit: Array) -> tuple[Array, Array]:
    algorithm = method.bind(problem)
    return jax.vmap(lambda start: _count(algorithm, problem, start, level, limit))(starts)


@jax.jit
def _of_ascent(problem: Problem, starts: Mixture, step: Array, level: Array, limit: Array) -> tuple[Array, Array]:
    chart = Chart.of(problem, weights="log_ratio")

    def climb(start: Mixture) -> tuple[Array, Array]:
        _, constrain = raveled(start, chart)
        no = jnp.asarray(False)
        slope = jax.grad(lambda v: problem.log_joint(constrain(v)))

        def init(key: Array, begin: Mixture) -> Array:
            return raveled(begin, chart)[0]

        def move(key: Array, u: Array) -> tuple[Array, Info]:
            u = u + step * slope(u)
            return u, Info(
                passes=jnp.asarray(1),
                ok=jnp.all(jnp.isfinite(u)),
                converged=no,
                collapsed=no,
                stopped=~jnp.all(jnp.isfinite(u)),
            )

        return _count(Algorithm(init, move, constrain), problem, start, level, limit)

    return jax.vmap(climb)(starts)


def _count(algorithm: Algorithm, problem: Problem, start: Mixture, level: Array, limit: Array) -> tuple[Array, Array]:
    """Passes spent [] and whether the level was reached []."""
    key = jax.random.key(0)  # methods that climb draw nothing

    def go_on(carry: tuple[Any, Array, Array, Array]) -> Array:
        _, passes, height, stopped = carry
        return ~stopped & (passes < limit) & ~(height >= level)

    def step(carry: tuple[Any, Array, Array, Array]) -> tuple[Any, Array, Array, Array]:
        state, info = algorithm.step(key, carry[0])
        spent = carry[1] + info.passes
        return state, spent, problem.log_joint(algorithm.mixture(state)), info.stopped

    begin = algorithm.init(key, start), jnp.asarray(0), problem.log_joint(start), jnp.asarray(False)
    _, passes, height, _ = jax.lax.while_loop(go_on, step, begin)
    return passes, height >= level
