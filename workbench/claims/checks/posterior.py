"""Checks of posteriors: chains and their labels, ridges, spikes under weak priors, and calibration.

Draws are counted only of samplers whose chains agree (`Ran.agreeing`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from workbench.claims.decision import Decision, Exact, NoErrorKnown, Verdict, number, undecided
from workbench.claims.evidence import Limits, Ran, settings_of
from workbench.claims.statistics import by_share
from workbench.compare.summary import best_log_joint
from workbench.diagnostics.calibration import power
from workbench.diagnostics.proportion import Proportion
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
from workbench.posterior.spikes import exact_spikes
from workbench.studies import Findings

NO_AGREEMENT = "No sampler's chains agree, and draws of chains that do not are not counted."


def draws_stay_below_best(ran: Ran, limits: Limits) -> Decision:
    """The number of draws above the best sound optimum of the climbs."""
    chains, best = ran.agreeing(limits["agree"]), best_log_joint(ran.comparison) if ran.climbs else None
    if not ran.samplers or best is None:
        return undecided("The experiment does not have both a sampler and a climb with a sound end.")
    if not chains:
        return undecided(NO_AGREEMENT)
    draws = np.concatenate([trace.log_joint[:, -trace.draws :].ravel() for trace in chains.values()])
    climbed = [t.log_joint[p] for t in ran.climbs.values() if (p := t.best_place(ran.problem, ran.comparison.rule))]
    best = float(max(climbed))
    above = int(np.sum(draws > best + limits["rounding"] * abs(best)))
    verdict = Verdict.HOLDS if above == 0 else Verdict.FAILS
    highest, typical = number(best - float(np.max(draws))), number(best - float(np.median(draws)))
    note = f"The highest draw lies {highest} nats below the best optimum, the median draw {typical}."
    return Decision(
        verdict,
        above,
        f"of {len(draws):,} draws exceed it",
        Exact("a supremum", proved=True),
        note,
        settings=settings_of(ran),
    )


def chain_keeps_one_labelling(ran: Ran, limits: Limits) -> Decision:
    """The share of chains that stay in one of the K! labellings, by two relabellings that see all coordinates.

    Labels are those of Stephens' (2000) and of the iterative ECR algorithm (Papastamoulis & Iliopoulos 2010). A chain
    has left its mode if either of them sees a change.
    """
    chains = ran.agreeing(limits["agree"])
    if not ran.samplers or ran.problem.components < 2:
        return undecided("The experiment has no sampler of several components.")
    if not chains:
        return undecided(NO_AGREEMENT)
    kept, total, switches, draws = 0, 0, 0, 0
    for trace in chains.values():
        scores = trace.log_joint[:, -trace.draws :]
        seen = [
            label_switching(np.asarray(RELABELLINGS[name](trace.answer, scores, ran.problem)))
            for name in ("stephens", "ecr_iterative_1")
        ]
        left = np.max([each.switches for each in seen], axis=0)
        kept, total = kept + int(np.sum(left == 0)), total + len(left)
        switches, draws = switches + int(np.sum(left)), draws + scores.size
    rate = f"at most {number(3 / draws)} a draw (95 %)" if not switches else f"{number(switches / draws)} a draw"
    found = by_share(
        Proportion(kept, total), 0.5, "% of chains keep one labelling", "chains", settings=settings_of(ran)
    )
    return _noted(found, f"{switches} changes of labels in {draws:,} draws: {rate}.")


def labels_alone_part_the_chains(ran: Ran, limits: Limits) -> Decision:
    """The split R-hat of the raw means, if no transition diverged and the label-invariant functionals have converged.

    It is the R-hat without ranks (Gelman et al. 2013, sec. 11.4). With ranks it cannot exceed 1.83 for two chains,
    however far apart they are.
    """
    if not ran.samplers:
        return undecided("The experiment has no sampler.")
    raw = min(float(np.min(_split_r_hat(np.asarray(trace.answer.means)))) for trace in ran.samplers.values())
    blind = [invariant_convergence(trace, ran.problem).r_hat_max for trace in ran.samplers.values()]
    ranked = [_of_means(parameter_convergence(trace.answer)) for trace in ran.samplers.values()]
    holds = raw > limits["r_hat"] and max(blind) < limits["agree"] and _diverged(ran) == 0
    note = (
        f"{_diverged(ran)} chains diverged; of label-invariant functionals it is {max(blind):.3f}, and of the ranks of "
        f"the means {max(ranked):.3g}."
    )
    verdict = Verdict.HOLDS if holds else Verdict.FAILS
    return Decision(
        verdict, raw, "is the smallest R-hat of a raw mean", NoErrorKnown(), note, settings=settings_of(ran)
    )


def overlap_joins_the_labellings(rans: Sequence[Ran], limits: Limits) -> Decision:
    """The cost of an effective draw on overlapping groups relative to clear groups, and the labellings of the chains.

    It reads two experiments, the clear groups first. The claim holds if each chain stays in its labelling on the clear
    groups and visits several on the others, and an effective draw costs more there.
    """
    if len(rans) != 2 or not all(ran.samplers for ran in rans):
        return undecided("It takes two experiments with samplers: clear groups, then overlapping ones.")
    agreeing = [ran.agreeing(limits["agree"]) for ran in rans]
    if not all(agreeing):
        return undecided(NO_AGREEMENT)
    clear, over = (_ridge(ran, next(iter(each.values()))) for ran, each in zip(rans, agreeing, strict=True))
    ratio = over.price / clear.price
    holds = np.all(clear.switching.modes_visited == 1) and np.all(over.switching.modes_visited > 1) and ratio > 1
    least, most = np.min(over.switching.switches), np.max(over.switching.switches)
    note = (
        f"Its chains change labels {least} to {most} times; in order of their means, {over.pair} correlate "
        f"{over.correlation:.2g}, and the means spread {over.spread / clear.spread:.2g} times as wide."
    )
    verdict = Verdict.HOLDS if holds else Verdict.FAILS
    return Decision(
        verdict, ratio, "times the passes for an effective draw", NoErrorKnown(), note, settings=settings_of(*rans)
    )


def weak_prior_keeps_the_spikes(rans: Sequence[Ran], limits: Limits) -> Decision:
    """The exact posterior probability of a spike on points under a weak prior, in per cent.

    It reads two experiments, the weak prior first. Probabilities are sums over all allocations; an empty component that
    is narrow because the prior is comes apart from a spike on points. The claim holds if spikes on points have at
    least the share `much`, if under the weak prior the highest end of all climbs is a spike, and if under the other
    prior spikes have less than the share `few` and no end is one.
    """
    if len(rans) != 2 or not all(ran.climbs for ran in rans):
        return undecided("It takes two experiments with climbs: the weak prior, then the sensible one.")
    weak, sensible = (_spikes(ran, limits["narrow"]) for ran in rans)
    much = limits["much"]
    spared = sensible.ends == 0 and sensible.on_points < limits["few"]
    holds = weak.on_points >= much and weak.highest > weak.sound and spared
    height = f", up to {number(weak.highest - weak.sound)} nats above the best sound end" if weak.ends else ""
    note = (
        f"A further {100 * weak.empty:.1f} % are narrow components that hold no point; {weak.ends} climbs end in a "
        f"spike{height}. Under the sensible prior spikes have {number(100 * sensible.on_points)} % and {sensible.ends} "
        "climbs end so."
    )
    verdict = Verdict.HOLDS if holds else Verdict.FAILS
    exact = Exact("allocations of the points", terms=weak.terms)
    return Decision(
        verdict,
        100 * weak.on_points,
        "% of the posterior is in spikes on points",
        exact,
        note,
        settings=settings_of(*rans),
    )


def samplers_are_calibrated(findings: Findings, limits: Limits) -> Decision:
    """The smallest p-value of all quantities of all samplers, times the number of tests (Bonferroni).

    That no test fails says little unless the same tests can fail. An approximation to the posterior is the control, and
    the power says what error they find: the claim is not decided if they miss one of the stated size too often.
    """
    samplers, controls = findings.where(approximation=False), findings.where(approximation=True)
    if not samplers.rows or not controls.rows:
        return undecided("The study needs a sampler, and an approximation that its tests can find out.")
    methods = samplers.values("method")
    adjusted = samplers.column("p_adjusted")
    smallest = min(1.0, len(methods) * float(np.min(adjusted)))
    worst = samplers.rows[int(np.argmin(adjusted))]
    alarm = limits["false_alarm"]
    passed = [m for m in controls.values("method") if np.all(controls.where(method=m).column("p_adjusted") >= alarm)]
    sizes = [int(worst[name]) for name in ("replications", "draws", "bins")]  # type: ignore[arg-type]
    level = alarm / (len(methods) * int(worst["tests"]))  # type: ignore[arg-type]
    wider, moved = power(*sizes, level, scale=limits["scale"]), power(*sizes, level, shift=limits["shift"])
    if smallest < alarm:
        verdict = Verdict.FAILS
    else:
        verdict = Verdict.UNDECIDED if passed or min(wider, moved) < limits["power"] else Verdict.HOLDS
    note = (
        f"{len(methods)} samplers on {worst['replications']} data sets, {worst['tests']} tests each; it is of "
        f"{worst['quantity']} by {worst['method']}. An sd of {limits['scale']:g} times the right one is found with "
        f"probability {wider:.2f}, a mean off by {limits['shift']:g} sd with {moved:.2f}."
    )
    control = number(float(np.min(controls.column("p_adjusted"))))
    rest = f"The tests do not find out {', '.join(passed)}." if passed else f"That of approximations: {control}."
    unit = "is the smallest p-value, times the number of tests"
    # The figure is the p-value of its own test, which finds a sampler wrong.
    p_value = smallest if verdict == Verdict.FAILS else None
    return Decision(verdict, smallest, unit, NoErrorKnown(), f"{note} {rest}", p_value, settings=settings_of(findings))


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
    on_points: float  # exact probability of a spike on points
    empty: float  # of a narrow component without points alone
    terms: int  # allocations that were summed


def _noted(found: Decision, note: str) -> Decision:
    return replace(found, note=note)


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


def _spikes(ran: Ran, narrow: float) -> _Spikes:
    rule, problem = ran.comparison.rule, ran.problem
    sound, spiked = [-np.inf], [-np.inf]
    for trace in ran.climbs.values():
        place = trace.best_place(problem, rule)
        sound += [] if place is None else [float(trace.log_joint[place])]
        healths = rule.check_all(problem, trace.ends)
        singular = np.array([health.singular for health in healths]) | trace.collapsed
        spiked += trace.log_joint[singular, -1].tolist()
    exact = exact_spikes(problem, narrow * float(np.var(problem.observations("the check"))))
    return _Spikes(max(spiked), max(sound), len(spiked) - 1, exact.on_points, exact.empty, exact.allocations)


def _diverged(ran: Ran) -> int:
    """Chains with a divergence after warm-up."""
    return sum(int(np.sum(~trace.ok[:, -1])) for trace in ran.samplers.values())
