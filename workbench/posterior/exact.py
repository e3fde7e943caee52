"""The exact posterior of a tiny problem under the conjugate prior, by a sum over all allocations.

Some are stored with the package, each with its problem and the checks that it has passed. `scoring` compares draws of
any sampler with them.

Given an allocation, all terms are ratios of gamma functions and determinants (`workbench.mixture.prior.update`). The
posterior of the mixture is therefore a finite sum, and its functionals here are exact to rounding. Samplers are tested
against it. It is symmetric in the labels, because the sum runs over all K^N allocations; where components of points are
known, the sum runs over those of the other points.
"""

import json
from dataclasses import dataclass, fields
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from platform import python_version
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from workbench.data import by_name, finite_points
from workbench.data.known import UNKNOWN
from workbench.errors import InputError
from workbench.mixture import ConjugatePrior, Covariance
from workbench.mixture.prior import Hyperparameters
from workbench.mixture.prior.update import log_allocation_prior, log_marginal_likelihood, log_predictive, update
from workbench.problem import Problem

# Most allocations that are summed, which takes a minute.
MOST_ALLOCATIONS = 2**24

# Allocations that are processed together, so few that their co-clustering matrices stay in a core's cache.
CHUNK = 1024

Sums = dict[str, Array]


@dataclass(frozen=True)
class ExactPosterior:
    """Exact functionals of the posterior, none of which depends on labels.

    They have finite variances under the default prior, so that a sampler's Monte-Carlo error is meaningful. Moments of
    covariances, for instance, do not.
    """

    log_evidence: float  # ln of the integral of exp(log_joint): of the points, and of the components that are known
    co_clustering: np.ndarray  # [N, N]   probability that two points come from one component
    occupied: np.ndarray  # [K]   probability that exactly 1, ..., K components hold points
    squared_weights: float  # mean of sum_k pi_k^2
    mean_of_means: np.ndarray  # [D]   mean of sum_k mu_k / K
    at: np.ndarray  # [G, D]
    density: np.ndarray  # [G]   mean of the mixture's density there, the posterior predictive density
    allocations: int  # the number of terms, K^N unless components are known


def exact_posterior(problem: Problem, at: ArrayLike | None = None) -> ExactPosterior:
    """Sum over every allocation of a tiny problem.

    Args:
        problem: a problem with the conjugate prior and at most 2^24 allocations.
        at: places at which the density is computed, [G, D] or [G]; by default the points themselves.

    Raises:
        InputError: the prior is another, there is a background, there are too many allocations, or `at` has other
            dimensions.
    """
    k = problem.components
    if not isinstance(problem.prior, ConjugatePrior):
        raise InputError(
            f"prior: the exact posterior needs the conjugate prior, got {type(problem.prior).__name__}; "
            'use family = "conjugate"'
        )
    if problem.background is not None:
        raise InputError("background: the exact posterior is of components alone; leave the background out")
    x, known = problem.labelled_observations("the exact posterior")
    free = np.flatnonzero(known == UNKNOWN)
    allocations = k ** len(free)
    if allocations > MOST_ALLOCATIONS:
        raise InputError(
            f"components: {k} components and {len(free)} points{' of unknown component' * (len(free) < len(x))} have "
            f"{allocations:.3g} allocations, more than {MOST_ALLOCATIONS}; "
            f"give at most {int(np.log(MOST_ALLOCATIONS) / np.log(k))} points or fewer components"
        )
    grid = x if at is None else finite_points(by_name(at, problem.columns, "at"), problem.num_dimensions, "at")
    # The prior's location becomes the origin, so that scatters do not cancel.
    location = np.asarray(problem.hyperparameters["mean_location"])
    h = {**problem.hyperparameters, "mean_location": jnp.zeros_like(location)}
    points = _Points(x - location, np.maximum(known, 0), free)
    swept = _sweep(points, grid - location, h, components=k, family=problem.covariance)
    log_evidence, sums = jax.tree.map(np.asarray, swept)
    return ExactPosterior(
        log_evidence=float(log_evidence),
        co_clustering=sums["co_clustering"],
        occupied=sums["occupied"],
        squared_weights=float(sums["squared_weights"]),
        mean_of_means=sums["mean_of_means"] + location,
        at=grid,
        density=sums["density"],
        allocations=allocations,
    )


