"""Direct gradient ascent on the sum inside the log, in unconstrained coordinates."""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from pydantic import Field

from workbench.charts import Chart, Coordinates, is_feasible
from workbench.methods.base import Algorithm, Climber, Info, Schedule, check_smooth, geometric_marks
from workbench.methods.collapse import is_usable
from workbench.mixture import Mixture
from workbench.problem import Problem

# Step sizes per point, in working units, that are stable on every data set shipped; a config may set others.
LEARNING_RATES = {"gradient": 0.3, "momentum": 0.1, "adam": 0.05}

# Most line-search trials in one L-BFGS step. A search that fails after so many ends the run.
LINE_SEARCH_TRIALS = 20

# How much larger than its tolerance the gradient may be when a line search can rise no further.
STALLED = 100.0


class GradientAscent(Climber):
    """Maximises `log_joint` in a chart with an optimiser of optax.

    The gradient is that of `log_joint` per point, so that a step size means the same for every N. A step costs one
    pass; an L-BFGS step costs one for every trial of its line search. Nothing promises a rise at each step.

    In raw coordinates a step can leave the set of mixtures. The restart then stops at its last mixture, collapsed and
    with its promise broken: no other event here is both.
    """

    method: Literal["ascent"] = "ascent"
    optimizer: Literal["gradient", "momentum", "adam", "lbfgs"] = "lbfgs"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="step size; left out, one that suits the optimizer; L-BFGS searches its own"
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
    max_iterations: Annotated[int, Field(ge=1)] = 5000

    summary: ClassVar[str] = "direct ascent on the sum inside the log: gradient, momentum, adam or lbfgs"

    def check(self, problem: Problem) -> None:
        """Refuses a prior with a hard bound."""
        check_smooth(problem)

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of passes."""
        most = LINE_SEARCH_TRIALS if self.optimizer == "lbfgs" else 1
        return Schedule(geometric_marks(1 + self.max_iterations * most), "passes", self.max_iterations)

    def bind(self, problem: Problem) -> Algorithm:
        """Steps of the optimiser on minus `log_joint` per point."""
        chart = Chart.of(problem, self.weights, self.scales)
        rate = LEARNING_RATES.get(self.optimizer) if self.learning_rate is None else self.learning_rate
        optimiser = optimiser_named(self.optimizer, rate)

        def loss(u: Coordinates) -> Array:
            return -problem.log_joint(chart.constrain(u)) / problem.num_points

        def init(key: Array, start: Mixture) -> AscentState:
            u = chart.unconstrain(start)
            value, gradient = jax.value_and_grad(loss)(u)
            return AscentState(u, value, gradient, optimiser.init(u), jnp.asarray(1))

        def step(key: Array, state: AscentState) -> tuple[AscentState, Info]:
            updates, inner = optimiser.update(
                state.gradient, state.inner, state.u, value=state.value, grad=state.gradient, value_fn=loss
            )
            u = optax.apply_updates(state.u, updates)
            if self.optimizer == "lbfgs":
                search = inner[-1]
                value, gradient, trials = search.value, search.grad, search.info.num_linesearch_steps
                moved = jnp.any(jnp.array([jnp.any(a != b) for a, b in zip(u, state.u, strict=True)]))
            else:
                value, gradient = jax.value_and_grad(loss)(u)
                trials, moved = 1, jnp.asarray(True)
            largest = jnp.max(jnp.array([jnp.max(jnp.abs(g), initial=0.0) for g in gradient]))
            finite = jnp.isfinite(value) & jnp.isfinite(largest)
            # A search that finds no rise where the gradient is this small has met the rounding of the objective.
            tolerance = jnp.where(moved, self.gradient_tolerance, STALLED * self.gradient_tolerance)
            converged = largest <= tolerance
            mixture = chart.constrain(u)
            collapsed = finite & ~is_usable(mixture, problem)
            ok = finite & (moved | converged | collapsed)
            stopped = converged | ~finite | ~moved | collapsed
            reached = AscentState(u, value, gradient, inner, jnp.asarray(0))
            if not chart.covers:
                left = _is_finite(u) & ~is_feasible(mixture)
                reached = jax.tree.map(lambda new, old: jnp.where(left, old, new), reached, state)
                ok, collapsed, stopped = ok & ~left, collapsed | left, stopped | left
            return reached, Info(state.owed + trials, ok, converged & ~collapsed, collapsed, stopped)

        return Algorithm(init, step, lambda state: chart.constrain(state.u))


class AscentState(NamedTuple):
    """Where the optimiser is, and the loss and gradient there."""

    u: Coordinates
    value: Array  # []
    gradient: Coordinates
    inner: Any
    owed: Array  # []   passes spent before the first step


def optimiser_named(
    name: Literal["gradient", "momentum", "adam", "lbfgs"], rate: float | optax.Schedule | None
) -> optax.GradientTransformationExtraArgs:
    """The optimiser of optax, with a step size or a function of the number of steps; L-BFGS searches its own."""
    match name:
        case "gradient":
            return optax.with_extra_args_support(optax.sgd(rate))
        case "momentum":
            return optax.with_extra_args_support(optax.sgd(rate, momentum=0.9))
        case "adam":
            return optax.with_extra_args_support(optax.adam(rate))
        case "lbfgs":
            search = optax.scale_by_zoom_linesearch(LINE_SEARCH_TRIALS, initial_guess_strategy="one")
            return optax.lbfgs(linesearch=search)


def _is_finite(u: Coordinates) -> Array:
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in u]))
