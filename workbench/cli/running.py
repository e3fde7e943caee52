"""The command that runs an experiment or a study."""

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from workbench import hosts
from workbench.cli.group import cli
from workbench.cli.shared import Folder, config_text, names_of, progress
from workbench.compare import MethodSummary, table
from workbench.devices import ask_for_devices
from workbench.diagnostics import Status
from workbench.errors import InputError
from workbench.execution import run_experiment
from workbench.experiment import read_experiment
from workbench.studies.reading import is_study, read_study
from workbench.studies.running import run_study, study_folder
from workbench.studies.table import table_of

FAILED = 1


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key; may be repeated.")
@click.option("--methods", metavar="NAME,NAME", help="Run and compare only these methods of the experiment.")
@click.option("--out", type=Folder(), help="Results folder  [default: results/NAME]")
@click.option("--force", is_flag=True, help="Run again what is stored.")
@click.option("--keep-stale", is_flag=True, help="Take what other code made as it is, marked as stale.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def run(
    ctx: click.Context,
    file: Path,
    settings: tuple[str, ...],
    methods: str | None,
    out: Path | None,
    force: bool,
    keep_stale: bool,
    quiet: bool,
) -> None:
    """Run what is missing of an experiment or a study, print what it found, write results and report.

    What other code or other packages made is stale: it is said, and run again.
    """
    reuse = {"force": force, "keep_stale": keep_stale}
    if is_study(file):
        if methods is not None:
            raise InputError(f"--methods: {file} is a study; give its own keys with --set")
        _run_study(file, settings, out, reuse, quiet)
        return
    experiment = read_experiment(file, settings)
    if experiment.run.hosts > 1 and not hosts.is_supervised():
        ctx.exit(hosts.supervise(sys.argv[1:]))
    ask_for_devices(experiment.run.devices_per_host)
    folder = Path("results") / file.stem if out is None else out
    only = names_of("--methods", methods)
    with hosts.joined(experiment.run.hosts):
        quiet = quiet or not hosts.leads()
        with progress(quiet) as watch:
            try:
                comparison = run_experiment(
                    experiment,
                    name=file.stem,
                    out=folder,
                    folder=file.parent,
                    only=only,
                    watch=watch,
                    **reuse,
                )
            except InputError as error:
                raise InputError(f"{file}: {error}") from None
            if len(comparison):
                # What draws takes as long to load as JAX: a run begins without it.
                from workbench.report import save_figures, write_report

                with hosts.folder_of_the_first(folder) as written:
                    write_report(written / "report.html", [(comparison, config_text(experiment))])
                    save_figures(comparison, written / "figures")
        shown = table(comparison)
        if not quiet:
            click.echo(shown)
            if len(comparison):
                click.echo(f"Report: {folder / 'report.html'}")
    nothing_sound = all(summary.best_log_joint is None for summary in shown.summaries)
    if nothing_sound or any(_failed(summary) for summary in shown.summaries):
        ctx.exit(FAILED)


def _run_study(file: Path, settings: tuple[str, ...], out: Path | None, reuse: Mapping[str, bool], quiet: bool) -> None:
    study = read_study(file, settings)
    ask_for_devices(None)
    folder = Path("results") / file.stem if out is None else out
    with progress(quiet) as watch:
        try:
            findings = run_study(study, out=folder, folder=file.parent, watch=watch, **reuse)
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
        from workbench.report import save_study_figures, write_study_report

        stored = study_folder(folder, study, file.parent)
        write_study_report(folder / "report.html", findings, title=file.stem, stored=stored)
        save_study_figures(findings, folder / "figures")
    if not quiet:
        click.echo(table_of(findings))
        click.echo(f"Report: {folder / 'report.html'}")


def _failed(summary: MethodSummary) -> bool:
    """Whether a method raised, or has not one finite answer."""
    return summary.failure is not None or set(summary.statuses) == {Status.NONFINITE.name}
