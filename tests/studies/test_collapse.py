"""Claims about collapse: what is counted adds up, remedies do what they promise, and falls are found where they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from workbench.diagnostics.proportion import Proportion
from workbench.jobs.study import run_study
from workbench.report.study_panels import collapse_along_axes, collapse_maps
from workbench.studies import Findings
from workbench.studies.collapse import AXES, Collapse
from workbench.studies.reading import read_study

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

VALUES: dict[str, Any] = {
    "maps": [
        {"points": [20], "dimensions": [2], "components": [4], "separation": [0.0, 3.0]},
        {"points": [20], "dimensions": [2], "components": [4], "separation": [3.0]},
    ],
    "remedies": [
        {"name": "none", "methods": ["em"]},
        {"name": "floor", "methods": ["em_floor"]},
        {"name": "bounded_ratio", "prior": {"family": "bounded_ratio", "ratio": 20.0}, "methods": ["em"]},
    ],
    "methods": {"em": {"max_iterations": 300}, "em_floor": {"max_iterations": 300, "reg_covar": 0.1}},
    "covariance": "spherical",
    "datasets": 2,
    "restarts": 8,
    "steps": 20,
}

# Compiles many programs.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return run_study(Collapse.model_validate(VALUES), out=tmp_path_factory.mktemp("collapse"))


def test_a_problem_that_two_maps_share_is_measured_once() -> None:
    cells = Collapse.model_validate(VALUES).cells()
    assert len(cells) == 2 * 3 and len({tuple(cell.values()) for cell in cells}) == len(cells)


def test_counts_add_up_and_carry_wilsons_interval(found: Findings) -> None:
    for row in found.rows:
        assert row["starts"] == 2 * 8
        counted = ("collapsed", "starved", "failed", "unfinished")
        assert sum(int(row[name]) for name in counted) <= row["starts"]
        assert (row["low"], row["high"]) == Proportion(row["collapsed"], 16).interval


def test_em_collapses_and_remedies_leave_no_spike(found: Findings) -> None:
    collapsed = {name: int(found.where(remedy=name).column("collapsed").sum()) for name in found.values("remedy")}
    assert collapsed["none"] > 0
    assert collapsed["bounded_ratio"] == 0


def test_em_stays_monotone_in_log_joint_under_every_prior_and_not_under_the_floor(found: Findings) -> None:
    for name in ("none", "bounded_ratio"):
        assert found.where(remedy=name).column("log_joint_falls").sum() == 0
    assert found.where(remedy="floor").column("log_joint_falls").sum() > 0
    # With a flat prior the two objectives are one.
    for name in ("none", "floor"):
        one = found.where(remedy=name)
        np.testing.assert_array_equal(one.column("log_joint_falls"), one.column("log_likelihood_falls"))


def test_the_table_sums_over_the_grid(found: Findings) -> None:
    table = found.study.tabulated(found.rows)
    assert [row["remedy"] for row in table] == ["none", "floor", "bounded_ratio"]
    for row in table:
        own = found.where(remedy=row["remedy"])
        assert row["starts"] == 32 and row["collapsed"] == own.column("collapsed").sum()
    assert len(found.table) == 3


DASHES = "dashes: starved, but not singular"


def test_figures_show_every_curve(found: Findings) -> None:
    methods, remedies = collapse_along_axes(found.where(remedy="none")), collapse_along_axes(found)
    assert [text.get_text() for text in methods.legends[0].get_texts()] == ["em", DASHES]
    assert [text.get_text() for text in remedies.legends[0].get_texts()] == [
        "none",
        "floor",
        "bounded ratio",
        DASHES,
    ]
    (first, *_) = collapse_maps(found).axes
    shares = found.where(remedy="none").column("share")
    assert [text.get_text() for text in first.texts] == [f"{100 * share:.0f}" for share in shares]


def test_a_remedy_of_an_unknown_method_is_refused() -> None:
    wrong = VALUES | {"remedies": [{"name": "none", "methods": ["lbfgs"]}]}
    with pytest.raises(
        ValidationError, match=r"remedies.none.methods: unknown \['lbfgs'\]; allowed: \['em', 'em_floor'\]"
    ):
        Collapse.model_validate(wrong)


def test_the_shipped_configs_cover_all_axes_and_remedies() -> None:
    for name in ("collapse", "remedies"):
        cells = read_study(EXPERIMENTS / f"{name}.toml").cells()
        assert all(len({cell[axis] for cell in cells}) >= 2 for axis in AXES)
    assert {"none", "floor", "conjugate", "chen_tan", "bounded_ratio"} == {cell["remedy"] for cell in cells}
