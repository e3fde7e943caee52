"""Natural gradient ascent: steps measured by how much they change the density of the observed rows."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import cho_factor, cho_solve
from pydantic import Field

from workbench.charts import Chart
from workbench.engine.rows import Rows
from workbench.methods.base import Algorithm, Info
from workbench.methods.collapse import is_usable
from workbench.methods.dense import DenseClimber
from workbench.methods.search import weak_wolfe
from workbench.methods.searched import STALLED
from workbench.mixture import Mixture
from workbench.mixture.covariance.base import product
from workbench.mixture.covariance.vectors import LOG_2PI
from workbench.problem import Problem


class NaturalGradient(DenseClimber):
    """Steps `(F + damping)^-1 gradient`, F the Fisher information of the observed rows, estimated from their scores.

    The metric is `F = sum_n g_n g_n^T / N`, g_n the gradient of `log P(x_n)` in a chart without redundant direction:
    the exact Fisher information of a mixture has no closed form. This is the scoring of Berndt, Hall, Hall & Hausman
    (1974, Annals of Economic and Social Measurement 3) and natural gradient ascent (Amari 1998, Neural Computation 10)
    in that metric. Where the model is right, F tends to the negative Hessian as N grows, and steps of length one
    converge ever faster; where it is wrong they differ, and far from an optimum F says little of the curvature
    (Kunstner, Hennig & Balles 2019, NeurIPS) and is all but singular where components look alike. Hence the damping,
    at whose default the metric of a component with a tenth of the points counts for half, and a line search for the
    length, so that `log_joint` never falls.

    EM is a natural gradient step as well, of length one in the metric of the *complete* data (Sato 2001, Neural
    Computation 13): as if the labels had been seen. That metric is larger by the information that is missing and its
    steps are shorter by as much, which is why EM is slow exactly there; it also splits into components, so that an EM
    step costs no more than its pass.

    The price counts sweeps over the rows. A trial of the line search costs one pass. The metric costs 1 + P / 2, P the
    number of coordinates: a sweep for the scores, and their products with one another, P^2 / 2 distinct ones a row
    where a pass takes about P. (Operations counted in the compiled programs: 0.25 to 0.7 P passes, the most for full.)
    """

    method: Literal["natural_gradient"] = "natural_gradient"
    damping: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        0.1, description="added to the diagonal of the metric, per point and in working units"
    )
    gradient_tolerance: Annotated[float, Field(ge=0)] = Field(
        1e-6, description="stop when no component of the gradient per point is larger"
    )
    max_iterations: Annotated[int, Field(ge=1)] = 1000

    summary: ClassVar[str] = "natural gradient ascent in the metric of the rows' scores (empirical Fisher)"

    def bind(self, problem: Problem) -> Algorithm:
        """Searches along the natural gradient of minus `log_joint` per point."""
        chart = Chart.of(problem, weights="log_ratio")

        def loss(u: Any) -> Array:
            return -problem.log_joint(chart.constrain(u)) / problem.num_points

        def init(key: Array, start: Mixture) -> NaturalState:
            u = chart.unconstrain(start)
            value, gradient = jax.value_and_grad(loss)(u)
            return NaturalState(u, value, ravel_pytree(gradient)[0], jnp.asarray(1))

        def step(key: Array, state: NaturalState) -> tuple[NaturalState, Info]:
            x, unravel = ravel_pytree(state.u)
            metric = empirical_fisher(lambda y: chart.constrain(unravel(y)), x, problem.rows)
            metric = metric / problem.num_points + self.damping * jnp.eye(x.size)
            direction = -cho_solve(cho_factor(metric, lower=True), state.gradient)
            found = weak_wolfe(
                lambda length: jax.value_and_grad(lambda y: loss(unravel(y)))(x + length * direction),
                (state.value, state.gradient),
                direction,
                jnp.ones_like(state.value),
            )
            moved = found.length > 0
            u = unravel(x + found.length * direction)
            # A search that finds no fall where the gradient is this small has met the rounding of the objective.
            tolerance = jnp.where(moved, self.gradient_tolerance, STALLED * self.gradient_tolerance)
            converged = jnp.max(jnp.abs(found.gradient)) <= tolerance
            collapsed = ~is_usable(chart.constrain(u), problem)
            ok = jnp.isfinite(found.value) & (moved | converged | collapsed)
            passes = state.owed + 1 + 0.5 * x.size + found.trials
            info = Info(
                passes=passes,
                ok=ok,
                converged=converged & ~collapsed,
                collapsed=collapsed,
                stopped=converged | collapsed | ~ok,
            )
            return NaturalState(u, found.value, found.gradient, jnp.asarray(0)), info

        return Algorithm(init, step, lambda state: chart.constrain(state.u))


class NaturalState(NamedTuple):
    """Where the climb is, with minus the objective per point and its gradient there."""

    u: Any
    value: Array  # []
    gradient: Array  # [P]
    owed: Array  # []   passes spent before the first step


def empirical_fisher(constrain: Callable[[Array], Mixture], x: Array, rows: Rows) -> Array:
    """Sum over the rows of the outer products of their scores, the gradients of `log P(x_n)` at x [P]. [P, P]

    A row's score pairs its responsibility-weighted features with the derivative of the natural parameters, as the
    gradient of all rows pairs their sums (Fisher's identity).
    """
    working = rows.to_working(constrain(x))
    family, origins = working.covariance, working.means
    k, d = origins.shape
    constant = jnp.log(working.weights) - family.half_log_determinants(working.scales, k, d) - 0.5 * d * LOG_2PI

    def natural(y: Array) -> Array:
        near = rows.to_working(constrain(y))
        return ravel_pytree(family.natural(jnp.log(near.weights), near.means - origins, near.scales))[0]

    def features(shares: Array, differences: Array) -> Array:
        """Of one row: its share r_k in every component times the powers of z - mu_k. [K], [K, D] -> [Q]"""
        first = shares[:, None] * differences
        return jnp.concatenate([shares, first.ravel(), family.cross_products(first, differences).ravel()])

    def chunk(parameters: tuple[Array, ...], z: Array, counted: Array) -> Array:
        constant, means, whitener, derivative = parameters
        log_joint = constant[:, None] - 0.5 * family.squared_distances(whitener, means, z)
        shares = jax.nn.softmax(log_joint, axis=0) * counted  # [K, B]
        scores = product(jax.vmap(features, in_axes=-1)(shares, z - means[..., None]), derivative)  # [B, P]
        return product(scores.T, scores)

    return rows.sum(chunk, (constant, origins, family.whitener(working.scales), jax.jacfwd(natural)(x)))
