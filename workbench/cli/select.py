"""The command that compares criteria over the number of components."""

import re
from pathlib import Path
from typing import Any

import click

from workbench.cli.group import cli
from workbench.cli.shared import Folder, import_own, named, names_of, progress, reusing
from workbench.engine.devices import ask_for_devices
from workbench.errors import InputError
from workbench.experiment import Experiment
from workbench.experiment.reading import parse_experiment, read_toml
from workbench.jobs.running import Reuse, run_job
from workbench.jobs.selection import SelectionJob
from workbench.jobs.store import Store
from workbench.mixture import COVARIANCES
from workbench.report import publish, show_selection
from workbench.selection import FamilySelection, Selection
from workbench.studies.reading import is_study

FAILED = 1


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--components", default="1:9", show_default=True, help="K to choose from: 1:9, or 2,3,5.")
@click.option("--covariance", help=f"Covariance families to choose from as well, such as {','.join(COVARIANCES)}.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key; may be repeated.")
@click.option("--out", type=Folder(), help="Results folder  [default: results/NAME]")
@reusing
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def select(
    ctx: click.Context,
    file: Path,
    components: str,
    covariance: str | None,
    settings: tuple[str, ...],
    out: Path | None,
    reuse: Reuse,
    form: str,
    quiet: bool,
) -> None:
    """Choose a number of components by AIC, BIC, ICL, held-out score, WAIC, PSIS-LOO and evidence.

    FILE is an experiment; data, model and prior are enough, and its own number of components is ignored. WAIC, PSIS-LOO
    and evidence need a proper prior: --set prior.family=conjugate. WAIC and PSIS-LOO are not eligible if their draws
    disagree: the table shows a dash, and they are never chosen. The evidence rests on the weights of independent runs,
    whose spread is its error; it is not eligible if one run carries the mean. Methods of its own sample it, whatever
    the file's [methods] are. --covariance searches the grid of families and components, with a table and a panel for
    each criterion. Repeating the command computes nothing and redraws the page.
    """
    wanted, families = _numbers(components), names_of("--covariance", covariance)
    experiment = _read(file, settings)
    if experiment.run.hosts > 1:
        raise InputError(f"{file}: run.hosts: components are chosen on one host; add --set run.hosts=1")
    ask_for_devices(experiment.run.devices_per_host)
    store = Store(Path("results") / file.stem if out is None else out)
    with progress(quiet) as watch, named(file):
        job = SelectionJob(file.stem, experiment.located(file.parent), wanted, families)
        found = job.result(store, run_job(job, store, reuse=reuse, watch=watch))
    page = store.folder / "report.html"
    has_any = bool(found.choices) if isinstance(found, Selection) else any(s.choices for s in found.families.values())
    if has_any:
        page, *_ = publish(store, store.file_of(job), show_selection(found, experiment.resolved()))
    if not quiet:
        click.echo(_shown(found, form))
        if form == "table" and has_any:
            click.echo(f"Report: {page}")
    for k, why in found.failures.items():
        click.echo(f"{'K = ' if k.isdigit() else ''}{k} failed: {why}", err=True)
    if found.failures:
        ctx.exit(FAILED)


def _numbers(text: str) -> list[int]:
    """The numbers of `1:9`, both ends included, or of `2,3,5`, or of both mixed."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?::(\d{1,4}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last:
            raise InputError(f"--components {text}: {part!r} is not a range of numbers from 1 up; give 1:9, or 2,3,5")
        numbers += range(first, last + 1)
    return numbers


def _shown(found: Selection | FamilySelection, form: str) -> str:
    match form:
        case "json":
            return found.to_json()
        case "csv":
            return found.to_csv().rstrip("\n")
        case _:
            return str(found)


def _read(file: Path, settings: tuple[str, ...]) -> Experiment:
    """The experiment in a file, which may leave out its methods and its number of components."""
    if is_study(file):
        raise InputError(f"{file}: is a study; give an experiment, or a file with [data] and [model]")
    import_own(file, settings)
    values: dict[str, Any] = read_toml(file, settings)
    values.setdefault("methods", {"em": {}})
    if isinstance(model := values.setdefault("model", {}), dict):
        model.setdefault("components", 1)
    return parse_experiment(values, str(file))
