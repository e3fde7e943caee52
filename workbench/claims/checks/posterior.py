"""Checks of posteriors: chains and their labels, ridges, published modes, spikes, and calibration."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from workbench.claims.decision import Decision, Verdict, number, undecided
from workbench.claims.evidence import Ran
from workbench.diagnostics.convergence import R_HAT_LIMIT
from workbench.diagnostics.predictive import thinned
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.posterior import (
    RELABELLINGS,
    Convergence,
    Switching,
    invariant_convergence,
    label_switching,
    parameter_convergence,
)
from workbench.posterior.relabelling import apply
from workbench.studies import Findings
from workbench.studies.calibration import FALSE_ALARM

# An R-hat far above what Betancourt (2017) calls dreadful; for chains that agree it is below 1.01.
R_HAT_OF_MEANS = 10.0

# Gaussian mixture tutorial of Pyro and of NumPyro, five points: minus the log joint density at the mode, weights, means
# and deviation. Printed to five decimals.
TUTORIAL_LOSS = 17.44325
TUTORIAL_MODE = np.array([0.375, 0.625, 0.49894, 10.98446, 0.65143])
PRINTED = 1e-5

# Draws whose soundness is checked, which costs a pass for each.
DRAWS_CHECKED = 400


def labels_alone_part_the_chains(ran: Ran) -> Decision:
    """The split R-hat of the raw means, if no transition diverged and the label-invariant functionals have converged.

    It is the R-hat without ranks (Gelman et al. 2013, sec. 11.4). With ranks it cannot exceed 1.83 for two chains,
    however far apart they are.
    """
    if not ran.chains:
        return undecided("The experiment has no sampler.")
    raw = min(float(np.min(_split_r_hat(np.asarray(trace.answer.means)))) for trace in ran.chains.values())
    blind = [invariant_convergence(trace, ran.problem).r_hat_max for trace in ran.chains.values()]
    ranked = [_of_means(parameter_convergence(trace.answer)) for trace in ran.chains.values()]
    holds = raw > R_HAT_OF_MEANS and max(blind) < R_HAT_LIMIT and _diverged(ran) == 0
    note = (
        f"{_diverged(ran)} chains diverged; of label-invariant functionals it is {max(blind):.3f}, and of the ranks of "
        f"the means {max(ranked):.3g}."
    )
    return Decision(Verdict.HOLDS if holds else Verdict.FAILS, raw, "is the smallest R-hat of a raw mean", note=note)


def overlap_joins_the_labellings(rans: Sequence[Ran]) -> Decision:
    """The cost of an effective draw on overlapping groups relative to clear groups, and the labellings of the chains.

    It reads two experiments, the clear groups first. The claim holds if each chain stays in its labelling on the clear
    groups and visits several on the others, and an effective draw costs more there.
    """
    if len(rans) != 2 or not all(ran.chains for ran in rans):
        return undecided("It takes two experiments with samplers: clear groups, then overlapping ones.")
    (clear, *_), (over, *_) = ([_ridge(ran, trace) for trace in ran.chains.values()] for ran in rans)
    ratio = over.price / clear.price
    holds = np.all(clear.switching.modes_visited == 1) and np.all(over.switching.modes_visited > 1) and ratio > 1
    least, most = np.min(over.switching.switches), np.max(over.switching.switches)
    note = (
        f"Its chains change labels {least} to {most} times; in order of their means, {over.pair} correlate "
        f"{over.correlation:.2g}, and the means spread {over.spread / clear.spread:.2g} times as wide."
    )
    unit = "times the passes for an effective draw"
    return Decision(Verdict.HOLDS if holds else Verdict.FAILS, ratio, unit, note=note)


def finds_the_tutorials_mode(ran: Ran) -> Decision:
    """Minus the log joint density at the best sound end, compared with the tutorial's, as is every parameter."""
    places = {name: trace.best_place(ran.problem, ran.comparison.rule) for name, trace in ran.climbs.items()}
    sound = [(ran.climbs[name], place) for name, place in places.items() if place is not None]
    if not sound:
        return undecided("No climb ended on a sound mixture.")
    best, place = max(sound, key=lambda found: float(found[0].log_joint[found[1]]))
    loss, mixture = -float(best.log_joint[place]), best.at(*place).canonical()
    found = np.concatenate([np.ravel(leaf) for leaf in (mixture.weights, mixture.means, mixture.scales)])
    same = found.shape == TUTORIAL_MODE.shape and bool(np.all(np.abs(found - TUTORIAL_MODE) < PRINTED))
    reached = int(np.sum(np.abs(best.log_joint[:, -1] + loss) < PRINTED))
    verdict = Verdict.HOLDS if same and abs(loss - TUTORIAL_LOSS) < PRINTED else Verdict.FAILS
    note = f"{reached} of {best.num_restarts} starts end there; printed is {TUTORIAL_LOSS}."
    return Decision(verdict, loss, "nats of loss at the mode", note=note)


