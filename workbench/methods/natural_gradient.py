"""Natural gradient ascent: the length of a step is how much it changes the density of the observed rows."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import cho_factor, cho_solve
from pydantic import Field

from workbench.charts import Chart
from workbench.engine.known import component_sum
from workbench.engine.rows import Rows
from workbench.methods.base import Algorithm, Info, Iterations, is_usable
from workbench.methods.line_search import STALLED, weak_wolfe
from workbench.methods.parts import DenseClimber
from workbench.mixture import Mixture
from workbench.mixture.covariance.base import LOG_2PI, product
from workbench.problem import Problem


class NaturalGradient(DenseClimber):
    """Steps `(F + damping)^-1 gradient`, with F the Fisher information of the observed rows, from their scores.

    The metric is `F = sum_n g_n g_n^T / N`, with g_n the gradient of `log P(x_n)` in a chart without redundant
    directions, because the exact Fisher information of a mixture has no closed form. In this metric, scoring (Berndt,
    Hall, Hall & Hausman 1974, Annals of Economic and Social Measurement 3) and natural gradient ascent (Amari 1998,
    Neural Computation 10) are the same. If the model is right, F tends to the negative Hessian as N grows, and steps of
    length one converge superlinearly. If it is wrong, the two matrices differ. Far from an optimum F says little about
    the curvature (Kunstner, Hennig & Balles 2019, NeurIPS), and it is nearly singular where components are alike.
    Therefore the metric is damped (at the default, the metric of a component with a tenth of the points counts for
    half), and a line search finds the length, so that `log_joint` never falls.

    EM is a natural gradient step as well: of length one in the metric of the *complete* data, with observed labels
    (Sato 2001, Neural Computation 13). That metric is larger by the missing information and its steps are shorter
    accordingly, which is why EM is slow where much information is missing. It also splits into components, so that an
    EM step costs no more than its pass.

    The price counts sweeps over the rows. A trial of the line search costs one pass. The metric costs 1 + P / 2, where
    P is the number of coordinates: one sweep for the scores, and P^2 / 2 distinct products a row where a pass takes
    about P. (Counted in the compiled programs, it takes 0.25 to 0.7 P passes, most for full covariances.)
    """

    method: Literal["natural_gradient"] = "natural_gradient"
    damping: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        0.1, description="added to the diagonal of the metric, per point and in working units"
    )
    gradient_tolerance: Annotated[float, Field(ge=0)] = Field(
        1e-6, description="stop when no component of the gradient per point is larger"
    )
    max_iterations: Iterations = 1000

    takes_known: ClassVar[bool] = True
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
            # If a search finds no fall although the gradient is this small, rounding of the objective hides the fall.
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
    """The point of the climb, with minus the objective per point and its gradient there."""

    u: Any
    value: Array  # []
    gradient: Array  # [P]
    owed: Array  # []   passes of `init`, which the first step counts in its price


def empirical_fisher(constrain: Callable[[Array], Mixture], x: Array, rows: Rows) -> Array:
    """Sum over the rows of the outer products of their scores, the gradients of `log P(x_n)` at x [P]. [P, P]

    A row's score is the product of its responsibility-weighted features with the derivative of the natural parameters,
    just as the gradient of all rows is the product of their sums with it (Fisher's identity).
    """
    working = rows.to_working(constrain(x))
    family, origins = working.covariance, working.means
    k, d = origins.shape
    constant = jnp.log(working.weights) - family.half_log_determinants(working.scales, k, d) - 0.5 * d * LOG_2PI

    def natural(y: Array) -> Array:
        near = rows.to_working(constrain(y))
        return ravel_pytree(family.natural(jnp.log(near.weights), near.means - origins, near.scales))[0]

    def features(shares: Array, differences: Array) -> Array:
        """Features of one row: its responsibilities r_k times the powers of z - mu_k. [K], [K, D] -> [Q]"""
        first = shares[:, None] * differences
        return jnp.concatenate([shares, first.ravel(), family.cross_products(first, differences).ravel()])

    def chunk(parameters: tuple[Array, ...], z: Array, counted: Array) -> Array:
        constant, means, whitener, derivative = parameters
        log_joint = constant - 0.5 * family.squared_distances(whitener, means, z)
        shares = jax.nn.softmax(log_joint, axis=0)  # [K, B]
        scores = product(jax.vmap(features, in_axes=-1)(shares, z - means[..., None]), derivative)  # [B, P]
        return product((scores * counted[:, None]).T, scores)

    parameters = (origins, family.whitener(working.scales), jax.jacfwd(natural)(x))
    return jnp.asarray(component_sum(rows, chunk, constant, parameters))
