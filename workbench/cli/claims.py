"""The command that judges a ledger of claims."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from workbench.claims import read_ledger
from workbench.cli.group import cli
from workbench.cli.shared import Folder, names_of, progress, reusing
from workbench.devices import ask_for_devices
from workbench.jobs.claims import Judged, plain, run_claims
from workbench.jobs.running import Reuse
from workbench.report import write_claims
from workbench.report.claims_page import reading_of

LEDGER = Path("experiments/claims.toml")
FAILED = 1

# Wide enough for a line of each claim where the output is no terminal.
PLAIN_WIDTH = 160


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), default=LEDGER)
@click.option("--quick", is_flag=True, help="Run each claim's quick variant.")
@reusing
@click.option("--only", metavar="NAME,NAME", help="Judge only these claims.")
@click.option("--out", type=Folder(), help="Results folder  [default: results; results/quick]")
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
    """Run what the claims of a ledger need and is not stored, and print the verdict on each.

    A claim that turns out false is no failure: the exit status is 1 only if a run failed. A claim on what other code
    made has no verdict.
    """
    ledger = read_ledger(file, quick=quick)
    names = names_of("--only", only)
    folder = (Path("results/quick") if quick else Path("results")) if out is None else out
    ask_for_devices(None)
    with progress(quiet=False) as watch:
        judged = run_claims(ledger, only=names, out=folder, quick=quick, reuse=reuse, watch=watch)
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
