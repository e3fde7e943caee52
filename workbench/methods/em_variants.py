"""Variants of EM: with a floor under the covariances, with steps of a fixed length, and online on minibatches."""

from typing import Annotated, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field

from workbench.config import Whole
from workbench.engine.one_pass import one_pass
from workbench.methods.base import Algorithm, Climber, Info, Iterations, Schedule, geometric_marks, is_usable
from workbench.methods.em import EMState, check_closed_form
from workbench.methods.parts import Map, Minibatch, change_of, share_of
from workbench.mixture import Mixture, Statistics
from workbench.mixture.covariance import Covariance
from workbench.problem import Problem


class FlooredEM(Climber):
    """EM whose M-step adds `reg_covar` to the diagonal of every covariance, as scikit-learn's does.

    This M-step fits the data with noise of variance `reg_covar` added to every point, while the E-step uses the data as
    they are. The two halves of a step climb different objectives, and no objective is known that a whole step never
    lowers: neither the likelihood nor, with a prior, `log_joint`. The method guarantees finite numbers and nothing
    else. It ends where `log_joint` no longer changes, which need not be a stationary point of either. A floor that is
    part of the objective is a prior: `ChenTanPrior`, `BoundedRatioPrior`, `ConjugatePrior`.

    The floor is in the squared units of the data, so it matters in some units and not in others. Under a prior other
    than the flat one, the noise is added to the points before the prior is applied. A step costs one pass.
    """

    method: Literal["em_floor"] = "em_floor"
    reg_covar: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        1e-6, description="added to every variance, in squared units of the data; 1e-6 is scikit-learn's"
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        1e-10, description="stop when log_joint changes by no more than this share of its size"
    )
    max_iterations: Iterations = 5000

    marginalises: ClassVar[bool] = True
    takes_any_size: ClassVar[bool] = True
    summary: ClassVar[str] = "EM with a floor under the variances, as in scikit-learn; climbs no objective"

    def check(self, problem: Problem) -> None:
        """Refuses what EM refuses."""
        check_closed_form(problem)

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of passes."""
        return Schedule(geometric_marks(self.max_iterations), "passes", self.max_iterations)

    def map(self, problem: Problem) -> Map:
        """E-step on the points, M-step on the points with noise."""
        family, d = problem.covariance, problem.num_dimensions

        def step(mixture: Mixture) -> tuple[Mixture, Array]:
            value, (counts, first, second) = one_pass(mixture, problem.rows)
            noise = self.reg_covar * (jnp.eye(d, dtype=second.dtype) if family.has_correlations else 1.0)
            statistics = Statistics(counts, first, second + family.degrees(counts, d) * noise)
            return problem.maximise(statistics, mixture), value + problem.log_prior(mixture)

        return step

    def bind(self, problem: Problem) -> Algorithm:
        """Repeats the map until `log_joint` no longer changes."""
        floored = self.map(problem)

        def init(key: Array, start: Mixture) -> EMState:
            return EMState(start, jnp.asarray(-jnp.inf, start.means.dtype))

        def step(key: Array, state: EMState) -> tuple[EMState, Info]:
            proposed, log_joint = floored(state.mixture)
            size = jnp.maximum(jnp.abs(log_joint), 1.0)
            converged = jnp.abs(log_joint - state.log_joint) <= self.tolerance * size
            usable = is_usable(proposed, problem)
            keep = jax.tree.map(lambda new, old: jnp.where(usable, new, old), proposed, state.mixture)
            info = Info(
                passes=jnp.asarray(1),
                ok=jnp.isfinite(log_joint),
                converged=converged & usable,
                collapsed=~usable,
                stopped=converged | ~usable,
            )
            return EMState(keep, log_joint), info

        return Algorithm(init, step, lambda state: state.mixture)


class RelaxedEM(Climber):
    """Steps `theta + rho (M(theta) - theta)` with a fixed rho, in the weights, means and covariances.

    EM is a gradient step with its own preconditioner (Xu & Jordan 1996, Neural Computation 8); here that step gets a
    length rho. It converges locally to a strict maximum for every 0 < rho < 2 (Peters & Walker 1978, SIAM J. Appl.
    Math. 35, Theorem 2): in a direction in which EM's error shrinks by the factor r, its error shrinks by
    1 - rho (1 - r). The length is fixed throughout; `OverRelaxed` adapts it.

    The coordinates are those of the theory. In them the steps commute with affine maps of the data and with
    permutations. With rho at most 1, `log_joint` never falls: EM's surrogate, with the prior, rises along the whole
    segment from theta to M(theta), since `Sigma_t >= (1 - t) Sigma_0` bounds the only term of the wrong sign in its
    slope. Beyond 1 there is no such guarantee, and far from an optimum the step may leave the positive definite
    matrices or the simplex; it is then taken at length one. A step costs one pass.
    """

    method: Literal["relaxed_em"] = "relaxed_em"
    length: Annotated[float, Field(gt=0, lt=2)] = Field(
        1.5, description="rho, the factor on EM's step: 1 is EM, 2 the edge of stability"
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        1e-10, description="stop when log_joint rises by less than this share of its size"
    )
    max_iterations: Iterations = 5000

    marginalises: ClassVar[bool] = True
    takes_any_size: ClassVar[bool] = True
    summary: ClassVar[str] = "EM's step at a fixed length, as a preconditioned gradient step"

    def check(self, problem: Problem) -> None:
        """Refuses what EM refuses."""
        check_closed_form(problem)

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of passes."""
        return Schedule(geometric_marks(self.max_iterations), "passes", self.max_iterations)

    def bind(self, problem: Problem) -> Algorithm:
        """Steps towards EM's image and beyond it, with EM's stopping rule."""

        def init(key: Array, start: Mixture) -> EMState:
            return EMState(start, jnp.asarray(-jnp.inf, start.means.dtype))

        def step(key: Array, state: EMState) -> tuple[EMState, Info]:
            image, log_joint = problem.em_step(state.mixture)
            fell, small = change_of(log_joint, state.log_joint, self.tolerance)
            # Near a maximum every step rises, for every rho; after a fall the maximum is still far away.
            converged = ~fell & small
            relaxed = between(state.mixture, image, self.length)
            usable = is_usable(image, problem)
            stays = is_usable(relaxed, problem) & jnp.all(relaxed.weights > 0)

            def choose(long: Array, plain: Array, old: Array) -> Array:
                return jnp.where(usable, jnp.where(stays, long, plain), old)

            mixture = jax.tree.map(choose, relaxed, image, state.mixture)
            kept = ~fell if self.length <= 1 else jnp.isfinite(log_joint)
            return EMState(mixture, log_joint), Info(
                passes=jnp.asarray(1),
                ok=kept,
                converged=converged & usable,
                collapsed=~usable,
                stopped=converged | ~usable,
            )

        return Algorithm(init, step, lambda state: state.mixture)


