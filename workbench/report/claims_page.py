"""The page of a claim ledger, and what the page of an experiment says of the claims that rest on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.engine.files import replacing
from workbench.engine.precision import precision_note
from workbench.jobs.judged import Judged, load_claims, reading_of
from workbench.report.environment import environment


@dataclass(frozen=True)
class Line:
    """One claim, as the templates read it."""

    name: str
    sentence: str
    source: str
    verdict: str
    figure: str
    error: str
    note: str
    check: str
    about: str
    folders: list[tuple[str, str]]  # of the runs, with the page of each or ""
    settings: tuple[str, ...]


def write_claims(path: Path, judged: Sequence[Judged], *, title: str = "The claim ledger", of: Path) -> None:
    """Write the page of a ledger: one HTML file that needs no other, no network and no script.

    Args:
        path: of the file; a reader never sees half of it.
        judged: the claims with their decisions.
        title: of the page.
        of: the ledger's results folder, beside which lie those of its runs.
    """
    home = of.resolve().parent
    lines = [line_of(each, home, "../") for each in judged]
    text = environment().get_template("claims.html").render(title=title, claims=lines, reading=reading_of(judged))
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def ledger_table(judged: Sequence[Judged]) -> str:
    """The ledger as an HTML table for any page: a row for each claim, whose id is its name."""
    lines = [line_of(each, Path()) for each in judged]
    return environment().get_template("ledger.html").render(claims=lines)


def resting_on(folder: Path) -> list[Line]:
    """The claims that rest on the runs of a folder, where a ledger has been judged in the one above it."""
    above = folder.resolve().parent
    return [line_of(each, above) for each in load_claims(above) if folder.resolve().name in each.folders]


def line_of(judged: Judged, home: Path, way: str = "") -> Line:
    """A claim as the templates read it; a run has a link where its page has been written.

    Args:
        judged: the claim.
        home: the folder in which those of its runs lie.
        way: from the page to that folder.
    """
    pages = [(name, f"{name}/report.html") for name in judged.folders]
    decision = judged.decision
    return Line(
        name=judged.name,
        sentence=judged.sentence,
        source=judged.source,
        verdict=decision.verdict.value,
        figure=decision.figure,
        error=decision.error,
        note=f"{decision.note} {precision_note(judged.dtype)}".strip(),
        check=judged.check,
        about=judged.about,
        folders=[(name, f"{way}{page}" if (home / page).is_file() else "") for name, page in pages],
        settings=judged.settings,
    )
