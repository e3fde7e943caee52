"""Every registered study, in small, by the command line: measured, drawn, redrawn to the byte and printed again."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from reader import Reader

from workbench.cli import cli
from workbench.report.study_page import STUDY_FIGURES
from workbench.studies import STUDIES

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

WAITING = "{ name = 'w', data = { dataset = 'faithful', columns = ['waiting'] }, model = { components = 2 }"
CHART = "charts=[{ name = 'c', weights = 'log_ratio', scales = 'log_cholesky' }]"
GRADIENT = "gradient = { method = 'ascent', optimizer = 'gradient', max_iterations = 20 }"

# Settings that make the shipped file of a study small.
SMALL = {
    "affine": ("steps=5",),
    "bad_optima": ("components=[2]", "points=20", "restarts=4", "methods={ em = { max_iterations = 50 } }"),
    "calibration": (
        "replications=10", "draws=7", "bins=4", "methods={ gibbs = { num_warmup = 20, num_samples = 50 } }",
    ),
    "collapse": (
        "datasets=1", "restarts=2",
        "maps=[{ points = [40], dimensions = [1], components = [2], separation = [1.0, 2.0] }]",
        "remedies=[{ name = 'none', methods = ['em'] }, { name = 'floor', methods = ['em_floor'] }]",
        "methods={ em = { max_iterations = 20 }, em_floor = { max_iterations = 20 } }",
    ),
    "coordinates": (f"subjects=[{WAITING} }}]", CHART, "restarts=2", f"methods={{ em = {{}}, {GRADIENT} }}"),
    "coupling": ("components=[2]", "separations=[3.0]", "points=100", "replications=1", "restarts=1"),
    "coverage": (
        "separations=[4.0]", "points=[50]", "replications=10", "resampled=10", "replicates=20", "bootstrapped=1",
    ),
    "escape": (f"subjects=[{WAITING}, rows = [0] }}]", "widths=6", "steps=1", "restarts=2", "iterations=5"),
    "overspecified": ("points=[100, 400, 1600]", "replications=10"),
    "rate": (
        f"subjects=[{WAITING} }}]", "separations=[2.0, 4.0]", "points=100", "replications=1", "restarts=1",
        "limit=2000",
    ),
    "stopping": (f"subjects=[{WAITING} }}]", "restarts=2", "max_passes=200"),
    "stability": (f"subjects=[{WAITING} }}]", CHART, "factors=[0.5, 1.5]", "max_passes=50"),
    "standard_errors": ("replicates=20", f"subjects=[{WAITING} }}]"),
}  # fmt: skip
FILES = {"collapse": "remedies"}  # where the file is not called as the study

# What compiles more than 20 s.
SLOW = ("affine", "calibration", "coupling", "coordinates", "coverage", "rate", "stability", "standard_errors")
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in STUDIES]


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="workbench", catch_exceptions=False)


def shown(out: Path) -> dict[str, bytes]:
    places = [*(out / "pages").rglob("*"), *(out / "figures").rglob("*"), out / "report.html"]
    return {str(place): place.read_bytes() for place in places if place.is_file()}


def test_every_study_has_its_settings_here() -> None:
    assert set(SMALL) == set(STUDIES)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_is_measured_drawn_and_redrawn_from_disk(name: str, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    settings = [word for setting in SMALL[name] for word in ("--set", setting)]
    ran = command("run", EXPERIMENTS / f"{FILES.get(name, name)}.toml", *settings, "--out", out)
    assert ran.exit_code == 0, ran.output
    drawn = {path.stem for path in (out / "figures").rglob("*.png")}
    assert drawn == set(STUDY_FIGURES[name])
    page = Reader((out / "report.html").read_text(encoding="utf-8"))
    page.check()
    assert STUDIES[name].summary in page.text
    assert all(figure.title in page.text for figure in STUDY_FIGURES[name].values())
    before = shown(out)
    assert command("report", out).exit_code == 0
    assert shown(out) == before
    told = command("compare", out)
    assert set(ran.stdout.splitlines()) - set(told.stdout.splitlines()) == {f"Report: {out / 'report.html'}"}
    (values,) = command("compare", out, "--format", "json").stdout.splitlines()
    assert json.loads(values)["rows"]
