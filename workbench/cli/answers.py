"""The commands from a table to its answer: a first config, and a fitted model with labels and estimates."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from workbench.cli.earlier import replaced
from workbench.cli.estimates import in_form, level_option, results_of
from workbench.cli.group import cli
from workbench.cli.predict import write_labels
from workbench.cli.run import FAILED
from workbench.cli.shared import Folder, check_suffix, import_own, named, names_of, progress, reusing, writing
from workbench.compare import summarise, table
from workbench.compare.answers import Answer, answer_of, counts_by_class
from workbench.compare.estimates import Estimates, estimates_of
from workbench.compare.trust import trusted, whom_to_trust
from workbench.data import Dataset
from workbench.data.known import UNKNOWN, Known
from workbench.data.moments import number_of
from workbench.data.names import unknown_name
from workbench.engine.devices import ask_for_devices
from workbench.errors import InputError, shown
from workbench.experiment import Experiment, read_experiment
from workbench.experiment.draft import draft_of, families_of, toml_of
from workbench.jobs.experiment import ExperimentJob
from workbench.jobs.running import Reuse
from workbench.jobs.store import Store
from workbench.mixture.saved import SavedMixture, save_mixture
from workbench.table import plain
from workbench.wrapping import paragraph


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key; may be repeated.")
@click.option("--methods", metavar="NAME,NAME", help="Run only these methods of the experiment.")
@click.option("--method", metavar="NAME", help="The method whose answer is saved  [default: the most trusted]")
@click.option("--out", type=Folder(), help="Results folder  [default: results/NAME]")
@level_option
@reusing
def fit(
    file: Path,
    settings: tuple[str, ...],
    methods: str | None,
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
    only = names_of("--methods", methods)
    _check_method(experiment, method, only)
    ask_for_devices(experiment.run.devices_per_host)
    with named(file), progress(quiet=False) as watch:
        source = _source_of(experiment, file.parent)
        job = ExperimentJob.of(experiment, file.stem, file.parent, only)
        comparison = results_of(job, store, reuse, watch)
        summaries = summarise(comparison)
        try:
            answer = answer_of(comparison, method or trusted(summaries))
        except InputError as error:
            # The methods ran, and have no answer: what they say is shown, and nothing is written.
            click.echo(table(comparison))
            click.echo(f"No answer to save: {error}.", err=True)
            click.get_current_context().exit(FAILED)
        trust = whom_to_trust(summaries, comparison.problem)
        final, whole = comparison, experiment
        if experiment.data.test_fraction:
            data = experiment.data.model_copy(update={"test_fraction": 0.0})
            chosen = {answer.method: experiment.methods[answer.method]}
            whole = experiment.model_copy(update={"data": data, "methods": chosen})
            final = results_of(ExperimentJob.of(whole, file.stem, file.parent), store, reuse, watch)
            answer = answer_of(final, answer.method)
        rows = _source_of(experiment, file.parent)
        if rows.source != source.source:
            raise InputError(f"{experiment.data.file}: has changed while it was fitted; run the command again")
        saved = _saved(file.stem, whole, answer, rows)
        saved = saved._replace(about={**saved.about, "settings": plain(experiment.resolved())})
    # In the units of the file, as the saved mixture.
    found = estimates_of(final, answer.method, level).rescaled(*whole.data.units_of_source(rows), rows.columns)
    earlier = replaced(store.folder / "fit" / "model.json", saved.about)
    # Written before anything is printed: what reads the output may close it after the first line.
    written = _write(store.folder / "fit", saved, rows, found, (file.stem, experiment.data.id or "row"))
    click.echo(table(comparison))
    click.echo(paragraph(trust))
    if final is not comparison:
        click.echo(
            paragraph(f"{answer.method} was run again on all {len(rows.x):,} rows, and what follows is that fit.")
        )
        click.echo(paragraph(f"Of that fit: {whom_to_trust(summarise(final), final.problem)}"))
    click.echo(f"\n{found.shown}")
    if rows.labels is not None:
        components = np.asarray(saved.mixture.predict(rows.x, missing=rows.missing))
        if (own := _known(rows, saved)) is not None:
            components = np.where(own.components == UNKNOWN, components, own.components)
        known = experiment.data.label or "class"
        number = answer.mixture.num_components
        click.echo(f"\n{counts_by_class(rows.labels.tolist(), components, number, known, rows.weights)}")
    if earlier:
        click.echo(f"\n{paragraph(earlier)}")
    click.echo("\nWritten: " + ", ".join(map(str, written)))
    if rows.dropped:
        click.echo(paragraph(_of_left_out(rows, experiment, str(written[0]))))
    options = [part for setting in settings for part in ("--set", setting)]
    options += [] if out is None else ["--out", str(out)]
    click.echo(f"Errors by bootstraps beside these: {shlex.join(['workbench', 'errors', str(file), *options])}")
    click.echo(f"Figures: workbench report {shlex.quote(str(store.folder))}")


def _of_left_out(rows: Dataset, experiment: Experiment, model: str) -> str:
    """How to label rows that were left out, as a cell is missing in them."""
    one = rows.dropped == 1
    told = f"{rows.dropped:,} row{'' if one else 's'} without a line in labels.csv: "
    if rows.missing == "marginal":
        return f"{told}{'it has' if one else 'they have'} no value at all."
    identity = [] if experiment.data.id is None else ["--id", experiment.data.id]
    words = ["workbench", "predict", model, str(experiment.data.file), *identity, "--out", "all_labels.csv"]
    return f"{told}a cell is missing. `{shlex.join(words)}` labels {'it' if one else 'them'} too, by the other cells."


def _check_method(experiment: Experiment, method: str | None, only: Sequence[str] | None) -> None:
    """Refuse, before anything runs, a method that does not run or has no single mixture as its answer."""
    running = {name: config for name, config in experiment.methods.items() if only is None or name in only}
    climbs = [name for name, config in running.items() if not config.schedule().draws]
    if method is not None and method not in running:
        raise InputError(f"--method: {unknown_name('method', method, tuple(running))}")
    if method is not None and method not in climbs:
        raise InputError(f"--method: {method} samples, and labels need one mixture; give a method that climbs, as em")
    if not climbs and running:
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
    about |= {"id": experiment.data.id} if experiment.data.id is not None else {}
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
            temporary.write_text(in_form([(name, found)], form), encoding="utf-8")
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
    check_suffix(out, "toml")
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
    families = ",".join(families_of(draft))
    if draft.classes:
        others = f"; {', '.join(map(shown, draft.others))} could be it too" if draft.others else ""
        guess = f"Guessed: the {len(draft.classes)} values of {shown(draft.label)} are known classes{others}"
        click.echo(paragraph(f"{guess}; delete the line of label if they are none."))
    click.echo(
        f"Written: {path}\nNext: workbench select {quoted} --components 1:6 --covariance {families} --criteria bic,icl"
    )
    click.echo(f"      workbench fit {quoted}  # with the components and the covariance that you decide on")
