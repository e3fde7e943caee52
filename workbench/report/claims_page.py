"""The page of a ledger of claims, and the table of claims on the page of an experiment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from workbench.engine.devices import precision_note
from workbench.jobs.judged import Judged, load_claims, reading_of
from workbench.report.page import HOME, Grid, Page, Section, Shown, Words, reproduce, toml_of
from workbench.table import Linked, Table

LEAD = Markup(
    "Each line is a claim that textbooks make, decided by a named check of stored runs. A claim that turns out "
    "false stays here as false, and one whose verdict turns within what its sentence speaks of <em>depends</em>. "
    "<em>Exact</em> marks a count of deterministic runs, <em>proved</em> an identity or a theorem, whose run tests "
    "the code; an interval says what was replicated. The table beside a claim shows its verdict under other settings."
)


def show_claims(judged: Sequence[Judged], title: str, folder: Path, config: Mapping[str, Any]) -> Shown:
    """The page of a ledger: its claims with their decisions.

    Args:
        judged: the claims.
        title: the name of the ledger.
        folder: its results folder, beside which the folders of its runs lie.
        config: the config of the job.
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
    """The ledger as an HTML table for any page, with a row for each claim; the claim's name is the id of an element."""
    heads = ("claim", "kind", "verdict", "figure", "error", "runs", "note")
    name = Markup('<span id="{0}"><b>{0}</b>: {1} <i>{2}</i></span>')
    lines = []
    for each in judged:
        found = each.decision
        claim = Linked(f"{each.name}: {each.sentence}", name.format(each.name, each.sentence, each.source))
        runs = " ".join(each.folders)
        lines.append((claim, each.kind, found.verdict.value, found.figure, found.error_text, runs, _note(each)))
    return Table.of_lines(heads, lines, words=heads).to_html()


def verdicts_of(judged: Sequence[Judged], sentences: Sequence[str] | None = None) -> Grid:
    """The claims as a table of a page.

    Args:
        judged: the claims.
        sentences: the text of each claim; by default its sentence.
    """
    heads = ("verdict", "claim", "kind", "figure", "error")
    shown = [each.sentence for each in judged] if sentences is None else sentences
    lines = [
        (each.decision.verdict.value, sentence, each.kind, each.decision.figure, each.decision.error_text)
        for each, sentence in zip(judged, shown, strict=True)
    ]
    return Grid(Table.of_lines(heads, lines, words=heads), "Claims and verdicts")


def resting_on(folder: Path) -> list[Judged]:
    """The claims that rest on the runs of a folder, from the judged ledgers beside it."""
    home = folder.resolve()
    return [judged for judged in load_claims(home.parent) if home.name in judged.folders]


def _section(judged: Judged, anchor: str, folder: Path) -> Section:
    """The section of one claim; a run has a link if its page exists."""
    found = judged.decision
    verdict = Markup("<strong>{}</strong>: {} ({}). {}").format(
        found.verdict.value, found.figure, found.error_text, _note(judged)
    )
    runs = Markup(", ").join(_run(name, folder.resolve().parent) for name in judged.folders)
    facts = Markup("{}. Claimed by: {}. Decided by <code>{}</code>: {}. Runs: {}.").format(
        judged.kind.capitalize(), judged.source, judged.check, judged.about, runs
    )
    if found.settings:
        facts += Markup(" Settings: {}.").format(found.settings)
    if judged.settings:
        facts += Markup(" Quick variant, with {}.").format("; ".join(judged.settings))
    rows = [sensitivity_of(judged)] if found.sensitivity else []
    return Section(judged.sentence, [Words(verdict, "reading"), Words(facts, "facts"), *rows], anchor)


def sensitivity_of(judged: Judged) -> Grid:
    """The verdicts on a claim under other settings."""
    heads = ("varied", "at", "the sentence speaks of it", "verdict", "figure", "error")
    lines = [
        (row.what, row.at, "yes" if row.within else "no", row.verdict.value, row.figure, row.error_text)
        for row in judged.decision.sensitivity
    ]
    return Grid(Table.of_lines(heads, lines, words=heads), "Where the verdict turns")


def _run(name: str, home: Path) -> Markup:
    if (home / name / "report.html").is_file():
        return Markup('<a href="{}../{}/report.html">{}</a>').format(HOME, name, name)
    return Markup("<code>{}</code>").format(name)


def _note(judged: Judged) -> str:
    found = judged.decision
    return " ".join(filter(None, [found.border, found.note, precision_note(judged.dtype)]))


def _claims(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(dict(config.get("claims", {})).items())
