"""The command that judges a ledger of claims."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from workbench.claims import Judged, read_ledger, run_claims
from workbench.claims.running import plain
from workbench.cli.group import cli
from workbench.cli.shared import Folder, names_of, progress
from workbench.devices import ask_for_devices
from workbench.report import write_claims
from workbench.report.claims_page import reading_of

LEDGER = Path("experiments/claims.toml")
FAILED = 1

# Wide enough for a line of each claim where the output is no terminal.
PLAIN_WIDTH = 160


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), default=LEDGER)
@click.option("--quick", is_flag=True, help="Run each claim's quick variant.")
@click.option("--force", is_flag=True, help="Run again what is stored.")
@click.option(
    "--keep-stale", is_flag=True, help="Run nothing again that other code made; claims on it have no verdict."
)
@click.option("--only", metavar="NAME,NAME", help="Judge only these claims.")
@click.option("--out", type=Folder(), help="Results folder  [default: results; results/quick]")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def claims(
    ctx: click.Context,
    file: Path,
    quick: bool,
    force: bool,
    keep_stale: bool,
    only: str | None,
    out: Path | None,
    form: str,
) -> None:
    """Run what the claims of a ledger need and is not stored, and print the verdict on each.

    A claim that turns out false is no failure: the exit status is 1 only if a run failed.
    """
    ledger = read_ledger(file, quick=quick)
    names = names_of("--only", only)
    folder = (Path("results/quick") if quick else Path("results")) if out is None else out
    ask_for_devices(None)
    with progress(quiet=False) as watch:
        reuse = {"force": force, "keep_stale": keep_stale}
        judged = run_claims(ledger, only=names, out=folder, quick=quick, watch=watch, **reuse)
    write_claims(folder / "claims.html", judged)
    if form == "json":
        click.echo(json.dumps([plain(each) for each in judged], indent=2, allow_nan=False))
    else:
        _print(judged)
        click.echo(f"{reading_of(judged)}\nReport: {folder / 'claims.html'}")
    if any(each.failure for each in judged):
        ctx.exit(FAILED)


def _print(judged: list[Judged]) -> None:
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("claim", "verdict", "figure", "error", "runs"):
        table.add_column(heading, overflow="fold")
    for each in judged:
        decision = each.decision
        sentence = f"{each.name}: {each.sentence}"
        cells = (sentence, decision.verdict.value, decision.figure, decision.error, ", ".join(each.folders))
        # As text: a sentence may hold square brackets.
        table.add_row(*map(Text, cells))
    console = Console()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    console.print(table)
