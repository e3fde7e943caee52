"""Monotonicity of fixed-point methods: the objectives at every step, and how often each of them falls."""

from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.methods.base import is_usable
from workbench.methods.kinds import ROUNDING, Map
from workbench.mixture import Mixture
from workbench.problem import Problem

Values = tuple[Array, Array, Array]


class Mapped(Protocol):
    """A method whose step is a map from mixture to mixture, such as `EM` and `FlooredEM`."""

    def map(self, problem: Problem) -> Map:
        """The map."""
        ...


class Path(NamedTuple):
    """Objectives along the steps of a map; row 0 is the start. After a singular mixture, rows are NaN."""

    log_joint: np.ndarray  # [R, T + 1]
    log_likelihood: np.ndarray  # [R, T + 1]
    log_width: np.ndarray  # [R, T + 1]   of the narrowest component, in working units


def path_of(method: Mapped, problem: Problem, starts: Mixture, steps: int) -> Path:
    """Objectives at every step of a method from starts, leaves [R, ...], without its stopping rule. One pass a step."""
    return Path(*(np.asarray(values) for values in _paths(method, problem, starts, steps)))


def falls(values: np.ndarray) -> tuple[int, int]:
    """The number of steps in which values [R, T + 1] fall beyond rounding, and the number of all steps without NaN."""
    rises = np.diff(values, axis=1)
    size = np.maximum(np.abs(values[:, 1:]), 1.0)
    limit = -ROUNDING * np.finfo(values.dtype).eps * size
    counted = np.isfinite(rises)
    return int(np.sum(rises[counted] < limit[counted])), int(np.sum(counted))


@partial(jax.jit, static_argnums=(0, 3))
def _paths(method: Mapped, problem: Problem, starts: Mixture, steps: int) -> Values:
    """The fields of `Path`, inside the compiled program."""
    step = method.map(problem)

    def advance(mixture: Mixture, _: None) -> tuple[Mixture, Values]:
        image, log_joint = step(mixture)
        # The map returns the log_joint of the mixture before the step, so that a row needs no other pass.
        values = log_joint, log_joint - problem.log_prior(mixture), _log_width(mixture, problem)
        usable = is_usable(mixture, problem)
        return image, jax.tree.map(lambda value: jnp.where(usable, value, jnp.nan), values)

    return jax.vmap(lambda start: jax.lax.scan(advance, start, None, length=steps + 1)[1])(starts)


def _log_width(mixture: Mixture, problem: Problem) -> Array:
    trils = problem.rows.to_working(mixture).scale_trils
    return jnp.log(jnp.min(jnp.linalg.svd(trils, compute_uv=False)))
