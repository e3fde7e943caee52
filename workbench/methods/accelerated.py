"""Accelerated EM: extrapolations (leaps) between steps of a fixed-point map, kept only if `log_joint` does not fall.

SQUAREM, Anderson acceleration and over-relaxation differ in how they extrapolate.
"""

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from pydantic import Field

from workbench.charts import Chart
from workbench.errors import InputError
from workbench.methods.base import Algorithm, Climber, Info, Schedule, geometric_marks, is_usable
from workbench.methods.em import EM
from workbench.methods.parts import change_of
from workbench.mixture import Mixture
from workbench.problem import Problem

Memory = Any  # private to each accelerator; a pytree


class Visit(NamedTuple):
    """A point at which the map has been evaluated, in unconstrained coordinates."""

    x: Array  # [P]
    residual: Array  # [P]   image minus point


class Accelerated(Climber):
    """Wraps a fixed-point method: plain steps and *leaps*, which are extrapolations in the coordinates of a chart.

    Every step evaluates the map once, which also gives `log_joint` at the point, so a step costs one pass. If a leap
    lands lower than the point it left, one plain step follows, which repairs most such leaps. If the result is still
    lower, or is not a usable mixture, the leap is refused and the next step is the plain one from the point that the
    leap left. A state's mixture is the last one accepted, and its `log_joint` never falls.

    The stopping rule is that of the wrapped method: a plain step raises `log_joint` by no more than the tolerance. In
    addition, the last leap must not have gained more than the tolerance.
    """

    marginalises: ClassVar[bool] = True
    holds: ClassVar[bool] = True
    fits_background: ClassVar[bool] = True
    takes_any_size: ClassVar[bool] = True
    of: EM = Field(EM(), description="the method that is accelerated; its tolerance and number of iterations apply")

    @abstractmethod
    def begin(self, x: Array) -> Memory:
        """The memory at the start, a point with coordinates x [P]."""

    @abstractmethod
    def leap(self, memory: Memory, last: Visit, now: Visit, leapt: Array) -> tuple[Memory, Array, Array]:
        """The point to try next.

        Args:
            memory: of this accelerator.
            last: the point accepted before `now`.
            now: the point just accepted.
            leapt: [] whether `now` was reached by a leap.

        Returns:
            the memory, the point to try [P], and whether it is a leap []; if it is not, the plain step is taken.
        """

    @abstractmethod
    def refused(self, memory: Memory) -> Memory:
        """The memory after a leap has been refused."""

    def check(self, problem: Problem) -> None:
        """Refuses what the wrapped method refuses, and a race that is given to the wrapped method."""
        if self.of.race is not None:
            raise InputError(
                f"{self.method}.of.race: the restarts of {self.method} race, not those of the method it wraps, "
                f"got {self.of.race!r}; give it as {self.method}.race"
            )
        self.of.admit(problem)

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of passes."""
        return Schedule(geometric_marks(self.of.max_iterations), "passes", self.of.max_iterations)

    def bind(self, problem: Problem) -> Algorithm:
        """Steps that each evaluate the map once, at the image of a plain step or at the end of a leap."""
        chart = Chart.of(problem)
        evaluate = self.of.map(problem)

        def init(key: Array, start: Mixture) -> AcceleratedState:
            x, _ = ravel_pytree(chart.unconstrain(start))
            low, no = jnp.asarray(-jnp.inf, x.dtype), jnp.asarray(False)
            return AcceleratedState(start, start, low, Visit(x, x), start, no, no, no, self.begin(x))

        def step(key: Array, state: AcceleratedState) -> tuple[AcceleratedState, Info]:
            image, log_joint = evaluate(state.trial)
            leapt, usable = state.leapt, is_usable(image, problem)
            fell, small = change_of(log_joint, state.log_joint, self.of.tolerance)
            fell = ~leapt & fell
            lower = leapt & ~(usable & (log_joint - state.log_joint >= 0))  # also True where the rise is NaN
            settles = lower & usable & jnp.isfinite(log_joint) & ~state.settling
            refused = lower & ~settles
            quiet = jnp.where(leapt, refused | small, state.quiet)
            converged = ~leapt & small & quiet & usable & ~fell
            collapsed = ~leapt & ~usable

            onward = arrive(state, image, log_joint, leapt & small)
            onward = onward._replace(quiet=quiet | onward.quiet, point=_choose(converged, image, state.trial))
            settle = state._replace(trial=image, settling=leapt)
            back = settle._replace(
                trial=state.image, leapt=~leapt, settling=~leapt, quiet=quiet, memory=self.refused(state.memory)
            )
            info = Info(
                passes=jnp.asarray(1), ok=~fell, converged=converged, collapsed=collapsed, stopped=converged | collapsed
            )
            return _choose(settles, settle, _choose(refused, back, onward)), info

        def arrive(state: AcceleratedState, image: Mixture, log_joint: Array, rest: Array) -> AcceleratedState:
            """Accepts the trial and chooses the next one; the next step is a plain one where `rest` holds."""
            x, unravel = ravel_pytree(chart.unconstrain(state.trial))
            now = Visit(x, ravel_pytree(chart.unconstrain(image))[0] - x)
            memory, target, wanted = self.leap(state.memory, state.now, now, state.leapt)
            landing = chart.constrain(unravel(target))
            first = ~jnp.isfinite(state.log_joint)  # no earlier point to extrapolate from
            possible = is_usable(landing, problem)
            leaps = wanted & ~first & ~rest & possible
            memory = _choose(first, state.memory, memory)
            trial = _choose(leaps, landing, image)
            no, barred = jnp.zeros_like(leaps), wanted & ~first & ~possible  # such a leap counts as refused
            return AcceleratedState(state.trial, image, log_joint, now, trial, leaps, no, barred, memory)

        return Algorithm(init, step, lambda state: state.point)


class AcceleratedState(NamedTuple):
    """The last accepted point with the map's value there, and the point to evaluate next."""

    point: Mixture
    image: Mixture
    log_joint: Array  # []   at the point
    now: Visit
    trial: Mixture
    leapt: Array  # []   the trial was reached by a leap
    settling: Array  # []   the trial is the plain step after a leap
    quiet: Array  # []   the last leap gained no more than the tolerance
    memory: Memory


