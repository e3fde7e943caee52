"""The criteria that read draws: WAIC and PSIS-LOO, which estimate how new points are predicted, and the evidence."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.special import logsumexp

from workbench.data.incomplete import has_missing
from workbench.data.known import UNKNOWN
from workbench.data.observed import MissingCells
from workbench.diagnostics.pareto import smoothed_log_weights
from workbench.engine.compat.compilation import jit_with
from workbench.mixture import Mixture
from workbench.mixture.filled import filled
from workbench.problem import Problem
from workbench.selection.candidate import Candidate
from workbench.selection.posterior import Missing, Posterior, exact_evidence, has_exact_evidence
from workbench.selection.score import Score, error_of_mean

# The most numbers of a matrix of draws and points that are held at once: 64 MiB.
HELD = 2**23


def log_likelihoods(
    draws: Mixture, x: NDArray[np.float64], known: NDArray[np.int64] | None = None
) -> Iterator[np.ndarray]:
    """ln P(x_n | draw) for draws with leaves [R, S, ...], in blocks of the points x [N, D]. [B, R, S]

    Of a point whose component is `known` [N], not -1, it is `ln P(x_n, z_n | draw)`, its term in the likelihood.
    """
    chains, kept = draws.weights.shape[:2]
    flat = filled(jax.tree.map(lambda leaf: np.reshape(np.asarray(leaf), (-1, *leaf.shape[2:])), draws))
    size = max(1, min(HELD // (chains * kept), len(x)))
    for first in range(0, len(x), size):
        block = np.asarray(x[first : first + size])
        # The last block is filled with repeated points, so that one program serves all blocks.
        padded = np.resize(block, (size, x.shape[1]))
        own = None if known is None else np.resize(known[first : first + size], size)
        missing: MissingCells = "marginal" if has_missing(padded) else "refuse"
        values = np.asarray(_of_draws(flat, padded, own, missing))[:, : len(block)]
        yield np.ascontiguousarray(values.T).reshape(len(block), chains, kept)


@jit_with({}, static_argnums=3)
def _of_draws(mixtures: Mixture, x: Array, known: Array | None, missing: MissingCells) -> Array:
    """ln P(x_n | draw) of one block, or ln P(x_n, z_n | draw) where z_n is known. [R S, B]"""

    def of(mixture: Mixture) -> Array:
        density = mixture.log_density(x, missing=missing)
        if known is None:
            return density
        joint = mixture.component_log_joint(x, missing=missing)
        own = jnp.take_along_axis(joint, jnp.maximum(known, 0)[:, None], axis=1)[:, 0]
        return jnp.where(known == UNKNOWN, density, own)

    return jax.lax.map(of, mixtures)


# The largest posterior variance of one point's log-likelihood at which WAIC is reliable (Vehtari, Gelman & Gabry 2017,
# Statistics and Computing 27).
LARGEST_VARIANCE = 0.4


def waic(candidate: Candidate) -> Score:
    """`sum_n ln mean_s P(x_n | s) - var_s ln P(x_n | s)`: Watanabe 2010, JMLR 11, -1/2 of the deviance's scale."""
    posterior = candidate.posterior
    if isinstance(posterior, Missing):
        return Score.missing(posterior.why)
    terms, variances, influences = [], [], []
    for values, weights in _values(candidate, posterior):
        variances.append(np.var(values, axis=1, ddof=1))
        density = logsumexp(values, axis=1) - np.log(values.shape[1])
        terms.append(density - variances[-1])
        squares = (values - np.mean(values, axis=1, keepdims=True)) ** 2
        influences.append(_sum(np.exp(values - density[:, None]) - squares, weights))
    large, total = _share(np.concatenate(variances) > LARGEST_VARIANCE, candidate)
    share = f"{large:g} of {total:g} points ({large / total:.0%})"
    warning = f"{share} have a variance above {LARGEST_VARIANCE}, where WAIC is unreliable"
    score = Score.of_terms(np.concatenate(terms), [warning] if large else [], candidate.problem.weights)
    return posterior.judge(_with_error(score, influences, posterior))


# The largest tail shape k of a point's importance weights at which the sum over draws is reliable.
LARGEST_SHAPE = 0.7


