"""Checks of optima: the kinds of ends of many starts, and the likelihood beyond the ends that are not sound."""

import math
from collections import Counter

import jax
import numpy as np

from workbench.claims.decision import Decision, Verdict, number, undecided
from workbench.claims.evidence import Ran
from workbench.compare.optima import WITHIN
from workbench.compare.summary import best_log_joint
from workbench.diagnostics.proportion import Proportion
from workbench.geometry.atlas import Atlas
from workbench.geometry.singularity import Flat, escape
from workbench.geometry.stationary import Kind
from workbench.geometry.survey import atlas_of
from workbench.methods import EM
from workbench.mixture import Mixture

# The width to which a component on a brink is narrowed, as a share of the data's, and the number of widths on the way.
NARROWED = 1e-10
WIDTHS = 12

# Most brinks that are examined, highest first. One is enough to show that the likelihood has no bound.
MOST_BRINKS = 4


def em_ends_on_maxima(ran: Ran) -> Decision:
    """The share of EM's starts that end on a strict and sound local maximum. The claim holds if all of them do."""
    atlas = _atlas(ran)
    if atlas is None:
        return undecided("The experiment does not have EM.")
    kinds = Counter(atlas.kinds)
    share = Proportion(kinds[Kind.MAXIMUM], atlas.starts)
    others = ", ".join(f"{count} {kind.value}" for kind, count in kinds.items() if kind != Kind.MAXIMUM)
    verdict = Verdict.HOLDS if share.successes == share.trials else Verdict.FAILS
    note = f"Ends that are no strict maximum: {others or 'none'}, of {atlas.starts}."
    return Decision(verdict, 100 * share.share, "% of starts", _percent(share), note)


def several_maxima(ran: Ran) -> Decision:
    """The number of distinct strict maxima, up to labels, on which EM's starts end.

    A function that is concave in any coordinates has at most one.
    """
    atlas = _atlas(ran)
    if atlas is None:
        return undecided("The experiment does not have EM.")
    maxima = [basin for basin in atlas.optima if basin.kind == Kind.MAXIMUM]
    if not maxima:
        return undecided("No start of EM ends on a strict maximum.")
    values = [basin.log_joint for basin in maxima]
    low, high = _percent(maxima[0].share)
    gap = number(max(values) - min(values))
    note = f"The worst lies {gap} nats below the best, which {number(low)} to {number(high)} % of starts reach (95 %)."
    verdict = Verdict.HOLDS if len(maxima) > 1 else Verdict.FAILS
    return Decision(verdict, len(maxima), "distinct strict maxima", note=note)


def best_start_is_a_spike(ran: Ran) -> Decision:
    """The nats by which the likelihood rises above the best sound optimum, from the ends that are not sound.

    A climb stops on the brink of a singular covariance. From there its narrowest component is narrowed further onto the
    points that it holds, while everything else is held fixed.
    """
    best, starts, brinks = best_log_joint(ran.comparison), 0, []
    if best is None:
        return undecided("No climb ended on a sound mixture.")
    for trace in ran.climbs.values():
        starts += trace.num_restarts
        lost = ~ran.sound_ends(trace) & np.isfinite(trace.log_joint[:, -1])
        brinks += [(float(trace.log_joint[r, -1]), trace.at(int(r), -1)) for r in np.flatnonzero(lost)]
    highest = sorted(brinks, key=lambda brink: -brink[0])[:MOST_BRINKS]
    top = max((max(score, _beyond(ran, end)) for score, end in highest), default=-math.inf)
    note = f"{len(brinks)} of {starts} climbs end on a brink; the width is narrowed to {NARROWED:g} of the data's."
    if not top > best + WITHIN:
        return Decision(Verdict.FAILS, 0, "nats above the best sound optimum", note=note)
    return Decision(Verdict.HOLDS, top - best, "nats above the best sound optimum, and rising", note=note)


def _atlas(ran: Ran) -> Atlas | None:
    """The atlas of the stored ends of EM."""
    for name, trace in ran.of(EM).items():
        rule = str(ran.experiment.starts.model_dump()["rule"])
        return atlas_of(ran.problem, trace, method=name, rule=rule, soundness=ran.comparison.rule)
    return None


def _beyond(ran: Ran, end: Mixture) -> float:
    """The highest log-likelihood on the way from a brink into its singularity; minus infinity if there is none."""
    problem = ran.problem
    if problem.covariance.is_shared:
        return -math.inf
    component, rows = _held(ran, end)
    if not rows:
        return -math.inf
    mixture = jax.tree.map(jax.numpy.asarray, end)
    widths = np.linspace(math.log(1e-3), math.log(NARROWED), WIDTHS)
    values = escape(problem, mixture, component, Flat.through(problem, rows), widths).log_likelihoods
    return float(np.max(values, where=np.isfinite(values), initial=-np.inf))


def _held(ran: Ran, end: Mixture) -> tuple[int, tuple[int, ...]]:
    """The narrowest component, and the rows onto which it shrinks: one, or up to D for a full covariance."""
    problem = ran.problem
    trils = np.asarray(problem.rows.to_working(end).scale_trils)
    component = int(np.argmin(np.linalg.svd(trils, compute_uv=False)[:, -1]))
    held = np.flatnonzero(np.asarray(end.responsibilities(problem.x))[:, component] > 0.5)
    most = problem.num_dimensions if problem.covariance.is_unrestricted else 1
    return component, tuple(int(row) for row in held[:most])


def _percent(share: Proportion) -> tuple[float, float]:
    low, high = share.interval
    return 100 * low, 100 * high
