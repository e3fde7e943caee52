"""Every check of a study decides made-up rows in both directions, and reports when they are too few."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ledger_limits import limits_of

from workbench.claims import Verdict
from workbench.claims.checks import CHECKS
from workbench.claims.decision import Interval
from workbench.studies import Findings, Row
from workbench.studies.rate import TOLERANCES

HOLDS, FAILS, DEPENDS, UNDECIDED = Verdict


def coupling(several: float, one: float, left: float = 0.1, *, far: float | None = None) -> list[Row]:
    rows: list[Row] = [
        {"components": 1, "separation": 0.0, "share": one, "share_of_components": one, "share_natural": one,
         "left_by_each": one, "left_by_all": one}
    ]  # fmt: skip
    for separation, share in ((2.0, several), (10.0, several if far is None else far)):
        shared = {"components": 2, "separation": separation, "left_by_each": left, "left_by_all": 2 * left}
        rows += [{**shared, "share": share, "share_of_components": share}] * 3
    return rows


def one_gaussian(usual: float, natural: float) -> list[Row]:
    return [{"components": 1, "share": usual, "share_natural": natural}]


def escapes(*slopes: float | None) -> list[Row]:
    return [{"subject": str(i), "way": "held", "slope": s, "theory": -2.0} for i, s in enumerate(slopes)]


def floors(with_floor: int, without: int, rounded: int = 0) -> list[Row]:
    return [
        {"method": method, "remedy": remedy, "log_likelihood_falls": falls, "log_joint_falls": falls, "steps": 100,
         "falls_in_rounding": rounded}
        for method, remedy, falls in (("em_floor", "floor", with_floor), ("em", "none", without))
    ]  # fmt: skip


def stability(em: int | None, *edges: float, tried: bool = True) -> list[Row]:
    """Edges of stability of as many data sets, in one chart, between two steps that were tried, or beyond all."""
    return [
        {"subject": str(s), "chart": "c", "predicted_edge": edge, "em_passes": em, "passes": 20,
         "seen_low": 0.98 * edge, "seen_high": 1.02 * edge if tried else None}
        for s, edge in enumerate(edges)
    ]  # fmt: skip


def affine(em: float, ascent: float | None) -> list[Row]:
    return [
        {"method": "em", "units": None, "gap": em},
        {"method": "ascent", "units": "data", "gap": ascent},
        {"method": "ascent", "units": "working", "gap": 1e-12},
    ]


def rates(near: float, far: float, lbfgs: float, replications: int = 12, missing: float = 0.2) -> list[Row]:
    """EM takes `near` and `far` passes at 1 and 4 standard deviations, L-BFGS always as many, Anderson half of that."""
    passes = {"lbfgs": lbfgs, "anderson": 0.5 * lbfgs}
    return [
        {"subject": "simulated", "separation": s, "replication": r, "rate": missing,
         **{f"{name}_to": [count + r] * len(TOLERANCES) for name, count in ({"em": em} | passes).items()}}
        for r in range(replications)
        for s, em in ((1.0, near), (4.0, far))
    ]  # fmt: skip


def accelerated(near: float, far: float) -> list[Row]:
    """Anderson takes so many passes at 1 and 4 standard deviations, L-BFGS 100."""
    return [
        {"subject": "simulated", "separation": s, "replication": r,
         "anderson_to": [count + r] * len(TOLERANCES), "lbfgs_to": [100] * len(TOLERANCES)}
        for r in range(12)
        for s, count in ((1.0, near), (4.0, far))
    ]  # fmt: skip


def slopes(slope: float, error: float) -> list[Row]:
    return [{"weight": w, "slope": s, "slope_error": error, "at_zero": 3} for w, s in ((0.5, slope), (0.7, -0.5))]


def stops(*off: float, tolerance: float = 1e-3) -> list[Row]:
    return [{"subject": "a", "tolerance": tolerance, "start": i, "passes": 3, "short": 1.0, "off": x}
            for i, x in enumerate(off)]  # fmt: skip


def failures(*counts: int, rule: str = "random_points", method: str = "em") -> list[Row]:
    """Failures of 100 starts for 3, 5, 7, ... groups."""
    return [
        {"components": 3 + 2 * i, "rule": rule, "method": method, "starts": 100, "failures": count}
        for i, count in enumerate(counts)
    ]


def rules(random: int, seeded: int) -> list[Row]:
    return failures(random, random) + failures(seeded, seeded, rule="kmeans++")


def told(louis: float | None, supplemented: float | None) -> list[Row]:
    return [{"subject": "a", "observed": 0.1, "louis": louis, "supplemented": supplemented}]


def coverages(clear: tuple[int, int], blurred: tuple[int, int], missing: int = 0) -> list[Row]:
    """Data sets out of 400 whose intervals of two parameters hold the truth, far apart with many points, and near."""
    cells = ((4.0, 1000, clear, 0), (1.0, 50, blurred, missing))
    return [
        {"separation": s, "points": n, "parameter": str(q), "way": "wald", "covered": covered, "replications": 400,
         "missing": lost}
        for s, n, counts, lost in cells
        for q, covered in enumerate(counts)
    ]  # fmt: skip


def calibrations(sampler: float, control: float, replications: int = 400) -> list[Row]:
    """Adjusted p-values of a sampler and of an approximation, each of two quantities."""
    shared = {"replications": replications, "tests": 4, "draws": 31, "bins": 8}
    return [
        {**shared, "method": method, "approximation": method == "cavi", "quantity": quantity, "p_adjusted": p,
         "uniform": p >= 0.01}
        for method, smallest in (("gibbs", sampler), ("cavi", control))
        for quantity, p in (("log_joint", smallest), ("squared_weights", 1.0))
    ]  # fmt: skip


COUPLED: list[tuple[list[Row], Verdict]] = [
    (coupling(0.3, 1e-13), HOLDS),
    (coupling(1e-12, 1e-13), FAILS),
    (coupling(0.3, 1e-13, far=1e-9), DEPENDS),
    (coupling(0.3, 1e-13)[:1], UNDECIDED),
]
CASES: dict[str, list[tuple[list[Row], Verdict]]] = {
    "equations_are_coupled": COUPLED,
    "clusters_are_coupled": COUPLED,
    "one_gaussian_is_uncoupled": [
        (one_gaussian(1e-14, 1e-14), HOLDS),
        (one_gaussian(1e-14, 0.7), DEPENDS),
        (one_gaussian(0.1, 0.7), FAILS),
        (coupling(0.3, 1e-13)[1:], UNDECIDED),
    ],
    "no_step_solves_it": [
        (coupling(0.3, 1e-13, left=0.01), HOLDS),
        # The theorem holds whatever a step leaves of a mixture; a step that does not solve one Gaussian is broken.
        (coupling(0.3, 1e-13, left=1e-12), HOLDS),
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
        (floors(12, 2, rounded=2), HOLDS),
        (floors(0, 0), FAILS),
        # Falls that rounding explains are none, with the floor as without.
        (floors(12, 12, rounded=12), FAILS),
        # An EM that falls itself is no control.
        (floors(12, 12), UNDECIDED),
        (floors(12, 0)[:1], UNDECIDED),
    ],
    "step_size_must_be_chosen": [
        (stability(30, 0.5, 5.0), HOLDS),
        (stability(30, 0.5, 0.51), FAILS),
        (stability(None, 0.5, 5.0), FAILS),
        # Edges 2.05 apart may be less than 2 apart between the steps that were tried.
        (stability(30, 1.0, 2.05), FAILS),
        # A grid whose steps all come back shows no edge.
        (stability(30, 0.5, 5.0, tried=False), UNDECIDED),
        (stability(30, 0.5), UNDECIDED),
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
        # Seven data sets say nothing at the level of the test if one of them is against it; three never do.
        (rates(900, 20, 100, replications=3), UNDECIDED),
    ],
    "acceleration_beats_ascent": [
        (accelerated(20, 30), HOLDS),
        (accelerated(200, 30), DEPENDS),
        (accelerated(200, 300), FAILS),
        ([], UNDECIDED),
    ],
    "ascent_is_dearer_on_clear_groups": [
        (rates(900, 900, 50), HOLDS),
        (rates(30, 20, 200), FAILS),
        (rates(30, 20, 200, missing=0.99), UNDECIDED),
        # Four data sets are too few, though each has two clear problems: all eight have the same noise in pairs.
        (rates(30, 20, 200, replications=4), UNDECIDED),
    ],
    "stopping_when_it_stabilises": [
        (stops(0.01, 0.02), HOLDS),
        (stops(0.01, 3.0), FAILS),
        (stops(3.0, 2.0) + stops(0.01, 0.02, tolerance=1e-8), DEPENDS),
        ([], UNDECIDED),
    ],
    "equal_weights_give_a_quarter": [
        (slopes(-0.26, 0.02), HOLDS),
        (slopes(-0.5, 0.02), FAILS),
        (slopes(-0.1, 0.02), FAILS),
        # So wide an interval that it holds -1/4 and -1/2 tells nothing.
        (slopes(-0.3, 0.2), UNDECIDED),
        (slopes(-0.26, 0.02)[1:], UNDECIDED),
    ],
    "successes_fall_exponentially": [
        (failures(20, 60, 85), HOLDS),
        (failures(85, 60, 20), FAILS),
        (failures(50, 51, 50), UNDECIDED),
        # Success falls, and not as an exponential.
        (failures(2, 3, 4, 95), UNDECIDED),
        (failures(20, 60), UNDECIDED),
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
        # Short only because intervals that do not exist count as misses.
        (coverages((380, 380), (203, 202), missing=192), DEPENDS),
        (coverages((200, 200), (380, 378)), FAILS),
        (coverages((380, 380), (380, 372)), UNDECIDED),
        ([], UNDECIDED),
    ],
    "samplers_are_calibrated": [
        (calibrations(0.3, 1e-6), HOLDS),
        (calibrations(1e-3, 1e-6), FAILS),
        (calibrations(0.3, 0.2), UNDECIDED),
        # With ten data sets nothing would be found.
        (calibrations(0.3, 1e-6, replications=10), UNDECIDED),
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
    decision = CHECKS[name].decide(findings_of(rows), limits_of(name))
    assert decision.verdict == verdict
    if verdict != UNDECIDED:
        assert decision.value is not None
        assert decision.figure != "-"
        assert decision.note


def test_every_check_of_a_study_can_hold_and_can_fail() -> None:
    assert set(CASES) == {name for name, check in CHECKS.items() if check.study is not None}
    for name, cases in CASES.items():
        assert {HOLDS, FAILS} <= {verdict for _, verdict in cases}, name


def test_the_rate_of_the_exponential_is_recovered_from_counts_of_one(findings_of: Callable[..., Any]) -> None:
    # Ten million starts whose successes are exp(.3 - .25 K) to the last one.
    groups = np.array([3, 5, 7, 9])
    starts = 10_000_000
    failed = starts - np.round(starts * np.exp(0.3 - 0.25 * groups)).astype(int)
    rows = [row | {"starts": starts, "failures": int(n)} for row, n in zip(failures(0, 0, 0, 0), failed, strict=True)]
    decision = CHECKS["successes_fall_exponentially"].decide(findings_of(rows), {})
    assert decision.value == pytest.approx(0.25, abs=1e-4)
    assert isinstance(decision.error, Interval) and decision.error.low < 0.25 < decision.error.high


def test_methods_that_share_their_starts_are_not_pooled(findings_of: Callable[..., Any]) -> None:
    rows = [row | {"method": m} for m in ("em", "lbfgs", "adam") for row in rules(52, 40)]
    decision = CHECKS["kmeans_starts_fail_less"].decide(findings_of(rows), {})
    # Two hundred starts by each rule and for each method, not six hundred.
    assert decision.error.over == "200 starts by each rule"
    assert decision.p_value > 0.01
    assert [row.at for row in decision.sensitivity if row.what == "method"] == ["lbfgs", "adam"]