def _choose(condition: Array, a: Any, b: Any) -> Any:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


class SQUAREM(Accelerated):
    """Squared extrapolation with the third of the paper's step lengths (Varadhan & Roland 2008, sec. 3 and 6).

    From points x0, x1 = G(x0) and x2 = G(x1), with r = x1 - x0 and v = (x2 - x1) - r, the leap lands on
    `x0 + 2 a r + a^2 v`, a = |r| / |v|. The shortest length is 1, the plain step. The longest is a bound that grows
    when a leap of that length is kept, and shrinks when one is refused.
    """

    method: Literal["squarem"] = "squarem"
    growth: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        4.0, description="first bound on the length of a leap, and the factor by which it grows and shrinks"
    )

    summary: ClassVar[str] = "EM accelerated by squared extrapolation"

    def begin(self, x: Array) -> "Bound":
        """The first bound."""
        return Bound(jnp.full((), self.growth, x.dtype), jnp.asarray(False))

    def leap(self, memory: "Bound", last: Visit, now: Visit, leapt: Array) -> tuple["Bound", Array, Array]:
        """A leap after every plain step, from the point before that step."""
        r, v = last.residual, now.residual - last.residual
        most = jnp.where(leapt & memory.met, self.growth * memory.most, memory.most)
        length = jnp.linalg.norm(r) / jnp.linalg.norm(v)
        # Where the sequence no longer moves, the length is 0 / 0, and the plain step is taken.
        a = jnp.where(length > 1.0, jnp.minimum(length, most), 1.0)
        return Bound(most, ~leapt & (length >= most)), last.x + 2 * a * r + a**2 * v, ~leapt

    def refused(self, memory: "Bound") -> "Bound":
        """Lowers the bound if the refused leap was that long."""
        smaller = jnp.maximum(memory.most / self.growth, self.growth)
        return Bound(jnp.where(memory.met, smaller, memory.most), jnp.zeros_like(memory.met))


class Bound(NamedTuple):
    """The greatest length of a leap, and whether the last leap had it."""

    most: Array  # []
    met: Array  # []


# Henderson & Varadhan (2019), sec. 3.2: the squared norm of the damped coefficients is 1 / (1 + BASE^(HALFWAY - trust))
# of the undamped. They use HALFWAY = 25. Here refusals already guard the leaps, and 5 saves a tenth of the passes.
BASE = 1.2
HALFWAY = 5.0

# Newton's iterations for the damping, begun at zero. Fewer were enough on every problem tried.
REFINEMENTS = 20