def num_allocations(problem: Problem) -> int:
    """The number of allocations that `exact_posterior` sums; of a problem with whole weights."""
    weights = np.ones(problem.num_rows) if problem.weights is None else problem.weights
    unknown = weights if problem.known is None else weights[problem.known.components == UNKNOWN]
    return problem.components ** int(np.sum(unknown))


class _Points(NamedTuple):
    """Points and what is known of their components."""

    x: ArrayLike  # [N, D]
    known: ArrayLike  # [N]   the component, where it is known
    free: ArrayLike  # [M]   the places where it is not


@partial(jax.jit, static_argnames=("components", "family"))
def _sweep(
    points: _Points, at: Array, h: Hyperparameters, *, components: int, family: Covariance
) -> tuple[Array, Sums]:
    """Log evidence and posterior means. A chunk holds all allocations of the last points for one of the first."""
    x, known, free = map(jnp.asarray, points)
    k, n = components, len(free)
    digits = next(m for m in range(n, -1, -1) if k**m <= CHUNK)
    last = allocations_of(jnp.arange(k**digits), digits, k)  # [B, m]

    def chunk(carry: tuple[Array, Sums], index: Array) -> tuple[tuple[Array, Sums], None]:
        first = jnp.broadcast_to(allocations_of(index[None], n - digits, k), (len(last), n - digits))
        several = jnp.broadcast_to(known, (len(last), len(x)))
        allocations = several.at[:, free].set(jnp.concatenate([first, last], axis=1))  # [B, N]
        log_weights, values = jax.vmap(lambda z: _given(z, x, at, h, components=k, family=family))(allocations)
        # Sums are relative to the largest log weight so far.
        peak, sums = carry
        higher = jnp.maximum(peak, jnp.max(log_weights))
        weights = jnp.exp(log_weights - higher)
        sums = jax.tree.map(lambda s, v: s * jnp.exp(peak - higher) + jnp.tensordot(weights, v, 1), sums, values)
        return (higher, sums), None

    some = jax.eval_shape(lambda z: _given(z, x, at, h, components=k, family=family)[1], jnp.zeros(len(x), int))
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, x.dtype), some)
    start = (jnp.asarray(-jnp.inf, x.dtype), nothing)
    (peak, sums), _ = jax.lax.scan(chunk, start, jnp.arange(k ** (n - digits)))
    total = sums.pop("one")
    return peak + jnp.log(total), jax.tree.map(lambda s: s / total, sums)


def allocations_of(index: Array, digits: int, components: int) -> Array:
    """The digits of each index in base K. [B, digits]"""
    return index[:, None] // components ** jnp.arange(digits) % components


def _given(
    z: Array, x: Array, at: Array, h: Hyperparameters, *, components: int, family: Covariance
) -> tuple[Array, Sums]:
    """Log weight of an allocation z [N], and the posterior functionals given it."""
    k, a = components, h["concentration"]
    member = jax.nn.one_hot(z, k, axis=0, dtype=x.dtype)  # [K, N]
    origins = jnp.zeros((k, x.shape[1]), x.dtype)
    updated = update(family.statistics_of(family.weighted_sums(member, origins, x.T), origins), origins, h, family)
    counts, total = updated.counts, len(x) + k * a

    log_weight = log_allocation_prior(counts, a) + log_marginal_likelihood(updated, h, family)
    weights = (counts + a) / total  # posterior mean
    values = {
        "one": jnp.ones((), x.dtype),
        "co_clustering": jnp.asarray(z[:, None] == z[None, :], x.dtype),
        "occupied": jax.nn.one_hot(jnp.sum(counts > 0) - 1, k, dtype=x.dtype),
        "squared_weights": jnp.sum(weights * (counts + a + 1.0) / (total + 1.0)),
        "mean_of_means": jnp.mean(updated.locations, 0),
        "density": jnp.exp(log_predictive(updated, at, family)) @ weights,
    }
    return log_weight, values


