"""Checks of optima: the kinds of ends of many starts, spikes beside sound ends, and a published mode."""

import math
from collections import Counter
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from workbench.claims.decision import Decision, Exact, NoErrorKnown, Varied, Verdict, across, number, undecided
from workbench.claims.evidence import Limits, Ran, settings_of
from workbench.claims.statistics import share_interval
from workbench.compare.summary import best_log_joint
from workbench.diagnostics.proportion import Proportion
from workbench.geometry.atlas import Atlas, atlas_of
from workbench.geometry.singularity import run_on
from workbench.geometry.stationary import Kind
from workbench.methods import EM
from workbench.mixture import Mixture

# Gaussian mixture tutorial of Pyro and of NumPyro, five points: minus the log joint density, weights, means and
# deviation, printed to five decimals.
TUTORIAL_LOSS = 17.44325
TUTORIAL_MODE = np.array([0.375, 0.625, 0.49894, 10.98446, 0.65143])

# Steps of EM after which it has left the range of its numbers on the way into a spike, or is at rest.
STEPS = 5000

# Weights at which the loss is followed to the edge of the simplex.
VANISHING = (1e-12, 1e-100, 1e-200)


def em_ends_on_maxima(ran: Ran, limits: Limits) -> Decision:
    """The number of EM's starts that do not end on a strict and sound local maximum; with one the claim fails."""
    atlas = _atlas(ran)
    if atlas is None:
        return undecided("The experiment does not have EM.")
    kinds = Counter(atlas.kinds)
    share = Proportion(atlas.starts - kinds[Kind.MAXIMUM], atlas.starts)
    others = ", ".join(f"{count} {kind.value}" for kind, count in kinds.items() if kind != Kind.MAXIMUM)
    verdict = Verdict.HOLDS if not share.successes else Verdict.FAILS
    interval = share_interval(share, "starts")
    note = (
        f"They end elsewhere: {others or 'none'}. Of all starts by this rule {number(100 * interval.low)} to "
        f"{number(100 * interval.high)} % do (95 %)."
    )
    return Decision(
        verdict,
        share.successes,
        f"of {atlas.starts} starts",
        Exact("ends of stored runs"),
        note,
        settings=settings_of(ran),
    )


def several_maxima(ran: Ran, limits: Limits) -> Decision:
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
    low, high = maxima[0].share.interval
    gap = number(max(values) - min(values))
    note = (
        f"The worst lies {gap} nats below the best, which {number(100 * low)} to {number(100 * high)} % of starts "
        "reach (95 %)."
    )
    verdict = Verdict.HOLDS if len(maxima) > 1 else Verdict.FAILS
    return Decision(
        verdict, len(maxima), "distinct strict maxima", Exact("ends of stored runs"), note, settings=settings_of(ran)
    )


