"""Direct gradient ascent on the log of the sum over components, in unconstrained coordinates."""

from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree
from pydantic import Field

from workbench.charts import Chart, Coordinates, is_feasible
from workbench.methods.base import (
    Algorithm,
    Climber,
    Info,
    Iterations,
    Schedule,
    check_smooth,
    geometric_marks,
    is_usable,
)
from workbench.methods.directions import DECAY, DIRECTIONS
from workbench.methods.line_search import STALLED, TRIALS, Climb, Objective, Outcome, at_start, trial
from workbench.mixture import Mixture
from workbench.problem import Problem


class GradientAscent(Climber):
    """Maximises `log_joint` in a chart, along the direction of an optimiser.

    The gradient is that of `log_joint` per point, so that a step size means the same for every N. By default a line
    search finds the length of each step (`searched`): `log_joint` never falls beyond rounding, and the user chooses no
    step size. Every trial of a search costs one pass and counts as one step of the harness, so that the restarts of a
    batch do not wait for each other's searches. `max_iterations` counts the searches that have ended.

    A `learning_rate` fixes the step size instead, as textbooks do and as studies of step sizes need. A step then costs
    one pass, and `log_joint` may fall. In raw coordinates such a step can leave the set of mixtures. The restart then
    stops at its last mixture and reports both `collapsed` and not `ok`; no other event of this method reports both.
    """

    method: Literal["ascent"] = "ascent"
    optimizer: Literal["gradient", "momentum", "adam", "lbfgs"] = Field(
        "lbfgs", description="the rule of a step: plain gradient, momentum, Adam, or L-BFGS with a line search"
    )
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="a fixed step size; if left out, a line search finds it; L-BFGS always searches"
    )
    weights: Literal["softmax", "log_ratio", "stick_breaking", "raw"] = Field(
        "softmax", description="coordinates of the weights"
    )
    scales: Literal["log_cholesky", "softplus_cholesky", "precision_cholesky", "matrix_logarithm", "raw"] = Field(
        "log_cholesky", description="coordinates of the covariances, or of the standard deviations"
    )
    gradient_tolerance: Annotated[float, Field(ge=0)] = Field(
        1e-6, description="stop when no component of the gradient per point is larger"
    )
    max_iterations: Iterations = 5000

    marginalises: ClassVar[bool] = True
    holds: ClassVar[bool] = True
    fits_background: ClassVar[bool] = True
    takes_any_size: ClassVar[bool] = True
    summary: ClassVar[str] = "direct ascent on the sum inside the log: gradient, momentum, adam or lbfgs"

    def check(self, problem: Problem) -> None:
        """Refuses a prior with a hard bound."""
        check_smooth(problem)

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of passes."""
        if self._is_fixed:
            return Schedule(geometric_marks(1 + self.max_iterations), "passes", self.max_iterations)
        return Schedule(geometric_marks(1 + self.max_iterations * TRIALS), "passes", None)

    @property
    def _is_fixed(self) -> bool:
        return self.learning_rate is not None and self.optimizer != "lbfgs"

    def bind(self, problem: Problem) -> Algorithm:
        """Trials, or steps of fixed size, on minus `log_joint` per point."""
        chart = Chart.of(problem, self.weights, self.scales)
        if self.optimizer == "lbfgs" or self.learning_rate is None:
            return self._searched(problem, chart)
        return self._fixed(problem, chart, optimiser_named(self.optimizer, self.learning_rate))

    def _searched(self, problem: Problem, chart: Chart) -> Algorithm:
        rule = DIRECTIONS[self.optimizer]()

        def retract(u: Coordinates, tangent: Array) -> Coordinates:
            x, unravel = ravel_pytree(u)
            return unravel(x + tangent)

        def evaluate(u: Coordinates, tangent: Array) -> tuple[Array, Array]:
            x, unravel = ravel_pytree(u)
            return jax.value_and_grad(lambda y: _loss(problem, chart, unravel(y)))(x + tangent)

        objective = Objective(retract, evaluate)

        def init(key: Array, start: Mixture) -> Climb:
            u = chart.unconstrain(start)
            return at_start(u, ravel_pytree(u)[0], rule)

        def step(key: Array, state: Climb) -> tuple[Climb, Info]:
            after, outcome = trial(state, objective, rule)
            usable = is_usable(chart.constrain(after.point), problem)
            return after, self._info(after, outcome, usable)

        return Algorithm(init, step, lambda state: chart.constrain(state.point))

    def _info(self, climb: Climb, outcome: Outcome, usable: Array) -> Info:
        largest = jnp.max(jnp.abs(climb.gradient))
        # If a search finds no rise although the gradient is this small, rounding of the objective hides the rise.
        tolerance = jnp.where(outcome.failed, STALLED * self.gradient_tolerance, self.gradient_tolerance)
        converged = (outcome.kept | outcome.failed) & (largest <= tolerance) & (climb.iterations >= 0)
        collapsed = outcome.kept & ~usable
        ok = ~outcome.failed | converged
        stopped = converged | collapsed | outcome.failed | (climb.iterations >= self.max_iterations)
        return Info(
            passes=jnp.asarray(1), ok=ok, converged=converged & ~collapsed, collapsed=collapsed, stopped=stopped
        )

    def _fixed(self, problem: Problem, chart: Chart, optimiser: optax.GradientTransformationExtraArgs) -> Algorithm:
        loss = partial(_loss, problem, chart)

        def init(key: Array, start: Mixture) -> FixedState:
            u = chart.unconstrain(start)
            return FixedState(u, jax.grad(loss)(u), optimiser.init(u), jnp.asarray(1))

        def step(key: Array, state: FixedState) -> tuple[FixedState, Info]:
            updates, inner = optimiser.update(state.gradient, state.inner, state.u)
            u = optax.apply_updates(state.u, updates)
            value, gradient = jax.value_and_grad(loss)(u)
            largest = jnp.max(jnp.array([jnp.max(jnp.abs(g), initial=0.0) for g in jax.tree.leaves(gradient)]))
            finite = jnp.isfinite(value) & jnp.isfinite(largest)
            converged = largest <= self.gradient_tolerance
            mixture = chart.constrain(u)
            collapsed = finite & ~is_usable(mixture, problem)
            ok, stopped = finite, converged | ~finite | collapsed
            reached = FixedState(u, gradient, inner, jnp.asarray(0))
            if not chart.covers:
                left = _is_finite(u) & ~is_feasible(mixture)
                reached = jax.tree.map(lambda new, old: jnp.where(left, old, new), reached, state)
                ok, collapsed, stopped = ok & ~left, collapsed | left, stopped | left
            return reached, Info(
                passes=state.owed + 1, ok=ok, converged=converged & ~collapsed, collapsed=collapsed, stopped=stopped
            )

        return Algorithm(init, step, lambda state: chart.constrain(state.u))


class FixedState(NamedTuple):
    """The optimiser's point, and the gradient there."""

    u: Coordinates
    gradient: Coordinates
    inner: Any
    owed: Array  # []   passes of `init`, which the first step counts in its price


def optimiser_named(
    name: Literal["gradient", "momentum", "adam"], rate: float
) -> optax.GradientTransformationExtraArgs:
    """The optax optimiser of that name, with a fixed step size."""
    match name:
        case "gradient":
            return optax.with_extra_args_support(optax.sgd(rate))
        case "momentum":
            return optax.with_extra_args_support(optax.sgd(rate, momentum=DECAY))
        case "adam":
            return optax.with_extra_args_support(optax.adam(rate))


def _loss(problem: Problem, chart: Chart, u: Coordinates) -> Array:
    """Minus `log_joint` per point. []"""
    return -problem.log_joint(chart.constrain(u)) / problem.num_points


def _is_finite(u: Coordinates) -> Array:
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(u)]))
