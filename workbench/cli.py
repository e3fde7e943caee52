"""The command line: run experiments, and look again at what is stored.

Exit status: 0, all went well; 1, a method failed and the others' results are kept; 2, bad input, one clear message; 3,
one of several hosts was lost.
"""

import gc
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import jax
import tomli_w
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

import workbench
from workbench import hosts
from workbench.compare import MethodSummary, table
from workbench.compare.comparison import Watch
from workbench.compilation import keep_compiled_programs
from workbench.data import dataset_names, describe
from workbench.devices import ask_for_devices
from workbench.diagnostics import Status
from workbench.errors import InputError
from workbench.execution import run_experiment
from workbench.experiment import Experiment, RunConfig, read_experiment
from workbench.methods import METHODS
from workbench.mixture import COVARIANCES, PRIORS
from workbench.report import save_figures, write_report
from workbench.starts import STARTS
from workbench.store import Store

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class _Stop(click.ClickException):
    """A message without a traceback, and an exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_code = status  # type: ignore[misc]  # click declares it for classes and reads it of instances


class _Group(click.Group):
    """Turns wrong input and interruption into one message and the right exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise _Stop(str(error), BAD_INPUT) from None
        except KeyboardInterrupt:
            raise _Stop("interrupted; finished runs are kept, and the same command goes on", INTERRUPTED) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(workbench.__version__, prog_name="workbench")
def cli() -> None:
    """Gaussian mixtures by EM, gradient ascent and MCMC, compared on the same terms."""
    # float64 unless the user's environment decides.
    if "JAX_ENABLE_X64" not in os.environ:
        jax.config.update("jax_enable_x64", True)


def main() -> None:
    """The `workbench` command."""
    keep_compiled_programs()
    # What has been imported is never garbage: tracing a program, which allocates much, takes a tenth less without it.
    gc.freeze()
    cli(prog_name="workbench")


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
        with _progress(quiet) as watch:
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
                    write_report(written / "report.html", [(comparison, _config_text(experiment))])
                    save_figures(comparison, written / "figures")
        shown = table(comparison)
        if not quiet:
            click.echo(shown)
            if len(comparison):
                click.echo(f"Report: {folder / 'report.html'}")
    if any(_failed(summary) for summary in shown.summaries):
        ctx.exit(FAILED)


@cli.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def compare(folders: Sequence[Path], form: str) -> None:
    """Print the comparison again, from disk. JSON is one object per experiment, each on a line."""
    tables = [table(comparison) for folder in folders for comparison, _ in Store(folder).load_all()]
    if form == "json":
        click.echo("\n".join(each.to_json() for each in tables))
    elif form == "csv":
        texts = [each.to_csv() for each in tables]
        # One header, then the rows of all.
        click.echo(texts[0] + "".join(text.partition("\n")[2] for text in texts[1:]), nl=False)
    else:
        click.echo("\n\n".join(str(each) for each in tables))


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
def plot(folder: Path) -> None:
    """Redraw the figures and the report from disk."""
    found = Store(folder).load_all()
    write_report(folder / "report.html", [(c, _config_text(e)) for c, e in found])
    click.echo(folder / "report.html")
    for index, (comparison, _) in enumerate(found):
        place = folder / "figures" if len(found) == 1 else folder / "figures" / str(index + 1)
        for path in save_figures(comparison, place):
            click.echo(path)


@cli.command("list")
def list_() -> None:
    """Show experiments, data sets, methods, covariance families, priors and starts."""
    sections: list[tuple[str, list[tuple[str, str]]]] = [
        ("experiments", [(str(p), _first_comment(p)) for p in sorted(Path("experiments").glob("*.toml"))]),
        ("data sets", [(name, _about(name)) for name in dataset_names()]),
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
    """Check configs, their data, and that every method can solve its problem. Runs nothing."""
    files = [file for path in paths for file in (sorted(path.glob("*.toml")) if path.is_dir() else [path])]
    if not files:
        raise InputError(f"{', '.join(map(str, paths))}: no .toml files; give experiment files or their folder")
    problems = []
    for file in files:
        try:
            experiment = read_experiment(file)
        except InputError as error:
            problems.append(str(error))
            continue
        try:
            train, _ = experiment.data.load(experiment.seed, file.parent)
            # On this machine's devices, not on those that it will run on.
            experiment.check(experiment.model_copy(update={"run": RunConfig()}).problem(train))
        except InputError as error:
            problems.append(f"{file}: {error}")
            continue
        click.echo(f"{file}: ok")
    if problems:
        raise InputError("\n".join(problems))


@cli.command()
def schema() -> None:
    """Print the JSON schema of experiment files, for editors."""
    click.echo(json.dumps(Experiment.model_json_schema(), indent=2))


def _failed(summary: MethodSummary) -> bool:
    """Whether a method raised, or has not one finite answer."""
    return summary.failure is not None or set(summary.statuses) == {Status.NONFINITE.name}


@contextmanager
def _progress(quiet: bool) -> Iterator[Watch | None]:
    """A bar for the method that is running, on standard error, and only where that is a terminal."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:

        def watch(name: str) -> Any:
            bar = bars.add_task(f"{name} (compiling)", total=None)
            return lambda done, total: bars.update(bar, completed=done, total=total, description=name)

        yield watch


def _config_text(experiment: Experiment) -> str:
    return tomli_w.dumps(experiment.resolved())


def _first_comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("# ")), "")


def _first_line(thing: object) -> str:
    documented = thing if isinstance(thing, type) else type(thing)
    return (documented.__doc__ or "").partition("\n")[0]


def _about(name: str) -> str:
    about = describe(name)
    return f"{about.num_points} x {about.dimensions}; {about.topic} ({about.units})"