def weak_prior_keeps_the_spikes(rans: Sequence[Ran]) -> Decision:
    """The percentage of draws in spikes under a weak prior, for the sampler with the fewest.

    It reads two experiments, the weak prior first. The claim holds if under the weak prior the highest end of all
    climbs is a spike as well, and under the other prior neither ends nor draws are in spikes.
    """
    if len(rans) != 2 or not all(ran.chains and ran.climbs for ran in rans):
        return undecided("It takes two experiments with samplers and climbs: the weak prior, then the sensible one.")
    weak, sensible = (_spikes(ran) for ran in rans)
    least, left = 100 * min(weak.shares.values()), 100 * max(sensible.shares.values())
    holds = least > 0 and weak.highest > weak.sound and sensible.ends == 0 and left == 0
    height = f", up to {number(weak.highest - weak.sound)} nats above the best sound end" if weak.ends else ""
    note = (
        f"{weak.ends} climbs end in a spike{height}, and {weak.diverged} chains diverge; under the sensible prior "
        f"{sensible.ends} climbs end so, {number(left)} % of draws lie so, and {sensible.diverged} chains diverge."
    )
    return Decision(Verdict.HOLDS if holds else Verdict.FAILS, least, "% of the draws lie in spikes", note=note)


class _Ridge(NamedTuple):
    price: float  # passes after warm-up for each effective draw, worst label-invariant functional
    switching: Switching  # in order of the means
    correlation: float  # the strongest between two parameters in that order, weights with one another apart
    pair: str  # which two
    spread: float  # largest standard deviation of a mean in that order


class _Spikes(NamedTuple):
    highest: float  # log_joint of the highest climb that ended singular; -inf where none did
    sound: float  # and of the highest sound one
    ends: int  # climbs that ended singular
    shares: dict[str, float]  # of the draws of each sampler that are singular
    diverged: int  # chains with a divergence


def _split_r_hat(values: np.ndarray) -> np.ndarray:
    """Split R-hat, without ranks, of each entry of draws [R, S, ...]. [Q]"""
    # This import takes 0.8 s; the package promises to import in little more time than numpyro itself.
    from arviz_stats.base import array_stats  # type: ignore[attr-defined]

    columns = np.moveaxis(np.reshape(values, (*np.shape(values)[:2], -1)), -1, 0)  # [Q, R, S]
    return np.array([array_stats.rhat(column, chain_axis=0, draw_axis=1, method="split") for column in columns])


def _of_means(found: Convergence) -> float:
    """The largest R-hat of a mean."""
    return max(float(r) for name, r in zip(found.names, found.r_hat, strict=True) if name.startswith("means"))


def _ridge(ran: Ran, trace: Trace) -> _Ridge:
    draws = trace.answer
    permutations = RELABELLINGS["ordering"](draws, trace.log_joint[:, -trace.draws :], ran.problem)
    passes = float(np.sum(trace.passes[:, -1] - trace.passes[:, -trace.draws - 1]))
    ordered = apply(permutations, draws)
    names, columns = _parameters(ordered)
    with np.errstate(invalid="ignore"):
        # A parameter that never changes has no correlation.
        correlations = np.nan_to_num(np.abs(np.corrcoef(columns)))  # [Q, Q]
    # Correlations between weights are left out, because weights sum to one.
    weights = np.array([name.startswith("weight") for name in names])
    correlations[np.eye(len(names), dtype=bool) | np.outer(weights, weights)] = 0.0
    a, b = np.unravel_index(np.argmax(correlations), correlations.shape)
    return _Ridge(
        passes / invariant_convergence(trace, ran.problem).ess_min,
        label_switching(permutations),
        float(correlations[a, b]),
        f"{names[a]} and {names[b]}",
        float(np.max(np.std(np.asarray(ordered.means), axis=(0, 1)))),
    )


def _parameters(draws: Mixture) -> tuple[list[str], np.ndarray]:
    """Weights and means by name, and their values. [Q, R S]"""
    blocks = {"weight": np.asarray(draws.weights), "mean": np.asarray(draws.means)}
    names = [f"{name} {','.join(str(i + 1) for i in p)}" for name, b in blocks.items() for p in np.ndindex(b.shape[2:])]
    lines = [np.reshape(block, (np.prod(block.shape[:2]), -1)).T for block in blocks.values()]
    return names, np.concatenate(lines)


