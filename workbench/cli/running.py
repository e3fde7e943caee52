"""The command that runs an experiment or a study."""

import sys
from pathlib import Path

import click

from workbench import hosts
from workbench.cli.group import cli
from workbench.cli.shared import Folder, named, names_of, progress, reusing
from workbench.compare import MethodSummary, table
from workbench.devices import ask_for_devices
from workbench.diagnostics import Status
from workbench.errors import InputError
from workbench.experiment import Experiment, read_experiment
from workbench.jobs.experiment import ExperimentJob
from workbench.jobs.running import Reuse, run_job
from workbench.jobs.store import Store
from workbench.jobs.study import StudyJob
from workbench.studies.reading import is_study, read_study
from workbench.studies.table import table_of

FAILED = 1


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key; may be repeated.")
@click.option("--methods", metavar="NAME,NAME", help="Run and compare only these methods of the experiment.")
@click.option("--out", type=Folder(), help="Results folder  [default: results/NAME]")
@reusing
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def run(
    ctx: click.Context,
    file: Path,
    settings: tuple[str, ...],
    methods: str | None,
    out: Path | None,
    reuse: Reuse,
    quiet: bool,
) -> None:
    """Run what is missing of an experiment or a study, print what it found, write results and report.

    What other code or other packages made is stale, and what was changed afterwards is damaged: either is said, and run
    again. What failed is kept with its reason.
    """
    store = Store(Path("results") / file.stem if out is None else out)
    if is_study(file):
        if methods is not None:
            raise InputError(f"--methods: {file} is a study; give its own keys with --set")
        failed = _run_study(file, settings, store, reuse, quiet)
    else:
        experiment = read_experiment(file, settings)
        if experiment.run.hosts > 1 and not hosts.is_supervised():
            ctx.exit(hosts.supervise(sys.argv[1:]))
        ask_for_devices(experiment.run.devices_per_host)
        only = names_of("--methods", methods)
        with hosts.joined(experiment.run.hosts):
            failed = _run_experiment(file, experiment, only, store, reuse, quiet or not hosts.leads())
    if failed:
        ctx.exit(FAILED)


def _run_experiment(
    file: Path, experiment: Experiment, only: list[str] | None, store: Store, reuse: Reuse, quiet: bool
) -> bool:
    """Whether a method failed, or nothing is sound."""
    with progress(quiet) as watch:
        with named(file):
            job = ExperimentJob.of(experiment, file.stem, file.parent, only)
            comparison = job.result(store, run_job(job, store, reuse=reuse, watch=watch))
        page = store.folder / "report.html"
        if len(comparison):
            # What draws takes as long to load as JAX: a run begins without it.
            from workbench.report import publish, show_comparison

            with hosts.folder_of_the_first(store.folder) as written:
                shown = show_comparison(comparison, experiment, store.folder)
                page, *_ = publish(Store(written), store.file_of(job), shown)
    found = table(comparison)
    if not quiet:
        click.echo(found)
        if len(comparison):
            click.echo(f"Report: {page}")
    nothing_sound = all(summary.best_log_joint is None for summary in found.summaries)
    return nothing_sound or any(_failed(summary) for summary in found.summaries)


def _run_study(file: Path, settings: tuple[str, ...], store: Store, reuse: Reuse, quiet: bool) -> bool:
    """Whether a cell failed."""
    study = read_study(file, settings)
    ask_for_devices(None)
    with progress(quiet) as watch:
        with named(file):
            job = StudyJob(study, file.parent, file.stem)
            findings = job.result(store, run_job(job, store, reuse=reuse, watch=watch))
        page = store.folder / "report.html"
        if findings.rows:
            from workbench.report import publish, show_study

            page, *_ = publish(store, store.file_of(job), show_study(findings, file.stem, store.folder))
    if not quiet:
        click.echo(table_of(findings))
        if findings.rows:
            click.echo(f"Report: {page}")
    return findings.lost is not None


def _failed(summary: MethodSummary) -> bool:
    """Whether a method raised, or has not one finite answer."""
    return summary.failure is not None or set(summary.statuses) == {Status.NONFINITE.name}
