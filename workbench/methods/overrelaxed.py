"""Over-relaxation: the plain step, lengthened by a factor that grows for as long as it pays."""

from typing import Annotated, ClassVar, Literal

import jax.numpy as jnp
from jax import Array
from pydantic import Field

from workbench.methods.accelerated import Accelerated, Visit


class OverRelaxed(Accelerated):
    """Adaptive over-relaxation (Salakhutdinov & Roweis 2003, "Adaptive overrelaxed bound optimization methods", ICML).

    The leap from x goes by eta times the plain step. One that is kept makes eta grow, one that is
    refused makes it 1.
    """

    method: Literal["overrelaxed"] = "overrelaxed"
    growth: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        1.1, description="by what the length of the step is multiplied after every step that was kept"
    )

    summary: ClassVar[str] = "EM with steps that are lengthened while it pays"

    def begin(self, x: Array) -> Array:
        """The plain step's length."""
        return jnp.ones((), x.dtype)

    def leap(self, memory: Array, last: Visit, now: Visit, leapt: Array) -> tuple[Array, Array, Array]:
        """A longer step than the one before."""
        eta = memory * self.growth
        return eta, now.x + eta * now.residual, jnp.asarray(True)

    def refused(self, memory: Array) -> Array:
        """The plain step's length again."""
        return jnp.ones_like(memory)
