"""Riemannian ascent: gradient or L-BFGS steps along geodesics of positive definite matrices.

In the augmented form each Gaussian is one positive definite matrix, which holds its mean and its covariance.

With y = (1, z) the density of a Gaussian is, up to a constant, that of a zero-mean Gaussian in D + 1 dimensions, if

    S = [[s,   s t^T        ],
         [s t, U + s t t^T  ]]        t: mean, U: covariance, s = 1

(Hosseini & Sra 2015, "Matrix manifold optimization for Gaussian mixtures", NeurIPS, sec. 3; they put the corner last).
With the corner s free, `log q(y; S) = log N(z; t, U) + (1 - log s - 1/s) / 2`. The last term is never positive, and it
is zero at s = 1 only, so the maxima are those of the mixture (their Theorem 2).

Whole definite matrices carry the affine-invariant metric `<X, Y>_S = tr(S^-1 X S^-1 Y)`. A point is stored as a root
B, `S = B B^T`, and a tangent X as the symmetric `A = B^-1 X B^-T`, so that the metric is the dot product. The geodesic
is `B exp(A) B^T`. With the root `B exp(A / 2)` at its end, parallel transport along it does not change A.
"""

from typing import Annotated, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree
from pydantic import Field

from workbench.engine.rows import Rows
from workbench.errors import InputError
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
from workbench.methods.line_search import STALLED, TRIALS, weak_wolfe
from workbench.mixture import Mixture
from workbench.mixture.covariance import Full, lower_triangular
from workbench.mixture.covariance.base import product
from workbench.problem import Problem


class Augmented(NamedTuple):
    """A point of the manifold, in working units."""

    logits: Array  # [K - 1]   log ratios of the weights to the last one
    roots: Array  # [K, D + 1, D + 1]   B_k


class Tangent(NamedTuple):
    """A tangent in the frame of the point's roots; the metric is the dot product."""

    logits: Array  # [K - 1]
    matrices: Array  # [K, D + 1, D + 1]   A_k, symmetric


def augment(mixture: Mixture, rows: Rows) -> Augmented:
    """The point of a mixture with full covariances and positive weights; its corners s are one."""
    working = rows.to_working(mixture)
    k, d = working.means.shape
    corner = jnp.zeros((k, 1, d), working.means.dtype)
    top = jnp.concatenate([jnp.ones((k, 1, 1), working.means.dtype), corner], -1)
    below = jnp.concatenate([working.means[:, :, None], working.scales], -1)
    log_weights = jnp.log(working.weights)
    return Augmented(log_weights[:-1] - log_weights[-1], jnp.concatenate([top, below], 1))


def unaugment(point: Augmented, rows: Rows) -> tuple[Mixture, Array]:
    """The mixture at the point, for any value of its corners, and the corners s [K]."""
    lower = lower_triangular(point.roots)  # [[sqrt s, 0], [t sqrt s, root of U]]
    root = lower[:, 0, 0]
    weights = jax.nn.softmax(jnp.append(point.logits, 0.0))
    working = Mixture(weights, lower[:, 1:, 0] / root[:, None], lower[:, 1:, 1:], Full())
    return rows.from_working(working), root**2


def log_joint(problem: Problem, point: Augmented) -> Array:
    """The augmented objective, in one pass: `log_joint` where all corners are one, and never above it elsewhere. []

    The term of a corner multiplies the weight of its component. The ordinary pass therefore computes the objective,
    with weights that do not sum to one.
    """
    mixture, corners = unaugment(point, problem.rows)
    shares = jnp.exp(0.5 * (1.0 - jnp.log(corners) - 1.0 / corners))
    unnormalised = Mixture(mixture.weights * shares, mixture.means, mixture.scales, mixture.covariance)
    return problem.log_likelihood(unnormalised) + problem.log_prior(mixture)


def geodesic(point: Augmented, tangent: Tangent) -> Augmented:
    """The end of the geodesic from the point along the tangent, with the frame transported along it."""
    values, vectors = jnp.linalg.eigh(tangent.matrices)
    grown = product(vectors * jnp.exp(0.5 * values)[:, None, :], jnp.swapaxes(vectors, -1, -2))
    return Augmented(point.logits + tangent.logits, product(point.roots, grown))


def value_and_gradient(problem: Problem, point: Augmented) -> tuple[Array, Tangent]:
    """The augmented objective and its Riemannian gradient, in the frame of the point; one pass."""

    def near(tangent: Tangent) -> Array:
        # This agrees with the geodesic to first order.
        roots = point.roots + 0.5 * product(point.roots, tangent.matrices)
        return log_joint(problem, Augmented(point.logits + tangent.logits, roots))

    value, slope = jax.value_and_grad(near)(jax.tree.map(jnp.zeros_like, Tangent(*point)))
    symmetric = 0.5 * (slope.matrices + jnp.swapaxes(slope.matrices, -1, -2))
    return value, Tangent(slope.logits, symmetric)


