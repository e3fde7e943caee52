"""The command that runs an experiment."""

import sys
from pathlib import Path

import click

from workbench import hosts
from workbench.cli.group import cli
from workbench.cli.shared import config_text, progress
from workbench.compare import MethodSummary, table
from workbench.devices import ask_for_devices
from workbench.diagnostics import Status
from workbench.errors import InputError
from workbench.execution import run_experiment
from workbench.experiment import read_experiment
from workbench.report import save_figures, write_report

FAILED = 1


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key; may be repeated.")
@click.option("--methods", metavar="NAME,NAME", help="Run and compare only these methods of the experiment.")
@click.option("--out", type=click.Path(path_type=Path), help="Results folder  [default: results/NAME]")
@click.option("--force", is_flag=True, help="Run again what is stored.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def run(
    ctx: click.Context,
    file: Path,
    settings: tuple[str, ...],
    methods: str | None,
    out: Path | None,
    force: bool,
    quiet: bool,
) -> None:
    """Run what is missing of an experiment, print the comparison, write results and report."""
    experiment = read_experiment(file, settings)
    if experiment.run.hosts > 1 and not hosts.is_supervised():
        ctx.exit(hosts.supervise(sys.argv[1:]))
    ask_for_devices(experiment.run.devices_per_host)
    folder = Path("results") / file.stem if out is None else out
    only = None if methods is None else [name.strip() for name in methods.split(",") if name.strip()]
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
                    force=force,
                    watch=watch,
                )
            except InputError as error:
                raise InputError(f"{file}: {error}") from None
            if len(comparison):
                with hosts.folder_of_the_first(folder) as written:
                    write_report(written / "report.html", [(comparison, config_text(experiment))])
                    save_figures(comparison, written / "figures")
        shown = table(comparison)
        if not quiet:
            click.echo(shown)
            if len(comparison):
                click.echo(f"Report: {folder / 'report.html'}")
    if any(_failed(summary) for summary in shown.summaries):
        ctx.exit(FAILED)


def _failed(summary: MethodSummary) -> bool:
    """Whether a method raised, or has not one finite answer."""
    return summary.failure is not None or set(summary.statuses) == {Status.NONFINITE.name}
