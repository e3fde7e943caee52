"""The augmented form: each Gaussian is one positive definite matrix, which holds its mean and its covariance.

With y = (1, z) the density of a Gaussian is, up to a constant, that of a zero-mean Gaussian in D + 1 dimensions, if

    S = [[s,   s t^T        ],
         [s t, U + s t t^T  ]]        t: mean, U: covariance, s = 1

(Hosseini & Sra 2015, "Matrix manifold optimization for Gaussian mixtures", NeurIPS, sec. 3; they put the corner last).
With the corner s free, `log q(y; S) = log N(z; t, U) + (1 - log s - 1/s) / 2`. The last term is never positive, and it
is zero at s = 1 only, so the maxima are those of the mixture (their Theorem 2).

Positive definite matrices carry the affine-invariant metric `<X, Y>_S = tr(S^-1 X S^-1 Y)`. A point is stored as a root
B, `S = B B^T`, and a tangent X as the symmetric `A = B^-1 X B^-T`, so that the metric is the dot product. The geodesic
is `B exp(A) B^T`. With the root `B exp(A / 2)` at its end, parallel transport along it does not change A.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from workbench.engine.rows import Rows
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
