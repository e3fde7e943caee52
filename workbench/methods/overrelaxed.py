"""Over-relaxation: the plain step is lengthened by a factor that grows as long as steps are kept."""

from typing import Annotated, ClassVar, Literal

import jax.numpy as jnp
from jax import Array
from pydantic import Field

from workbench.methods.accelerated import Accelerated, Visit


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
