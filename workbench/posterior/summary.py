"""The posterior table of a sampler's run: estimates of each quantity from its draws, with their diagnostics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np

from workbench.diagnostics.convergence import energy_fractions, functionals, rank_statistics, tail_sizes
from workbench.loop.trace import Trace
from workbench.posterior.relabelled import DEFAULT, check_sampler, relabel
from workbench.posterior.relabelling import RELABELLINGS, agreement_matrix, apply, timed
from workbench.posterior.switching import label_switching, parameters
from workbench.problem import Problem

# Draws on which the relabelling algorithms are compared, spread evenly over all chains; agreement is known to a few
# percent.
COMPARED_DRAWS = 500


@dataclass(frozen=True)
class Estimate:
    """Estimates of one quantity from the draws of all chains; NaN where draws are not finite or never change."""

    name: str
    mean: float
    sd: float
    mcse: float  # Monte-Carlo standard error of the mean
    r_hat: float  # rank-normalised and split
    ess_bulk: float
    ess_tail: float
    # R-hat with the labels as sampled, in the most frequent order; it illustrates switching, and is no diagnostic.
    raw_r_hat: float | None = None


@dataclass(frozen=True)
class RelabellingsCompared:
    """Agreement of the relabelling algorithms on the same draws, and the cost of each."""

    names: tuple[str, ...]
    agreement: np.ndarray  # [M, M]   share of the draws on which two agree, up to one order common to all draws
    seconds: tuple[float, ...]  # of each, without compiling
    compile_seconds: tuple[float, ...]
    draws: int  # number of draws on which they were compared


@dataclass(frozen=True)
class PosteriorSummary:
    """Label-invariant functionals, parameters after relabelling, and the labellings that each chain visits.

    R-hat and effective sample sizes of an approximation's draws are NaN, because they say nothing about the posterior.
    """

    chains: int
    draws: int  # of each chain
    approximation: bool  # whether the draws come from a density that was fitted to the posterior
    relabelling: str
    functionals: tuple[Estimate, ...]
    parameters: tuple[Estimate, ...]
    labellings: int  # K!
    labellings_met: int  # visited by all chains together
    modes_visited: tuple[int, ...]  # number of the K! labellings that each chain visits
    switches: tuple[int, ...]  # number of draws of each chain in another labelling than the draw before
    e_bfmi: tuple[float, ...] | None  # of each chain's energies; None where the sampler has none
    dtype: str  # in which the numbers were computed
    compared: RelabellingsCompared
    stale: str | None = None  # the code that made the stored draws, if it is not the present one


def posterior_summary(
    trace: Trace, problem: Problem, relabelling: str = DEFAULT, columns: Sequence[str] = ()
) -> PosteriorSummary:
    """The posterior table of a sampler's draws, without warm-up.

    Args:
        trace: of a sampler.
        problem: the problem of the trace.
        relabelling: the relabelling algorithm for the parameters; a name in `RELABELLINGS`.
        columns: names of the data's columns; by default x1, x2, ...

    Raises:
        InputError: the trace has no draws, or there is no such algorithm.
    """
    relabelled = relabel(trace, problem, relabelling)
    invariant = functionals(trace, problem, columns)
    names, settled = parameters(relabelled.mixtures, columns)
    switching = label_switching(relabelled.permutations)
    most = np.broadcast_to(switching.labellings[0], relabelled.permutations.shape)
    raw, _ = rank_statistics(parameters(apply(most, trace.answer))[1])
    chains, draws = settled.shape[:2]
    energies = energy_fractions(trace)
    return PosteriorSummary(
        chains=chains,
        draws=draws,
        approximation=trace.is_approximation,
        relabelling=relabelling,
        functionals=_without_diagnostics(trace, _estimates(invariant.names, invariant.values, invariant.ranked)),
        parameters=_without_diagnostics(trace, _estimates(names, settled, settled, raw)),
        labellings=math.factorial(problem.components),
        labellings_met=len(switching.labellings),
        modes_visited=tuple(switching.modes_visited.tolist()),
        switches=tuple(switching.switches.tolist()),
        e_bfmi=None if energies is None else tuple(energies.tolist()),
        dtype=problem.dtype.name,
        compared=compare_relabellings(trace, problem),
    )


def compare_relabellings(trace: Trace, problem: Problem) -> RelabellingsCompared:
    """All relabelling algorithms on the same draws of a sampler, at most 500, spread evenly over its chains.

    Raises:
        InputError: the trace has no draws.
    """
    check_sampler(trace)
    total = trace.num_restarts * trace.draws
    chosen = np.unique(np.linspace(0, total - 1, min(total, COMPARED_DRAWS)).astype(int))
    few = jax.tree.map(lambda leaf: np.reshape(leaf, (1, total, *leaf.shape[2:]))[:, chosen], trace.answer)
    scores = trace.log_joint[:, -trace.draws :].reshape(1, total)[:, chosen]
    results = {name: timed(algorithm, few, scores, problem) for name, algorithm in RELABELLINGS.items()}
    return RelabellingsCompared(
        names=tuple(results),
        agreement=agreement_matrix({name: one.permutations for name, one in results.items()}),
        seconds=tuple(one.seconds for one in results.values()),
        compile_seconds=tuple(one.compile_seconds for one in results.values()),
        draws=len(chosen),
    )


def _estimates(
    names: Sequence[str], values: np.ndarray, ranked: np.ndarray, raw: np.ndarray | None = None
) -> tuple[Estimate, ...]:
    """Estimates of values [R, S, Q]; chains are compared by `ranked`, and `raw` [Q] are R-hats with raw labels."""
    # This import takes 0.8 s; the package promises to import in little more time than numpyro itself.
    from arviz_stats.base import array_stats  # type: ignore[attr-defined]

    (r_hats, bulks), tails = rank_statistics(ranked), tail_sizes(ranked)
    estimates = []
    for q, name in enumerate(names):
        column, figures = values[..., q], np.full(4, np.nan)
        moves = bool(np.all(np.isfinite(column)) and np.ptp(column) > 0)
        if np.all(np.isfinite(column)):
            figures[:2] = np.mean(column), np.std(column, ddof=1)
        if moves:
            figures[2] = array_stats.mcse(column, chain_axis=0, draw_axis=1)
            figures[3] = tails[q]
        chains = (float(r_hats[q]), float(bulks[q])) if moves else (math.nan, math.nan)
        mean, sd, mcse, tail = figures.tolist()
        raw_r_hat = None if raw is None else float(raw[q]) if moves else math.nan
        estimates.append(Estimate(name, mean, sd, mcse, *chains, tail, raw_r_hat))
    return tuple(estimates)


def _without_diagnostics(trace: Trace, estimates: tuple[Estimate, ...]) -> tuple[Estimate, ...]:
    """The estimates; those of an approximation without R-hat and ESS, which its independent draws always pass."""
    if not trace.is_approximation:
        return estimates
    return tuple(replace(e, r_hat=math.nan, ess_bulk=math.nan, ess_tail=math.nan, raw_r_hat=None) for e in estimates)
