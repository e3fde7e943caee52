"""The commands that are short ways to run a job: `atlas`, `claims` and `select`."""

import json
import re
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import click

from workbench.claims import read_ledger
from workbench.cli.group import cli
from workbench.cli.shared import Folder, import_own, in_format, named, names_of, progress, reusing, working
from workbench.engine.devices import ask_for_devices
from workbench.errors import InputError, shown
from workbench.experiment import Experiment, read_experiment
from workbench.experiment.reading import parse_experiment, read_toml
from workbench.jobs.atlas import AtlasJob
from workbench.jobs.claims import How, LedgerJob, beside
from workbench.jobs.executors import Workers
from workbench.jobs.judged import load_ledger, plain, reading_of, table_of_claims, time_of_runs
from workbench.jobs.running import Reuse, run_job
from workbench.jobs.selection import SelectionJob
from workbench.jobs.store import Store
from workbench.mixture import COVARIANCES
from workbench.selection import CRITERIA, Selection
from workbench.selection.asked import Scope
from workbench.studies.reading import is_study
from workbench.wrapping import paragraph

FAILED = 1


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--starts", type=click.IntRange(1, 10**6), default=1000, show_default=True, help="Starts of each atlas.")
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
        # Imported late here and below: the drawing library takes as long to load as JAX, and a job begins without it.
        from workbench.report import publish, show_atlases

        page, *_ = publish(store, store.file_of(job), show_atlases(found, experiment.resolved()))
    if not quiet:
        click.echo("\n\n".join(str(each) for each in found.atlases))
        click.echo(f"\n{paragraph(found.reading)}")
        for name in found.left_out:
            click.echo(f"{name} samples and is left out: it does not end on a point.")
        if found.atlases:
            click.echo(f"Report: {page}")
    for name, why in found.failures.items():
        click.echo(f"{name} failed: {why}", err=True)
    if found.failures:
        ctx.exit(FAILED)


LEDGER = Path("experiments/claims.toml")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), default=LEDGER)
@click.option("--quick", is_flag=True, help="Run each claim's quick variant.")
@reusing
@working
@click.option("--only", metavar="NAME,NAME", help="Judge only these claims.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Root seed of all configs, in place of their own.")
@click.option(
    "--out", type=Folder(), help="Folder of all results  [default: results, results/quick with --quick; seed-N in it]"
)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def claims(
    ctx: click.Context,
    file: Path,
    quick: bool,
    reuse: Reuse,
    workers: Workers | None,
    only: str | None,
    seed: int | None,
    out: Path | None,
    form: str,
) -> None:
    """Judge the claims of a ledger: run what they need that is not stored, and print the verdict on each.

    In the folder of results, the runs of NAME.toml lie in NAME, and the decisions of the ledger LEDGER.toml in LEDGER.
    A claim that turns out false is not a failure: the exit status is 1 only if a run or a check failed. A claim that
    rests on results of other code has no verdict.
    """
    if not file.exists():
        raise InputError(
            f"{file}: no such ledger; give the FILE of one, or run this where {LEDGER} of the repository lies "
            "(names of claims go after --only, with commas between them)"
        )
    usual = Path("results/quick") if quick else Path("results")
    folder = (usual if seed is None else usual / f"seed-{seed}") if out is None else out
    asked = Asked(quick, names_of("--only", only), form, seed)
    if judge(file, Store(folder / file.stem), How(reuse, executor=workers), asked):
        ctx.exit(FAILED)


class Asked(NamedTuple):
    """The options of a judgement: the quick variant or not, which claims, and the format of the decisions."""

    quick: bool = False
    only: Collection[str] | None = None
    form: str = "table"  # or json; nothing is printed if it is empty
    seed: int | None = None  # of every config, in place of its own


