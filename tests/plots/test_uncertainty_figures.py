"""Figures of standard errors and coverage show the values, name refused methods, and leave out missing values."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from workbench.plots.coupling import shares
from workbench.plots.standard_errors import WAYS
from workbench.report.study_panels import coverage_by_way, errors_by_way
from workbench.studies.base import Findings, Row
from workbench.studies.coupling import Coupling
from workbench.studies.uncertainty import Coverage


def findings_of(rows: list[Row]) -> Findings:
    """Rows alone are drawn."""
    return Findings(Coverage(separations=(1.0,), points=(50,)), rows)


def errors(subject: str, *refused: str) -> list[Row]:
    told: Row = {way: None if way in refused else 0.1 for way in WAYS}
    return [
        {"subject": subject, "parameter": name, "estimate": 0.5, "replicates": 100, "note": "", **told}
        for name in ("weight 1", "weight 2", "mean 1")
    ]


def test_a_way_that_is_refused_has_no_marks_and_is_named() -> None:
    figure = errors_by_way(findings_of(errors("clear") + errors("blurred", "nonparametric", "posterior")))
    clear, blurred = figure.axes
    assert [len(ax.get_legend_handles_labels()[1]) for ax in (clear, blurred)] == [7, 5]
    assert "refused: nonparametric, posterior" in blurred.get_title(loc="left")
    assert "refused" not in clear.get_title(loc="left")
    assert len(figure.legends[0].get_texts()) == 7


@pytest.mark.parametrize("subjects", [("a",), ("a", "b")], ids=["one panel", "two panels"])
def test_the_legend_lies_within_the_figure(subjects: tuple[str, ...]) -> None:
    figure = errors_by_way(findings_of([row for subject in subjects for row in errors(subject)]))
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


def test_one_gaussian_lies_far_below_separated_groups_in_the_figure_of_coupling() -> None:
    # The share of one Gaussian is rounding, and that of groups ten deviations apart is small and not zero.
    common: Row = {"subject": "simulated", "status": "maximum", "left_by_each": 1e-6, "left_by_all": 1e-9}
    rows: list[Row] = [
        common | {"components": k, "separation": separation, "share": share}
        for k, separation, share in ((1, 0.0, 0.0), (2, 4.0, 0.2), (2, 10.0, 3e-7))
    ]
    ax = Figure().subplots()
    shares(ax, Findings(Coupling(), rows))
    single, _ = ax.lines[:2]
    (curve,) = ax.containers
    np.testing.assert_allclose(curve.lines[0].get_ydata(), [0.2, 3e-7])
    assert 0 < single.get_ydata()[0] < 1e-15
    assert ax.get_legend_handles_labels()[1] == ["K = 1: rounding", "K = 2"]


def test_bootstraps_are_drawn_with_their_monte_carlo_error() -> None:
    (ax, _) = errors_by_way(findings_of(errors("a") + errors("b"))).axes
    bars = [container for container in ax.containers if container.has_xerr]
    assert [bar.get_label() for bar in bars] == [WAYS[way][0] for way in ("nonparametric", "parametric", "weighted")]
    (segment, *_) = bars[0].lines[2][0].get_segments()
    # Two errors of the deviation of a hundred numbers: 2 / sqrt(2 (100 - 1)), to either side.
    np.testing.assert_allclose(np.ptp(segment[:, 0]), 2 * 2 / np.sqrt(198))


def test_a_subject_without_a_maximum_is_said_to_have_none() -> None:
    (ax,) = errors_by_way(findings_of(errors("merged", *WAYS))).axes
    assert "no strict maximum" in ax.get_title(loc="left")
    assert not ax.containers


def test_coverage_has_a_panel_for_each_way_and_parameter_and_leaves_out_what_was_not_bootstrapped() -> None:
    rows: list[Row] = [
        {"separation": s, "points": n, "parameter": name, "way": way, "coverage": 0.9, "low": 0.6, "high": 0.95}
        for s in (1.0, 4.0)
        for n in (50, 1000)
        for way in ("wald", "bootstrap", "posterior")
        for name in ("weight 1", "mean 1")
        if way != "bootstrap" or n == 50
    ]
    panels = np.reshape(coverage_by_way(findings_of(rows)).axes, (3, 2))
    assert [ax.get_title() for ax in panels[0]] == ["weight 1", "mean 1"]
    assert [len(line[0].containers) for line in panels] == [2, 1, 2]
    # Room for the lowest interval.
    assert panels[0, 0].get_ylim()[0] < 0.6
