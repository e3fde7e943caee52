"""The command that runs an experiment, a sweep, a study, or a ledger of claims."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from workbench.claims import is_ledger
from workbench.cli.group import cli
from workbench.cli.shared import Folder, import_own, named, names_of, progress, reusing, working
from workbench.compare import MethodSummary, table
from workbench.diagnostics import Status
from workbench.engine import hosts
from workbench.engine.devices import ask_for_devices
from workbench.errors import InputError
from workbench.experiment import Experiment, read_experiment
from workbench.experiment.sweep import is_sweep, read_sweep
from workbench.jobs.base import Job
from workbench.jobs.claims import How
from workbench.jobs.executors import Workers
from workbench.jobs.experiment import ExperimentJob
from workbench.jobs.running import Outcome, Reuse, Watch, run_job
from workbench.jobs.store import Store
from workbench.jobs.study import StudyJob
from workbench.jobs.sweep import SweepJob
from workbench.studies.reading import is_study, read_study
from workbench.wrapping import paragraph

FAILED = 1


@dataclass(frozen=True)
class Running:
    """Where results are stored, whether stored results are used, which processes work, and whether to print."""

    store: Store
    reuse: Reuse
    workers: Workers | None
    quiet: bool

    def run(self, job: Job, watch: Watch | None) -> list[Outcome]:
        """Run a job; the outcome of each cell."""
        return run_job(job, self.store, reuse=self.reuse, watch=watch, executor=self.workers)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key; may be repeated.")
@click.option("--methods", metavar="NAME,NAME", help="Run and compare only these methods of the experiment.")
@click.option("--sweep", "swept", multiple=True, metavar="KEY=[A,B]", help="Run every combination of these values.")
@click.option("--out", type=Folder(), help="Results folder  [default: results/NAME]")
@reusing
@working
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def run(
    ctx: click.Context,
    file: Path,
    settings: tuple[str, ...],
    methods: str | None,
    swept: tuple[str, ...],
    out: Path | None,
    reuse: Reuse,
    workers: Workers | None,
    quiet: bool,
) -> None:
    """Run an experiment, sweep, study or ledger as far as its results are missing, print them, and write a report.

    A stored result is stale if other code or other packages made it, and damaged if it was changed afterwards. The
    command names both kinds and runs them again. A failure is kept with its reason.
    """
    store = Store(Path("results") / file.stem if out is None else out)
    running = Running(store, reuse, workers, quiet)
    import_own(file, settings)
    if is_ledger(file):
        if methods is not None or swept or settings:
            option = "--sweep" if swept else "--set" if settings else "--methods"
            raise InputError(f"{option}: {file} is a ledger of claims; change the files that its claims rest on")
        # Imported late: the drawing library takes as long to load as JAX.
        from workbench.cli.jobs import Asked, judge

        failed = judge(file, store, How(reuse, executor=workers), Asked(form="" if quiet else "table"))
    elif is_study(file):
        if methods is not None or swept:
            option = "--sweep" if swept else "--methods"
            raise InputError(f"{option}: {file} is a study; give its own keys with --set")
        failed = _run_study(file, settings, running)
    elif swept or is_sweep(file):
        if methods is not None:
            raise InputError(f"--methods: {file} is swept; leave methods out of the file, or --sweep methods")
        failed = _run_sweep(file, read_sweep(file, settings, swept), running)
    else:
        experiment = read_experiment(file, settings)
        if experiment.run.hosts > 1 and not hosts.is_supervised():
            ctx.exit(hosts.supervise(sys.argv[1:]))
        ask_for_devices(experiment.run.devices_per_host)
        only = names_of("--methods", methods)
        with hosts.joined(experiment.run.hosts):
            failed = _run_experiment(file, experiment, only, replace(running, quiet=quiet or not hosts.leads()))
    if failed:
        ctx.exit(FAILED)


def _run_experiment(file: Path, experiment: Experiment, only: list[str] | None, running: Running) -> bool:
    """Run an experiment; whether a method failed, or no answer is sound."""
    store, quiet = running.store, running.quiet
    with progress(quiet) as watch:
        with named(file):
            job = ExperimentJob.of(experiment, file.stem, file.parent, only)
            comparison = job.result(store, running.run(job, watch))
        page = store.folder / "report.html"
        if len(comparison):
            # Imported late: the drawing library takes as long to load as JAX, and a run begins without it.
            from workbench.report import publish, show_comparison

            with hosts.folder_on_first_host(store.folder) as written:
                shown = show_comparison(comparison, experiment, store.folder)
                page, *_ = publish(Store(written), store.file_of(job), shown)
    found = table(comparison)
    if quiet and hosts.leads():
        for method, why in comparison.failures.items():
            click.echo(f"{method} failed: {why}", err=True)
    if not quiet:
        click.echo(found)
        if len(comparison):
            click.echo(f"Report: {page}")
    nothing_sound = all(summary.best_log_joint is None for summary in found.summaries)
    return nothing_sound or any(_failed(summary) for summary in found.summaries)


def _run_sweep(file: Path, values: dict[str, Any], running: Running) -> bool:
    """Whether a cell failed."""
    store, quiet = running.store, running.quiet
    ask_for_devices(None)
    with progress(quiet) as watch:
        with named(file):
            job = SweepJob(file.stem, values, file.parent, str(file))
            found = job.result(store, running.run(job, watch))
        from workbench.report import publish, show_sweep

        page, *_ = publish(store, store.file_of(job), show_sweep(found, file.stem, job.config()))
    if quiet and found.failed:
        click.echo(found.reading, err=True)
    if not quiet:
        click.echo(found)
        click.echo(f"{paragraph(found.reading)}\nReport: {page}")
    return found.failed > 0


def _run_study(file: Path, settings: tuple[str, ...], running: Running) -> bool:
    """Whether a cell failed."""
    store, quiet = running.store, running.quiet
    study = read_study(file, settings)
    ask_for_devices(None)
    with progress(quiet) as watch:
        with named(file):
            job = StudyJob(study, file.parent, file.stem)
            findings = job.result(store, running.run(job, watch))
        page = store.folder / "report.html"
        if findings.rows:
            from workbench.report import publish, show_study

            page, *_ = publish(store, store.file_of(job), show_study(findings, file.stem))
    if quiet and findings.lost is not None:
        click.echo(findings.lost, err=True)
    if not quiet:
        click.echo(findings.table)
        if findings.rows:
            click.echo(f"Report: {page}")
    return findings.lost is not None


def _failed(summary: MethodSummary) -> bool:
    """Whether a method raised, or has no finite answer."""
    return summary.failure is not None or set(summary.statuses) == {Status.NONFINITE.name}
