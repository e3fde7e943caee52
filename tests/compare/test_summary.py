from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any

import jax
import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.metrics import adjusted_rand_score

from workbench.compare import Comparison, MethodSummary, Reference, compare, summarise
from workbench.compare.optima import WITHIN
from workbench.compare.summary import best_log_joint
from workbench.compare.table import table
from workbench.compare.trust import whom_to_trust
from workbench.loop.trace import Trace
from workbench.methods import EM
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import Soundness
from workbench.starts import Given, RandomPoints

Shapes = dict[str, Mixture]

# What the issue asks to be there under these names.
PROMISED = [
    "method",
    "best_log_likelihood",
    "best_log_joint",
    "heldout_log_density",
    "heldout_standard_error",
    "statuses",
    "passes_to_best",
    "seconds_to_best",
    "compile_seconds",
    "r_hat_max",
    "ess_min",
    "smallest_relative_eigenvalue",
    "smallest_component_size",
]


@pytest.fixture(scope="module")
def summary(two_groups: Problem, shapes: Shapes, trace_of: Callable[..., Trace]) -> Callable[..., MethodSummary]:
    """The summary of one method whose restarts go through the named shapes."""

    def of(*restarts: str, reference: Reference | None = None, **changes: Any) -> MethodSummary:
        trace = trace_of(two_groups, [[shapes[name] for name in restart.split()] for restart in restarts], **changes)
        (found,) = summarise(Comparison(two_groups, {"m": trace}, reference or Reference()))
        return found

    return of


@pytest.fixture(scope="module")
def good(two_groups: Problem, shapes: Shapes) -> float:
    return float(two_groups.log_joint(shapes["good"]))


def test_the_promised_fields_are_there():
    assert set(PROMISED) <= {field.name for field in fields(MethodSummary)}


def test_the_best_is_the_highest_sound_end(summary, good):
    found = summary("start better better", "start good good")
    assert found.best_log_joint == found.best_log_likelihood == good


@pytest.mark.parametrize("unsound", ["spike", "starved"])
def test_an_unsound_end_is_never_best_however_high(summary, good, unsound):
    # The scores are made up: whatever they are, the rule decides.
    scores = np.array([[-900.0, -800.0, 1e6], [-900.0, -800.0, good]])
    found = summary(f"start better {unsound}", "start better good", log_joint=scores)
    assert found.best_log_joint == good
    assert found.statuses == {"CONVERGED": 1, "COLLAPSED": 1}
    assert found.reached_best == 1


def test_a_collapsed_restart_is_never_best_however_sound_its_last_mixture(summary, good):
    scores = np.array([[-900.0, -800.0, good + 50], [-900.0, -800.0, good]])
    found = summary("start better good", "start better good", log_joint=scores, collapsed=np.array([True, False]))
    assert found.best_log_joint == good
    assert [(o.log_joint, o.restarts) for o in found.optima] == [(good, 1)]


def test_a_collapsed_restart_has_not_reached_the_best(summary):
    found = summary("start better good", "start better good", collapsed=np.array([True, False]))
    assert found.reached_best == 1


def test_a_method_without_a_sound_answer_says_so_by_leaving_its_figures_out(summary):
    found = asdict(summary("start better spike", "start better starved"))
    assert found["statuses"] == {"COLLAPSED": 2}
    for name in ("best_log_joint", "best_log_likelihood", "passes_to_best", "seconds_to_best", "suspicious"):
        assert found[name] is None
    for name in ("smallest_relative_eigenvalue", "smallest_component_size", "matched_error", "adjusted_rand_index"):
        assert found[name] is None
    assert found["reached_best"] == 0
    assert found["optima"] == ()


def test_statuses_count_every_restart_in_order_of_severity(summary):
    found = summary("start good good", "start good spike", "start good good", converged=np.array([True, True, False]))
    assert list(found.statuses.items()) == [("CONVERGED", 1), ("BUDGET", 1), ("COLLAPSED", 1)]
    assert sum(found.statuses.values()) == found.restarts == 3


