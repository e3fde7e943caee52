"""The command that judges a ledger of claims."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import click

from workbench.claims import read_ledger
from workbench.cli.group import cli
from workbench.cli.shared import Folder, names_of, progress, reusing
from workbench.engine.devices import ask_for_devices
from workbench.errors import InputError
from workbench.jobs.claims import How, LedgerJob, beside
from workbench.jobs.judged import load_ledger, plain, reading_of, table_of_claims
from workbench.jobs.running import Reuse, run_job
from workbench.jobs.store import Store
from workbench.report import publish, show_claims

LEDGER = Path("experiments/claims.toml")
FAILED = 1


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), default=LEDGER)
@click.option("--quick", is_flag=True, help="Run each claim's quick variant.")
@reusing
@click.option("--only", metavar="NAME,NAME", help="Judge only these claims.")
@click.option("--out", type=Folder(), help="Folder of all results  [default: results; results/quick]")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def claims(
    ctx: click.Context,
    file: Path,
    quick: bool,
    reuse: Reuse,
    only: str | None,
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
    folder = (Path("results/quick") if quick else Path("results")) if out is None else out
    asked = Asked(quick, names_of("--only", only), form)
    if judge(file, Store(folder / file.stem), How(reuse), asked):
        ctx.exit(FAILED)


class Asked(NamedTuple):
    """The options of a judgement: the quick variant or not, which claims, and the format of the decisions."""

    quick: bool = False
    only: Collection[str] | None = None
    form: str = "table"  # or json; nothing is printed if it is empty


def judge(file: Path, store: Store, how: How, asked: Asked) -> bool:
    """Run what is missing, print the decisions, and write the page; returns whether a run or a check failed."""
    ledger = read_ledger(file, quick=asked.quick)
    ask_for_devices(None)
    with progress(quiet=not asked.form) as watch:
        own = how._replace(watch=watch)
        job = LedgerJob(file.stem, ledger, asked.only, root=beside(store.folder), quick=asked.quick, how=own)
        judged = job.result(store, run_job(job, store, reuse=how.reuse, watch=watch))
        # Every judged claim of the ledger, including those judged by earlier commands.
        kept = load_ledger(store, store.file_of(job), store.record_of(job))
        page, *_ = publish(store, store.file_of(job), show_claims(kept, job.name, store.folder, job.config()))
    match asked.form:
        case "json":
            click.echo(json.dumps([plain(each) for each in judged], indent=2, allow_nan=False))
        case "table":
            click.echo(f"{table_of_claims(judged)}\n{reading_of(judged)}\nReport: {page}")
    failed = [each for each in judged if each.failure is not None]
    for each in failed:
        click.echo(f"{each.name} could not be judged: {each.failure}", err=True)
    return bool(failed)
