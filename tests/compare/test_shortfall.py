"""If no result is sound, or components of the best have merged, the table states why and what to try."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from workbench.compare import Comparison, MethodSummary, summarise, table
from workbench.compare.remarks import remedies
from workbench.loop.trace import Trace
from workbench.mixture import ChenTanPrior, Mixture
from workbench.problem import Problem

Shapes = dict[str, Mixture]


@pytest.fixture(scope="module")
def compared(two_groups: Problem, shapes: Shapes, trace_of: Callable[..., Trace]) -> Callable[..., Comparison]:
    """One method whose restarts go through the named shapes."""

    def of(*restarts: str, **changes: Any) -> Comparison:
        trace = trace_of(two_groups, [[shapes[name] for name in restart.split()] for restart in restarts], **changes)
        return Comparison(two_groups, {"m": trace}, columns=("height", "mass"))

    return of


@pytest.fixture(scope="module")
def tied(trace_of: Callable[..., Trace]) -> Comparison:
    """Forty points about 0 and twenty at exactly 8: one start ends on them, one as a single Gaussian."""
    x = np.concatenate([np.random.default_rng(0).normal(size=40), np.full(20, 8.0)])
    whole = [[x.var()]]
    spike = Mixture.from_covariances([2 / 3, 1 / 3], [[0.0], [8.0]], [[[1.0]], [[1e-9]]])
    merged = Mixture.from_covariances([0.5, 0.5], [[x.mean()]] * 2, [whole, whole])
    problem = Problem(x, 2)
    return Comparison(problem, {"m": trace_of(problem, [[merged, spike], [merged, merged]])}, columns=("flow",))


def only(comparison: Comparison) -> MethodSummary:
    (found,) = summarise(comparison)
    return found


def test_reasons_are_counted_and_the_highest_singular_end_is_described(compared):
    found = only(compared("start better spike", "start better spike", "start better starved"))
    first, second = (found.unsound or "").split("; ")
    assert first.startswith("2 of 3 starts run into a singular covariance, the highest with a component of 4 points'")
    assert first.endswith("that is narrow in every column")
    assert second == "1 of 3 starts leave a component without a point"


def test_the_columns_along_which_a_component_is_narrow_are_named(two_groups, trace_of):
    x = np.asarray(two_groups.x)
    whole = np.cov(x.T, bias=True)
    flat = Mixture.from_covariances([0.5, 0.5], [x[0], x.mean(0)], [np.diag([1.0, 1e-14]), whole])
    comparison = Comparison(two_groups, {"m": trace_of(two_groups, [[flat, flat]])}, columns=("height", "mass"))
    assert (only(comparison).unsound or "").endswith("a component of 20 points' worth that is narrow along mass")


def test_a_component_on_a_line_across_two_columns_is_narrow_in_neither(two_groups, trace_of):
    x = np.asarray(two_groups.x)
    deviations = x.std(axis=0)
    line = np.outer(deviations, deviations) * (np.ones((2, 2)) + 1e-14 * np.eye(2))
    flat = Mixture.from_covariances([0.5, 0.5], [x[0], x.mean(0)], [line, np.cov(x.T, bias=True)])
    comparison = Comparison(two_groups, {"m": trace_of(two_groups, [[flat, flat]])}, columns=("height", "mass"))
    text = only(comparison).unsound or ""
    assert "narrow in one direction across " in text and "height" in text and "mass" in text


def test_a_start_that_stopped_on_the_brink_counts_as_singular(compared):
    found = only(compared("start good", "start good", collapsed=np.array([True, True])))
    assert (found.unsound or "").startswith("2 of 2 starts run into a singular covariance")


def test_numbers_that_are_not_finite_are_a_reason_too(compared):
    found = only(compared("start good", log_joint=np.array([[-900.0, np.nan]])))
    assert found.unsound == "1 of 1 starts end on numbers that are not finite"
    assert found.ended_log_joint is None


def test_where_nothing_is_sound_the_highest_end_is_given_and_marked(compared):
    comparison = compared("start better spike", "start better starved")
    found, ends = only(comparison), comparison["m"].log_joint[:, -1]
    assert found.best_log_joint is None and found.best_log_likelihood is None
    assert found.ended_log_joint == found.ended_log_likelihood == ends.max()
    shown = table(comparison)
    assert dict(shown.lines)["highest end, NOT SOUND: log-likelihood"] == [f"{ends.max():.3f}"]
    assert "best sound log-likelihood" not in dict(shown.lines)
    (method,) = json.loads(shown.to_json())["methods"]
    assert method["ended_log_likelihood"] == ends.max() and method["best_log_likelihood"] is None
    assert str(ends.max()) in shown.to_csv()


def test_an_end_that_is_not_sound_is_not_shown_beside_an_answer(compared):
    found = only(compared("start better spike", "start better good"))
    assert found.best_log_joint is not None
    assert found.ended_log_joint is found.ended_log_likelihood is found.unsound is None


def test_where_nothing_is_sound_the_reading_says_why_and_what_to_try(compared):
    reading = table(compared("start better spike")).reading
    assert reading.startswith("No method has a sound answer. m: 1 of 1 starts run into a singular covariance")
    for words in ('prior.family = "conjugate"', '"tied" or "diagonal" or "spherical"', "fewer", "[soundness]"):
        assert words in reading


def test_a_merged_pair_is_not_the_best_without_a_word(tied):
    found = only(tied)
    assert (found.merged, found.distinct_components) == (True, 1)
    shown = table(tied)
    assert dict(shown.lines)["components that have merged"] == ["yes"]
    assert "a mixture of 1 component (a plateau), and no start found 2" in shown.reading
    assert "20 of 60 values of flow are equal (8)" in shown.reading
    assert "1 of 2 starts run into a singular covariance, 1 of them on equal values" in shown.reading
    assert 'covariance = "tied"' in shown.reading and "spherical" not in shown.reading


def test_a_best_whose_components_all_differ_is_given_no_such_word(compared):
    shown = table(compared("start good", "start merged"))
    assert only(compared("start good", "start merged")).merged is False
    assert "merged" not in shown.reading and "components that have merged" not in dict(shown.lines)


def test_a_component_that_holds_no_point_under_a_prior_is_told_and_no_failure(two_groups, shapes, trace_of):
    problem = Problem(two_groups.x, 2, "full", ChenTanPrior())
    comparison = Comparison(problem, {"m": trace_of(problem, [[shapes["start"], shapes["starved"]]])})
    found = only(comparison)
    assert (found.distinct_components, found.merged, found.statuses) == (1, False, {"CONVERGED": 1})
    assert "a mixture of 1 component in effect: the others hold no point" in table(comparison).reading


@pytest.mark.parametrize(
    ("family", "components", "words"),
    [
        ("full", 3, "3 full covariances of 20 columns take 63 points at least, and there are 30."),
        ("tied", 12, "A covariance of 20 columns about 12 means takes 32 points at least, and there are 30."),
        ("diagonal", 16, "16 diagonal covariances of 20 columns take 32 points at least, and there are 30."),
    ],
)
def test_too_few_points_for_the_family_are_said_to_be(family, components, words):
    x = np.random.default_rng(0).normal(size=(30, 20))
    assert remedies(Problem(x, components, family), tied=False).startswith(words)
    assert remedies(Problem(x, 1, "spherical"), tied=False).startswith("Try ")


def test_under_a_prior_that_bounds_components_a_stronger_one_is_named(two_groups):
    assert "Try a stronger prior" in remedies(Problem(two_groups.x, 2, "full", ChenTanPrior()), tied=False)
