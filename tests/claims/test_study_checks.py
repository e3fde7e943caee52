"""Every check of a study decides made-up rows in both directions, and reports when they are too few."""

from collections.abc import Callable
from typing import Any

import pytest

from workbench.claims import Verdict
from workbench.claims.checks import CHECKS
from workbench.diagnostics.proportion import Proportion
from workbench.studies import Findings, Row

HOLDS, FAILS, UNDECIDED = Verdict


def coupling(several: float, one: float, left: float = 0.1) -> list[Row]:
    rows: list[Row] = [{"components": 1, "share": one, "left_by_each": one, "left_by_all": one}]
    return rows + [{"components": 2, "share": several, "left_by_each": left, "left_by_all": 2 * left}] * 6


def escapes(*slopes: float | None) -> list[Row]:
    return [{"subject": str(i), "way": "held", "slope": s, "theory": -2.0} for i, s in enumerate(slopes)]


def floors(with_floor: int, without: int) -> list[Row]:
    return [
        {"method": "em_floor", "remedy": "floor", "log_likelihood_falls": with_floor, "steps": 100},
        {"method": "em", "remedy": "none", "log_likelihood_falls": without, "steps": 100},
    ]


def stability(em: int | None, long: int | None) -> list[Row]:
    shared = {"subject": "a", "chart": "c", "predicted_edge": 0.5, "em_passes": em}
    return [{**shared, "passes": 20}, {**shared, "passes": long}]


def affine(em: float, ascent: float | None) -> list[Row]:
    return [
        {"method": "em", "units": None, "gap": em},
        {"method": "ascent", "units": "data", "gap": ascent},
        {"method": "ascent", "units": "working", "gap": 1e-12},
    ]


def rates(near: float, far: float, lbfgs: float, replications: int = 8) -> list[Row]:
    """EM takes `near` and `far` passes at 1 and 4 standard deviations, L-BFGS always as many."""
    return [
        {"subject": "simulated", "separation": s, "replication": r, "em": em + r, "lbfgs": lbfgs + r}
        for r in range(replications)
        for s, em in ((1.0, near), (4.0, far))
    ]


def slopes(slope: float, error: float) -> list[Row]:
    return [{"weight": w, "slope": s, "slope_error": error} for w, s in ((0.5, slope), (0.7, -0.5))]


def failures(few: int, many: int, rule: str = "random_points") -> list[Row]:
    rows: list[Row] = []
    for k, count in ((2, few), (9, many)):
        share = Proportion(count, 100)
        low, high = share.interval
        rows.append({"components": k, "rule": rule, "method": "em", "starts": 100, "failures": count,
                     "failure_share": share.share, "low": low, "high": high})  # fmt: skip
    return rows


def rules(random: int, seeded: int) -> list[Row]:
    return failures(random, random) + failures(seeded, seeded, "kmeans++")


def told(louis: float | None, supplemented: float | None) -> list[Row]:
    return [{"subject": "a", "observed": 0.1, "louis": louis, "supplemented": supplemented}]


def coverages(clear: tuple[int, int], blurred: tuple[int, int]) -> list[Row]:
    """Data sets out of 400 whose intervals of two parameters hold the truth, far apart with many points, and near."""
    cells = ((4.0, 1000, clear), (1.0, 50, blurred))
    return [
        {"separation": s, "points": n, "parameter": str(q), "way": "wald", "covered": covered, "replications": 400,
         "missing": 0}
        for s, n, counts in cells
        for q, covered in enumerate(counts)
    ]  # fmt: skip


def calibrations(sampler: float, control: float) -> list[Row]:
    """Adjusted p-values of a sampler and of an approximation, each of two quantities."""
    shared = {"replications": 100, "tests": 4}
    return [
        {**shared, "method": method, "approximation": method == "cavi", "quantity": quantity, "p_adjusted": p,
         "uniform": p >= 0.01}
        for method, smallest in (("gibbs", sampler), ("cavi", control))
        for quantity, p in (("log_joint", smallest), ("squared_weights", 1.0))
    ]  # fmt: skip


