"""The commands from a table to its answer: a first config, a fitted model with labels, new labels, estimates."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from workbench.cli.earlier import replaced
from workbench.cli.group import cli
from workbench.cli.predict import write_labels
from workbench.cli.run import FAILED
from workbench.cli.shared import Folder, import_own, job_option, named, progress, reusing, writing
from workbench.compare import Comparison, summarise, table
from workbench.compare.answers import Answer, answer_of, counts_by_class
from workbench.compare.errors import REPLICATES, WAYS, check_ways, errors_of
from workbench.compare.estimates import LEVEL, Estimates, estimates_of, numbers_of
from workbench.compare.trust import trusted, whom_to_trust
from workbench.data import Dataset
from workbench.data.known import UNKNOWN, Known
from workbench.data.moments import number_of
from workbench.data.points import unknown_name
from workbench.engine.devices import ask_for_devices
from workbench.errors import InputError, one_line
from workbench.experiment import Experiment, read_experiment
from workbench.experiment.draft import draft_of, toml_of
from workbench.jobs.experiment import ExperimentJob
from workbench.jobs.formats import NEVER
from workbench.jobs.registry import load_results
from workbench.jobs.registry import named as of_job
from workbench.jobs.running import Reuse, run_job
from workbench.jobs.store import Store
from workbench.mixture.saved import SavedMixture, save_mixture
from workbench.table import FORMS, Table, plain

level_option = click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=LEVEL,
    show_default=True,
    help="Level of the intervals.",
)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@job_option
@click.option("--method", metavar="NAME", help="Only this method  [default: all]")
@level_option
@click.option("--format", "form", type=click.Choice(FORMS), default="table", show_default=True)
@click.option(
    "--errors",
    metavar="WAYS",
    help=f"Standard errors by several ways side by side, in place of intervals: all, or some of {', '.join(WAYS)}.",
)
@click.option(
    "--replicates",
    type=click.IntRange(min=10),
    default=REPLICATES,
    show_default=True,
    help="Data sets of each bootstrap of --errors.",
)
def estimates(
    folder: Path, job: str | None, method: str | None, level: float, form: str, errors: str | None, replicates: int
) -> None:
    """Print the estimates of stored methods, with standard errors and intervals.

    Of a method that climbs they rest on the observed information at its best sound end, of a sampler on its draws after
    relabelling. Components count from 1, in the order of the first column of their means. LaTeX (which needs the
    package booktabs) and Markdown are tables for a paper; CSV and JSON have every digit, and correlations.
    """
    given = click.get_current_context().get_parameter_source("replicates")
    if errors is None and given is not click.core.ParameterSource.DEFAULT:
        raise InputError("--replicates: is of the bootstraps of --errors, which is not given; add --errors all")
    comparisons = of_job(load_results(folder), job, folder)
    if errors is not None:
        asked = dict.fromkeys(way.strip() for way in errors.split(","))
        check_ways([way for way in asked if way != "all"] or WAYS)
        ways = WAYS if "all" in asked else tuple(asked)
        _show_errors(comparisons, method, ways, replicates, form)
        return
    found = [
        (comparison.name, estimates_of(comparison, name, level))
        for comparison in comparisons
        for name in comparison
        if method in (None, name)
    ]
    lost = [
        f"{one_line(comparison.name)}: {name} is left out: {why}"
        for comparison in comparisons
        for name, why in comparison.missing.items()
        if method in (None, name) and why != NEVER
    ]
    if not found:
        methods = dict.fromkeys(name for comparison in comparisons for name in comparison)
        known = "; ".join(lost) or f"is not stored in {folder}; it has {', '.join(methods)}"
        raise InputError(f"--method: {method}: {known}")
    click.echo(_in_form(found, form), nl=False)
    stale = [
        f"{one_line(comparison.name)}: the run of {name} is STALE: other code made it ({why})"
        for comparison in comparisons
        for name, why in comparison.stale.items()
        if method in (None, name)
    ]
    for remark in [*stale, *lost]:
        click.echo(f"Beware: {remark}.", err=True)
    if lost:
        click.get_current_context().exit(FAILED)


def _show_errors(
    comparisons: Sequence[Comparison], method: str | None, ways: Sequence[str], replicates: int, form: str
) -> None:
    """Print standard errors of every method that climbs; those that have none are named on standard error."""
    asked = [(each, name) for each in comparisons for name, trace in each.items() if method in (None, name)]
    found, lost = [], []
    with progress(quiet=False):
        for comparison, name in asked:
            if comparison[name].is_sampler and method is None:
                continue
            try:
                found.append((comparison.name, errors_of(comparison, name, ways, replicates=replicates)))
            except InputError as error:
                lost.append(f"{one_line(comparison.name)}: {error}")
    if not found:
        raise InputError("; ".join(lost) or f"--method: {method}: is not stored, or no method climbs")
    if form in ("csv", "json"):
        tables = [each.table(exact=True, experiment=name) for name, each in found]
        rows = tuple(row for table in tables for row in table.rows)
        click.echo(Table(tables[0].columns, rows, headings=tables[0].headings).in_form(form), nl=False)
    else:
        about = {"table": "", "latex": "% ", "markdown": ""}[form]
        for name, each in found:
            table = each.table(experiment=name)
            title = "" if form == "table" else f"{about}{table.title}\n\n"
            click.echo(f"{title}{table.in_form(form)}")
    for remark in lost:
        click.echo(f"Beware: {remark}.", err=True)


def _in_form(found: Sequence[tuple[str, Estimates]], form: str) -> str:
    """The estimates of experiments and methods in one form; numbers in one table, others below each other."""
    if form in ("csv", "json"):
        tables = [(name, numbers_of([each])) for name, each in found]
        columns = ("experiment", *tables[0][1].columns)
        rows = tuple({"experiment": name, **row} for name, one in tables for row in one.rows)
        return Table(columns, rows).in_form(form)
    about = {"table": "", "latex": "% ", "markdown": ""}[form]
    texts = []
    for name, each in found:
        shown = each.shown
        title = f"{about}{name}: {shown.title}"
        end = f"\n{about}{shown.note}\n" if shown.note else ""
        gap = "\n" if form == "markdown" else ""
        body = replace(shown, title="").in_form(form) if each.rows else ""
        texts.append(f"{title}\n{gap}{body}{'' if form == 'table' else gap + end.lstrip()}")
    return "\n".join(texts)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key; may be repeated.")
@click.option("--method", metavar="NAME", help="The method whose answer is saved  [default: the most trusted]")
@click.option("--out", type=Folder(), help="Results folder  [default: results/NAME]")
@level_option
@reusing
def fit(
    file: Path,
    settings: tuple[str, ...],
    method: str | None,
    out: Path | None,
    level: float,
    reuse: Reuse,
) -> None:
    """Run an experiment as far as its results are missing, and save its answer.

    Prints how far the best can be trusted, the estimates with their intervals, and, where classes are known, how they
    meet the components. Writes into the folder `fit` of the results: model.json (for `workbench predict` and
    wb.Mixture.load), labels.csv (component, probability and density of every row), estimates.csv and estimates.tex, in
    place of those of an earlier fit, which is said if its settings were others. If the experiment holds rows out, the
    method is run once more, on all rows.
    """
    store = Store(Path("results") / file.stem if out is None else out)
    import_own(file, settings)
    experiment = read_experiment(file, settings)
    if experiment.run.hosts > 1:
        raise InputError(f"{file}: run.hosts: fit works on one host; use `workbench run`, then fit with run.hosts = 1")
    _check_method(experiment, method)
    ask_for_devices(experiment.run.devices_per_host)
    with named(file), progress(quiet=False) as watch:
        source = _source_of(experiment, file.parent)
        comparison = _run(file, experiment, store, reuse, watch)
        summaries = summarise(comparison)
        try:
            answer = answer_of(comparison, method or trusted(summaries))
        except InputError as error:
            # The methods ran, and have no answer: what they say is shown, and nothing is written.
            click.echo(table(comparison))
            click.echo(f"No answer to save: {error}.", err=True)
            click.get_current_context().exit(FAILED)
        trust = whom_to_trust(summaries, experiment.model.components)
        final, whole = comparison, experiment
        if experiment.data.test_fraction:
            data = experiment.data.model_copy(update={"test_fraction": 0.0})
            methods = {answer.method: experiment.methods[answer.method]}
            whole = experiment.model_copy(update={"data": data, "methods": methods})
            final = _run(file, whole, store, reuse, watch)
            answer = answer_of(final, answer.method)
        rows = _source_of(experiment, file.parent)
        if rows.source != source.source:
            raise InputError(f"{experiment.data.file}: has changed while it was fitted; run the command again")
        saved = _saved(file.stem, whole, answer, rows)
        saved = saved._replace(about={**saved.about, "settings": plain(experiment.resolved())})
    click.echo(table(comparison))
    click.echo(trust)
    if final is not comparison:
        click.echo(f"{answer.method} was run again on all {len(rows.x):,} rows, and what follows is that fit.")
        click.echo(f"Of that fit: {whom_to_trust(summarise(final), experiment.model.components)}")
    # In the units of the file, as the saved mixture.
    found = estimates_of(final, answer.method, level).rescaled(*whole.data.units_of_source(rows), rows.columns)
    click.echo(f"\n{found.shown}")
    if rows.labels is not None:
        components = np.asarray(saved.mixture.predict(rows.x, missing=rows.missing))
        if (own := _known(rows, saved)) is not None:
            components = np.where(own.components == UNKNOWN, components, own.components)
        known = experiment.data.label or "class"
        number = answer.mixture.num_components
        click.echo(f"\n{counts_by_class(rows.labels.tolist(), components, number, known, rows.weights)}")
    earlier = replaced(store.folder / "fit" / "model.json", saved.about)
    written = _write(store.folder / "fit", saved, rows, found, (file.stem, experiment.data.id or "row"))
    if earlier:
        click.echo(f"\n{earlier}")
    click.echo("\nWritten: " + ", ".join(map(str, written)))


def _run(file: Path, experiment: Experiment, store: Store, reuse: Reuse, watch: Any) -> Comparison:
    job = ExperimentJob.of(experiment, file.stem, file.parent)
    return job.result(store, run_job(job, store, reuse=reuse, watch=watch))


def _check_method(experiment: Experiment, method: str | None) -> None:
    """Refuse, before anything runs, a method that is not there or has no single mixture as its answer."""
    climbs = [name for name, config in experiment.methods.items() if not config.schedule().draws]
    if method is not None and method not in experiment.methods:
        raise InputError(f"--method: {unknown_name('method', method, tuple(experiment.methods))}")
    if method is not None and method not in climbs:
        raise InputError(f"--method: {method} samples, and labels need one mixture; give a method that climbs, as em")
    if not climbs:
        raise InputError(
            "methods: all of them sample, and labels need one mixture; add one that climbs, as [methods.em]"
        )


def _source_of(experiment: Experiment, folder: Path) -> Dataset:
    """All rows, in the units of their source."""
    plain = experiment.data.model_copy(update={"standardize": False, "divide_by": 1.0, "test_fraction": 0.0})
    return plain.load(experiment.seed, folder)[0]


def _saved(name: str, experiment: Experiment, answer: Answer, source: Dataset) -> SavedMixture:
    """The answer in the units of the data's source."""
    mixture = experiment.data.in_units_of_source(answer.mixture, source)
    # A density of other units is another number: each point's changes by the logarithm of the scale.
    points = len(source.x) if source.weights is None else number_of(source.weights)
    scale = experiment.data.units_of_source(source)[1]
    shift = float(_cells(source) @ np.log(scale))
    about = {
        "experiment": name,
        "method": answer.method,
        "log_likelihood": answer.log_likelihood - shift,
        "points": points,
        "source": source.source,
    }
    return SavedMixture(mixture, source.columns, about)


