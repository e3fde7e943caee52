"""Every check of stored runs decides made-up traces in both directions, and reports missing input."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from ledger_limits import limits_of

from workbench.claims import Verdict
from workbench.claims.checks import CHECKS
from workbench.mixture import Mixture
from workbench.problem import Problem

HOLDS, FAILS, DEPENDS, UNDECIDED = Verdict
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def maximum(two_groups: Problem, shapes: dict[str, Mixture]) -> Mixture:
    """The strict maximum of the two groups, by EM from the groups' own moments."""
    step, mixture = jax.jit(Problem.em_step), shapes["good"]
    for _ in range(200):
        mixture, _value = step(two_groups, mixture)
    return mixture


def decide(name: str, evidence: Any) -> Any:
    return CHECKS[name].decide(evidence, limits_of(name))


def test_em_that_climbs_never_falls_and_em_that_falls_is_found(run: Make) -> None:
    up = run(em=[["start", "better", "good"]])
    down = run(em=[["start", "good", "better"]])
    assert decide("em_never_falls", [up, up]).verdict == HOLDS
    found = decide("em_never_falls", [up, down])
    assert (found.verdict, found.value) == (FAILS, 1)
    assert decide("em_never_falls", [run(ascent=[["start", "good"]])]).verdict == UNDECIDED


def test_a_fall_between_rows_that_em_saw_itself_counts(run: Make) -> None:
    up = run(em=[["start", "better", "good"]])
    trace = replace(up.comparison["em"], ok=np.asarray([[True, False, False]]))
    seen = replace(up, comparison=replace(up.comparison, traces={"em": trace}))
    assert decide("em_never_falls", [seen]).verdict == FAILS


def test_the_log_exceeds_the_sum_unless_every_point_has_one_component(
    run: Make, two_groups: Problem, trace_of: Make, ran_of: Make
) -> None:
    found = decide("log_exceeds_sum", run(em=[["start", "start"]]))
    assert found.verdict == HOLDS and found.error.proved
    # Two wide components of nearly one density share every point: an entropy of ln 2.
    assert found.value == pytest.approx(np.log(2), abs=0.01)
    apart = Mixture.from_covariances([0.5, 0.5], [[-4.0, 0.0], [4.0, 1.0]], np.stack([1e-2 * np.eye(2)] * 2))
    clear = ran_of(two_groups, {"em": trace_of(two_groups, [[apart, apart]])})
    assert decide("log_exceeds_sum", clear).verdict == FAILS
    assert decide("log_exceeds_sum", run(em=[["start", "spike"]])).verdict == UNDECIDED


def test_ends_are_told_by_gradient_and_hessian(
    run: Make, two_groups: Problem, shapes: dict[str, Mixture], maximum: Mixture, trace_of: Make, ran_of: Make
) -> None:
    strict = ran_of(two_groups, {"em": trace_of(two_groups, [[shapes["start"], maximum]] * 2)})
    mixed = ran_of(two_groups, {"em": trace_of(two_groups, [[shapes["start"], m] for m in (maximum, shapes["spike"])])})
    assert decide("em_ends_on_maxima", strict).verdict == HOLDS
    found = decide("em_ends_on_maxima", mixed)
    assert (found.verdict, found.value) == (FAILS, 1)
    assert decide("em_ends_on_maxima", run(ascent=[["start", "good"]])).verdict == UNDECIDED
    # One maximum, found twice, is one.
    assert (decide("several_maxima", strict).verdict, decide("several_maxima", strict).value) == (FAILS, 1)


def test_ends_are_compared_as_they_are_whatever_lies_beyond_them(run: Make) -> None:
    above = decide("best_start_is_a_spike", run(em=[["start", "start"], ["start", "spike"]]))
    assert above.verdict == HOLDS and above.value > 0
    # An end on the way into a singularity, below a sound one: that the singularity has no bound is another claim.
    below = decide("best_start_is_a_spike", run(em=[["start", "good"], ["start", "starved"]]))
    assert below.verdict == FAILS and below.value < 0
    sound = decide("best_start_is_a_spike", run(em=[["start", "good"], ["start", "better"]]))
    assert (sound.verdict, sound.value) == (FAILS, 0)
    assert decide("best_start_is_a_spike", run(em=[["start", "spike"]])).verdict == UNDECIDED


