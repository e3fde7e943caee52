"""Whom to trust: the sentence follows from the figures, one by one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import workbench as wb
from workbench.compare.summary import MethodSummary
from workbench.compare.trust import trusted, whom_to_trust


def summary(method: str, **more: Any) -> MethodSummary:
    blank: dict[str, Any] = dict.fromkeys(MethodSummary.__dataclass_fields__)
    blank |= {"method": method, "restarts": 8, "reached_best": 6, "converged_on_best": 6, "best_log_joint": -10.0}
    blank |= {"statuses": {"CONVERGED": 8}, "optima": (), "rivals": (), "passes_to_best": 20.0}
    return MethodSummary(**(blank | more))


EM, ASCENT = summary("em"), summary("ascent", reached_best=7, converged_on_best=7)


def test_the_method_that_reaches_the_best_most_often_is_trusted() -> None:
    text = whom_to_trust([EM, ASCENT])
    assert text == "Trust ascent: em ends there from 6 of 8 starts; ascent ends there from 7 of 8 starts."


def test_of_equals_the_first() -> None:
    pair = [EM, replace(EM, method="ascent", passes_to_best=10.0)]
    assert (trusted(pair), trusted(pair[::-1])) == ("em", "ascent")
    assert trusted([replace(EM, reached_best=0)]) is None


def test_searches_are_counted_and_the_question_is_named() -> None:
    text = whom_to_trust([replace(EM, searches_on_best=3)], wb.Problem(np.arange(20.0), 4))
    assert text == (
        "Trust em as the best optimum found of 4 components: em ends there from 6 of 8 starts (3 independent searches)."
    )


def test_more_parameters_than_points_are_a_doubt_unless_a_prior_holds_them() -> None:
    x = np.random.default_rng(0).normal(size=(12, 4))
    text = whom_to_trust([EM], wb.Problem(x, 2))
    assert text.startswith(
        "Do not trust the best yet: its 29 free parameters are more than the 12 points (ask for fewer"
    )
    assert whom_to_trust([EM], wb.Problem(x, 2, prior="conjugate")).startswith("Trust em")
    assert whom_to_trust([EM], wb.Problem(x, 2, "spherical")).startswith("Trust em")  # 11 of them
    # 80 rows of 20 columns hold 1,600 values, and three components without correlations have 122 parameters.
    wide = np.random.default_rng(0).normal(size=(80, 20))
    assert whom_to_trust([EM], wb.Problem(wide, 3, "diagonal")).startswith("Trust em")
    assert "are more than the 80 points" in whom_to_trust([EM], wb.Problem(wide, 3, "tied"))
    few = whom_to_trust([EM], wb.Problem(wide[:3], 2, "diagonal"))
    assert "its 81 free parameters are more than the 60 values" in few


def test_other_optima_that_are_nearly_as_high_are_told_once_each() -> None:
    text = whom_to_trust([replace(EM, rivals=(-10.5, -11.2)), replace(ASCENT, rivals=(-10.5000001,))])
    assert text.startswith("Trust ascent: ")
    assert "Beware: 2 other optima lie only 0.50, 1.20 nats below" in text
    assert "Beware: 1 other optimum lies only 0.50 nats below" in whom_to_trust([replace(EM, rivals=(-10.5,))])


def test_a_square_of_groups_has_a_rival_of_its_two_halves() -> None:
    """Four groups at the corners of a square: two components take left and right, or above and below.

    The points are those of a square and its mirror image, so that both are equally good. With one group moved by .2 one
    of them is better by a third of a nat, which no data of this size decide; moved by 3, by more than 20.
    """
    rng = np.random.default_rng(1)
    corner = np.concatenate([rng.normal(size=(12, 2)) * 0.8 + at for at in ((2, 2), (-2, 2), (2, -2), (-2, -2))])
    x = np.concatenate([corner, corner[:, ::-1]])
    found = {}
    for moved in (0.0, 0.2, 3.0):
        shifted = x + np.where(np.arange(len(x)) < 12, moved, 0.0)[:, None] * (1.0, 0.0)
        traces = wb.compare(wb.Problem(shifted, 2, "diagonal"), "em", restarts=12, starts="random_points")
        (found[moved],) = wb.summarise(traces)
        if moved == 0.2:
            other = float(np.min(traces["em"].log_joint[:, -1]))
            assert found[moved].rivals == pytest.approx((other,))
            assert "1 other optimum lies only" in whom_to_trust([found[moved]], traces.problem)
    assert found[0.0].rivals == found[3.0].rivals == ()
    assert found[0.0].equal_elsewhere


def test_a_method_that_never_reaches_it_is_named() -> None:
    assert whom_to_trust([EM, replace(ASCENT, reached_best=0)]).endswith("starts; ascent never.")


@pytest.mark.parametrize(
    ("more", "doubt"),
    [
        ({"reached_best": 1}, "a single search reaches it"),
        ({"searches_on_best": 1}, "a single search reaches it"),
        ({"converged_on_best": 0}, "no start that reaches it has converged"),
        ({"merged": True}, "components have merged in it"),
        ({"tied_points": 12, "suspicious": True}, "a component sits on equal values ("),
        ({"suspicious": True}, "a component is both tight and small"),
        ({"sliver": "component 2"}, "a component may be there by chance"),
        ({"equal_elsewhere": 1}, "another mixture has the same value"),
    ],
)
def test_each_doubt_is_told(more: dict[str, Any], doubt: str) -> None:
    text = whom_to_trust([replace(EM, **more)])
    assert text.startswith("Do not trust the best yet: ")
    assert doubt in text


def test_few_searches_say_little_about_others() -> None:
    """Of three, none ends higher with probability 1/8 even if half of all do; of four, with less than a tenth."""
    three, four = (replace(EM, searches=number, searches_on_best=2) for number in (3, 4))
    text = whom_to_trust([three])
    assert text.startswith("Do not trust the best yet: only 3 searches were made")
    assert "restarts = 32" in text
    assert whom_to_trust([four]).startswith("Trust em")
    assert "only 2 searches" in whom_to_trust([replace(EM, restarts=2, reached_best=2)])
    # One component has one optimum.
    assert whom_to_trust([three], wb.Problem(np.arange(20.0), 1)).startswith("Trust em")


def test_starts_that_are_one_search_need_another_rule() -> None:
    text = whom_to_trust([replace(EM, searches=1, searches_on_best=1)])
    assert "a single search reaches it" in text
    assert "another rule of starts" in text


def test_two_methods_on_one_start_are_no_second_witness() -> None:
    once = {"reached_best": 1, "converged_on_best": 1}
    assert "a single search" in whom_to_trust([replace(EM, **once), replace(ASCENT, **once)])


def test_nothing_sound_is_told() -> None:
    none = replace(EM, best_log_joint=None, reached_best=0)
    assert whom_to_trust([none]) == "Trust none yet: no method that climbs has a sound answer."


def test_chains_are_told_apart() -> None:
    agree = summary("nuts", r_hat_max=1.001, restarts=4, statuses={"CONVERGED": 4})
    apart = replace(agree, statuses={"BUDGET": 4})
    alone = replace(agree, restarts=1, statuses={"BUDGET": 1})
    assert whom_to_trust([EM, agree]).endswith(
        "Of the samplers: the chains of nuts agree, and its intervals need no normal approximation."
    )
    assert whom_to_trust([EM, apart]).endswith(
        "Of the samplers: the chains of nuts do not agree: take no interval from it."
    )
    assert whom_to_trust([EM, alone]).endswith("Of the samplers: nuts has one chain, which no other confirms.")
