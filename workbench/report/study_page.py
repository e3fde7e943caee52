"""The page and the figures of a study, redrawn from its stored rows."""

from dataclasses import replace

from markupsafe import Markup
from matplotlib.figure import Figure

from workbench.report.page import Grid, Page, Picture, Section, Shown, Words, of_picture, reproduce, toml_of
from workbench.report.study_figures import STUDY_FIGURES
from workbench.studies import Findings
from workbench.studies.reading import table_of


def show_study(findings: Findings, title: str) -> Shown:
    """The page of a study: its figures and its rows."""
    figures = study_figures(findings)
    known = STUDY_FIGURES.get(findings.study.study, {})
    sections = [
        of_picture(Picture.of(figure, known[name].title, known[name].alt, known[name].caption))
        for name, figure in figures.items()
    ]
    note = Markup(
        "A dash marks a missing number. There are {} rows; every row, with all its columns, is in "
        "<code>cells</code> of this results folder. {}"
    ).format(len(findings.rows), findings.note)
    rows = Grid(replace(table_of(findings), note=""), f"Rows of {title}")
    sections.append(Section("What was found", [rows, Words(note, "note")]))
    where = reproduce("workbench run NAME.toml", toml_of(findings.study.resolved()))
    return Shown(Page(title, [Words(findings.study.summary, "reading")], [*sections, where]), figures)


def study_figures(findings: Findings) -> dict[str, Figure]:
    """The figures of a study by name, drawn from its rows."""
    return {name: figure.draw(findings) for name, figure in STUDY_FIGURES.get(findings.study.study, {}).items()}