def test_passes_to_the_best_are_the_median_over_those_that_arrive_of_their_first_row_near_it(summary, good):
    scores = np.full((4, 5), good - 100)
    for restart, row in enumerate((1, 2, 4)):
        scores[restart, row:] = good
    passes = np.cumsum(np.arange(1, 21).reshape(4, 5), axis=1)
    rows = ["start better better better good"] * 4
    found = summary(*rows, log_joint=scores, passes=passes, seconds=np.array([0.0, 1, 3, 4, 8]))
    assert found.reached_best == 3
    assert found.passes_to_best == np.median([passes[0, 1], passes[1, 2], passes[2, 4]])
    assert found.seconds_to_best == np.median([1, 3, 8])
    assert found.seconds_per_pass == found.seconds / found.passes
    assert found.passes == passes[:, -1].sum()
    assert found.seconds == 8


@pytest.mark.parametrize(("short", "reached"), [(0.5 * WITHIN, 2), (2 * WITHIN, 1)])
def test_a_restart_reaches_the_best_within_a_thousandth_of_a_nat(summary, good, short, reached):
    scores = np.array([[-900.0, good], [-900.0, good - short]])
    found = summary("start good", "start good", log_joint=scores)
    assert found.reached_best == reached
    assert [o.restarts for o in found.optima] == ([2] if reached == 2 else [1, 1])


def test_near_the_best_is_within_a_thousandth_of_a_nat_per_point(summary, good):
    # Of 40 points: 0.04 nats. One is near and leaves, two are near and stay, one never is.
    short = np.array([[9.0, 0.03, 0.05], [9.0, 0.03, 0.02], [9.0, 5.0, 0.0], [9.0, 9.0, 0.05]])
    passes = np.tile([0.0, 0.25, 0.5], (4, 1))
    found = summary(*["start better good"] * 4, log_joint=good - short, passes=passes)
    assert (found.reached_best, found.near_best, found.passes_to_near_best) == (1, 2, 0.375)
    assert found.passes == 2.0


def test_passing_the_best_on_the_way_up_a_spike_is_no_arrival(summary, good):
    scores = np.array([[-900.0, good, good + 80], [-900.0, good - 1, good]])
    found = summary("start good spike", "start better good", log_joint=scores)
    assert found.reached_best == 1


def test_the_best_is_that_of_all_methods(two_groups, shapes, trace_of, good):
    low = trace_of(two_groups, [[shapes["start"], shapes["better"]]])
    high = trace_of(two_groups, [[shapes["start"], shapes["good"]]])
    comparison = Comparison(two_groups, {"low": low, "high": high})
    found = {s.method: s for s in summarise(comparison)}
    assert best_log_joint(comparison) == good
    assert (found["low"].reached_best, found["high"].reached_best) == (0, 1)
    assert found["low"].passes_to_best is None
    assert found["low"].best_log_joint < good


@pytest.fixture(scope="module")
def beside_em(two_groups: Problem, shapes: Shapes, trace_of: Callable[..., Trace], good: float) -> Any:
    """Counts of restarts lower than em's, for an em of stated ends (all sound mixtures) and a method of others."""

    def of(em: list[float], method: list[float], **changes: Any) -> dict[str, int | None]:
        def trace(ends: list[float], **changes: Any) -> Trace:
            rows = [[shapes["start"], shapes["good"]]] * len(ends)
            return trace_of(two_groups, rows, log_joint=np.array([[good - 100, end] for end in ends]), **changes)

        found = summarise(Comparison(two_groups, {"em": trace(em, **changes), "m": trace(method)}))
        return {s.method: s.lower_than_em for s in found}

    return of


def test_a_restart_that_ends_lower_than_em_from_the_same_start_is_counted(beside_em, good):
    # Sorted ends would be equal: it is the same start that counts.
    assert beside_em([good, good - 5], [good - 5, good]) == {"em": None, "m": 1}
    assert beside_em([good, good], [good - 2e-6, good - 5e-7]) == {"em": None, "m": 1}
    assert beside_em([good, good], [np.nan, good + 1])["m"] == 1


def test_an_em_that_collapsed_is_no_yardstick(beside_em, good):
    ends = ([good + 50, good], [good, good - 1])
    assert beside_em(*ends)["m"] == 2
    assert beside_em(*ends, collapsed=np.array([True, False]))["m"] == 1


def test_without_em_nothing_is_lower_than_it(summary):
    assert summary("start good").lower_than_em is None


