"""Checks of chains: the draws of samplers compared with point estimates."""

import math

import numpy as np

from workbench.claims.decision import Decision, Verdict, number, undecided
from workbench.claims.evidence import Ran

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