CASES: dict[str, list[tuple[list[Row], Verdict]]] = {
    "equations_are_coupled": [
        (coupling(0.3, 1e-13), HOLDS),
        (coupling(1e-12, 1e-13), FAILS),
        (coupling(0.3, 0.1), FAILS),
        (coupling(0.3, 1e-13)[1:], UNDECIDED),
    ],
    "no_step_solves_it": [
        (coupling(0.3, 1e-13, left=0.01), HOLDS),
        (coupling(0.3, 1e-13, left=1e-12), FAILS),
        (coupling(0.3, 1e-3, left=0.01), FAILS),
        (coupling(0.3, 1e-13)[:1], UNDECIDED),
    ],
    "escape_has_slope_of_theory": [
        (escapes(-2.0, -1.99), HOLDS),
        (escapes(-2.0, -1.0), FAILS),
        (escapes(-2.0, 2.0), FAILS),
        (escapes(None), FAILS),
        ([{"subject": "a", "way": "em", "slope": None, "theory": None}], UNDECIDED),
    ],
    "floor_breaks_monotonicity": [
        (floors(12, 0), HOLDS),
        (floors(0, 0), FAILS),
        (floors(12, 12), FAILS),
        (floors(12, 0)[:1], UNDECIDED),
    ],
    "step_size_must_be_chosen": [
        (stability(30, None), HOLDS),
        (stability(None, None), FAILS),
        (stability(30, 40), FAILS),
        ([], UNDECIDED),
    ],
    "em_keeps_its_path": [
        (affine(1e-12, 0.1), HOLDS),
        (affine(1e-12, None), HOLDS),
        (affine(0.1, 0.1), FAILS),
        (affine(1e-12, 1e-12), FAILS),
        (affine(1e-12, 0.1)[:1], UNDECIDED),
    ],
    "em_slows_with_overlap": [
        (rates(900, 20, 50), HOLDS),
        (rates(20, 900, 50), FAILS),
        (rates(900, 20, 50, replications=3), UNDECIDED),
    ],
    "ascent_overtakes_em": [
        (rates(900, 20, 100), HOLDS),
        (rates(900, 500, 5000), FAILS),
        (rates(900, 500, 50), UNDECIDED),
    ],
    "equal_weights_give_a_quarter": [
        (slopes(-0.26, 0.02), HOLDS),
        (slopes(-0.5, 0.02), FAILS),
        (slopes(-0.1, 0.02), FAILS),
        # So wide an interval that it holds -1/4 and -1/2 tells nothing.
        (slopes(-0.3, 0.2), UNDECIDED),
        (slopes(-0.26, 0.02)[1:], UNDECIDED),
    ],
    "failures_grow_with_components": [
        (failures(2, 90), HOLDS),
        (failures(90, 2), FAILS),
        (failures(40, 45), UNDECIDED),
        (failures(2, 90)[:1], UNDECIDED),
    ],
    "kmeans_starts_fail_less": [
        (rules(80, 30), HOLDS),
        (rules(30, 80), FAILS),
        (rules(50, 49), UNDECIDED),
        (failures(2, 90), UNDECIDED),
    ],
    "information_by_em_agrees": [
        (told(0.1, 0.10001), HOLDS),
        (told(0.1001, 0.1), FAILS),
        (told(0.1, 0.11), FAILS),
        (told(0.1, None), UNDECIDED),
    ],
    "wald_covers_clear_groups": [
        (coverages((380, 378), (200, 380)), HOLDS),
        (coverages((380, 340), (380, 380)), FAILS),
        # Below nominal by chance or not, and no further from nine in ten.
        (coverages((380, 372), (380, 380)), UNDECIDED),
        ([], UNDECIDED),
    ],
    "wald_falls_short_on_overlap": [
        (coverages((380, 380), (380, 200)), HOLDS),
        (coverages((200, 200), (380, 378)), FAILS),
        (coverages((380, 380), (380, 372)), UNDECIDED),
        ([], UNDECIDED),
    ],
    "samplers_are_calibrated": [
        (calibrations(0.3, 1e-6), HOLDS),
        (calibrations(1e-3, 1e-6), FAILS),
        (calibrations(0.3, 0.2), UNDECIDED),
        (calibrations(0.3, 1e-6)[:2], UNDECIDED),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "rows", "verdict"),
    [pytest.param(n, rows, v, id=f"{n}-{i}-{v}") for n, cases in CASES.items() for i, (rows, v) in enumerate(cases)],
)
def test_a_check_decides_as_the_findings_are_made(
    name: str, rows: list[Row], verdict: Verdict, findings_of: Callable[[list[Row]], Findings]
) -> None:
    decision = CHECKS[name].decide(findings_of(rows))
    assert decision.verdict == verdict
    if verdict != UNDECIDED:
        assert decision.value is not None
        assert decision.figure != "-"
        assert decision.note


def test_every_check_of_a_study_can_hold_and_can_fail() -> None:
    assert set(CASES) == {name for name, check in CHECKS.items() if check.study is not None}
    for name, cases in CASES.items():
        assert {HOLDS, FAILS} <= {verdict for _, verdict in cases}, name


@pytest.mark.parametrize(("few", "many"), [(2, 90), (10, 40)])
def test_the_figure_of_a_share_lies_in_its_interval(few: int, many: int, findings_of: Callable[..., Any]) -> None:
    decision = CHECKS["failures_grow_with_components"].decide(findings_of(failures(few, many)))
    low, high = decision.interval
    assert low < decision.value == many < high