FOLDER = files("workbench.posterior") / "references"

# Relative agreement of sums over up to a million terms in different orders.
AGREEMENT = 1e-10


@dataclass(frozen=True)
class ReferencePosterior:
    """A problem, its exact posterior, and how that was computed."""

    name: str
    about: str
    problem: Problem
    posterior: ExactPosterior
    checks: dict[str, bool]
    settings: dict[str, Any]
    versions: dict[str, str]


def reference_names() -> list[str]:
    """Names of the exact posteriors stored with the package, in alphabetical order."""
    return sorted(file.name.removesuffix(".json") for file in FOLDER.iterdir() if file.name.endswith(".json"))


def read_reference(name: str) -> ReferencePosterior:
    """One of `reference_names`.

    Raises:
        InputError: there is no such name; the message lists the existing ones.
    """
    if name not in reference_names():
        raise InputError(f"reference: there is no {name!r}; allowed: {', '.join(reference_names())}")
    kept = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    stated, answer = kept["problem"], kept["posterior"]
    prior = ConjugatePrior.model_validate_json(json.dumps(stated["prior"]))
    problem = Problem(np.asarray(stated["x"]), stated["components"], stated["covariance"], prior)
    arrays: dict[str, Any] = {k: np.asarray(v) if isinstance(v, list) else v for k, v in answer.items()}
    origin = {key: kept[key] for key in ("about", "checks", "settings", "versions")}
    return ReferencePosterior(name=name, problem=problem, posterior=ExactPosterior(**arrays), **origin)


def make_reference(name: str, about: str, problem: Problem, at: np.ndarray) -> str:
    """Compute an exact posterior, check it, and return it as JSON for one file of the folder, with all digits.

    Args:
        name: of the file.
        about: one sentence on the problem.
        problem: a problem with the conjugate prior, all of whose hyperparameters are given.
        at: places at which the density is computed, [G, D].
    """
    posterior = exact_posterior(problem, at)
    answer = {field.name: _plain(getattr(posterior, field.name)) for field in fields(posterior)}
    kept = {
        "name": name,
        "about": about,
        "problem": {
            "x": problem.observations("the exact posterior").tolist(),
            "components": problem.components,
            "covariance": problem.covariance.name,
            "prior": problem.prior.model_dump(mode="json", exclude_none=True),
        },
        "posterior": answer,
        "checks": checks(problem, posterior),
        "settings": {"method": "sum over all allocations", "allocations": posterior.allocations},
        "versions": {"python": python_version(), **{package: version(package) for package in ("jax", "numpy")}},
    }
    return json.dumps(kept, indent=1) + "\n"


def checks(problem: Problem, posterior: ExactPosterior) -> dict[str, bool]:
    """Checks that an exact posterior must pass, by name. The prior must be given in full, not scaled to the data."""

    def enumerated(x: np.ndarray, at: np.ndarray) -> ExactPosterior:
        return exact_posterior(Problem(x, problem.components, problem.covariance.name, problem.prior), at)

    order = np.random.default_rng(0).permutation(problem.num_points)
    x = problem.observations("the exact posterior")
    moved, fewer = enumerated(x[order], posterior.at), enumerated(x[:-1], x[-1:])
    chained = fewer.log_evidence + np.log(fewer.density[0])
    together = posterior.co_clustering
    return {
        "double_precision": problem.dtype == np.float64,
        "evidence_is_that_of_fewer_points_times_their_predictive": bool(
            np.isclose(chained, posterior.log_evidence, rtol=AGREEMENT)
        ),
        "occupied_is_a_distribution": bool(np.isclose(posterior.occupied.sum(), 1.0, rtol=AGREEMENT)),
        "co_clustering_is_symmetric": bool(np.array_equal(together, together.T)),
        "co_clustering_is_positive_semidefinite": bool(np.linalg.eigvalsh(together)[0] > -AGREEMENT),
        "order_of_points_is_of_no_account": bool(
            np.isclose(moved.log_evidence, posterior.log_evidence, rtol=AGREEMENT)
            and np.allclose(moved.co_clustering, together[np.ix_(order, order)], rtol=AGREEMENT)
        ),
    }


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