def between(first: Mixture, last: Mixture, length: float) -> Mixture:
    """`(1 - length) first + length last` in weights, means and covariances; NaN where that is no covariance."""
    family = first.covariance

    def mix(a: Array, b: Array) -> Array:
        return (1.0 - length) * a + length * b

    scales = family.factor(mix(family.square(first.scales), family.square(last.scales)))
    return Mixture(mix(first.weights, last.weights), mix(first.means, last.means), scales, family)


# A climb has collapsed when the step sizes of successive refused M-steps add up to this. Of the statistics that led to
# the first refusal, a share of exp(-3), a twentieth, is then left.
PATIENCE = 3.0


class OnlineEM(Minibatch):
    """Stepwise EM (Cappe & Moulines 2009, JRSS B 71, sec. 2.3; in minibatches Liang & Klein 2009, NAACL).

    With `f` the expected sufficient statistics per row of a batch, `s <- (1 - gamma) s + gamma f`, and the M-step is
    that for the statistics `N s`, with the prior's terms under the conjugate prior. gamma is `t^-power` at the t-th
    batch.

    The first `warm_up` batches are averaged with equal weights before the first M-step, so that no M-step rests on a
    few rows. An M-step that leads to a singular covariance is skipped, since later batches may repair the average. The
    climb has collapsed when the average has been renewed and still leads there. `log_joint` may fall at a step.
    """

    method: Literal["online_em"] = "online_em"
    warm_up: Whole = Field(10, description="batches averaged evenly before the first M-step")

    takes_known: ClassVar[bool] = True
    summary: ClassVar[str] = "stepwise EM on minibatches; for many points, a few passes are enough"
    computes_outside_pass: ClassVar[bool] = True

    def check(self, problem: Problem) -> None:
        """Refuses a prior without a closed-form M-step."""
        check_closed_form(problem)

    def bind(self, problem: Problem) -> Algorithm:
        """Steps that each add one batch to the running average."""
        family = problem.covariance

        def init(key: Array, start: Mixture) -> OnlineState:
            shape = family.shape(problem.components, problem.num_dimensions)
            zeros = jnp.zeros_like
            average = Statistics(zeros(start.weights), zeros(start.means), jnp.zeros(shape, start.means.dtype))
            return OnlineState(start, average, jnp.asarray(0), jnp.zeros((), start.means.dtype))

        def step(key: Array, state: OnlineState) -> tuple[OnlineState, Info]:
            rows = self.draw(problem, key)
            _, statistics = one_pass(state.mixture, rows)
            t = state.batches + 1
            gamma = jnp.where(t <= self.warm_up, 1.0 / t, t**-self.power)
            average = jax.tree.map(
                lambda old, new: (1.0 - gamma) * old + gamma * new / rows.num_points, state.average, statistics
            )
            scaled = jax.tree.map(lambda leaf: problem.num_points * leaf, average)
            proposed = problem.maximise(scaled, state.mixture)
            due, usable = t >= self.warm_up, is_usable(proposed, problem)
            mixture = jax.tree.map(lambda new, old: jnp.where(due & usable, new, old), proposed, state.mixture)
            refused = jnp.where(due & ~usable, state.refused + gamma, 0.0)
            collapsed = refused >= PATIENCE
            average = recentred(average, mixture.means - state.mixture.means, family)
            price = share_of(rows, problem)
            info = Info(
                passes=price, ok=jnp.asarray(True), converged=jnp.asarray(False), collapsed=collapsed, stopped=collapsed
            )
            return OnlineState(mixture, average, t, refused), info

        return Algorithm(init, step, lambda state: state.mixture)


class OnlineState(NamedTuple):
    """A mixture, and the running average of the statistics per row about its means."""

    mixture: Mixture
    average: Statistics
    batches: Array  # []   drawn so far
    refused: Array  # []   sum of the step sizes since the last M-step that was taken


def recentred(statistics: Statistics, shifts: Array, family: Covariance) -> Statistics:
    """The same statistics about origins that are moved by `shifts` [K, D].

    The second moments are `sum r (x - c - d)(x - c - d)^T = S - f d^T - d f^T + n d d^T`, in the family's shape.
    """
    counts, first, second = statistics
    moved = counts[:, None] * shifts
    second = (
        second
        - family.cross_products(first, shifts)
        - family.cross_products(shifts, first)
        + family.cross_products(moved, shifts)
    )
    return Statistics(counts, first - moved, second)
