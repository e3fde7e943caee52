"""The Kullback-Leibler divergence between two mixtures: by Monte Carlo, and between bounds in closed form.

It has no closed form itself. Hershey & Olsen (2007, "Approximating the Kullback Leibler divergence between Gaussian
mixture models", ICASSP, IV-317) compare its approximations.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp

from workbench.display import as_html, short
from workbench.errors import InputError, shown, whole_number
from workbench.mixture.background import components_alone
from workbench.mixture.covariance.base import LOG_2PI
from workbench.mixture.matching import Components, assignment, twice_kl
from workbench.mixture.mixture import Mixture

# The upper bound falls with every step; steps end when one lowers it by less than this many nats, or after so many.
STILL, STEPS = 1e-12, 2000

# Divergences of components that overflow count as this, of which multiples stay finite.
FAR = 1e150


class MonteCarlo(NamedTuple):
    """A mean over independent draws."""

    value: float  # nats
    standard_error: float

    def __repr__(self) -> str:
        """The numbers, or the shapes of large arrays."""
        return short(self)

    def _repr_html_(self) -> str:
        return as_html(self)


class Bounds(NamedTuple):
    """An interval that holds the divergence for certain, up to rounding."""

    lower: float  # nats
    upper: float

    def __repr__(self) -> str:
        """The numbers, or the shapes of large arrays."""
        return short(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def kl_divergence(one: Mixture, other: Mixture, key: Array, num_samples: int = 10_000) -> MonteCarlo:
    """`E ln p(x) / q(x)` over draws x from `one`, p, with its standard error; q is `other`.

    Raises:
        InputError: the mixtures have different columns, or there are fewer than two draws.
    """
    _check_columns(one, other)
    x, _ = one.sample(key, whole_number("num_samples", num_samples, 2))
    logs = np.asarray(one.log_density(x) - other.log_density(x))
    return MonteCarlo(float(np.mean(logs)), float(np.std(logs, ddof=1) / np.sqrt(len(logs))))


def kl_bounds(one: Mixture, other: Mixture) -> Bounds:
    """Bounds of the divergence of `other` from `one`, of any numbers of components and families.

    The upper one is the variational bound of Hershey & Olsen (2007, section 8): components are matched many to many,
    and the divergence of the joint distribution of a point and its match is minimised. It is at most the bound by the
    best match of components one to one, `matched_bound`, and zero for equal mixtures. The lower one bounds `E ln p`
    from below as they do (section 7) and `E ln q` from above by Jensen's inequality, `E_a ln q <= ln int p_a q`
    (Durrieu, Thiran & Kelly 2012, "Lower and upper bounds for approximation of the Kullback-Leibler divergence between
    Gaussian mixture models", ICASSP, 4833-4836).

    Raises:
        InputError: the mixtures have different columns.
    """
    _check_columns(one, other)
    for mixture in (one, other):
        components_alone(mixture, "kl_bounds")
    first, second = _components(one), _components(other)
    within, between = (jnp.asarray(0.5 * twice_kl(first, each)) for each in (first, second))  # [K, K], [K, L]
    w, v = jnp.asarray(first.weights), jnp.asarray(second.weights)
    lower = _lower(w, v, within, _log_overlaps(first, second), _entropies(first))
    upper = float(_upper(jnp.log(w), jnp.log(v), between))
    return Bounds(max(float(lower), 0.0), max(upper, 0.0))


def matched_bound(one: Mixture, other: Mixture) -> float:
    """The least upper bound by a match of components one to one: `sum_k w_k (ln w_k / v_k + KL(p_k | q_k))`.

    It is infinite if the numbers of components differ.
    """
    _check_columns(one, other)
    first, second = _components(one), _components(other)
    if len(first.weights) != len(second.weights):
        return float("inf")
    w, v = first.weights, second.weights
    costs = w[:, None] * (np.log(w)[:, None] - np.log(v) + 0.5 * twice_kl(first, second))
    return float(np.sum(costs[np.arange(len(w)), assignment(costs)]))


def _components(mixture: Mixture) -> Components:
    """The components that have a weight."""
    found = Components.of(mixture, np.arange(mixture.num_components))
    held = found.weights > 0
    return Components(found.weights[held], found.means[held], found.scale_trils[held])


def _entropies(parts: Components) -> np.ndarray:
    """Differential entropies of the components. [K]"""
    d = parts.means.shape[1]
    logs = np.log(np.diagonal(parts.scale_trils, axis1=1, axis2=2)).sum(1)
    return np.asarray(0.5 * d * (1 + LOG_2PI) + logs)


def _log_overlaps(one: Components, other: Components) -> np.ndarray:
    """`ln int p_a q_b = ln N(mu_a | mu_b, Sigma_a + Sigma_b)`. [K, L]"""
    first, second = (parts.scale_trils @ np.swapaxes(parts.scale_trils, 1, 2) for parts in (one, other))
    factors = np.linalg.cholesky(first[:, None] + second)  # [K, L, D, D]
    apart = one.means[:, None] - other.means
    white = np.linalg.solve(factors, apart[..., None])[..., 0]
    logs = np.log(np.diagonal(factors, axis1=-2, axis2=-1)).sum(-1)
    with np.errstate(over="ignore"):
        # Components that are too far apart do not overlap: the logarithm is -infinity.
        return np.asarray(-0.5 * np.sum(white**2, -1) - logs - 0.5 * apart.shape[-1] * LOG_2PI)


def _lower(w: Array, v: Array, within: Array, overlaps: np.ndarray, entropies: np.ndarray) -> Array:
    own = logsumexp(jnp.log(w) - within, axis=1) - entropies
    return jnp.sum(w * (own - logsumexp(jnp.log(v) + overlaps, axis=1)))


@jax.jit
def _upper(log_w: Array, log_v: Array, between: Array) -> Array:
    """The variational upper bound, by Hershey & Olsen (2007), eqs. 26-27, from the match of everything with everything.

    `phi` [K, L] has the rows sums w, and `psi` the column sums v; the bound is
    `sum phi (ln phi / psi + KL(p_a | q_b))`. It is convex in both, so the steps lead to its least value.
    """

    def psi_of(log_phi: Array) -> Array:
        return log_phi + log_v - logsumexp(log_phi, axis=0)

    def bound(log_phi: Array) -> Array:
        return jnp.sum(jnp.exp(log_phi) * (log_phi - psi_of(log_phi) + between))

    def step(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        log_phi, _, now, count = state
        raised = psi_of(log_phi) - between
        following = raised + (log_w - logsumexp(raised, axis=1))[:, None]
        return following, now, bound(following), count + 1

    def goes_on(state: tuple[Array, Array, Array, Array]) -> Array:
        _, before, now, count = state
        return (count < STEPS) & ~(before - now <= STILL)

    between = jnp.minimum(between, FAR)
    begin = log_w[:, None] + log_v
    return jax.lax.while_loop(goes_on, step, (begin, jnp.asarray(jnp.inf), bound(begin), jnp.asarray(0)))[2]


def _check_columns(one: Mixture, other: Mixture) -> None:
    if not isinstance(other, Mixture):
        raise InputError(f"other: give a Mixture, got {shown(other)}")
    if one.num_dimensions != other.num_dimensions:
        raise InputError(
            f"other: has {other.num_dimensions} columns and this mixture {one.num_dimensions}; "
            "compare mixtures of the same columns"
        )
    if one.columns and other.columns and one.columns != other.columns:
        mine, theirs = (shown(list(mixture.columns)) for mixture in (one, other))
        raise InputError(
            f"other: its columns are {theirs} and this mixture's {mine}; compare mixtures of the same columns in one "
            "order (`marginal` takes names in any order), or rename one with `named`"
        )
