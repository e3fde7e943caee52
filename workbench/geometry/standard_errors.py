"""Standard errors of a fitted mixture by independent methods that should agree: information, SEM, bootstrap.

The parameters are all K weights, the means, and the entries of the covariances. Components of replicates and draws are
matched to the nearest components of the estimate.

Louis' formula: Louis (1982), "Finding the observed information matrix when using the EM algorithm", JRSS B 44, eq.
3.2'.

Supplemented EM: Meng & Rubin (1991), "Using EM to obtain asymptotic variance-covariance matrices: the SEM algorithm",
JASA 86.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import cho_solve, cholesky

from workbench.charts.coordinates import distinct
from workbench.engine.known import component_sum
from workbench.geometry.curvature import Coordinated, raveled
from workbench.mixture import Covariance, Mixture
from workbench.mixture.arithmetic import pairs
from workbench.mixture.covariance.base import product
from workbench.mixture.matching import Components, match
from workbench.problem import Problem

__all__ = [
    "Labelled",
    "Supplemented",
    "covariance_of",
    "delta",
    "deviations",
    "labelled_as",
    "missing_information",
    "names",
    "natural",
    "supplemented",
]


def natural(mixture: Mixture) -> Array:
    """Weights, means, and the distinct variances and covariances in the family's shape. [Q]"""
    family = mixture.covariance
    entries = family.square(mixture.scales)
    entries = distinct(entries) if family.has_correlations else entries
    return jnp.concatenate([mixture.weights, mixture.means.ravel(), entries.ravel()])


def names(family: Covariance, components: int, dimensions: int) -> tuple[str, ...]:
    """Names of the entries of `natural`, such as "weight 2", "mean 2", "variance 2". [Q]

    The first number is that of the component, unless all components share the parameter. With several columns, their
    numbers follow.
    """
    weights = [f"weight {k + 1}" for k in range(components)]
    columns = _places(dimensions, alone=dimensions == 1)
    means = [_called("mean", k + 1, *column) for k in range(components) for column in columns]
    return (*weights, *means, *_covariance_names(family, components, dimensions))


def covariance_of(information: Array) -> Array:
    """The inverse of an information matrix [P, P]; NaN if it is not positive definite. [P, P]"""
    identity = jnp.eye(len(information), dtype=information.dtype)
    return cho_solve((cholesky(information, lower=True), True), identity)


def delta(mixture: Mixture, chart: Coordinated, covariance: Array) -> Array:
    """Covariance of `natural` at a mixture, to first order, from that of its coordinates [P, P]. [Q, Q]

    It is singular, because the weights sum to one. From an inverse information at a maximum, the result does not depend
    on the chart.
    """
    u, constrain = raveled(mixture, chart)
    slopes = jax.jacfwd(lambda v: natural(constrain(v)))(u)  # [Q, P]
    return product(product(slopes, covariance), slopes.T)


def deviations(covariance: Array) -> Array:
    """Standard errors: the roots of the diagonal, NaN where it is negative. [Q]"""
    return jnp.sqrt(jnp.diagonal(covariance))


def _covariance_names(family: Covariance, components: int, dimensions: int) -> list[str]:
    owners = _places(components, alone=family.is_shared)
    if family.has_correlations and dimensions > 1:
        entries = [(int(i) + 1, int(j) + 1) for i, j in zip(*pairs(dimensions), strict=True)]
        return [_called("variance" if i == j else "covariance", *own, i, j) for own in owners for i, j in entries]
    columns = _places(dimensions, alone=family.num_parameters(1, dimensions) == 1)
    return [_called("variance", *own, *column) for own in owners for column in columns]


def _places(count: int, *, alone: bool) -> list[tuple[int, ...]]:
    """The numbers from one to `count`, each as a tuple; one empty tuple if there is nothing to distinguish."""
    return [()] if alone else [(place + 1,) for place in range(count)]


def _called(word: str, *places: int) -> str:
    return " ".join([word, ",".join(map(str, places))]).strip()


class Labelled(NamedTuple):
    """Natural parameters in the order of the estimate's components."""

    values: np.ndarray  # [B, Q]
    clear: np.ndarray  # [B]   whether the order is unambiguous

    @property
    def ambiguous(self) -> float:
        """The share of ambiguous mixtures, for which two orders fit about equally well."""
        return float(np.mean(~self.clear))


def labelled_as(estimate: Mixture, mixtures: Mixture) -> Labelled:
    """Mixtures with leaves [B, ...], with their components in the best order, and whether that order is clear.

    The best order has the least divergence from the estimate (`matching.match`). This is pivotal relabelling with the
    estimate as the pivot (Marin, Mengersen & Robert 2005), with a distance that does not depend on units.
    """
    (pivot,) = Components.of_all(jax.tree.map(lambda leaf: leaf[None], estimate))
    matches = [match(pivot, other) for other in Components.of_all(mixtures)]
    orders = jnp.asarray(np.stack([each.order for each in matches]))
    return Labelled(np.asarray(_ordered(mixtures, orders)), np.asarray([each.clear for each in matches]))


@jax.jit
def _ordered(mixtures: Mixture, orders: Array) -> Array:
    return jax.vmap(lambda mixture, order: natural(mixture.permute(order)))(mixtures, orders)