def loo(candidate: Candidate) -> Score:
    """`sum_n ln P(x_n | all other points)` by Pareto-smoothed importance sampling.

    Vehtari, Gelman & Gabry (2017), Statistics and Computing 27; the limit on k also falls with few draws (Vehtari,
    Simpson, Gelman, Yao & Gabry 2024, JMLR 25). Not eligible where a point's k is beyond it, or the draws disagree. One
    observation of a row of weight w is left out, and its term counts w times.
    """
    posterior = candidate.posterior
    if isinstance(posterior, Missing):
        return Score.missing(posterior.why)
    terms, shapes, influences = [], [], []
    for values, weights in _values(candidate, posterior):
        log_weights, tails = smoothed_log_weights(-values, posterior.efficiency)
        terms.append(logsumexp(log_weights + values, axis=1))
        shapes.append(tails)
        shares = np.exp(log_weights + values - terms[-1][:, None]) - np.exp(log_weights)
        influences.append(values.shape[1] * _sum(shares, weights))
    draws = math.prod(posterior.draws.weights.shape[:2])
    limit = min(1.0 - 1.0 / math.log10(draws), LARGEST_SHAPE)
    # Not "greater than", because a NaN counts as beyond the limit.
    bad, total = _share(~(np.concatenate(shapes) <= limit), candidate)
    every = Score.of_terms(np.concatenate(terms), weights=candidate.problem.weights)
    score = _with_error(every, influences, posterior)
    if bad:
        note = f"{bad:g} of {total:g} points ({bad / total:.0%}) have a Pareto k above {limit:.2g}"
        score = score.reject("Pareto k too large", note)
    return posterior.judge(score)


def log_numberings(problem: Problem) -> float:
    """`ln K! / (K - M)!`, the numberings of the M components of which rows are known, all equally probable."""
    if problem.known is None:
        return 0.0
    anchored = int(np.sum(problem.known.anchored(problem.components)))
    return math.lgamma(problem.components + 1) - math.lgamma(problem.components - anchored + 1)


def _values(candidate: Candidate, posterior: Posterior) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """ln P(x_n | draw) in blocks of points, and how often each of these counts. [B, R S], [B]"""
    first, weights, known = 0, candidate.problem.weights, candidate.problem.known
    for block in log_likelihoods(posterior.draws, candidate.problem.x, None if known is None else known.components):
        yield block.reshape(len(block), -1), None if weights is None else weights[first : first + len(block)]
        first += len(block)


def _sum(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The sum over points of values [B, R S], each as often as it counts. [R S]"""
    return np.asarray(np.sum(values, axis=0) if weights is None else weights @ values)


def _share(which: np.ndarray, candidate: Candidate) -> tuple[float, float]:
    """The number of points that are marked [N], and that of all, each as often as it counts."""
    weights = candidate.problem.weights
    return float(np.sum(which if weights is None else weights[which])), float(candidate.problem.num_points)


def _with_error(score: Score, influences: Sequence[np.ndarray], posterior: Posterior) -> Score:
    """A score with its Monte Carlo error, from the influence of each draw on it: one array [R S] for each block.

    A score is a smooth function of means over the draws. To first order, its error is therefore that of the mean of
    the influences, which the means of independent chains show whatever the correlation within a chain.
    """
    chains = posterior.draws.weights.shape[0]
    means = np.mean(np.sum(influences, axis=0).reshape(chains, -1), axis=1)
    return replace(score, monte_carlo_error=error_of_mean(means))


def evidence(candidate: Candidate) -> Score:
    """`ln P(x | K)`: exact under the conjugate prior if K is 1 or all allocations can be summed, otherwise sampled.

    The prior is the same under every order of the components, and both computations integrate over all orders, so no
    factor K! is needed; a formula at one mode (Chib 1995) would need it. The error of a sampled evidence is half of the
    68 % interval by Student's t, over runs whose estimates are unbiased however well their particles mix. The score is
    not eligible if one run outweighs all the others together, because its error is then unknown.

    Where components of rows are known, it is the evidence of the points and of which of these rows belong together. The
    numbers that classes have are no data: `log_numberings` adds up all that they could have, more of them for larger K.
    """
    named = log_numberings(candidate.problem)
    if has_exact_evidence(candidate.problem):
        return Score.of(named + exact_evidence(candidate.problem), 0.0, ["exact"])
    particles = candidate.particles
    if isinstance(particles, Missing):
        return Score.missing(particles.why)
    found = particles.evidence
    if found is None:
        return Score.missing("the sampler estimates no evidence")
    score = Score.of(named + found.log_evidence, found.half_width)
    if found.is_carried:
        note = f"one of {found.runs} runs holds {found.largest_share:.0%} of their mean, so the error is unknown"
        return score.reject("one run carries the mean", note)
    if particles.agrees or score.value is None:
        return score
    return replace(
        score, notes=(f"its error is the spread of the runs, whose particles have not mixed: {particles.message}",)
    )
