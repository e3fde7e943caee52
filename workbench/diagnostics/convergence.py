"""Agreement of chains, measured by functionals that do not depend on the labels of components.

Rank-normalised R-hat and effective sample sizes are computed for many quantities at once (Vehtari et al. 2021).

The numbers equal those of ArviZ. ArviZ computes them for one quantity at a time, which took longer than a sampler needs
for a few thousand draws of few points.

By the R-hat of a parameter, a chain that swaps labels looks stuck, and a chain that cannot swap them looks converged.
A functional of the density does not depend on labels, so it measures mixing and nothing else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri

from workbench.engine.compat.compilation import jit_by_size
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.mixture.background import of_all_points
from workbench.mixture.filled import filled
from workbench.problem import Problem

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
    ranks = np.stack([_ranks(column) for column in chains.reshape(len(chains), -1)])
    return np.asarray(ndtri((ranks - 0.375) / (ranks.shape[1] + 0.25))).reshape(chains.shape)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from one up; equal values share their mean rank. [n]

    These are `scipy.stats.rankdata`'s, whose import takes 0.4 s.
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - 0.5 * (counts - 1))[places])


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


# Rows at which the log density is followed, and coordinates of the means. Each functional costs some milliseconds.
FOLLOWED_ROWS = 8
FOLLOWED_COLUMNS = 4

# Draws that are evaluated together.
BATCH = 256

# Log-odds are clipped to this size, so that they stay finite for a weight of zero.
FAR = 1e9

# Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), "Rank-normalization, folding, and localization: an improved
# R-hat", Bayesian Analysis 16: chains agree when R-hat is below 1.01 and the effective sample size above 400.
R_HAT_LIMIT = 1.01
ESS_LIMIT = 400.0

# Below this, energies are explored too slowly to reach the tails (Betancourt 2016, arXiv:1604.00695).
E_BFMI_LIMIT = 0.3


@dataclass(frozen=True)
class Mixing:
    """The worst rank-normalised split R-hat and the smallest effective sample sizes over the functionals.

    If the sampler has energies, also the smallest estimated Bayesian fraction of missing information over the chains.
    """

    r_hat_max: float
    ess_min: float  # of the bulk
    ess_tail_min: float = np.inf  # of the tails, for the worse of two quantiles
    e_bfmi: float | None = None
    chains: int = 2

    @property
    def alone(self) -> bool:
        """Whether there is only one chain, whose halves can agree within one mode even though others exist."""
        return self.chains == 1

    @property
    def converged(self) -> bool:
        """Whether several chains meet the limits of Vehtari et al. (2021) on R-hat and on both sample sizes."""
        if self.alone:
            return False
        return self.r_hat_max < R_HAT_LIMIT and self.ess_min > ESS_LIMIT and self.ess_tail_min > ESS_LIMIT

    @property
    def slow_in_energy(self) -> bool:
        """Whether the chains explore energies too slowly; this is a warning, not a failure to agree."""
        return self.e_bfmi is not None and not self.e_bfmi >= E_BFMI_LIMIT

    @property
    def facts(self) -> str:
        """The numbers as text."""
        sizes = f"ESS {self.ess_min:.0f}, tail ESS {self.ess_tail_min:.0f}"
        energy = f"; E-BFMI {self.e_bfmi:.2f} of the energies" if self.e_bfmi is not None else ""
        low = f", below {E_BFMI_LIMIT:g}: the tails may be missed" if self.slow_in_energy else ""
        return f"R-hat {self.r_hat_max:.3f}, {sizes} over label-invariant functionals{energy}{low}"


class Functionals(NamedTuple):
    """Functionals of every draw that do not depend on the order of its components.

    R-hat and ESS are computed from log-odds in place of probabilities. A probability that rounds to one throughout a
    chain has no variance; its log-odds do, and have the same ranks.
    """

    names: tuple[str, ...]
    values: np.ndarray  # [R, S, Q]   as reported
    ranked: np.ndarray  # [R, S, Q]   as compared between chains: probabilities as log-odds


def mixing_of(trace: Trace, problem: Problem) -> Mixing | None:
    """Mixing of a sampler's draws; None for point estimates and for approximations, whose draws are independent."""
    if not trace.is_sampler or trace.is_approximation:
        return None
    ranked = functionals(trace, problem).ranked
    (r_hats, sizes), tails, energies = rank_statistics(ranked), tail_sizes(ranked), energy_fractions(trace)
    e_bfmi = None if energies is None else float(np.min(energies))
    return Mixing(float(np.max(r_hats)), float(np.min(sizes)), float(np.min(tails)), e_bfmi, trace.num_restarts)


def energy_fractions(trace: Trace) -> np.ndarray | None:
    """Estimated Bayesian fraction of missing information of each chain; None if the sampler has no energies. [R]

    It is `sum_s (E_s - E_(s-1))^2 / sum_s (E_s - mean E)^2` (Betancourt 2016): the change of the energy by a new
    momentum, relative to the spread of the energies. It is zero for a chain that never moves.
    """
    if trace.energy is None:
        return None
    from arviz_stats.base import array_stats  # type: ignore[attr-defined]

    energy = trace.energy[:, -trace.draws :]
    moves = np.all(np.isfinite(energy), axis=1) & (np.ptp(energy, axis=1) > 0)
    fractions = np.zeros(len(energy))
    if np.any(moves):
        fractions[moves] = array_stats.bfmi(energy[moves], chain_axis=0, draw_axis=1)
    return fractions


