"""Whether a fixed-point method climbs: the objectives at every step of it, and how often each of them falls."""

from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.methods.collapse import is_usable
from workbench.methods.em import ROUNDING
from workbench.methods.fixed_point import Map
from workbench.mixture import Mixture
from workbench.problem import Problem

Values = tuple[Array, Array, Array]


class Mapped(Protocol):
    """A method whose step is one map from mixture to mixture: `EM`, `FlooredEM`."""

    def map(self, problem: Problem) -> Map:
        """The map."""
        ...


class Path(NamedTuple):
    """Objectives along the steps of a map; row 0 is the start. Rows from a singular mixture on are NaN."""

    log_joint: np.ndarray  # [R, T + 1]
    log_likelihood: np.ndarray  # [R, T + 1]
    log_width: np.ndarray  # [R, T + 1]   of the narrowest component, in working units


def path_of(method: Mapped, problem: Problem, starts: Mixture, steps: int) -> Path:
    """Every step of a method from starts with leaves [R, ...], without its stopping rule. One pass a step."""
    return Path(*(np.asarray(values) for values in _paths(method, problem, starts, steps)))


def falls(values: np.ndarray) -> tuple[int, int]:
    """In how many steps values [R, T + 1] fall beyond rounding, and how many steps there are; NaN is no step."""
    rises = np.diff(values, axis=1)
    size = np.maximum(np.abs(values[:, 1:]), 1.0)
    limit = -ROUNDING * np.finfo(values.dtype).eps * size
    counted = np.isfinite(rises)
    return int(np.sum(rises[counted] < limit[counted])), int(np.sum(counted))


@partial(jax.jit, static_argnums=(0, 3))
def _paths(method: Mapped, problem: Problem, starts: Mixture, steps: int) -> Values:
    """As `Path`, inside the compiled program."""
    step = method.map(problem)

    def advance(mixture: Mixture, _: None) -> tuple[Mixture, Values]:
        image, log_joint = step(mixture)
        # The log_joint that the map gives is the one before it: a row is complete without another pass.
        values = log_joint, log_joint - problem.log_prior(mixture), _log_width(mixture, problem)
        usable = is_usable(mixture, problem)
        return image, jax.tree.map(lambda value: jnp.where(usable, value, jnp.nan), values)

    return jax.vmap(lambda start: jax.lax.scan(advance, start, None, length=steps + 1)[1])(starts)


def _log_width(mixture: Mixture, problem: Problem) -> Array:
    trils = problem.rows.to_working(mixture).scale_trils
    return jnp.log(jnp.min(jnp.linalg.svd(trils, compute_uv=False)))
