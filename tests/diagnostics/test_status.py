from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from workbench.diagnostics import Mixing, RestartStatus, Status, restart_statuses
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import Soundness

Make = Callable[..., Trace]
Shapes = dict[str, Mixture]

AGREEING = Mixing(r_hat_max=1.001, ess_min=1000.0)
APART = Mixing(r_hat_max=1.3, ess_min=12.0)

# What can be wrong with a restart, from the mildest: the shape it ends in, and what the trace says beside it.
DEFECTS: dict[Status, tuple[str, dict[str, Any]]] = {
    Status.BUDGET: ("good", {"converged": np.array([False])}),
    Status.DROPPED: ("good", {"dropped": np.array([True])}),
    Status.PLATEAU: ("merged", {}),
    Status.COLLAPSED: ("good", {"collapsed": np.array([True])}),
    Status.DIVERGENT: ("good", {"ok": np.array([[True, False]])}),
    Status.NONFINITE: ("good", {"log_joint": np.array([[-100.0, np.nan]])}),
}


@pytest.fixture
def restart_status(two_groups: Problem, shapes: Shapes, trace_of: Make) -> Callable[..., RestartStatus]:
    """The status of one restart that goes from one shape to another."""

    def of(end: str, *, start: str = "start", rule: Soundness | None = None, **changes: Any) -> RestartStatus:
        trace = trace_of(two_groups, [[shapes[start], shapes[end]]], **changes)
        (found,) = restart_statuses(trace, two_groups, rule or Soundness(), None)
        return found

    return of


def test_no_two_names_are_one_status() -> None:
    # An enumeration makes the second name of a number a synonym, without a word.
    assert list(Status.__members__) == [status.name for status in Status]


def test_a_restart_that_met_its_rule_at_a_sound_mixture_converged(restart_status):
    assert restart_status("good").status == Status.CONVERGED


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda s: s.name)
def test_each_defect_gives_its_status(restart_status, defect):
    end, changes = DEFECTS[defect]
    assert restart_status(end, **changes).status == defect


@pytest.mark.parametrize(("mild", "grave"), list(combinations(DEFECTS, 2)), ids=lambda s: s.name)
def test_the_highest_of_two_statuses_is_reported(restart_status, mild, grave):
    end = "merged" if Status.PLATEAU in (mild, grave) else "good"
    assert restart_status(end, **(DEFECTS[mild][1] | DEFECTS[grave][1])).status == grave


@pytest.mark.parametrize(("shape", "words"), [("spike", "singular"), ("starved", "points' worth")])
def test_an_unsound_end_is_a_collapse_even_where_the_stopping_rule_was_met(restart_status, shape, words):
    found = restart_status(shape)
    assert found.status == Status.COLLAPSED
    assert words in found.message


def test_an_end_below_the_start_is_divergent_although_every_step_kept_its_promise(restart_status):
    found = restart_status("start", start="good")
    assert found.status == Status.DIVERGENT
    assert "below its start" in found.message


@pytest.mark.parametrize(("share", "status"), [(1e-10, Status.CONVERGED), (1e-8, Status.DIVERGENT)])
def test_a_fall_within_rounding_is_no_divergence(restart_status, share, status):
    # FALL is 1e-9 of the score's size: a tenth of it passes, ten times it does not.
    assert restart_status("good", log_joint=np.array([[-100.0, -100.0 * (1 + share)]])).status == status


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_an_infinite_score_is_nonfinite(restart_status, value):
    assert restart_status("good", log_joint=np.array([[-100.0, value]])).status == Status.NONFINITE


@pytest.mark.parametrize("leaf", ["weights", "means", "scales"])
def test_a_parameter_that_is_not_a_number_is_nonfinite_whatever_the_score(two_groups, shapes, trace_of, leaf):
    trace = trace_of(two_groups, [[shapes["start"], shapes["good"]]])
    spoilt = np.array(getattr(trace.mixtures, leaf))
    spoilt[0, -1].flat[0] = np.nan
    object.__setattr__(trace.mixtures, leaf, spoilt)
    (found,) = restart_statuses(trace, two_groups, Soundness(), None)
    assert found.status == Status.NONFINITE


def test_the_rule_of_soundness_is_the_callers(restart_status):
    # The components of `good` hold 20 points each; a rule that asks for ten times D + 1 = 3 calls them starved.
    assert restart_status("good", rule=Soundness(min_relative_size=10.0)).status == Status.COLLAPSED
    assert restart_status("spike", rule=Soundness(min_relative_eigenvalue=0.0, min_relative_size=0.0)).status == (
        Status.CONVERGED
    )


def test_restarts_are_judged_apart(two_groups, shapes, trace_of):
    trace = trace_of(
        two_groups,
        [[shapes["start"], shapes[end]] for end in ("good", "spike", "merged", "good")],
        converged=np.array([True, True, True, False]),
    )
    found = [v.status for v in restart_statuses(trace, two_groups, Soundness(), None)]
    assert found == [Status.CONVERGED, Status.COLLAPSED, Status.PLATEAU, Status.BUDGET]


@pytest.mark.parametrize("name", [status.name for status in Status])
def test_every_message_says_something(restart_status, name):
    end, changes = DEFECTS.get(Status[name], ("good", {}))
    assert len(restart_status(end, **changes).message) > 10


class TestChains:
    """Two chains of three draws each, after a start and one row of warm-up."""

    @pytest.fixture
    def statuses(self, two_groups: Problem, shapes: Shapes, trace_of: Make) -> Callable[..., list[Status]]:
        rows = [[shapes["start"], shapes["better"], *[shapes["good"]] * 3] for _ in range(2)]

        def of(mixing: Mixing, **changes: Any) -> list[Status]:
            trace = trace_of(two_groups, rows, draws=3, **changes)
            return [v.status for v in restart_statuses(trace, two_groups, Soundness(), mixing)]

        return of

    def test_chains_that_agree_have_converged(self, statuses):
        assert statuses(AGREEING) == [Status.CONVERGED] * 2

    @pytest.mark.parametrize("mixing", [APART, Mixing(1.001, 399.0), Mixing(1.02, 1000.0), Mixing(np.nan, 1000.0)])
    def test_chains_that_do_not_agree_ran_out(self, statuses, mixing):
        assert statuses(mixing) == [Status.BUDGET] * 2

    @pytest.mark.parametrize("mixing", [AGREEING, APART])
    def test_a_diverging_transition_marks_its_own_chain(self, statuses, mixing):
        ok = np.ones((2, 5), bool)
        ok[1, -1] = False
        other = Status.CONVERGED if mixing is AGREEING else Status.BUDGET
        assert statuses(mixing, ok=ok) == [other, Status.DIVERGENT]

    def test_a_draw_without_a_score_outranks_a_divergence(self, statuses):
        ok, log_joint = np.ones((2, 5), bool), np.full((2, 5), -100.0)
        ok[:, -1], log_joint[0, -2] = False, np.nan
        assert statuses(AGREEING, ok=ok, log_joint=log_joint) == [Status.NONFINITE, Status.DIVERGENT]

    def test_warm_up_is_not_judged(self, statuses):
        log_joint = np.full((2, 5), -100.0)
        log_joint[:, :2] = np.nan
        assert statuses(AGREEING, log_joint=log_joint) == [Status.CONVERGED] * 2

    def test_a_chain_may_end_below_its_start(self, statuses):
        log_joint = np.full((2, 5), -100.0)
        log_joint[:, 0] = -50.0
        assert statuses(AGREEING, log_joint=log_joint) == [Status.CONVERGED] * 2