def functionals(trace: Trace, problem: Problem, columns: Sequence[str] = ()) -> Functionals:
    """Scores, density, co-clustering, and sorted weights, volumes and means of every draw of a sampler.

    The functionals are `log_joint`, `log_likelihood`, the log density at `followed_rows`, and the co-clustering of
    neighbours among those rows (the probability that one component made both); and, each sorted, the weights, the
    log-determinants of the covariances (one if all components share it) and the first coordinates of the means.

    Args:
        trace: of a sampler.
        problem: the problem of the trace.
        columns: names of the data's columns; by default x1, x2, ...
    """
    shape = trace.answer.weights.shape[:2]
    rows = followed_rows(problem)
    flat = jax.tree.map(lambda leaf: np.reshape(leaf, (-1, *leaf.shape[2:])), trace.answer)
    densities, odds, volumes = (
        np.asarray(part).reshape(*shape, -1) for part in _of_draws(problem.rows.z.size, filled(flat), rows)
    )
    own = _sorted_parts(trace.answer, volumes)
    scores = np.stack([trace.log_joint[:, -trace.draws :], trace.log_likelihood[:, -trace.draws :]], -1)
    pairs = list(pairwise(range(1, len(rows) + 1))) if problem.components > 1 else []
    odds = odds[..., : len(pairs)]
    # This is 1 / (1 + exp(-odds)) without overflow.
    together = np.exp(-np.logaddexp(0.0, -odds))
    coordinates = column_names(columns, problem.num_dimensions)[:FOLLOWED_COLUMNS]
    names = ["log_joint", "log_likelihood", *(f"log_density[{n}]" for n in range(1, len(rows) + 1))]
    names += [f"co_clustering[{a}, {b}]" for a, b in pairs]
    for name, part in zip(("sorted_weights", "sorted_log_determinants"), own[:-1], strict=True):
        names += [f"{name}[{k}]" for k in range(1, part.shape[-1] + 1)]
    names += [f"sorted_means[{k}, {name}]" for k in range(1, problem.components + 1) for name in coordinates]
    values, ranked = (np.concatenate([scores, densities, part, *own], -1) for part in (together, odds))
    return Functionals(tuple(names), values, ranked)


def followed_rows(problem: Problem) -> np.ndarray:
    """A few rows, spread evenly over the data sorted by its first column. [8, D]"""
    x = problem.sample
    order = np.argsort(x[:, 0], kind="stable")
    return x[order[np.linspace(0, len(order) - 1, min(FOLLOWED_ROWS, len(order))).astype(int)]]


def column_names(columns: Sequence[str], dimensions: int) -> list[str]:
    """The given names, completed by x1, x2, ... for columns without one. [D]"""
    return [*columns[:dimensions], *(f"x{d + 1}" for d in range(len(columns), dimensions))]


def _sorted_parts(draws: Mixture, log_determinants: np.ndarray) -> list[np.ndarray]:
    """Weights, log-determinants and first coordinates of the means of draws with leaves [R, S, ...], each sorted.

    Their shapes are [R, S, K], [R, S, K] and [R, S, K * 4]. There is no weight if K is 1, and only one determinant if
    components share their covariance.
    """
    k = draws.means.shape[-2]
    weights = np.sort(np.asarray(of_all_points(draws)))[..., : k if k > 1 or draws.background is not None else 0]
    means = np.sort(np.asarray(draws.means)[..., :FOLLOWED_COLUMNS], axis=-2)
    volumes = np.sort(log_determinants[..., : 1 if draws.covariance.is_shared else k])
    return [weights, volumes, means.reshape(*means.shape[:2], -1)]


def _of_each_draw(mixtures: Mixture, rows: Array) -> tuple[Array, Array, Array]:
    """Log density at the rows, log-odds of co-clustering of neighbours, and log-determinants. [S, 8], [S, 7], [S, K]"""
    k, d = mixtures.means.shape[-2:]

    def of_one(mixture: Mixture) -> tuple[Array, Array, Array]:
        joint = mixture.component_log_joint(rows)  # [8, K]
        density = logsumexp(joint, axis=-1)
        member = joint - density[:, None]
        if mixture.background is not None:
            density = jnp.logaddexp(density, mixture.background.log_joint(rows))
        together = logsumexp(member[:-1] + member[1:], axis=-1)  # [7]
        apart = logsumexp(member[:-1] + _log_of_all_others(member[1:]), axis=-1)
        volumes = 2.0 * mixture.covariance.half_log_determinants(mixture.scales, k, d)
        return density, jnp.clip(together - apart, -FAR, FAR), volumes

    return jax.lax.map(of_one, mixtures, batch_size=BATCH)


def _log_of_all_others(member: Array) -> Array:
    """Log probabilities [B, K] of every component but one, summed up, for each of K that is left out. [B, K]

    By what is left of the sum of all, which has most of its digits unless the largest is the one that is left out.
    """
    largest = jnp.arange(member.shape[-1]) == jnp.argmax(member, axis=-1)[:, None]
    top = jnp.max(member, axis=-1, keepdims=True)
    shares = jnp.exp(member - top)
    without = top + jnp.log(jnp.sum(shares, axis=-1, keepdims=True) - shares)
    return jnp.where(largest, logsumexp(member, axis=-1, keepdims=True, where=~largest), without)


_of_draws = jit_by_size(_of_each_draw)
