"""Gradient and exact Hessian of the objective in a chart, and the observed, complete and missing information.

EM maximises `Q(theta | theta*)`, the expected log-joint of points *and* labels with the responsibilities of theta*. The
curvature of Q is the complete information, and that of `log_joint` the observed information. Their difference is the
missing information, because the labels are missing. All matrices here are dense in the number of coordinates, and cost
about a pass for each of them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import cho_solve, cholesky

from workbench.charts import Chart, derivatives
from workbench.engine.one_pass import one_pass
from workbench.mixture import Covariance, Mixture, Statistics
from workbench.problem import Problem


class Coordinated(Protocol):
    """The interface of a chart: maps between mixtures and a pytree of unconstrained arrays, in both directions."""

    def unconstrain(self, mixture: Mixture) -> Any:
        """Coordinates of a mixture."""

    def constrain(self, coordinates: Any) -> Mixture:
        """The mixture at these coordinates."""


class Curvature(NamedTuple):
    """Derivatives of `log_joint` at a mixture, in the P raveled coordinates of a chart, in the order of `raveled`."""

    log_joint: Array  # []
    gradient: Array  # [P]
    hessian: Array  # [P, P]   symmetric to the last bit


def curvature(problem: Problem, mixture: Mixture, chart: Coordinated) -> Curvature:
    """Value, gradient and exact Hessian of `log_joint`.

    It applies forward mode to the gradient of the one pass, which is the work of P + 1 passes in one sweep over the
    rows. The function is pure, so that it can be compiled and batched over mixtures; `curvature_at` is compiled.
    """
    u, constrain = raveled(mixture, chart)

    return Curvature(*derivatives(lambda v: problem.log_joint(constrain(v)), u))


@partial(jax.jit, static_argnames=("weights", "scales"))
def curvature_at(
    problem: Problem, mixture: Mixture, weights: str = "log_ratio", scales: str = "log_cholesky"
) -> Curvature:
    """`curvature`, compiled, in a named chart; the default chart has no redundant direction."""
    return curvature(problem, mixture, Chart.of(problem, weights=weights, scales=scales))


def raveled(mixture: Mixture, chart: Coordinated) -> tuple[Array, Any]:
    """The coordinates [P] of a mixture, and the function from such a vector to its mixture."""
    u, unravel = ravel_pytree(chart.unconstrain(mixture))
    return u, lambda v: chart.constrain(unravel(v))


class Places(NamedTuple):
    """The parameter and the component of each raveled coordinate."""

    parameter: np.ndarray  # [P]   0: weights, 1: means, 2: scales
    component: np.ndarray  # [P]   k, or -1 if all components share it


PARAMETERS = ("weights", "means", "scales")


def places(mixture: Mixture, chart: Coordinated) -> Places:
    """The parameter and the component of each coordinate, in the order of `raveled`."""
    coordinates = chart.unconstrain(mixture)

    def components(name: int, leaf: np.ndarray) -> np.ndarray:
        if name == PARAMETERS.index("scales") and mixture.covariance.is_shared:
            return np.full(leaf.shape, -1)
        first = np.arange(leaf.shape[0])
        return np.broadcast_to(first.reshape(-1, *[1] * (leaf.ndim - 1)), leaf.shape)

    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(coordinates)]
    parameter = [np.full(leaf.size, i) for i, leaf in enumerate(leaves)]
    component = [components(i, leaf).ravel() for i, leaf in enumerate(leaves)]
    return Places(np.concatenate(parameter), np.concatenate(component))


class Information(NamedTuple):
    """Information matrices at a mixture, in the P raveled coordinates of a chart."""

    observed: Array  # [P, P]   minus the Hessian of log_joint
    complete: Array  # [P, P]   minus the Hessian of Q(theta | theta*) at theta*
    jacobian: Array  # [P, P]   DM, the Jacobian of the EM map


def information(problem: Problem, mixture: Mixture, chart: Coordinated) -> Information:
    """Both information matrices and the Jacobian of the EM map, each computed independently of the others.

    At a fixed point of EM, `DM = I - complete^-1 observed` (Dempster, Laird & Rubin 1977, eq. 3.15; Meng & Rubin
    1991, eq. 2.2.1), with or without a prior. Elsewhere the identity does not hold.

    Args:
        problem: a problem whose prior has a closed-form M-step.
        mixture: theta*, inside the parameter space.
        chart: a chart without redundant directions; otherwise the information matrices are singular.
    """
    u, constrain = raveled(mixture, chart)
    _, statistics = one_pass(mixture, problem.rows)

    def surrogate(v: Array) -> Array:
        candidate = constrain(v)
        return expected_complete(statistics, candidate, mixture.means) + problem.log_prior(candidate)

    def em_map(v: Array) -> Array:
        return ravel_pytree(chart.unconstrain(problem.em_step(constrain(v))[0]))[0]

    return Information(
        observed=-curvature(problem, mixture, chart).hessian,
        complete=-_symmetric(jax.hessian(surrogate)(u)),
        jacobian=jax.jacfwd(em_map)(u),
    )


def expected_complete(statistics: Statistics, mixture: Mixture, origins: Array) -> Array:
    """Expected log-likelihood of points and labels, from statistics about `origins` [K, D]: Q without the prior. []"""
    family = mixture.covariance
    natural = family.natural(jnp.log(mixture.weights), mixture.means - origins, mixture.scales)
    return sum((jnp.sum(s * c) for s, c in zip(statistics, natural, strict=True)), jnp.zeros(()))


def complete_fisher(problem: Problem, mixture: Mixture, chart: Coordinated) -> Array:
    """The Fisher information of N points *with* their labels, at any mixture. [P, P]

    It is positive definite everywhere, while minus the Hessian of Q is so only near a fixed point. As a metric it is
    invariant: lengths do not depend on the coordinates. At a maximum of the likelihood it equals the complete
    information.
    """
    u, constrain = raveled(mixture, chart)
    counts = problem.num_points * mixture.weights
    return _fisher(u, constrain, mixture, counts, problem.num_points)


class Preconditioned(NamedTuple):
    """An EM step as a preconditioned gradient step, `step = matrix gradient`, in moments about the current means."""

    step: Array  # [P]
    gradient: Array  # [P]   of the log-likelihood
    matrix: Array  # [P, P]   symmetric and positive definite


def em_as_ascent(problem: Problem, mixture: Mixture) -> Preconditioned:
    """The matrix P of `theta_EM - theta = P grad` (Xu & Jordan 1996, Theorems 1 and 2), for every covariance family.

    The coordinates are those of the paper: all weights but the last, the means, and the covariances as second moments
    about the *current* means, in which the step is exact (about the new means, a covariance is smaller by the square
    of the step of its mean). P is the inverse of the Fisher information of N points with labels, with the counts of the
    E-step for the components: `(diag(pi) - pi pi^T) / N`, `Sigma_k / n_k` and, for full covariances, `2 / n_k` times
    the symmetric Kronecker square of Sigma_k. The prior is left out, because the theorem is about the likelihood.
    """
    family, n = mixture.covariance, problem.num_points
    _, (counts, first, second) = one_pass(mixture, problem.rows)
    now = mixture.weights, mixture.means, family.square(mixture.scales)
    degrees = family.degrees(counts, mixture.num_dimensions)
    next_ = counts / n, mixture.means + first / counts[:, None], second / degrees
    u = _moments(family, *now)

    def constrain(v: Array) -> Mixture:
        return _from_moments(v, mixture)

    gradient = jax.grad(lambda v: problem.log_likelihood(constrain(v)))(u)
    fisher = _fisher(u, constrain, mixture, counts, n)
    matrix = cho_solve((cholesky(fisher, lower=True), True), jnp.eye(len(u)))
    return Preconditioned(_moments(family, *next_) - u, gradient, _symmetric(matrix))


def _fisher(u: Array, constrain: Callable[[Array], Mixture], mixture: Mixture, counts: Array, num_points: int) -> Array:
    """Minus the Hessian of Q for statistics that fit the mixture exactly.

    The gradient of Q is then zero, so that the Hessian transforms as a tensor.
    """
    family, d = mixture.covariance, mixture.num_dimensions
    second = family.degrees(counts, d) * family.square(mixture.scales)
    fitting = Statistics(counts, jnp.zeros_like(mixture.means), second)

    def surrogate(v: Array) -> Array:
        candidate = constrain(v)
        # For the weights, the statistics that fit exactly are N pi_k in place of the counts.
        labels = jnp.sum((num_points * mixture.weights - counts) * jnp.log(candidate.weights))
        return expected_complete(fitting, candidate, mixture.means) + labels

    return -_symmetric(jax.hessian(surrogate)(u))


def _moments(family: Covariance, weights: Array, means: Array, covariances: Array) -> Array:
    """All weights but the last, means, and distinct entries of the covariances in the family's shape. [P]"""
    if family.has_correlations:
        covariances = covariances[..., *np.tril_indices(means.shape[-1])]
    return jnp.concatenate([weights[:-1], means.ravel(), covariances.ravel()])


def _from_moments(v: Array, like: Mixture) -> Mixture:
    """Inverse of `_moments`, for a mixture of the same shape."""
    family, (k, d) = like.covariance, like.means.shape
    weights = jnp.append(v[: k - 1], 1.0 - jnp.sum(v[: k - 1]))
    means, entries = v[k - 1 : k - 1 + k * d].reshape(k, d), v[k - 1 + k * d :]
    if family.has_correlations:
        i, j = np.tril_indices(d)
        place = np.zeros((d, d), int)
        place[i, j] = place[j, i] = np.arange(len(i))
        covariances = entries.reshape(*like.scales.shape[:-2], len(i))[..., place]
    else:
        covariances = entries.reshape(like.scales.shape)
    return Mixture(weights, means, family.factor(covariances), family)


def _symmetric(matrix: Array) -> Array:
    return 0.5 * (matrix + matrix.T)