def best_start_is_a_spike(ran: Ran, limits: Limits) -> Decision:
    """The nats by which the highest end that is not sound lies above the best sound one, the ends as they are.

    A climb stops where a covariance has lost most of its digits. In another line of the table EM runs on from these
    ends, without that stop, as far as the arithmetic goes. That the likelihood has no bound beyond is another claim
    (`unbounded`), and says nothing about where starts end.
    """
    best = best_log_joint(ran.comparison)
    if best is None:
        return undecided("No climb ended on a sound mixture.")
    ends, further = list[float](), list[float]()
    lost, starts = 0, 0
    for trace in ran.climbs.values():
        starts += trace.num_restarts
        unsound = ~ran.sound_ends(trace) & np.isfinite(trace.log_joint[:, -1])
        ends += trace.log_joint[unsound, -1].tolist()
        if np.any(unsound) and ran.problem.prior.closed_form:
            beyond = run_on(ran.problem, jax.tree.map(lambda leaf, on=unsound: leaf[on], trace.ends), STEPS)
            further, lost = further + beyond.heights.tolist(), lost + int(np.sum(beyond.lost))
    above = sum(end > best + limits["within"] for end in ends)
    note = f"{len(ends)} of {starts} climbs end on a mixture that is not sound, {above} of them above the best sound."
    if not ends:
        return Decision(
            Verdict.FAILS,
            0,
            "of the starts end on a spike",
            Exact("ends of stored runs"),
            note,
            settings=settings_of(ran),
        )
    unit = "nats above the best sound optimum"
    found = Decision(
        Verdict.HOLDS if above else Verdict.FAILS,
        max(ends) - best,
        unit,
        NoErrorKnown(),
        note,
        settings=settings_of(ran),
    )
    if not further:
        return found
    risen = sum(end > best + limits["within"] for end in further)
    note += (
        f" From these ends EM without its stop comes above the best sound with {risen}, by more than its rounding; "
        f"with {lost} a covariance is no longer positive definite in {ran.problem.dtype.name}."
    )
    unstopped = Decision(
        Verdict.HOLDS if risen else Verdict.FAILS, max(further) - best, unit, NoErrorKnown(), settings=settings_of(ran)
    )
    return across(replace(found, note=note), [Varied.of(unstopped, "EM", "runs on into the spike", within=True)])


def finds_the_tutorials_point(ran: Ran, limits: Limits) -> Decision:
    """The largest difference between the best sound end and the tutorial's point, in its coordinates.

    The density is that of weights, means and deviation themselves. With a Dirichlet prior below one it has no mode:
    the loss falls without bound as a weight vanishes, which the note follows.
    """
    places = {name: trace.best_place(ran.problem, ran.comparison.rule) for name, trace in ran.climbs.items()}
    sound = [(ran.climbs[name], place) for name, place in places.items() if place is not None]
    if not sound:
        return undecided("No climb ended on a sound mixture.")
    best, place = max(sound, key=lambda found: float(found[0].log_joint[found[1]]))
    loss, mixture = -float(best.log_joint[place]), best.at(*place).canonical()
    found = np.concatenate([np.ravel(leaf) for leaf in (mixture.weights, mixture.means, mixture.scales)])
    gap = float(np.max(np.abs(found - TUTORIAL_MODE))) if found.shape == TUTORIAL_MODE.shape else math.inf
    gap = max(gap, abs(loss - TUTORIAL_LOSS))
    reached = int(np.sum(np.abs(best.log_joint[:, -1] + loss) < limits["printed"]))
    verdict = Verdict.HOLDS if gap < limits["printed"] else Verdict.FAILS
    losses = ", ".join(f"{number(_loss_at(ran, mixture, weight))} at {weight:g}" for weight in VANISHING)
    note = (
        f"{reached} of {best.num_restarts} starts end there, with a loss of {loss:.5f}; printed is {TUTORIAL_LOSS}. It "
        f"is no mode in these coordinates: with the first weight vanishing the loss is {losses}."
    )
    return Decision(verdict, gap, "from the printed numbers, at most", NoErrorKnown(), note, settings=settings_of(ran))


def _loss_at(ran: Ran, mixture: Mixture, weight: float) -> float:
    """Minus the log joint density with one component at the prior's mode and a vanishing weight."""
    x = np.asarray(ran.problem.observations("the check"))
    # The weight is given as it is, because its complement rounds to one.
    moved = Mixture.from_covariances(
        np.array([0.5, 0.5]), np.stack([np.zeros(x.shape[1]), x.mean(0)]), np.atleast_2d(np.var(x, axis=0)), "tied"
    )
    return -float(ran.problem.log_joint(replace(moved, weights=jnp.asarray([weight, 1.0 - weight]))))


def _atlas(ran: Ran) -> Atlas | None:
    """The atlas of the stored ends of EM."""
    for name, trace in ran.of(EM).items():
        rule = str(ran.experiment.starts.model_dump()["rule"])
        return atlas_of(ran.problem, trace, method=name, rule=rule, soundness=ran.comparison.rule)
    return None