class Anderson(Accelerated):
    """DAAREM: Anderson acceleration with damping, restarts and monotonicity control (Henderson & Varadhan 2019).

    With the differences X and F of the last points and of their residuals, the leap from x with residual f goes by
    `f - (X + F) g`, where g minimises `|f - F g|^2 + lambda |g|^2`. The damping lambda falls as leaps are kept and
    rises as they are refused; the differences are dropped when there are `order` of them.

    Where EM moves away from a saddle point, the zero of the residual that the formula finds is the saddle itself.
    Therefore a leap that opposes the plain step is reversed.
    """

    method: Literal["anderson"] = "anderson"
    order: Annotated[int, Field(ge=1, le=50)] = Field(10, description="most differences of points kept")

    summary: ClassVar[str] = "EM accelerated by damped Anderson extrapolation with restarts"

    def begin(self, x: Array) -> "History":
        """An empty history with trust zero."""
        empty = jnp.zeros((min(self.order, x.size), x.size), x.dtype)
        return History(empty, empty, jnp.asarray(0), jnp.zeros((), x.dtype))

    def leap(self, memory: "History", last: Visit, now: Visit, leapt: Array) -> tuple["History", Array, Array]:
        """The damped least-squares combination of the history; always a leap."""
        x = memory.x.at[memory.filled].set(now.x - last.x)
        f = memory.f.at[memory.filled].set(now.residual - last.residual)
        trust = memory.trust + leapt
        share = 1.0 / (1.0 + BASE ** (HALFWAY - trust))
        step = now.residual - damped_least_squares(f, now.residual, share) @ (x + f)
        step = jnp.where(jnp.vdot(step, now.residual) < 0, -step, step)
        full = memory.filled + 1 == len(x)
        kept = History(x, f, memory.filled + 1, trust)
        empty = History(jnp.zeros_like(x), jnp.zeros_like(f), jnp.zeros_like(memory.filled), trust)
        history = jax.tree.map(lambda a, b: jnp.where(full, a, b), empty, kept)
        return history, now.x + step, jnp.asarray(True)

    def refused(self, memory: "History") -> "History":
        """Lowers the trust; the differences remain valid and are kept."""
        return memory._replace(trust=memory.trust - 1)


class History(NamedTuple):
    """Differences of successive points and of their residuals, and the trust in them."""

    x: Array  # [m, P]   rows not yet filled are zero
    f: Array  # [m, P]
    filled: Array  # []
    trust: Array  # []   leaps kept less leaps refused


def damped_least_squares(f: Array, target: Array, share: Array) -> Array:
    """The g [m] that minimises `|target - f^T g|^2 + lambda |g|^2`, where `|g|^2` is a given share of that at lambda 0.

    Rows of f [m, P] that are zero, or that depend on other rows up to rounding, get no weight. lambda is found by
    Newton's iteration on `1 / |g|` (Henderson & Varadhan 2019, appendix; Hebden 1973).
    """
    u, d, vt = jnp.linalg.svd(f.T, full_matrices=False)  # [P, m], [m], [m, m]
    negligible = d <= len(target) * float(np.finfo(d.dtype).eps) * d[0]
    d = jnp.where(negligible, 1.0, d)
    c = jnp.where(negligible, 0.0, u.T @ target)
    goal = jnp.sqrt(share) * jnp.linalg.norm(c / d)

    def refine(_: int, damping: Array) -> Array:
        g = d * c / (d**2 + damping)
        norm = jnp.linalg.norm(g)
        better = damping + norm**2 / jnp.sum(g**2 / (d**2 + damping)) * (norm / goal - 1.0)
        return jnp.where(jnp.isfinite(better), better, damping)

    damping = jax.lax.fori_loop(0, REFINEMENTS, refine, jnp.zeros_like(goal))
    return (d * c / (d**2 + damping)) @ vt


class OverRelaxed(Accelerated):
    """Adaptive over-relaxation (Salakhutdinov & Roweis 2003, "Adaptive overrelaxed bound optimization methods", ICML).

    The leap from x is eta times the plain step. eta grows when a leap is kept, and is reset to 1 when one is refused.
    """

    method: Literal["overrelaxed"] = "overrelaxed"
    growth: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        1.1, description="factor by which the step grows after every step that was kept"
    )

    summary: ClassVar[str] = "EM with steps that are lengthened while it pays"

    def begin(self, x: Array) -> Array:
        """The length of the plain step, 1."""
        return jnp.ones((), x.dtype)

    def leap(self, memory: Array, last: Visit, now: Visit, leapt: Array) -> tuple[Array, Array, Array]:
        """A longer step than the last one."""
        eta = memory * self.growth
        return eta, now.x + eta * now.residual, jnp.asarray(True)

    def refused(self, memory: Array) -> Array:
        """The length of the plain step, 1."""
        return jnp.ones_like(memory)
