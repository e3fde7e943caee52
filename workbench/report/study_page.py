"""The page and the figures of a study, redrawn from its stored rows."""

import base64
import os
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from matplotlib.figure import Figure

from workbench.engine.files import replacing
from workbench.report.environment import environment
from workbench.report.figures import save_all, svg_of
from workbench.report.study_figures import STUDY_FIGURES
from workbench.studies import Findings
from workbench.studies.table import table_of

# A figure wider than this share of its height is shown across the page.
WIDE = 1.6


@dataclass(frozen=True)
class StudyPicture:
    """A figure with its words."""

    title: str
    alt: str
    caption: str
    source: str  # data URI
    wide: bool


def write_study_report(path: Path, findings: Findings, *, title: str, stored: Path) -> None:
    """Write the page of a study: one HTML file that needs no other, no network and no script.

    Args:
        path: of the file; a reader never sees half of it.
        findings: the rows.
        title: of the page.
        stored: the folder that keeps the rows; the page names it as seen from the page's own place.
    """
    shown = table_of(findings)
    text = (
        environment()
        .get_template("study.html")
        .render(
            title=title,
            summary=findings.study.summary,
            pictures=study_pictures(findings),
            headings=shown.heads,
            lines=shown.lines(shown.most),
            count=f"{len(findings.rows)} rows",
            note=shown.note,
            stored=Path(os.path.relpath(stored, path.parent)).as_posix(),
            config=tomli_w.dumps(findings.study.resolved()),
        )
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def study_figures(findings: Findings) -> dict[str, Figure]:
    """The figures of a study by name, drawn from its rows."""
    return {name: figure.draw(findings) for name, figure in STUDY_FIGURES.get(findings.study.study, {}).items()}


def study_pictures(findings: Findings) -> list[StudyPicture]:
    """Every figure of the study with its words, as a page holds them."""
    pictures = []
    for figure in STUDY_FIGURES.get(findings.study.study, {}).values():
        drawn = figure.draw(findings)
        width, height = drawn.get_size_inches()
        source = f"data:image/svg+xml;base64,{base64.b64encode(svg_of(drawn).encode()).decode()}"
        pictures.append(StudyPicture(figure.title, figure.alt, figure.caption, source, width > WIDE * height))
    return pictures


def save_study_figures(findings: Findings, folder: Path) -> list[Path]:
    """Write each figure to `folder/NAME.png` and return the paths. A reader never sees half a file."""
    return save_all(study_figures(findings), folder)
