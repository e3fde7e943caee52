"""Rank-normalised R-hat and effective sample sizes of many quantities at once (Vehtari et al. 2021).

The numbers equal those of ArviZ. ArviZ computes them for one quantity at a time, which took longer than a sampler needs
for a few thousand draws of few points.
"""

from collections.abc import Iterator

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri

# Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), "Rank-normalization, folding, and localization: an improved
# R-hat", Bayesian Analysis 16, sec. 4.3: the tail effective sample size is that of the worse of these two quantiles.
TAILS = (0.05, 0.95)

# Most numbers that are processed together.
TOGETHER = 2**20


def rank_statistics(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank-normalised split R-hat and bulk effective sample size of each column of draws [R, S, Q]. [Q], [Q]

    They are infinite and zero if a draw is not finite or a chain never moves, so that there is no variance to divide
    by.
    """
    r_hats, sizes = np.full(draws.shape[-1], np.inf), np.zeros(draws.shape[-1])
    for places, chains in _moving(draws):
        halves = _split(chains)
        bulk = _normal_scores(halves)
        folded = _normal_scores(np.abs(halves - np.median(halves, axis=(1, 2), keepdims=True)))
        r_hats[places] = np.maximum(_r_hat(bulk), _r_hat(folded))
        sizes[places] = _effective_sizes(bulk)
    return r_hats, sizes


def tail_sizes(draws: np.ndarray) -> np.ndarray:
    """Tail effective sample size of each column of draws [R, S, Q]: that of the worse of two quantiles. [Q]

    It is zero if a draw is not finite or a chain never moves.
    """
    sizes = np.zeros(draws.shape[-1])
    for places, chains in _moving(draws):
        quantiles = np.quantile(chains, TAILS, axis=(1, 2), keepdims=True)
        each = [_effective_sizes(_split((chains <= quantile).astype(float))) for quantile in quantiles]
        sizes[places] = np.minimum(*each)
    return sizes


def _moving(draws: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Columns in which every chain has a variance: the places [q] of several at a time, and their draws [q, R, S].

    A single chain is split into halves, which count as two chains.
    """
    if len(draws) == 1:
        half = draws.shape[1] // 2
        draws = np.concatenate([draws[:, :half], draws[:, half : 2 * half]])
    moves = np.all(np.isfinite(draws), axis=(0, 1))
    moves[moves] = np.all(np.ptp(draws[..., moves], axis=1) > 0, axis=0)
    size = max(1, TOGETHER // (draws.shape[0] * draws.shape[1]))
    moving = np.nonzero(moves)[0]
    for first in range(0, len(moving), size):
        places = moving[first : first + size]
        yield places, np.moveaxis(draws[..., places], -1, 0)


def _split(chains: np.ndarray) -> np.ndarray:
    """Both halves of each chain; the middle one of an odd number of draws is left out. [q, 2 R, S / 2]"""
    half = chains.shape[-1] // 2
    return np.concatenate([chains[..., :half], chains[..., -half:]], axis=1)


def _normal_scores(chains: np.ndarray) -> np.ndarray:
    """Normal scores of the draws, from their ranks among all chains (Blom 1958). [q, R, S]"""
    # The import stands here because it takes a tenth of the time that importing the package may take.
    from scipy.stats import rankdata

    ranks = rankdata(chains.reshape(len(chains), -1), axis=1)
    return np.asarray(ndtri((ranks - 0.375) / (ranks.shape[1] + 0.25))).reshape(chains.shape)


def _r_hat(chains: np.ndarray) -> np.ndarray:
    """Split R-hat of chains [q, R, S] that are split already. [q]"""
    count = chains.shape[-1]
    between = count * np.var(np.mean(chains, axis=2), axis=1, ddof=1)
    within = np.mean(np.var(chains, axis=2, ddof=1), axis=1)
    return np.asarray(np.sqrt((between / within + count - 1) / count))


def _effective_sizes(chains: np.ndarray) -> np.ndarray:
    """Effective sample sizes of the mean of [q, R, S], by Geyer's (1992) initial monotone sequence. [q]"""
    (q, r, s), total = chains.shape, chains.shape[1] * chains.shape[2]
    if s < 2:
        return np.zeros(q)
    centred = chains - np.mean(chains, axis=2, keepdims=True)
    size = next_fast_len(2 * s, real=True)
    spectrum = np.sum(np.abs(rfft(centred, size, axis=2)) ** 2, axis=1)
    covariances = irfft(spectrum, size, axis=1)[:, :s] / (s * r)  # [q, S]   mean over the chains
    within = covariances[:, :1] * s / (s - 1)
    variance = covariances[:, :1] + np.var(np.mean(chains, axis=2), axis=1, ddof=1)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = 1.0 - (within - covariances) / variance
    rho[:, 0] = 1.0
    # Sums of neighbouring pairs. The last pair that may be used has another pair after it.
    last = max((s - 3) // 2, 0)
    pairs = rho[:, 0 : 2 * last + 1 : 2] + rho[:, 1 : 2 * last + 2 : 2]
    ends = pairs <= 0
    ends[:, -1] = True
    end = np.argmax(ends, axis=1)  # the first pair that is left out
    falling = np.minimum.accumulate(pairs, axis=1)
    kept = np.sum(np.where(np.arange(last + 1) < end[:, None], falling, 0.0), axis=1)
    rows = np.arange(q)
    after = rho[rows, 2 * end]
    after = np.where(pairs[rows, end] >= 0, after, np.maximum(after, 0.0))
    times = np.maximum(-1.0 + 2.0 * kept + after, 1.0 / np.log10(total))
    constant = np.ptp(chains.reshape(q, -1), axis=1) < np.finfo(float).resolution
    return np.where(constant, float(total), total / times)
