"""How well a fit predicts: the held-out log predictive density, and the evidence ln P(x) of a sampler's runs.

Where an average over all draws would cost more than it gains, it is taken over an evenly spaced choice of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp
from scipy.special import ndtr, stdtrit

from workbench.data import by_name, finite_points, points_or_missing
from workbench.data.incomplete import has_missing
from workbench.data.observed import MissingCells, check_missing
from workbench.engine.compat.compilation import jit_with
from workbench.mixture import Mixture


def thinned(mixtures: Mixture, count: int) -> Mixture:
    """At most `count` of the mixtures, spread evenly from the first to the last. Leaves [S, ...]

    Args:
        mixtures: leaves [S, ...]; [R, S, ...] as in `Trace.answer`; or one mixture, a sample of size one.
        count: most mixtures to keep.
    """
    axes = np.ndim(mixtures.weights) - 1
    flat = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *np.shape(leaf)[axes:]), mixtures)
    chosen = evenly(len(flat.weights), count)
    return jax.tree.map(lambda leaf: leaf[chosen], flat)


def evenly(total: int, count: int) -> np.ndarray:
    """At most `count` of the indices below `total`, evenly spaced, with the first and the last among them. [count]"""
    return np.unique(np.linspace(0, total - 1, min(total, count)).astype(int))


# Draws used, spread evenly over all chains. More draws change the score by far less than its error.
DRAWS_USED = 1000


class Predictive(NamedTuple):
    """Mean log predictive density per held-out point, in nats, and its standard error over the points."""

    log_density: float
    standard_error: float

    @classmethod
    def of(cls, scores: np.ndarray, weights: np.ndarray | None = None) -> "Predictive":
        """The mean of the scores of points [N], or of differences of scores; its error is that of N independent terms.

        Two methods are compared by their differences on the same points, which vary far less than the scores. A point
        of weight w, of weights [N] if given, counts as w points.
        """
        if weights is not None:
            total, mean = float(np.sum(weights)), float(np.average(scores, weights=weights))
            squares = float(np.sum(weights * (scores - mean) ** 2))
            return cls(mean, float(np.sqrt(squares / (total - 1) / total)) if total > 1 else np.nan)
        error = np.std(scores, ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else np.nan
        return cls(float(np.mean(scores)), float(error))


def heldout_log_density(mixtures: Mixture, heldout: np.ndarray, weights: np.ndarray | None = None) -> Predictive:
    """`mean_n ln (1/S sum_s P(x_n | mixture_s))` over held-out points [N, D], for one mixture or leaves [S, ...].

    A point estimate is a sample of size one (S = 1). The standard error is that of a mean of N independent terms.

    Raises:
        InputError: the points are not finite or have the wrong number of columns (`finite_points`).
    """
    return Predictive.of(heldout_scores(mixtures, heldout), weights)


def heldout_scores(mixtures: Mixture, heldout: np.ndarray, *, missing: MissingCells = "refuse") -> np.ndarray:
    """The terms of `heldout_log_density`, one for each held-out point. [N]

    NaN is refused unless it is a missing cell, without which the point then counts ("marginal").

    Raises:
        InputError: as for `heldout_log_density`.
    """
    kept = jax.tree.map(jnp.asarray, thinned(mixtures, DRAWS_USED))
    check_missing(missing)
    check = finite_points if missing == "refuse" else points_or_missing
    points = check(by_name(heldout, mixtures.columns, "heldout"), kept.num_dimensions, "heldout")
    return np.asarray(_pointwise(kept, jnp.asarray(points), missing if has_missing(points) else "refuse"))


@jit_with({}, static_argnums=2)
def _pointwise(mixtures: Mixture, x: Array, missing: MissingCells) -> Array:
    """Log predictive density of every point. [N]"""
    densities = jax.lax.map(lambda mixture: mixture.log_density(x, missing=missing), mixtures)  # [S, N]
    return logsumexp(densities, axis=0) - jnp.log(len(densities))


class Evidence(NamedTuple):
    """ln P(x), with all parameters integrated out, and its standard error over the runs, which is NaN for one run."""

    log_evidence: float
    standard_error: float
    runs: int = 1
    largest_share: float = 1.0  # the largest run's share of the sum over the runs

    @property
    def is_carried(self) -> bool:
        """Whether one run outweighs all others together; the spread then says nothing about the error of the mean."""
        return self.runs < 2 or (self.runs > 2 and not self.largest_share <= 0.5)

    @property
    def half_width(self) -> float:
        """Half the width of the 68 % interval, the coverage of one standard error of a normal estimate.

        It uses Student's t, because the spread of a few runs is itself uncertain: with four runs it is 1.2 standard
        errors. It is NaN if one run outweighs all others together.
        """
        if self.is_carried:
            return np.nan
        return float(stdtrit(self.runs - 1, ndtr(1.0))) * self.standard_error


def pooled_evidence(log_evidence: np.ndarray) -> Evidence:
    """The logarithm of the mean over the runs: each estimates the evidence without bias, not its logarithm.

    Args:
        log_evidence: one estimate for each run [R]. If one is NaN, so is the result.
    """
    peak = float(np.max(log_evidence))
    if not np.isfinite(peak):
        return Evidence(peak, np.nan, len(log_evidence))
    ratios = np.exp(log_evidence - peak)
    mean, runs = float(np.mean(ratios)), len(ratios)
    share = float(np.max(ratios) / np.sum(ratios))
    # d ln Z = dZ / Z
    error = float(np.std(ratios, ddof=1)) / mean / np.sqrt(runs) if runs > 1 else np.nan
    return Evidence(peak + np.log(mean), error, runs, share)
