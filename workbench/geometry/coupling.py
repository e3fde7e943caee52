"""The coupling of a mixture's score equations: those of one Gaussian separate, and those of a mixture do not."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import cho_solve, cholesky, solve_triangular

from workbench.geometry.curvature import PARAMETERS, Coordinated, Places, complete_fisher, curvature
from workbench.mixture import FlatPrior, Mixture, Statistics
from workbench.problem import Problem

WEIGHTS = PARAMETERS.index("weights")


class Blocks(NamedTuple):
    """A partition of P coordinates into B blocks."""

    of: np.ndarray  # [P]   the block of each coordinate
    names: tuple[str, ...]  # [B]


def equations(places: Places) -> Blocks:
    """One block for each textbook equation: one for all weights, one for each mean, one for each covariance.

    With fixed responsibilities, each equation is solved separately (Bishop 2006, eq. 9.17-9.22). The weights form one
    equation because they share a constraint. A tied covariance is one equation.
    """
    component = np.where(places.parameter == WEIGHTS, -1, places.component)
    return _partition(places.parameter, component)


def components(places: Places) -> Blocks:
    """One block for each component's mean and covariance, one for all weights, and one for a tied covariance."""
    shared = (places.parameter == WEIGHTS) | (places.component < 0)
    return _partition(np.where(shared, places.parameter, -1), np.where(shared, -1, places.component))


def parameters(places: Places) -> Blocks:
    """One block for all weights, one for all means, and one for all scales."""
    return _partition(places.parameter, np.full_like(places.component, -1))


def whitened(information: Array, blocks: Blocks) -> Array:
    """`D^-1/2 A D^-1/2`, where D holds the diagonal blocks of A, so that each of these becomes the identity. [P, P]

    If A is minus the Hessian at a maximum, the other blocks hold the correlations between the errors of the equations.
    Their singular values do not depend on the units or the coordinates within the blocks. D^1/2 is the Cholesky factor;
    another root would rotate the blocks. The result is NaN if a diagonal block is not positive definite.
    """
    own = jnp.asarray(blocks.of[:, None] == blocks.of)
    factor = cholesky(jnp.where(own, information, 0.0), lower=True)
    half = solve_triangular(factor, information, lower=True)
    return solve_triangular(factor, half.T, lower=True)


def coupled_share(information: Array, blocks: Blocks) -> Array:
    """The share of the Frobenius norm of `whitened` that lies outside the diagonal blocks, from 0 to 1. []

    It is zero if and only if the equations separate to first order: no coordinate of one changes the solution of
    another.
    """
    matrix = whitened(information, blocks)
    own = jnp.asarray(blocks.of[:, None] == blocks.of)
    return jnp.linalg.norm(jnp.where(own, 0.0, matrix)) / jnp.linalg.norm(matrix)


def natural_share(mean: Array, covariance: Array) -> Array:
    """`coupled_share` of one Gaussian in its natural parameters, `Sigma^-1 mu` and `-Sigma^-1 / 2`. []

    The information there is the Hessian of the log-partition function, which couples the two unless the mean is zero:
    it depends on the origin of the data. In mean and covariance the two are uncoupled at the optimum.

    Args:
        mean: [D].
        covariance: [D, D].
    """
    d = len(mean)
    rows, columns = jnp.tril_indices(d)
    precision = jnp.linalg.solve(covariance, jnp.eye(d))

    def log_partition(v: Array) -> Array:
        first, half = v[:d], jnp.zeros((d, d)).at[rows, columns].set(v[d:])
        second = half + half.T - jnp.diag(jnp.diag(half))  # -Sigma^-1 / 2
        return -0.25 * first @ jnp.linalg.solve(second, first) - 0.5 * jnp.linalg.slogdet(-2.0 * second)[1]

    at = jnp.concatenate([precision @ mean, -0.5 * precision[rows, columns]])
    blocks = Blocks(np.repeat([0, 1], [d, len(rows)]), ("mean", "covariance"))
    return coupled_share(jax.hessian(log_partition)(at), blocks)


