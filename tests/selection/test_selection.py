"""What a selection says of given scores: the best K, how far the others are below it, and what cannot be told apart."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from workbench.selection import CRITERIA, Choice, Score, Selection
from workbench.selection.families import FamilySelection

TERMS = {1: np.array([-1.0, -2.0, -3.0]), 2: np.array([-1.0, -1.5, -1.5]), 3: np.array([-0.5, -2.2, -1.35])}


def choice(k: int) -> Choice:
    scores = {name: Score.missing("there is no posterior") for name in CRITERIA}
    scores["aic"] = Score.of(float(-k))
    scores["bic"] = Score.of(-7.0, notes=["beware"])
    scores["heldout"] = Score.of_terms(TERMS[k], ["beware"] if k == 3 else [])
    if k < 3:
        scores["evidence"] = Score.of(-10.0 + k, 0.3 * k)
    return Choice(k, 3 * k - 1, -1.0 / k, scores)


@pytest.fixture
def selection() -> Selection:
    return Selection(
        "mine", "three points", tuple(choice(k) for k in (1, 2, 3)), failures={"4": "RuntimeError: out of memory"}
    )


def test_the_largest_value_is_best_and_of_equal_ones_the_fewest_components(selection: Selection) -> None:
    assert {name: selection.best(name) for name in ("aic", "bic", "heldout", "evidence", "waic")} == {
        "aic": 1, "bic": 1, "heldout": 2, "evidence": 2, "waic": None,
    }  # fmt: skip


def test_a_lone_value_chooses_nothing(selection: Selection) -> None:
    alone = Selection("mine", "", selection.choices[:1])
    assert alone.best("aic") is None
    assert alone.reading == "No criterion has chosen."


def test_what_is_not_finished_chooses_nothing(selection: Selection) -> None:
    unfinished = replace(selection, waiting=(5,))
    assert (selection.chosen("heldout"), unfinished.chosen("heldout"), unfinished.best("heldout")) == (2, None, 2)
    assert "Not scored yet: K = 5" in unfinished.reading
    assert "*" not in str(unfinished)
    families = FamilySelection("mine", {"full": selection, "tied": Selection("mine", "", (), waiting=(1, 2))})
    assert families.chosen("heldout") is None
    assert families.best("heldout") == ("full", 2)
    assert "Not scored yet: K = tied 1, 2; the same command goes on." in families.reading


def test_sums_are_compared_point_by_point(selection: Selection) -> None:
    found = selection.difference("heldout", 1)
    assert found is not None
    assert found.below == pytest.approx(2.0)
    assert found.standard_error == pytest.approx(np.sqrt(3) * np.std([0.0, 0.5, 1.5], ddof=1))


def test_independent_estimates_are_compared_by_the_root_of_their_summed_squares(selection: Selection) -> None:
    found = selection.difference("evidence", 1)
    assert found is not None
    assert found[:2] == (pytest.approx(1.0), pytest.approx(np.hypot(0.3, 0.6)))


def test_what_has_no_value_or_no_error_has_no_difference_or_none_of_its_own(selection: Selection) -> None:
    assert selection.difference("waic", 1) is None
    assert selection.difference("evidence", 3) is None
    assert selection.difference("aic", 3)[:2] == (pytest.approx(2.0), None)


def test_rivals_are_within_one_standard_error_of_the_difference(selection: Selection) -> None:
    assert selection.rivals("heldout") == [3]
    assert selection.rivals("evidence") == selection.rivals("aic") == []
    assert selection.reading == (
        "Components chosen: AIC 1, BIC 1, held-out 2 (not told from 3). "
        "No choice, because some K could not be judged; the highest of the others: log evidence 2 (among 1, 2). "
        "Left out, as not eligible: log evidence at K = 3 (there is no posterior)."
    )


@pytest.mark.parametrize(
    ("below", "errors", "rivals"),
    [
        (0.4, (0.1, 0.1), [2]),  # surely different, and not worth a mention
        (0.4, (0.0, 0.0), [2]),  # both exact
        (1.2, (0.1, 0.1), []),
        (5.0, (6.0, 0.1), [2]),  # runs spread more than that
    ],
)
def test_evidence_within_its_spread_or_a_nat_is_not_told_apart(
    below: float, errors: tuple[float, float], rivals: list[int]
) -> None:
    found = [Score.of(-10.0 - away, error) for away, error in zip((0.0, below), errors, strict=True)]
    nothing = {name: Score.missing("not asked") for name in CRITERIA}
    choices = [Choice(k, k, 0.0, nothing | {"evidence": score}) for k, score in enumerate(found, 1)]
    assert Selection("mine", "", tuple(choices)).rivals("evidence") == rivals


def test_a_note_is_told_once_for_all_that_it_holds_of(selection: Selection) -> None:
    assert "BIC / -2, held-out, K = 1, 2, 3: beware." in selection.notes
    assert sum("there is no posterior" in note for note in selection.notes) == 1
    assert selection.notes[-1] == "K = 4 failed: RuntimeError: out of memory."


def test_the_tables_star_the_best_and_tell_the_others_in_nats_below_it(selection: Selection) -> None:
    column = selection.values.heads.index("held-out")
    assert [line[column] for line in selection.values.lines()] == ["-6.00", "-4.00 *", "-4.05"]
    column = selection.differences.heads.index("held-out")
    assert [line[column].split(" ±")[0] for line in selection.differences.lines()] == ["2.00", "0.00", "0.05"]
    assert selection.reading in " ".join(str(selection).split())


def test_json_and_csv_hold_every_value_with_its_difference(selection: Selection) -> None:
    stored = json.loads(selection.to_json())
    assert stored["best"]["heldout"] == 2
    score = stored["choices"][0]["scores"]["evidence"]
    assert score == {
        "value": -9.0, "standard_error": 0.3, "notes": [], "rejected": None, "why": None, "monte_carlo_error": None,
        "below_best": pytest.approx(1.0), "difference_standard_error": pytest.approx(np.hypot(0.3, 0.6)),
    }  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(selection.to_csv())))
    assert len(rows) == 3 * len(CRITERIA)
    (row,) = (row for row in rows if (row["components"], row["criterion"]) == ("3", "heldout"))
    assert float(row["below_best"]) == pytest.approx(0.05)
    assert row["notes"] == "beware"
    frame = selection.to_dataframe()
    assert list(frame.columns) == list(row) and len(frame) == len(rows)
    assert "<table" in selection._repr_html_() and "Nats below the best K" in selection._repr_html_()


@pytest.fixture
def disputed() -> Selection:
    """PSIS-LOO of K = 3 is by far the largest, from draws that disagree; AIC likes the most."""
    choices = []
    for k in (2, 3, 4):
        scores = {name: Score.of_terms(np.array([-1.0, -2.0]) - abs(k - 2)) for name in CRITERIA}
        scores["aic"] = Score.of(float(k))
        if k == 3:
            loose = Score.of_terms(np.array([50.0, 50.0])).reject("draws do not agree", "gibbs: R-hat 1.50")
            scores["loo"] = scores["waic"] = loose
        choices.append(Choice(k, 3 * k - 1, -1.0 / k, scores))
    return Selection("mine", "two points", tuple(choices))


def test_what_is_not_eligible_is_never_best_nor_a_rival_nor_in_a_difference(disputed: Selection) -> None:
    # The one that could not be judged may be better: the highest of the others is no choice.
    assert (disputed.best("loo"), disputed.chosen("loo")) == (2, None)
    assert disputed.to_dict()["best"]["loo"] is None
    assert disputed.to_dict()["highest_eligible"]["loo"] == 2
    assert disputed.difference("loo", 3) is None
    assert disputed.rivals("loo") == []
    column = disputed.values.heads.index("PSIS-LOO")
    assert [line[column] for line in disputed.values.lines()] == ["-3.00 °", "–", "-7.00"]
    score = json.loads(disputed.to_json())["choices"][1]["scores"]["loo"]
    assert score["value"] is score["below_best"] is None
    assert (score["rejected"], score["why"], score["notes"]) == (100.0, "draws do not agree", ["gibbs: R-hat 1.50"])
    rows = list(csv.DictReader(io.StringIO(disputed.to_csv())))
    (row,) = (row for row in rows if (row["components"], row["criterion"]) == ("3", "loo"))
    assert (row["value"], row["rejected"], row["why"]) == ("", "100.0", "draws do not agree")


def test_the_headline_names_what_is_left_out_and_a_choice_at_the_edge(disputed: Selection) -> None:
    assert "PSIS-LOO 2 (the fewest asked; among 2, 4)" in disputed.reading
    assert "AIC 4 (the most asked)" in disputed.reading
    assert "WAIC, PSIS-LOO at K = 3 (draws do not agree)" in disputed.reading
    assert disputed.reading.endswith("Where the choice is the most asked, ask for more.")
    edges = json.loads(disputed.to_json())["edge"]
    assert (edges["aic"], edges["loo"]) == ("most", "fewest")


def test_one_component_is_no_edge(selection: Selection) -> None:
    assert selection.best("aic") == 1 and selection.edge("aic") is None


def test_choices_survive_storing(selection: Selection) -> None:
    for each in selection.choices:
        again = Choice.from_dict(json.loads(json.dumps(each.to_dict(), allow_nan=False)))
        assert again.to_dict() == each.to_dict()


def test_what_is_no_number_has_no_value() -> None:
    assert Score.of(float("nan")).value is None
    assert Score.of_terms(np.array([0.0, -np.inf])).notes == ("1 of 2 points have no finite term",)
