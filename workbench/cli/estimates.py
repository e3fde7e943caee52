"""The command that prints the estimates of stored methods, with their errors."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import click

from workbench.cli.group import cli
from workbench.cli.run import FAILED
from workbench.cli.shared import Folder, check_suffix, import_own, job_option, names_of, progress, reusing, writing
from workbench.cli.shared import named as named_file
from workbench.compare import Comparison
from workbench.compare.errors import MOST_REPLICATES, REPLICATES, WAYS, check_ways, errors_of
from workbench.compare.estimates import LEVEL, Estimates, estimates_of, numbers_of
from workbench.engine.devices import ask_for_devices
from workbench.errors import LINE, InputError, one_line, typed
from workbench.experiment import read_experiment
from workbench.jobs.experiment import ExperimentJob
from workbench.jobs.formats import NEVER
from workbench.jobs.names import named, newest_of
from workbench.jobs.registry import results_in
from workbench.jobs.running import Reuse, Watch, run_job
from workbench.jobs.store import Store
from workbench.table import FORMS, Table, latex, markdown
from workbench.wrapping import paragraph

level_option = click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=LEVEL,
    show_default=True,
    help="Level of the intervals.",
)


ways_option = click.option(
    "--errors",
    metavar="WAYS",
    help=f"Standard errors by several ways side by side, in place of intervals: all, or some of {', '.join(WAYS)}.",
)
replicates_option = click.option(
    "--replicates",
    type=click.IntRange(10, MOST_REPLICATES),
    default=REPLICATES,
    show_default=True,
    help="Data sets of each bootstrap.",
)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@job_option
@click.option("--methods", "--method", metavar="NAME,NAME", help="Only these methods  [default: all]")
@level_option
@click.option("--format", "form", type=click.Choice(FORMS), default="table", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write a file in place of printing.")
@ways_option
@replicates_option
def estimates(
    folder: Path,
    job: str | None,
    methods: str | None,
    level: float,
    form: str,
    out: Path | None,
    errors: str | None,
    replicates: int,
) -> None:
    """Print the estimates of stored methods, with standard errors and intervals.

    Of a method that climbs they rest on the observed information at its best sound end, of a sampler on its draws after
    relabelling. Components count from 1, in the order of the first column of their means. CSV and JSON have every
    digit, and correlations. LaTeX (which needs the package booktabs), Markdown and a file are for a paper: of several
    jobs in the folder they have the newest, unless --job names another.
    """
    check_suffix(out, form)
    given = click.get_current_context().get_parameter_source("replicates")
    if errors is None and given is not click.core.ParameterSource.DEFAULT:
        raise InputError("--replicates: is of the bootstraps of --errors, which is not given; add --errors all")
    stored = named(results_in(folder), job, folder)
    if len(stored) > 1 and (out is not None or form in ("latex", "markdown")):
        # A table for a paper is that of one model.
        newest, others = newest_of(stored, None, folder)
        stored = [newest]
        click.echo(others, err=True)
    comparisons = [each.results for each in stored]
    asked = names_of("--methods", methods)
    methods_of = dict.fromkeys(name for each in comparisons for name in (*each, *each.missing))
    if asked is not None and (unknown := [name for name in asked if name not in methods_of]):
        has = ", ".join(dict.fromkeys(name for each in comparisons for name in each)) or "none"
        raise InputError(f"--methods: {typed(unknown)}: is not stored in {folder}; it has {has}")
    if errors is None:
        text, beware, lost = _intervals(comparisons, asked, level, form)
    else:
        text, beware, lost = _errors(comparisons, asked, _ways(errors), replicates, form)
    if out is None:
        click.echo(text, nl=False)
    else:
        with writing(out) as temporary:
            temporary.write_text(text, encoding="utf-8")
        click.echo(f"Written: {out}")
    for remark in beware:
        click.echo(f"Beware: {remark}.", err=True)
    if lost:
        click.get_current_context().exit(FAILED)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key; may be repeated.")
@click.option("--methods", metavar="NAME,NAME", help="Run only these methods of the experiment.")
@click.option("--ways", default="all", show_default=True, metavar="WAYS", help=f"Some of {', '.join(WAYS)}.")
@replicates_option
@click.option("--format", "form", type=click.Choice(FORMS), default="table", show_default=True)
@click.option("--out", type=Folder(), help="Results folder  [default: results/NAME]")
@reusing
def errors(
    file: Path,
    settings: tuple[str, ...],
    methods: str | None,
    ways: str,
    replicates: int,
    form: str,
    out: Path | None,
    reuse: Reuse,
) -> None:
    """Print standard errors of an experiment's estimates by several ways side by side.

    Runs the experiment as far as its results are missing. The ways: observed information, Louis' method, the sandwich,
    and three bootstraps; those of a method that climbs are at its best sound end. Where they differ, the model or the
    normal approximation is doubtful.
    """
    chosen = _ways(ways)
    import_own(file, settings)
    experiment = read_experiment(file, settings)
    ask_for_devices(experiment.run.devices_per_host)
    with named_file(file), progress(quiet=False) as watch:
        store = Store(Path("results") / file.stem if out is None else out)
        job = ExperimentJob.of(experiment, file.stem, file.parent, names_of("--methods", methods))
        comparison = results_of(job, store, reuse, watch)
    text, beware, _ = _errors([comparison], None, chosen, replicates, form)
    click.echo(text, nl=False)
    for remark in beware:
        click.echo(f"Beware: {remark}.", err=True)


def results_of(job: ExperimentJob, store: Store, reuse: Reuse, watch: Watch | None) -> Comparison:
    """The comparison of an experiment, run as far as its results are missing."""
    return job.result(store, run_job(job, store, reuse=reuse, watch=watch))


def _ways(text: str) -> Sequence[str]:
    """The ways of `all`, or of names between commas."""
    asked = dict.fromkeys(way.strip() for way in text.split(","))
    check_ways([way for way in asked if way != "all"] or WAYS)
    return WAYS if "all" in asked else tuple(asked)


def _intervals(
    comparisons: Sequence[Comparison], asked: Collection[str] | None, level: float, form: str
) -> tuple[str, list[str], bool]:
    """The estimates of every method that is asked for, what to beware of, and whether one of them has no run."""
    found = [
        (comparison.name, estimates_of(comparison, name, level))
        for comparison in comparisons
        for name in comparison
        if asked is None or name in asked
    ]
    lost = [
        f"{one_line(comparison.name)}: {name} is left out: {why}"
        for comparison in comparisons
        for name, why in comparison.missing.items()
        if (asked is None or name in asked) and why != NEVER
    ]
    if not found:
        raise InputError(f"--methods: {', '.join(asked or ())}: {'; '.join(lost) or 'has no run'}")
    stale = [
        f"{one_line(comparison.name)}: the run of {name} is STALE: other code made it ({why})"
        for comparison in comparisons
        for name, why in comparison.stale.items()
        if asked is None or name in asked
    ]
    return in_form(found, form), [*stale, *lost], bool(lost)


def _errors(
    comparisons: Sequence[Comparison], asked: Collection[str] | None, ways: Sequence[str], replicates: int, form: str
) -> tuple[str, list[str], bool]:
    """Standard errors of every method that climbs, and the methods that have none."""
    pairs = [(each, name) for each in comparisons for name in each if asked is None or name in asked]
    found, lost = [], []
    with progress(quiet=False):
        for comparison, name in pairs:
            if comparison[name].is_sampler and asked is None:
                continue
            try:
                found.append((comparison.name, errors_of(comparison, name, ways, replicates=replicates)))
            except InputError as error:
                lost.append(f"{one_line(comparison.name)}: {error}")
    if not found:
        raise InputError("; ".join(lost) or "methods: none that is stored climbs, and errors are those of a maximum")
    if form in ("csv", "json"):
        tables = [each.table(exact=True, experiment=name) for name, each in found]
        rows = tuple(row for table in tables for row in table.rows)
        return Table(tables[0].columns, rows, headings=tables[0].headings).in_form(form), lost, False
    texts, printed = [], dict[tuple[str, str], str]()
    for name, each in found:
        if form == "table":
            first = printed.setdefault((name, each.shown().to_csv()), each.method)
            again = f"{each.shown(name).title}: those of {first}, in all digits shown"
            texts.append(f"{each.text(name) if first == each.method else again}\n\n")
            continue
        table = each.shown(name)
        said = [line for line in table.note.splitlines() if form != "latex" or line != each.mode]
        notes = "".join(f"{aside(line, form)}\n" for line in said)
        notes = _printed(each.mode, form) + notes
        texts.append(f"{aside(table.title, form)}\n\n{replace(table, note='').in_form(form)}\n{notes}")
    return "".join(texts), lost, False


def in_form(found: Sequence[tuple[str, Estimates]], form: str) -> str:
    """The estimates of experiments and methods in one form; numbers in one table, others below each other."""
    if form in ("csv", "json"):
        tables = [(name, numbers_of([each])) for name, each in found]
        columns = ("experiment", *tables[0][1].columns)
        rows = tuple({"experiment": name, **row} for name, one in tables for row in one.rows)
        return Table(columns, rows).in_form(form)
    texts = []
    for name, each in found:
        shown = each.shown
        title = aside(f"{name}: {shown.title}", form)
        if form == "table":
            whole = replace(shown, title=title)
            texts.append(f"{whole if each.rows else paragraph(title)}\n")
            continue
        note = shown.note.removeprefix(each.mode).strip() if form == "latex" else shown.note
        end = _printed(each.mode, form) + (f"\n{aside(note, form)}\n" if note else "")
        gap = "\n" if form == "markdown" else ""
        body = shown.in_form(form) if each.rows else ""
        texts.append(f"{title}\n{gap}{body}{gap}{end.lstrip()}")
    return "\n".join(texts)


def _printed(note: str, form: str) -> str:
    """A note that LaTeX prints below its table, where others are comments; empty in other forms."""
    return f"\\par\\smallskip{{\\footnotesize {latex(note)}\\par}}\n" if note and form == "latex" else ""


def aside(text: str, form: str) -> str:
    """A title or a note beside a table of one of `FORMS`, on one line: a comment in LaTeX, escaped in Markdown."""
    text = one_line(text, 10 * LINE)
    if form == "markdown":
        # At the start of a line, marks of headings and lists are markup too.
        return re.sub(r"^(\d*)([#+=.)-])", r"\1\\\2", markdown(text))
    return f"% {text}" if form == "latex" else text
