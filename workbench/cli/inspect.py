"""The commands that run nothing: they show stored results, list what is available, and validate configs."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from workbench.claims import is_ledger, read_ledger
from workbench.cli.group import cli
from workbench.cli.shared import import_own, job_option, progress
from workbench.compare import table
from workbench.data import dataset_names, describe
from workbench.errors import InputError
from workbench.experiment import RunConfig, read_experiment
from workbench.experiment.sweep import is_sweep, read_sweep
from workbench.jobs.names import named
from workbench.jobs.registry import found_in, results_in
from workbench.jobs.sweep import SweepJob
from workbench.methods import METHODS
from workbench.mixture import COVARIANCES, PRIORS
from workbench.posterior import RELABELLINGS, posterior_summary
from workbench.posterior.summary import csv_of, text_of, to_dict
from workbench.posterior.switching import DEFAULT
from workbench.report import redraw
from workbench.starts import STARTS
from workbench.studies import STUDIES
from workbench.studies.reading import is_study, read_study, schema_of_files


@cli.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@job_option
def compare(folders: Sequence[Path], form: str, job: str | None) -> None:
    """Print the stored results of every job of a folder again. JSON is one object per job, each on a line.

    CSV has the methods of experiments; `workbench table` shows every record of every job.
    """
    if form == "csv":
        stored = [each for folder in folders for each in results_in(folder)]
        texts = [table(each.results).to_csv() for each in named(stored, job, _all_of(folders))]
        # One header, then the rows of all comparisons.
        click.echo(texts[0] + "".join(text.partition("\n")[2] for text in texts[1:]), nl=False)
        return
    found = named([each for folder in folders for each in found_in(folder)], job, _all_of(folders))
    click.echo("\n".join(each.to_json() for each in found) if form == "json" else "\n\n".join(map(str, found)))


def _all_of(folders: Sequence[Path]) -> str:
    """The folders, for messages."""
    return ", ".join(map(str, folders))


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@job_option
def report(folder: Path, job: str | None) -> None:
    """Redraw every page and figure of a results folder, or of one job, from the stored results."""
    for path in redraw(folder, job):
        click.echo(path)


@cli.command("list")
def list_() -> None:
    """Show experiments, data sets, studies, methods, covariance families, priors and starts."""
    sections: list[tuple[str, list[tuple[str, str]]]] = [
        ("experiments", [(str(p), _first_comment(p)) for p in sorted(Path("experiments").glob("*.toml"))]),
        ("data sets", [(name, _about(name)) for name in dataset_names()]),
        ("studies", [(name, study.summary) for name, study in STUDIES.items()]),
        ("methods", [(name, method.summary) for name, method in METHODS.items()]),
        ("covariance families", [(name, _first_line(family)) for name, family in COVARIANCES.items()]),
        ("priors", [(name, _first_line(prior)) for name, prior in PRIORS.items()]),
        ("starts", [(name, start.summary) for name, start in STARTS.items()]),
    ]
    for heading, entries in sections:
        click.secho(heading, bold=True)
        width = max((len(name) for name, _ in entries), default=0)
        for name, text in entries or [("none", "no experiments/ folder here")]:
            click.echo(f"  {name:<{width}}  {text}")


@cli.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE_OR_DIR...")
def validate(paths: Sequence[Path]) -> None:
    """Check configs and their data, and that every method can solve its problem. Runs nothing."""
    files = [file for path in paths for file in (sorted(path.glob("*.toml")) if path.is_dir() else [path])]
    if not files:
        raise InputError(f"{', '.join(map(str, paths))}: no .toml files; give experiment files or their folder")
    problems = []
    for file in files:
        try:
            about = _check(file)
        except InputError as error:
            problems.append(str(error) if str(error).startswith(str(file)) else f"{file}: {error}")
            continue
        click.echo(f"{file}: ok{about}")
    if problems:
        raise InputError("\n".join(problems))


@cli.command()
def schema() -> None:
    """Print the JSON schema of experiment and study files, for editors."""
    click.echo(json.dumps(schema_of_files(), indent=2))


def _check(file: Path) -> str:
    """Check a ledger, an experiment, a sweep or a study, and its data; raises what is wrong, and returns a remark."""
    if is_ledger(file):
        read_ledger(file)
        read_ledger(file, quick=True)
        return ""
    import_own(file)
    if is_study(file):
        study = read_study(file)
        for subject in getattr(study, "subjects", ()):
            subject.problem(study.seed, file.parent)
        return ""
    if is_sweep(file):
        job = SweepJob(file.stem, read_sweep(file), file.parent, str(file))
        with progress(quiet=False) as watch:
            job.check(None if watch is None else watch(file.name))
        return f", {len(job.cells()):,} cells"
    experiment = read_experiment(file).located(file.parent)
    train, _ = experiment.data.load(experiment.seed, file.parent)
    # Checked on this machine's devices, not on those that the experiment will run on.
    experiment.check(experiment.model_copy(update={"run": RunConfig()}).problem(train))
    return ""


def _first_comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("# ")), "")


def _first_line(thing: object) -> str:
    documented = thing if isinstance(thing, type) else type(thing)
    return (documented.__doc__ or "").partition("\n")[0]


def _about(name: str) -> str:
    about = describe(name)
    return f"{about.num_points} x {about.dimensions}; {about.topic} ({about.units})"


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--relabel", type=click.Choice(list(RELABELLINGS)), default=DEFAULT, show_default=True)
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@job_option
def posterior(folder: Path, relabel: str, form: str, job: str | None) -> None:
    """Summarise the stored draws of samplers, and say how far to trust them.

    Prints label-invariant functionals; weights, means and standard deviations after relabelling, beside the R-hat of
    the labels as sampled; the labellings that each chain visits; and how relabelling algorithms agree and what they
    cost. JSON is one object per sampler, each on a line.
    """
    summaries = [
        (
            comparison.name,
            method,
            replace(
                posterior_summary(trace, comparison.problem, relabel, comparison.columns),
                stale=comparison.stale.get(method),
            ),
        )
        for comparison in (each.results for each in named(results_in(folder), job, folder))
        for method, trace in comparison.items()
        if trace.is_sampler
    ]
    if not summaries:
        raise InputError(f"{folder}: holds no draws; run an experiment with a sampler, such as [methods.nuts]")
    if form == "json":
        lines = [{"experiment": name, "method": method, **to_dict(summary)} for name, method, summary in summaries]
        click.echo("\n".join(json.dumps(line, allow_nan=False) for line in lines))
    elif form == "csv":
        click.echo(csv_of(summaries), nl=False)
    else:
        click.echo("\n\n".join(text_of(summary, f"{name}: {method}") for name, method, summary in summaries))
