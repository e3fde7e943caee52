"""Anderson acceleration: the next point combines the last few so that their combined residual is least."""

from typing import Annotated, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field

from workbench.methods.accelerated import Accelerated, Visit

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
