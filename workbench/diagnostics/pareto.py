"""Pareto-smoothed importance sampling, which says how far sums over weighted draws can be relied on."""

import math

import numpy as np
from scipy.special import logsumexp

# With fewer draws in the tail than this, no distribution is fitted to it.
FEWEST_IN_TAIL = 5

# Zhang & Stephens (2009): the prior of the inverse scale has this weight, and 30 + sqrt(M) values of it are averaged.
_PRIOR_SCALES, _LEAST_VALUES = 3.0, 30
# Vehtari, Simpson, Gelman, Yao & Gabry (2024), appendix C: the prior of k is worth this many draws at k = 1/2.
_PRIOR_DRAWS, _PRIOR_SHAPE = 10, 0.5
# Values of the inverse scale that weigh less than this are left out of the average.
_NEGLIGIBLE = 10 * float(np.finfo(np.float64).eps)


def smoothed_log_weights(log_ratios: np.ndarray, efficiency: float) -> tuple[np.ndarray, np.ndarray]:
    """Pareto-smoothed log weights, whose sum of weights is one, and the shape k of each tail. [B, S], [B]

    The largest weights are replaced by the quantiles of a generalised Pareto distribution that is fitted to them
    (Vehtari, Simpson, Gelman, Yao & Gabry 2024, JMLR 25). It computes what ArviZ's `psislw` does, whose import takes
    two seconds. k is infinite, and nothing is smoothed, where the tail has fewer than `FEWEST_IN_TAIL` draws or they
    are equal; k is NaN where no distribution fits.

    Args:
        log_ratios: logarithms of the importance ratios, S draws for each of B. [B, S]
        efficiency: effective draws for each draw.
    """
    pairs = [_smoothed(ratios, efficiency) for ratios in log_ratios]
    return np.stack([weights for weights, _ in pairs]), np.array([shape for _, shape in pairs])


def _smoothed(log_ratios: np.ndarray, efficiency: float) -> tuple[np.ndarray, float]:
    """`smoothed_log_weights` of one row of draws. [S]"""
    log_weights = log_ratios - np.max(log_ratios)
    count, shape = _tail_length(len(log_weights), efficiency), math.inf
    if count >= FEWEST_IN_TAIL:
        order = np.argsort(log_weights)
        tail, below = order[-count:], log_weights[order[-count - 1]]
        largest = log_weights[tail[-1]]
        if largest - log_weights[tail[0]] >= np.finfo(np.float64).tiny:
            # A cutoff equal to draws above it, or one that underflows, ends in a shape that is NaN.
            with np.errstate(divide="ignore", invalid="ignore"):
                cutoff = np.exp(below)
                shape, scale = _fitted(np.exp(log_weights[tail]) - cutoff)
                if math.isfinite(shape):
                    quantiles = _quantiles(np.arange(0.5, count) / count, shape, scale)
                    log_weights[tail] = np.minimum(np.log(cutoff + quantiles), largest)
    return log_weights - logsumexp(log_weights), shape


def _tail_length(draws: int, efficiency: float) -> int:
    """The number of draws in the tail: three times the root of S / efficiency, and at most a fifth of the draws."""
    if draws * efficiency > 225:
        return int(3 * (draws / efficiency) ** 0.5)
    return draws // 5


def _fitted(excesses: np.ndarray) -> tuple[float, float]:
    """Shape k and scale of the generalised Pareto distribution of excesses, in ascending order [M].

    An average over the profile likelihood of the inverse scale (Zhang & Stephens 2009, "A new and efficient estimation
    method for the generalized Pareto distribution", Technometrics 51), with a prior on k.
    """
    count = len(excesses)
    values = _LEAST_VALUES + int(count**0.5)
    inverse = 1 - np.sqrt(values / (np.arange(1, values + 1, dtype=float) - 0.5))
    inverse /= _PRIOR_SCALES * excesses[int(count / 4 + 0.5) - 1]
    inverse += 1 / excesses[-1]
    shapes = np.mean(np.log1p(-inverse[:, None] * excesses), axis=1)
    heights = count * (np.log(-inverse / shapes) - shapes - 1)
    weights = np.exp(heights - logsumexp(heights))
    kept = weights >= _NEGLIGIBLE
    weights, inverse = weights[kept] / np.sum(weights[kept]), inverse[kept]
    mean = np.sum(inverse * weights)
    shape = np.mean(np.log1p(-mean * excesses))
    scale = -shape / mean
    return float((count * shape + _PRIOR_DRAWS * _PRIOR_SHAPE) / (count + _PRIOR_DRAWS)), float(scale)


def _quantiles(levels: np.ndarray, shape: float, scale: float) -> np.ndarray:
    """Quantiles of the generalised Pareto distribution above zero; NaN where the scale is not positive. [M]"""
    if scale <= 0:
        return np.full_like(levels, np.nan)
    if shape == 0:
        return np.asarray(-scale * np.log1p(-levels))
    return np.asarray(scale * np.expm1(-shape * np.log1p(-levels)) / shape)
