"""The command that maps where an experiment's methods end."""

from pathlib import Path

import click

from workbench.cli.group import cli
from workbench.cli.shared import Folder, import_own, named, names_of, progress, reusing
from workbench.engine.devices import ask_for_devices
from workbench.errors import InputError
from workbench.experiment import read_experiment
from workbench.jobs.atlas import AtlasJob
from workbench.jobs.running import Reuse, run_job
from workbench.jobs.store import Store
from workbench.report import publish, show_atlases

FAILED = 1


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--starts", type=click.IntRange(min=1), default=1000, show_default=True, help="Starts of each atlas.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key; may be repeated.")
@click.option("--methods", metavar="NAME,NAME", help="Only these methods  [default: all but samplers]")
@click.option("--rules", metavar="NAME,NAME", help="Rules of starts, or all  [default: the rule of the experiment]")
@click.option("--out", type=Folder(), help="Results folder  [default: results/NAME]")
@reusing
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def atlas(
    ctx: click.Context,
    file: Path,
    starts: int,
    settings: tuple[str, ...],
    methods: str | None,
    rules: str | None,
    out: Path | None,
    reuse: Reuse,
    quiet: bool,
) -> None:
    """Map the optima of an experiment: where thousands of starts end, the kind of each end, and how often it occurs.

    Makes one atlas for each optimising method and rule of starts, and leaves out samplers. The number of restarts and
    the races of the file are ignored. Repeating the command computes nothing and redraws the page.
    """
    import_own(file, settings)
    experiment = read_experiment(file, settings)
    if experiment.run.hosts > 1:
        raise InputError(f"{file}: run.hosts: an atlas runs on one host; add --set run.hosts=1")
    ask_for_devices(experiment.run.devices_per_host)
    store = Store(Path("results") / file.stem if out is None else out)
    with progress(quiet) as watch, named(file):
        only, chosen = names_of("--methods", methods), names_of("--rules", rules)
        job = AtlasJob.of(experiment, file.stem, file.parent, starts=starts, rules=chosen, only=only)
        found = job.result(store, run_job(job, store, reuse=reuse, watch=watch))
    page = store.folder / "report.html"
    if found.atlases:
        page, *_ = publish(store, store.file_of(job), show_atlases(found, experiment.resolved()))
    if not quiet:
        click.echo("\n\n".join(str(each) for each in found.atlases))
        click.echo(f"\n{found.reading}")
        for name in found.left_out:
            click.echo(f"{name} samples and is left out: it does not end on a point.")
        if found.atlases:
            click.echo(f"Report: {page}")
    for name, why in found.failures.items():
        click.echo(f"{name} failed: {why}", err=True)
    if found.failures:
        ctx.exit(FAILED)