def judge(file: Path, store: Store, how: How, asked: Asked) -> bool:
    """Run what is missing, print the decisions, and write the page; returns whether a run or a check failed."""
    ledger = read_ledger(file, quick=asked.quick, seed=asked.seed)
    ask_for_devices(None)
    with progress(quiet=not asked.form) as watch:
        own = how._replace(watch=watch)
        job = LedgerJob(file.stem, ledger, asked.only, root=beside(store.folder), quick=asked.quick, how=own)
        judged = job.result(store, run_job(job, store, reuse=how.reuse, watch=watch))
        # Every judged claim of the ledger, including those judged by earlier commands.
        kept = load_ledger(store, store.file_of(job), store.record_of(job))
        from workbench.report import publish, show_claims

        page, *_ = publish(store, store.file_of(job), show_claims(kept, job.name, store.folder, job.config()))
    match asked.form:
        case "json":
            click.echo(json.dumps([plain(each) for each in judged], indent=2, allow_nan=False))
        case "table":
            reading = f"{reading_of(judged)} {time_of_runs(store, (cell.key for cell in job.cells()))}"
            click.echo(f"{table_of_claims(judged)}\n{paragraph(reading)}\nReport: {page}")
    failed = [each for each in judged if each.failure is not None]
    for each in failed:
        click.echo(f"{each.name} could not be judged: {each.failure}", err=True)
    return bool(failed)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--components", default="1:9", show_default=True, help="K to choose from: 1:9, or 2,3,5.")
@click.option("--covariance", help=f"Covariance families to choose from as well, such as {','.join(COVARIANCES)}.")
@click.option("--criteria", metavar="NAME,NAME", help=f"Some of {', '.join(CRITERIA)}  [default: all]")
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
    criteria: str | None,
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
    each criterion; families that do not suit the data are named and left out. --criteria aic,bic,icl is quick, because
    it neither cross-validates nor samples. Repeating the command computes nothing and redraws the page.
    """
    families, some = names_of("--covariance", covariance), names_of("--criteria", criteria)
    scope = Scope(_numbers(components), families, some).checked()
    experiment = _read(file, settings)
    if experiment.run.hosts > 1:
        raise InputError(f"{file}: run.hosts: components are chosen on one host; add --set run.hosts=1")
    ask_for_devices(experiment.run.devices_per_host)
    store = Store(Path("results") / file.stem if out is None else out)
    with progress(quiet) as watch, named(file):
        job = SelectionJob(file.stem, experiment.located(file.parent), scope)
        # What draws the page is imported meanwhile, because nothing here measures how long a method takes.
        Thread(target=import_module, args=("workbench.report",)).start()
        found = job.result(store, run_job(job, store, reuse=reuse, watch=watch))
    page = store.folder / "report.html"
    has_any = bool(found.choices) if isinstance(found, Selection) else any(s.choices for s in found.families.values())
    if has_any:
        from workbench.report import publish, show_selection

        page, *_ = publish(store, store.file_of(job), show_selection(found, experiment.resolved()))
    if not quiet:
        click.echo(in_format(found, form))
        if form == "table" and (more := _stored_beside(store, job)):
            told = f"K = {', '.join(map(str, more))} of the same setting"
            click.echo(paragraph(f"Not asked and so not in the choice, though stored in {store.folder}: {told}."))
        if form == "table" and has_any:
            click.echo(f"Report: {page}")
    for k, why in found.failures.items():
        click.echo(f"{'K = ' if k.isdigit() else ''}{k} failed: {why}", err=True)
    if found.failures:
        ctx.exit(FAILED)


def _stored_beside(store: Store, job: SelectionJob) -> list[int]:
    """The K that earlier selections of the same setting scored in a folder, and that a job does not choose among."""
    own = job.config()
    groups = {each["group"] for each in own["families"].values()}
    stored = {
        int(key.removeprefix("components-").partition("-")[0])
        for _, other in store.jobs(SelectionJob.kind)
        for each in other["config"]["families"].values()
        if each["group"] in groups
        for key in each["cells"]
        if (store.folder / "cells" / key).is_dir()
    }
    return sorted(stored - {*own["components"]})


def _numbers(text: str) -> list[int]:
    """The numbers of `1:9`, both ends included, or of `2,3,5`, or of both mixed."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?::(\d{1,4}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last:
            raise InputError(f"--components: {shown(part)} is not a range of numbers from 1 up; give 1:9, or 2,3,5")
        numbers += range(first, last + 1)
    return numbers


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
