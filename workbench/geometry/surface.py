"""The likelihood surface over the two means of a one-dimensional mixture of two, the other parameters profiled out."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.engine.one_pass import one_pass
from workbench.errors import InputError
from workbench.mixture import Mixture
from workbench.problem import Problem

# EM steps for the weights and variances at fixed means. Where the components are apart, they converge at a rate below a
# half; where they are not, the surface is flat.
STEPS = 40

# Points of the grid that are climbed in one batch.
TOGETHER = 512


class Surface(NamedTuple):
    """`log_joint` maximised over weights and variances, at every pair of means."""

    means: np.ndarray  # [G]   in the units of the data
    log_joint: np.ndarray  # [G, G]   by the first mean, then the second; not finite where a component collapses


def surface_of(problem: Problem, points: int = 61) -> Surface:
    """The profile over a grid that covers the range of the data.

    At fixed means, the M-step for weights and variances is the problem's own M-step with first moments of zero. It is
    exact under the flat prior. Under the conjugate prior it gives a lower bound, whose gap comes from the prior's pull
    on the means.

    Args:
        problem: a problem with one column and two components, whose prior has a closed-form M-step.
        points: G, the number of grid points in each direction.

    Raises:
        InputError: the problem has another shape, or its prior has no closed-form M-step.
    """
    if not draws_surface(problem):
        raise InputError(
            "surface: needs one column, two components and a prior with an M-step, got "
            f"{problem.num_dimensions}, {problem.components} and the {type(problem.prior).__name__}"
        )
    x = problem.sample[:, 0]
    grid = np.linspace(np.min(x), np.max(x), points)
    pairs = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    padded = np.resize(pairs, (-(-len(pairs) // TOGETHER) * TOGETHER, 2))
    blocks = [np.asarray(_profile(problem, block)) for block in padded.reshape(-1, TOGETHER, 2)]
    return Surface(grid, np.concatenate(blocks)[: len(pairs)].reshape(points, points))


def draws_surface(problem: Problem) -> bool:
    """Whether a problem has a surface over two means."""
    return problem.num_dimensions == 1 and problem.components == 2 and problem.prior.closed_form


@jax.jit
def _profile(problem: Problem, pairs: Array) -> Array:
    """The value at each pair of means. [G, 2] -> [G]"""
    spread = problem.rows.matrix**2 * problem.rows.total / problem.num_points  # [1, 1]
    family = problem.covariance

    def climb(pair: Array) -> Array:
        means = pair[:, None]

        def step(i: int, mixture: Mixture) -> Mixture:
            _, statistics = one_pass(mixture, problem.rows)
            still = statistics._replace(first=jnp.zeros_like(statistics.first))
            return replace(problem.maximise(still, mixture), means=means)

        begin = Mixture(jnp.full(2, 0.5, means.dtype), means, family.broadcast(spread / 4.0, 2), family)
        return problem.log_joint(jax.lax.fori_loop(0, STEPS, step, begin))

    return jax.vmap(climb)(pairs)