def test_the_margins_are_those_of_the_best(summary, two_groups, shapes):
    found = summary("start spike", "start good")
    health = Soundness().check(two_groups, shapes["good"])
    assert found.smallest_relative_eigenvalue == health.smallest_relative_eigenvalue
    # Two groups of 20 points so far apart that less than one of them is in doubt.
    assert found.smallest_component_size == pytest.approx(20, abs=1)
    assert found.suspicious is False


def test_the_rule_is_that_of_the_comparison(two_groups, shapes, trace_of):
    trace = trace_of(two_groups, [[shapes["start"], shapes["good"]]])
    strict = Comparison(two_groups, {"m": trace}, Reference(rule=Soundness(min_relative_size=10.0)))
    (found,) = summarise(strict)
    assert found.best_log_joint is None
    assert found.statuses == {"COLLAPSED": 1}


def test_a_point_estimate_is_scored_by_its_best(summary, shapes, component_log_joint):
    heldout = np.random.default_rng(0).normal(size=(9, 2))
    found = summary("start better", "start good", reference=Reference(heldout=heldout))
    expected = logsumexp(component_log_joint(shapes["good"], heldout), axis=1)
    assert found.heldout_log_density == pytest.approx(expected.mean(), rel=1e-12)  # a sum of nine terms
    assert found.heldout_standard_error == pytest.approx(expected.std(ddof=1) / 3, rel=1e-12)


def test_held_out_scores_are_compared_with_those_of_em_on_the_same_points(
    two_groups, shapes, trace_of, component_log_joint
):
    heldout = np.random.default_rng(0).normal(size=(9, 2))
    traces = {name: trace_of(two_groups, [[shapes[end]]]) for name, end in (("em", "good"), ("other", "better"))}
    em, other = summarise(Comparison(two_groups, traces, Reference(heldout=heldout)))
    scores = [logsumexp(component_log_joint(shapes[end], heldout), axis=1) for end in ("better", "good")]
    differences = scores[0] - scores[1]
    # Sums of nine terms, and differences of numbers of their size.
    assert other.heldout_gain == pytest.approx(differences.mean(), abs=1e-12)
    assert other.heldout_gain_error == pytest.approx(differences.std(ddof=1) / 3, abs=1e-12)
    assert em.heldout_gain is None and em.heldout_gain_error is None
    (alone,) = summarise(Comparison(two_groups, {"other": traces["other"]}, Reference(heldout=heldout)))
    assert alone.heldout_gain is None


def test_labels_and_truth_are_met_by_the_best(summary, two_groups, shapes):
    labels = np.repeat(["left", "right"], 20)
    good = shapes["good"]
    truth = type("Truth", (), {"means": np.asarray(good.means), "covariances": np.asarray(good.covariances)})()
    found = summary("start better", "start good", reference=Reference(labels=labels, truth=truth))
    predicted = np.asarray(good.predict(two_groups.x))
    assert found.adjusted_rand_index == pytest.approx(adjusted_rand_score(labels, predicted), abs=1e-12)
    assert found.matched_error == 0.0


def test_what_is_not_known_is_left_out(summary):
    found = summary("start good")
    assert found.heldout_log_density is None
    assert found.adjusted_rand_index is None
    assert found.matched_error is None
    assert found.r_hat_max is None
    assert found.ess_min is None
    assert found.failure is None


def test_a_method_that_failed_comes_last_with_the_reason_and_no_figures(two_groups, shapes, trace_of):
    trace = trace_of(two_groups, [[shapes["start"], shapes["good"]]])
    found = summarise(Comparison(two_groups, {"b": trace}, failures={"a": "RuntimeError: no"}))
    assert [s.method for s in found] == ["b", "a"]
    assert found[1].failure == "RuntimeError: no"
    assert found[1].best_log_joint is None
    assert found[1].restarts == 0


@pytest.fixture(scope="module")
def draws(two_groups: Problem, shapes: Shapes, trace_of: Callable[..., Trace]) -> Trace:
    """Two chains of 50 draws about `good`, after a start and one row of warm-up."""
    rng = np.random.default_rng(6)
    leaves = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (2, 52, *leaf.shape)).copy(), shapes["good"])
    leaves.means[:, 2:] += 0.2 * rng.normal(size=(2, 50, 2, 2))
    return trace_of(two_groups, leaves, draws=50)


