"""SQUAREM: two plain steps predict the limit of a geometric sequence, and the leap goes there."""

from typing import Annotated, ClassVar, Literal, NamedTuple

import jax.numpy as jnp
from jax import Array
from pydantic import Field

from workbench.methods.accelerated import Accelerated, Visit


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
