"""The trust-region subproblem: the lowest point of a quadratic, indefinite or not, within a ball."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Newton's iterations for the length of the step. They converge quadratically from one side; ten almost always suffice.
SECULAR = 30

# An eigenvalue below this share of the largest counts as zero, because a Hessian's rounding error is as large.
FLAT = 1e-10


class Model(NamedTuple):
    """The quadratic `<g, p> + <p, H p> / 2`, in the eigenbasis of H."""

    slopes: Array  # [P]   of g along the eigenvectors
    curvatures: Array  # [P]   eigenvalues, ascending
    directions: Array  # [P, P]   eigenvectors, in columns

    @classmethod
    def of(cls, gradient: Array, hessian: Array) -> "Model":
        """The model from one eigendecomposition, which serves every radius and shows whether the point is a minimum."""
        curvatures, directions = jnp.linalg.eigh(hessian)
        return cls(directions.T @ gradient, curvatures, directions)

    @property
    def bends_down(self) -> Array:
        """Whether some direction has negative curvature. []"""
        return self.curvatures[0] < -FLAT * jnp.max(jnp.abs(self.curvatures))

    def change(self, step: Array) -> Array:
        """The change of the quadratic along a step [P]. []"""
        along = self.directions.T @ step
        return jnp.vdot(self.slopes, along) + 0.5 * jnp.vdot(self.curvatures, along**2)


def lowest_in_ball(model: Model, radius: Array) -> Array:
    """The global minimum of the quadratic over |p| <= radius (Nocedal & Wright 2006, Theorem 4.1, sec. 4.3). [P]

    It is `p_i = -g_i / (h_i + m)`, with the smallest m >= 0 for which no denominator is negative and |p| is at most the
    radius. As a function of s = h_1 + m, the lowest denominator, 1 / |p| is concave and increasing. Newton's iterations
    for `1 / |p| = 1 / radius` therefore rise to the root from any s below it, without safeguards. If the lowest
    eigenvalue is negative, the step ends on the boundary. If in addition the gradient has almost no component along its
    eigenvector (the hard case), a step along that eigenvector makes up the missing length.
    """
    g, h, _ = model
    above = h - h[0]
    tiny = float(np.finfo(h.dtype).eps) * jnp.max(jnp.abs(h)) + float(np.finfo(h.dtype).tiny)
    # At the root |p| >= |g_1| / s, so the root is at least |g_1| / radius.
    least = jnp.maximum(jnp.maximum(h[0], jnp.abs(g[0]) / radius), tiny)

    def closer(_: int, shift: Array) -> Array:
        p = g / (above + shift)
        norm = jnp.linalg.norm(p)
        bend = jnp.vdot(p, p / (above + shift))
        return jnp.where(norm > radius, shift + (norm**2 / bend) * (norm - radius) / radius, shift)

    hard = model.bends_down & (jnp.linalg.norm(g / (above + least)) < radius)
    shift = jax.lax.fori_loop(0, SECULAR, closer, least)
    p = -g / (above + shift)
    missing = jnp.sqrt(jnp.maximum(radius**2 - jnp.sum(p[1:] ** 2), 0.0))
    return model.directions @ p.at[0].set(jnp.where(hard, jnp.where(g[0] > 0, -missing, missing), p[0]))