def test_restarts_that_were_dropped_are_not_held_against_ems(two_groups, shapes, trace_of):
    ends = [[shapes["start"], shapes[name]] for name in ("good", "good", "good")]
    lower = [[shapes["start"], shapes["better"]]] * 3
    gone = np.array([False, True, False])
    for dropped, expected in (((None, None), 3), ((None, gone), 2), ((gone, None), 2), ((gone, ~gone), 0)):
        em, other = (trace_of(two_groups, r, dropped=d) for r, d in zip((ends, lower), dropped, strict=True))
        found = summarise(Comparison(two_groups, {"em": em, "other": other}))
        assert [s.lower_than_em for s in found] == [None, expected]


def test_the_evidence_of_runs_is_pooled_and_has_an_error(summary):
    found = summary("start good", "start good", log_evidence=np.log([1.0, 3.0]))
    assert found.log_evidence == pytest.approx(np.log(2.0))
    assert found.log_evidence_standard_error == pytest.approx(0.5)
    assert summary("start good").log_evidence is None


class TestSampler:
    def test_warm_up_rows_are_no_answers(self, two_groups, draws, good):
        # Rows 0 and 1 are the maximum itself; the draws about it are all lower.
        (found,) = summarise(Comparison(two_groups, {"nuts": draws}))
        assert found.best_log_joint == draws.log_joint[:, 2:].max() < good

    def test_a_chain_does_not_end_lower_than_em(self, two_groups, shapes, draws, trace_of):
        em = trace_of(two_groups, [[shapes["start"], shapes["good"]]] * 2)
        assert [s.lower_than_em for s in summarise(Comparison(two_groups, {"em": em, "nuts": draws}))] == [None, None]

    def test_every_draw_predicts(self, two_groups, draws, component_log_joint):
        heldout = np.random.default_rng(0).normal(size=(9, 2))
        (found,) = summarise(Comparison(two_groups, {"nuts": draws}, Reference(heldout=heldout)))
        sample = [draws.at(r, t) for r in range(2) for t in range(2, 52)]
        densities = [logsumexp(component_log_joint(m, heldout), axis=1) for m in sample]
        expected = logsumexp(densities, axis=0) - np.log(100)
        assert found.heldout_log_density == pytest.approx(expected.mean(), rel=1e-12)  # sums of a hundred terms

    def test_chains_are_judged_by_their_mixing_and_have_no_optima(self, two_groups, draws):
        (found,) = summarise(Comparison(two_groups, {"nuts": draws}))
        assert found.r_hat_max is not None
        assert found.ess_min is not None
        assert found.statuses == {"BUDGET": 2}  # of 100 draws at most 100 are effective, and 400 are asked for
        assert found.optima == ()

    def test_a_chain_that_touches_the_best_has_reached_it(self, two_groups, draws):
        scores = draws.log_joint.copy()
        scores[0, 10] = scores.max() + 5
        (found,) = summarise(Comparison(two_groups, {"nuts": replace(draws, log_joint=scores)}))
        assert found.reached_best == 1
        assert found.passes_to_best == 10
        assert found.near_best is found.passes_to_near_best is None


def test_a_best_that_no_climb_has_come_to_the_end_of_is_said(two_groups: Problem) -> None:
    cut = summarise(compare(two_groups, [EM(max_iterations=3)], restarts=2, starts=RandomPoints()))[0]
    assert (cut.converged_on_best, cut.statuses) == (0, {"BUDGET": 2})
    whole = summarise(compare(two_groups, [EM()], restarts=2, starts=RandomPoints()))[0]
    assert whole.converged_on_best == whole.reached_best > 0


def test_a_climb_that_stops_on_a_plateau_has_not_been_cut_off() -> None:
    # A component that begins as a copy of the other stays one: no pass moves either.
    x = np.random.default_rng(0).normal(size=(40, 1))
    copies = Mixture.from_covariances([0.5, 0.5], np.repeat(x.mean(0)[None], 2, 0), np.full((2, 1, 1), x.var()))
    comparison = compare(Problem(x, 2), [EM()], restarts=1, starts=Given.of(copies))
    (found,) = summarise(comparison)
    assert (found.statuses, found.reached_best, found.converged_on_best) == ({"PLATEAU": 1}, 1, 1)
    assert "cut off" not in table(comparison).reading
    assert "max_iterations" not in whom_to_trust([found])
    cut = replace(comparison["em"], converged=np.zeros(1, bool))
    assert summarise(replace(comparison, traces={"em": cut}))[0].converged_on_best == 0
