"""The page of a claim ledger, and what the page of an experiment says of the claims that rest on it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from workbench.engine.precision import precision_note
from workbench.jobs.judged import Judged, load_claims, reading_of
from workbench.report.page import HOME, Grid, Page, Section, Shown, Words, reproduce, toml_of
from workbench.table import Linked, Table

LEAD = Markup(
    "Each line is a claim as textbooks make it, decided by a named check over stored runs. A claim that turns out "
    "false stays here as false. Errors are 95 % intervals; <em>exact</em> stands beside a count, or a number that was "
    "not sampled."
)


def show_claims(judged: Sequence[Judged], title: str, folder: Path, config: Mapping[str, Any]) -> Shown:
    """A ledger: its claims with their decisions.

    Args:
        judged: the claims.
        title: the name of the ledger.
        folder: its results folder, beside which lie those of its runs.
        config: of the job.
    """
    links = [Linked.to(each.sentence, f"#claim-{number}") for number, each in enumerate(judged, 1)]
    sections = [Section("The ledger", [verdicts_of(judged, links)])]
    sections += [_section(each, f"claim-{number}", folder) for number, each in enumerate(judged, 1)]
    claims = {name: {key: value for key, value in claim.items() if key != "configs"} for name, claim in _claims(config)}
    quick = " --quick" if config.get("quick") else ""
    where = reproduce(f"workbench claims NAME.toml{quick}", toml_of({"claims": claims}), "The claims")
    return Shown(
        Page(f"The ledger of {title}", [Words(LEAD), Words(reading_of(judged), "reading")], [*sections, where])
    )


def ledger_table(judged: Sequence[Judged]) -> str:
    """The ledger as an HTML table for any page: a row for each claim, in which an element has its name as its id."""
    heads = ("claim", "verdict", "figure", "error", "runs", "note")
    name = Markup('<span id="{0}"><b>{0}</b>: {1} <i>{2}</i></span>')
    lines = []
    for each in judged:
        found = each.decision
        claim = Linked(f"{each.name}: {each.sentence}", name.format(each.name, each.sentence, each.source))
        runs = " ".join(each.folders)
        lines.append((claim, found.verdict.value, found.figure, found.error, runs, _note(each)))
    return Table.of_lines(heads, lines, words=heads).to_html()


def verdicts_of(judged: Sequence[Judged], sentences: Sequence[str] | None = None) -> Grid:
    """The claims as a table of a page.

    Args:
        judged: the claims.
        sentences: their own unless given.
    """
    heads = ("verdict", "claim", "figure", "error")
    shown = [each.sentence for each in judged] if sentences is None else sentences
    lines = [
        (each.decision.verdict.value, sentence, each.decision.figure, each.decision.error)
        for each, sentence in zip(judged, shown, strict=True)
    ]
    return Grid(Table.of_lines(heads, lines, words=heads), "Claims and verdicts")


def resting_on(folder: Path) -> list[Judged]:
    """The claims that rest on the runs of a folder, where a ledger has been judged beside it."""
    home = folder.resolve()
    return [judged for judged in load_claims(home.parent) if home.name in judged.folders]


def _section(judged: Judged, anchor: str, folder: Path) -> Section:
    """One claim; a run has a link where its page has been written."""
    found = judged.decision
    verdict = Markup("<strong>{}</strong>: {} ({}). {}").format(
        found.verdict.value, found.figure, found.error, _note(judged)
    )
    runs = Markup(", ").join(_run(name, folder.resolve().parent) for name in judged.folders)
    facts = Markup("Claimed by: {}. Decided by <code>{}</code>: {}. Runs: {}.").format(
        judged.source, judged.check, judged.about, runs
    )
    if judged.settings:
        facts += Markup(" Quick variant, with {}.").format("; ".join(judged.settings))
    return Section(judged.sentence, [Words(verdict, "reading"), Words(facts, "facts")], anchor)


def _run(name: str, home: Path) -> Markup:
    if (home / name / "report.html").is_file():
        return Markup('<a href="{}../{}/report.html">{}</a>').format(HOME, name, name)
    return Markup("<code>{}</code>").format(name)


def _note(judged: Judged) -> str:
    return f"{judged.decision.note} {precision_note(judged.dtype)}".strip()


def _claims(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(dict(config.get("claims", {})).items())