def _spikes(ran: Ran) -> _Spikes:
    rule, problem = ran.comparison.rule, ran.problem
    sound, spiked = [-np.inf], [-np.inf]
    for trace in ran.climbs.values():
        place = trace.best_place(problem, rule)
        sound += [] if place is None else [float(trace.log_joint[place])]
        healths = rule.check_all(problem, trace.ends)
        singular = np.array([health.singular for health in healths]) | trace.collapsed
        spiked += trace.log_joint[singular, -1].tolist()
    shares = {}
    for name, trace in ran.chains.items():
        flat = jax.tree.map(lambda leaf: np.reshape(leaf, (-1, *leaf.shape[2:])), trace.answer)
        checked = rule.check_all(problem, thinned(flat, DRAWS_CHECKED))
        shares[name] = float(np.mean([health.singular or not health.finite for health in checked]))
    return _Spikes(max(spiked), max(sound), len(spiked) - 1, shares, _diverged(ran))


def _diverged(ran: Ran) -> int:
    """Chains with a divergence after warm-up."""
    return sum(int(np.sum(~trace.ok[:, -1])) for trace in ran.chains.values())


# A draw that is above the best by less than this share of its size is so by rounding.
ROUNDING = 1e-9


def draws_stay_below_best(ran: Ran) -> Decision:
    """The gap from the best sound optimum of the climbs down to the highest draw of all chains, in nats."""
    if not ran.chains or not ran.climbs:
        return undecided("The experiment does not have both a sampler and a climb.")
    climbed = [t.log_joint[p] for t in ran.climbs.values() if (p := t.best_place(ran.problem, ran.comparison.rule))]
    if not climbed:
        return undecided("No climb ended on a sound mixture.")
    best = float(max(climbed))
    draws = np.concatenate([trace.log_joint[:, -trace.draws :].ravel() for trace in ran.chains.values()])
    gap = best - float(np.max(draws))
    above = int(np.sum(draws > best + ROUNDING * abs(best)))
    verdict = Verdict.HOLDS if above == 0 else Verdict.FAILS
    typical = number(best - float(np.median(draws)))
    note = f"{above} of {len(draws):,} draws exceed it; the median draw lies {typical} nats below."
    return Decision(verdict, gap, "nats from the best optimum down to the highest draw", note=note)


def chain_keeps_one_order(ran: Ran) -> Decision:
    """The number of the K! orders of its components that a chain visits; one if it never leaves its mode.

    The order is that of the first coordinates of the means. It changes if labels are exchanged along a chain.
    """
    if not ran.chains:
        return undecided("The experiment has no sampler.")
    orders = [_orders(draws) for trace in ran.chains.values() for draws in np.asarray(trace.answer.means)]
    modes = math.factorial(ran.problem.components)
    visited = [len(each) for each in orders]
    over_all = len(set().union(*orders))
    verdict = Verdict.HOLDS if max(visited) == 1 and modes > 1 else Verdict.FAILS
    note = f"{len(visited)} chains take {over_all} different orders between them."
    return Decision(verdict, max(visited), f"of {modes} orders in the chain that takes most", note=note)


def _orders(means: np.ndarray) -> set[tuple[int, ...]]:
    """The distinct orders of the components along means [S, K, D] of draws."""
    return {tuple(order) for order in np.argsort(means[:, :, 0], axis=1).tolist()}


def samplers_are_calibrated(findings: Findings) -> Decision:
    """The smallest p-value of all quantities of all samplers, times the number of tests (Bonferroni).

    That no test fails says little unless the same tests can fail; an approximation to the posterior is the control.
    """
    samplers, controls = findings.where(approximation=False), findings.where(approximation=True)
    if not samplers.rows or not controls.rows:
        return undecided("The study needs a sampler, and an approximation that its tests can find out.")
    methods = samplers.values("method")
    adjusted = samplers.column("p_adjusted")
    smallest = min(1.0, len(methods) * float(np.min(adjusted)))
    worst = samplers.rows[int(np.argmin(adjusted))]
    passed = [name for name in controls.values("method") if all(controls.where(method=name).column("uniform"))]
    found = float(np.min(controls.column("p_adjusted")))
    if smallest < FALSE_ALARM:
        verdict = Verdict.FAILS
    else:
        verdict = Verdict.UNDECIDED if passed else Verdict.HOLDS
    note = (
        f"{len(methods)} samplers on {worst['replications']} data sets, {worst['tests']} tests each; it is of "
        f"{worst['quantity']} by {worst['method']}."
    )
    rest = f"The tests do not find out {', '.join(passed)}." if passed else f"That of approximations: {number(found)}."
    return Decision(verdict, smallest, "is the smallest p-value, times the number of tests", note=f"{note} {rest}")