def missing_information(problem: Problem, mixture: Mixture, chart: Coordinated) -> Array:
    """`sum_n Var(s_nk | x_n)`, with s_nk the score of a point *and* its label k, in the chart's coordinates. [P, P]

    Points are independent, so the variance of the complete-data score given the points is a sum over them. The label of
    each point is distributed by its responsibilities. Only first derivatives are needed, in one sweep over the rows
    that costs about P passes. `complete - missing` is the observed information at any mixture, not only at a maximum.
    """
    u, constrain = raveled(mixture, chart)

    def working(v: Array) -> Mixture:
        return problem.rows.to_working(constrain(v))

    def chunk(parameters: Any, z: Array, counted: Array) -> Array:
        offsets, here, directions = parameters
        scores = jax.vmap(lambda way: jax.jvp(lambda m: _component_log_joint(m, z), (here,), (way,))[1])(directions)
        r = jax.nn.softmax(offsets + _component_log_joint(here, z), axis=0)  # [K, B]
        about = scores - jnp.einsum("kb,pkb->pb", r, scores)[:, None]  # [P, K, B]
        return jnp.einsum("kb,pkb,qkb->pq", r * counted, about, about, precision="highest")

    directions = jax.vmap(lambda way: jax.jvp(working, (u,), (way,))[1])(jnp.eye(len(u), dtype=u.dtype))
    # A label that is known has no variance: the offset of the other components is minus infinity.
    missing: Array = component_sum(problem.rows, chunk, jnp.zeros(problem.components), (working(u), directions))
    return missing


def _component_log_joint(working: Mixture, z: Array) -> Array:
    """Log-joints of rows z [D, B] in working units, up to a constant. [K, B]"""
    family, (k, d) = working.covariance, working.means.shape
    constant = jnp.log(working.weights) - family.half_log_determinants(working.scales, k, d)
    return constant[:, None] - 0.5 * family.squared_distances(family.whitener(working.scales), working.means, z)


# A row of DM has converged when no entry changes by more than this from one iteration to the next: the root of the
# tolerance of EM, as in the paper (sec. 3.3). A smaller limit would need digits that the differences do not have.
SETTLED = 1e-7

# Closer to the estimate than this, the differences are mostly rounding.
CLOSEST = 1e-9

MOST_STEPS = 10_000


class Supplemented(NamedTuple):
    """The result, in the P raveled coordinates of a chart."""

    covariance: Array  # [P, P]   symmetric only up to the error of the differences
    jacobian: Array  # [P, P]   DM, entry (i, j) the derivative of the i-th image in the j-th coordinate
    change: Array  # [P]   of each coordinate's derivatives, in the iteration from which they are taken
    passes: Array  # []


class _Path(NamedTuple):
    u: Array  # [P]   an iterate of EM on its way to the estimate
    rates: Array  # [P, P]   row i: differences of the map along coordinate i there
    kept: Array  # [P, P]   each row from the iteration in which it changed least
    change: Array  # [P]   of the kept rows in that iteration
    steps: Array


def supplemented(
    problem: Problem, estimate: Mixture, start: Mixture, chart: Coordinated, complete: Array
) -> Supplemented:
    """`(I - DM)^-1 complete^-1`, with DM from differences of the EM map along a run of EM (eq. 2.3.5, 3.3.1).

    In every iteration the map is applied once for each coordinate: to the estimate with only that coordinate replaced
    by its value in the run. Each row of DM is taken from the iteration in which it changes least. An iteration costs
    P + 1 passes.

    Args:
        problem: a problem whose prior has a closed-form M-step.
        estimate: a fixed point of EM.
        start: of the run; near enough to the estimate that EM leads there.
        chart: a chart without redundant directions.
        complete: information at the estimate. [P, P]
    """
    target, constrain = raveled(estimate, chart)
    p = len(target)

    def em_map(v: Array) -> Array:
        return ravel_pytree(chart.unconstrain(problem.em_step(constrain(v))[0]))[0]

    def forced(u: Array) -> Array:
        def row(i: Array) -> Array:
            return (em_map(target.at[i].set(u[i])) - target) / (u[i] - target[i])

        return jax.vmap(row)(jnp.arange(p))

    def step(path: _Path) -> _Path:
        rates = forced(path.u)
        change = jnp.max(jnp.abs(rates - path.rates), axis=1)
        better = change < path.change  # False where a coordinate equals the estimate's and the difference is NaN
        kept = jnp.where(better[:, None], rates, path.kept)
        return _Path(em_map(path.u), rates, kept, jnp.where(better, change, path.change), path.steps + 1)

    def goes_on(path: _Path) -> Array:
        near = jnp.max(jnp.abs(path.u - target)) < CLOSEST
        return jnp.any(path.change > SETTLED) & ~near & (path.steps < MOST_STEPS)

    unknown = jnp.full((p, p), jnp.inf, target.dtype)
    begin = _Path(raveled(start, chart)[0], unknown, unknown, unknown[0], jnp.asarray(0))
    end = jax.lax.while_loop(goes_on, step, begin)
    jacobian = end.kept.T
    covariance = jnp.linalg.solve(jnp.eye(p, dtype=target.dtype) - jacobian, covariance_of(complete))
    return Supplemented(covariance, jacobian, end.change, (p + 1) * end.steps)