def _known(rows: Dataset, saved: SavedMixture) -> Known | None:
    """The known components of rows, if there are any."""
    return None if rows.known is None else Known.of(rows.known, len(rows.x), saved.mixture.num_components)


def _cells(source: Dataset) -> np.ndarray:
    """The number of observations that have a value in each column. [D]"""
    if source.missing == "refuse":
        points = len(source.x) if source.weights is None else number_of(source.weights)
        return np.full(source.x.shape[1], float(points))
    weights = np.ones(len(source.x)) if source.weights is None else source.weights
    return np.asarray(weights @ ~np.isnan(source.x))


def _write(folder: Path, saved: SavedMixture, rows: Dataset, found: Estimates, names: tuple[str, str]) -> list[Path]:
    """Write the files of an answer; their paths. The names are those of the experiment and of the rows' ids."""
    name, identity = names
    paths = [folder / file for file in ("model.json", "labels.csv", "estimates.csv", "estimates.tex")]
    model, labels, *tables = paths
    save_mixture(model, saved.mixture, columns=saved.columns, about=saved.about)
    ids = [str(n + 1) for n in range(len(rows.x))] if rows.ids is None else rows.ids.tolist()
    about = {identity if identity != "class" or rows.labels is None else "class (of the file)": ids}
    about |= {} if rows.labels is None else {"class": rows.labels.tolist()}
    known = _known(rows, saved)
    about |= {} if rows.known is None else {"known": rows.known.tolist()}
    # In the units of the source, as the mixture is.
    write_labels(labels, saved, rows.x, about, known=known)
    for path, form in zip(tables, ("csv", "latex"), strict=True):
        with writing(path) as temporary:
            temporary.write_text(_in_form([(name, found)], form), encoding="utf-8")
    return paths


@cli.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The config to write  [default: NAME.toml in this folder]")
@click.option("--force", is_flag=True, help="Replace a config that exists.")
def init(data: Path, out: Path | None, force: bool) -> None:
    """Look at a table and write a first config for it.

    The config says which columns are numbers, which seem to be ids or known classes, how many rows have missing cells,
    and what is to be decided: the number of components and the covariance family.
    """
    draft = draft_of(data)
    path = Path(f"{data.stem}.toml") if out is None else out
    file = os.path.relpath(data.resolve(), path.resolve().parent)
    text = toml_of(draft, file, str(path))
    with writing(path, data) as temporary:
        if path.is_file() and not force:
            raise InputError(f"{path}: exists; give another --out, or --force to replace it")
        temporary.write_text(text, encoding="utf-8")
    click.echo(text)
    quoted = shlex.quote(str(path))
    click.echo(f"Written: {path}\nNext: workbench select {quoted} --components 1:6\n      workbench fit {quoted}")
