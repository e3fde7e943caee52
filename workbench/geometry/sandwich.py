"""The sandwich covariance of an estimate, which does not assume that the model is right.

Huber (1967, Proceedings of the Fifth Berkeley Symposium 1, 221-233) and White (1982, "Maximum likelihood estimation of
misspecified models", Econometrica 50).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from workbench.engine.known import component_sum
from workbench.geometry.curvature import Coordinated, raveled
from workbench.mixture import Mixture
from workbench.mixture.covariance.base import product
from workbench.problem import Problem


def score_information(problem: Problem, mixture: Mixture, chart: Coordinated) -> Array:
    """`sum_n (s_n - s)(s_n - s)^T` over the scores of the rows, with mean s, in the chart's coordinates. [P, P]

    At a maximum of the likelihood s is zero; under a prior it is what balances the prior's slope. The sweep costs about
    P passes.
    """
    u, constrain = raveled(mixture, chart)

    def working(v: Array) -> Mixture:
        return problem.rows.to_working(constrain(v))

    def log_density(here: Mixture, z: Array, offsets: Array) -> Array:
        family, (k, d) = here.covariance, here.means.shape
        constant = jnp.log(here.weights) - family.half_log_determinants(here.scales, k, d)
        distances = family.squared_distances(family.whitener(here.scales), here.means, z)
        return jax.nn.logsumexp(offsets + constant[:, None] - 0.5 * distances, axis=0)  # [B]

    def chunk(parameters: Any, z: Array, counted: Array) -> tuple[Array, Array]:
        offsets, here, directions = parameters
        own = partial(log_density, z=z, offsets=offsets)
        scores = jax.vmap(lambda way: jax.jvp(own, (here,), (way,))[1])(directions)  # [P, B]
        return product(scores * counted, scores.T), jnp.sum(scores * counted, axis=1)

    directions = jax.vmap(lambda way: jax.jvp(working, (u,), (way,))[1])(jnp.eye(len(u), dtype=u.dtype))
    outer, total = component_sum(problem.rows, chunk, jnp.zeros(problem.components), (working(u), directions))
    return outer - jnp.outer(total, total) / problem.num_points


def sandwich(bread: Array, filling: Array) -> Array:
    """`bread filling bread`, of the inverse observed information and the information of the scores. [P, P]"""
    return product(product(bread, filling), bread)
