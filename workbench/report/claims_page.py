"""The page of a claim ledger, and what the page of an experiment says of the claims that rest on it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.claims import Verdict
from workbench.files import replacing
from workbench.jobs.claims import Judged, load_claims
from workbench.precision import precision_note
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


def write_claims(path: Path, judged: Sequence[Judged], *, title: str = "The claim ledger") -> None:
    """Write the page of a ledger: one HTML file that needs no other, no network and no script.

    Args:
        path: of the file, in the results folder; a reader never sees half of it.
        judged: the claims with their decisions.
        title: of the page.
    """
    lines = [line_of(each, path.parent) for each in judged]
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


def reading_of(judged: Sequence[Judged]) -> str:
    """How many claims hold, fail and are not decided, in a sentence, and in another what precision is not float64."""
    counts = Counter(each.decision.verdict for each in judged)
    text = f"Of {len(judged)} claims {', '.join(f'{counts[v]} {_VERBS[v]}' for v in Verdict)}."
    return f"{text} {precision_note(*(each.dtype for each in judged))}".rstrip()


_VERBS = {Verdict.HOLDS: "hold", Verdict.FAILS: "fail", Verdict.UNDECIDED: "not decided"}


def line_of(judged: Judged, out: Path) -> Line:
    """A claim as the templates read it; a run has a link where its page has been written."""
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
        folders=[(name, page if (out / page).is_file() else "") for name, page in pages],
        settings=judged.settings,
    )