class Riemannian(Climber):
    """Maximises the augmented form of `log_joint` over positive definite matrices (Hosseini & Sra 2015, NeurIPS; 2020,
    Math. Programming 181), with the weights as log ratios.

    The steps follow geodesics of the affine-invariant metric, and L-BFGS transports its memory along them. In the frame
    that `augmented` uses, transport changes no coordinates, so that the memory is that of ordinary L-BFGS. Only full
    covariances are accepted, because the augmented forms of another family do not fill the manifold of matrices. Any
    prior is accepted, because its log density is a function on the manifold like any other.

    The augmented objective equals `log_joint` at the start and at a maximum, and is at most the recorded score in
    between. It rises at each step. A step costs one pass for every trial of its line search.
    """

    method: Literal["riemannian"] = "riemannian"
    direction: Literal["gradient", "lbfgs"] = Field("lbfgs", description="steepest ascent, or L-BFGS on the manifold")
    memory: Annotated[int, Field(ge=1, le=100)] = Field(10, description="steps that L-BFGS remembers")
    gradient_tolerance: Annotated[float, Field(ge=0)] = Field(
        1e-6, description="stop when no component of the Riemannian gradient per point is larger"
    )
    max_iterations: Iterations = 2000

    takes_known: ClassVar[bool] = True
    summary: ClassVar[str] = "ascent along geodesics of positive definite matrices: gradient or lbfgs"

    def check(self, problem: Problem) -> None:
        """Refuses families whose covariances are not all positive definite matrices, and a prior with a hard bound."""
        check_smooth(problem)
        if not problem.covariance.is_unrestricted:
            raise InputError(
                f"model.covariance: {self.method} needs full covariances, got {problem.covariance.name!r}; "
                'use covariance = "full", or leave it out'
            )

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of passes."""
        return Schedule(geometric_marks(1 + self.max_iterations * TRIALS), "passes", self.max_iterations)

    def bind(self, problem: Problem) -> Algorithm:
        """Line searches along geodesics on minus the objective per point."""
        directions = optax.scale_by_lbfgs(self.memory) if self.direction == "lbfgs" else optax.identity()

        def evaluate(point: Augmented) -> tuple[Array, Array]:
            value, gradient = value_and_gradient(problem, point)
            return -value / problem.num_points, -ravel_pytree(gradient)[0] / problem.num_points

        def init(key: Array, start: Mixture) -> RiemannianState:
            point = augment(start, problem.rows)
            value, gradient = evaluate(point)
            path, one = jnp.zeros_like(gradient), jnp.ones_like(value)
            return RiemannianState(point, value, gradient, path, directions.init(path), one, jnp.asarray(1))

        def step(key: Array, state: RiemannianState) -> tuple[RiemannianState, Info]:
            _, unravel = ravel_pytree(Tangent(*state.point))
            steepest = state.gradient
            ascent, inner = directions.update(steepest, state.inner, state.path)
            # A step that met no curvature condition can spoil the memory; then the gradient is used.
            ascent = jnp.where(jnp.vdot(ascent, steepest) > 0, ascent, steepest)
            begin = jnp.ones_like(state.length) if self.direction == "lbfgs" else state.length

            def along(length: Array) -> Augmented:
                return geodesic(state.point, Tangent(*unravel(-length * ascent)))

            found = weak_wolfe(lambda t: evaluate(along(t)), (state.value, steepest), -ascent, begin)
            moved = found.length > 0
            point = along(found.length)
            tolerance = jnp.where(moved, self.gradient_tolerance, STALLED * self.gradient_tolerance)
            converged = jnp.max(jnp.abs(found.gradient)) <= tolerance
            collapsed = ~is_usable(unaugment(point, problem.rows)[0], problem)
            finite = jnp.isfinite(found.value)
            ok = finite & (moved | converged | collapsed)
            info = Info(
                passes=state.owed + found.trials,
                ok=ok,
                converged=converged & ~collapsed,
                collapsed=collapsed,
                stopped=converged | collapsed | ~ok,
            )
            path = state.path - found.length * ascent
            length = jnp.where(moved, found.length, state.length)
            return RiemannianState(point, found.value, found.gradient, path, inner, length, jnp.asarray(0)), info

        return Algorithm(init, step, lambda state: unaugment(state.point, problem.rows)[0])


class RiemannianState(NamedTuple):
    """The point of the climb, with minus the objective per point and its gradient there."""

    point: Augmented
    value: Array  # []
    gradient: Array  # [P]   in the frame of the point's roots
    path: Array  # [P]   sum of all steps, each in its frame; the quasi-Newton memory takes differences of it
    inner: optax.OptState
    length: Array  # []   of the last step
    owed: Array  # []   passes spent before the first step
