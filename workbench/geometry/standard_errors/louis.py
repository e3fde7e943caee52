"""Louis' formula: the observed information is the complete less the missing one, a variance of the complete score.

Louis (1982), "Finding the observed information matrix when using the EM algorithm", JRSS B 44, eq. 3.2'.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from workbench.geometry.curvature import Coordinated, raveled
from workbench.mixture import Mixture
from workbench.problem import Problem


def missing_information(problem: Problem, mixture: Mixture, chart: Coordinated) -> Array:
    """`sum_n Var(s_nk | x_n)`, with s_nk the score of a point *and* its label k, in the chart's coordinates. [P, P]

    Points are independent, so the variance of the complete-data score given the points is a sum over them. The label of
    each point is distributed by its responsibilities. Only first derivatives are needed, in one sweep over the rows
    that costs about P passes. `complete - missing` is the observed information at any mixture, not only at a maximum.
    """
    u, constrain = raveled(mixture, chart)

    def working(v: Array) -> Mixture:
        return problem.rows.to_working(constrain(v))

    def chunk(parameters: Any, z: Array, counted: Array) -> Array:
        here, directions = parameters
        scores = jax.vmap(lambda way: jax.jvp(lambda m: _component_log_joint(m, z), (here,), (way,))[1])(directions)
        r = jax.nn.softmax(_component_log_joint(here, z), axis=0)  # [K, B]
        about = scores - jnp.einsum("kb,pkb->pb", r, scores)[:, None]  # [P, K, B]
        return jnp.einsum("kb,pkb,qkb->pq", r * counted, about, about, precision="highest")

    directions = jax.vmap(lambda way: jax.jvp(working, (u,), (way,))[1])(jnp.eye(len(u), dtype=u.dtype))
    missing: Array = problem.rows.sum(chunk, (working(u), directions))
    return missing


def _component_log_joint(working: Mixture, z: Array) -> Array:
    """Log-joints of rows z [D, B] in working units, up to a constant. [K, B]"""
    family, (k, d) = working.covariance, working.means.shape
    constant = jnp.log(working.weights) - family.half_log_determinants(working.scales, k, d)
    return constant[:, None] - 0.5 * family.squared_distances(family.whitener(working.scales), working.means, z)