class Residual(NamedTuple):
    """Norms of the score in the complete-data information, `sqrt(g^T F^-1 g)` with F at the same mixture."""

    before: Array  # []
    each: Array  # []   after each equation is solved with fixed responsibilities, which is one EM step
    together: Array  # []   after a Newton step on all equations together; NaN if it does not end at a mixture


def left_of_score(problem: Problem, mixture: Mixture, chart: Coordinated) -> Residual:
    """Norms of the score before and after one step of either kind; they are the same in every chart.

    For one Gaussian both steps solve the equations and are equal, because its responsibilities are constant.
    """
    each, _ = problem.em_step(mixture)
    together = solved_together(problem, mixture)
    return Residual(*(score_norm(problem, m, chart) for m in (mixture, each, together)))


def score_norm(problem: Problem, mixture: Mixture, chart: Coordinated) -> Array:
    """`sqrt(g^T F^-1 g)`, with g the gradient of log_joint and F the complete-data Fisher information. []"""
    gradient = curvature(problem, mixture, chart).gradient
    factor = cholesky(complete_fisher(problem, mixture, chart), lower=True)
    return jnp.sqrt(gradient @ cho_solve((factor, True), gradient))


def solved_together(problem: Problem, mixture: Mixture) -> Mixture:
    """One Newton step on the score equations `M(t) - t = 0`, with t the expectation parameters and M the EM map.

    The score with respect to the natural parameters is `N (M(t) - t)`, where M(t) is the mean of the
    responsibility-weighted statistics (Sundberg 1974). With K = 1, M is constant: the equations are affine in t, and
    one Newton step from anywhere gives the solution. In other coordinates, such as the natural ones, it takes several
    steps. The step may leave the parameter space.
    """
    t, unravel = ravel_pytree(expectations(problem, mixture))

    def em_map(v: Array) -> Array:
        image, _ = problem.em_step(from_expectations(problem, unravel(v)))
        return ravel_pytree(expectations(problem, image))[0]

    jacobian = jax.jacfwd(em_map)(t)
    step = jnp.linalg.solve(jnp.eye(len(t)) - jacobian, em_map(t) - t)
    return from_expectations(problem, unravel(t + step))


def expectations(problem: Problem, mixture: Mixture) -> Statistics:
    """Expected statistics of one labelled point, in working units about the data's mean: pi, pi mu, pi E[z z^T]."""
    working = problem.rows.to_working(mixture)
    family, weights, means = working.covariance, working.weights, working.means
    first = weights[:, None] * means
    second = family.degrees(weights, working.num_dimensions) * family.square(working.scales)
    return Statistics(weights, first, second + family.cross_products(first, means))


def from_expectations(problem: Problem, statistics: Statistics) -> Mixture:
    """Inverse of `expectations`: the M-step of the likelihood."""
    family = problem.covariance
    k, d = statistics.first.shape
    unit = family.broadcast(jnp.eye(d, dtype=statistics.first.dtype), k)
    centre = Mixture(statistics.counts, jnp.zeros_like(statistics.first), unit, family)
    return problem.rows.from_working(FlatPrior().maximise(statistics, centre, {}))


def _partition(parameter: np.ndarray, component: np.ndarray) -> Blocks:
    """Blocks of the coordinates with equal parameter and component, where -1 stands for all of them."""
    pairs = np.stack([parameter, component], 1)
    distinct, of = np.unique(pairs, axis=0, return_inverse=True)
    return Blocks(of.reshape(-1), tuple(_name(int(p), int(k)) for p, k in distinct))


def _name(parameter: int, component: int) -> str:
    if parameter < 0:
        return f"component {component + 1}"
    if component < 0:
        return PARAMETERS[parameter]
    return f"{PARAMETERS[parameter].removesuffix('s')} {component + 1}"