def test_em_runs_on_from_an_end_on_its_way_into_a_spike_and_rests_where_it_is_no_spike(
    run: Make, two_groups: Problem, trace_of: Make, ran_of: Make
) -> None:
    x, stopped, good = np.asarray(two_groups.x), [], run(em=[["start", "good"]]).comparison["em"].at(0, 1)
    # A component along the line through two points ends on the line where it is a thousandth wide across, and leaves
    # it where it is a hundredth wide and takes other points.
    for width in (1e-3, 1e-2):
        along = np.cov(x[:2].T, bias=True) + width**2 * np.eye(2)
        end = Mixture.from_covariances([0.05, 0.95], [x[:2].mean(0), x.mean(0)], np.stack([along, np.cov(x.T)]))
        stopped.append(ran_of(two_groups, {"em": trace_of(two_groups, [[good, good], [end, end]])}))
    into, away = (decide("best_start_is_a_spike", each) for each in stopped)
    assert "with 1 a covariance is no longer positive definite in float64" in into.note
    assert "with 0 a covariance is no longer positive definite in float64" in away.note
    (row,) = away.sensitivity
    assert (row.what, row.at, row.verdict) == ("EM", "runs on into the spike", FAILS)


def test_fewer_passes_are_fewer_more_are_more_and_few_starts_say_nothing(run: Make) -> None:
    slow, fast = ["start", "better", "better", "better", "good"], ["start", "good"]
    assert decide("ascent_needs_fewer_passes", run(em=[slow] * 8, ascent=[fast] * 8)).verdict == HOLDS
    found = decide("ascent_needs_fewer_passes", run(em=[fast] * 8, ascent=[slow] * 8))
    assert (found.verdict, found.value) == (FAILS, 4)
    assert decide("ascent_needs_fewer_passes", run(em=[slow] * 3, ascent=[fast] * 3)).verdict == UNDECIDED
    assert decide("ascent_needs_fewer_passes", run(em=[slow] * 8)).verdict == UNDECIDED


def test_who_ends_higher_is_decided_by_the_starts_that_part_them(run: Make) -> None:
    high, low = ["start", "good"], ["start", "better"]
    assert decide("em_ends_higher", [run(em=[high] * 8, ascent=[low] * 8)]).verdict == HOLDS
    assert decide("em_ends_higher", [run(em=[low] * 8, ascent=[high] * 8)]).verdict == FAILS
    assert decide("em_ends_higher", [run(em=[high, low], ascent=[low, high])]).verdict == UNDECIDED
    # Opposite answers of two data sets are not pooled.
    better, worse = run(em=[high] * 8, ascent=[low] * 8), run(em=[low] * 8, ascent=[high] * 8)
    found = decide("em_ends_higher", [replace(better, name="a"), replace(worse, name="b")])
    assert found.verdict == DEPENDS and found.border == "holds: a. fails: data set b."
    assert decide("em_ends_higher", [run(em=[high] * 8, ascent=[high] * 8)]).verdict == UNDECIDED


def test_draws_below_the_best_stay_below_and_one_above_is_found(run: Make) -> None:
    below = run(draws=2, em=[["start", "good"]], nuts=[["start", "better", "better"]])
    above = run(draws=24, em=[["start", "better"]], nuts=[["start"] + ["better", "good", "merged"] * 8] * 2)
    assert decide("draws_stay_below_best", below).verdict == HOLDS
    assert decide("draws_stay_below_best", above).verdict == FAILS
    assert decide("draws_stay_below_best", run(em=[["start", "good"]])).verdict == UNDECIDED
