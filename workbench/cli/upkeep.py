"""The commands that maintain results: remove, merge, compare and pack cells, and verify a pack by running it again."""

import tempfile
from pathlib import Path

import click

from workbench.cli.group import cli
from workbench.cli.shared import progress
from workbench.engine.devices import ask_for_devices
from workbench.errors import InputError
from workbench.jobs import packs, upkeep
from workbench.jobs.table import table_of

APART = 1


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--failed", is_flag=True, help="Remove cells that failed.")
@click.option("--stale", is_flag=True, help="Remove cells that other code or other packages made.")
@click.option("--damaged", is_flag=True, help="Remove cells that were changed after they were written.")
@click.option("--dry-run", "dry", is_flag=True, help="Only print what would be removed.")
def clean(folder: Path, failed: bool, stale: bool, damaged: bool, dry: bool) -> None:
    """Remove the failed, stale or damaged cells of DIR, or of every results folder in it."""
    states = [name for name, asked in (("failed", failed), ("stale", stale), ("damaged", damaged)) if asked]
    if not states:
        raise InputError("clean: give at least one of --failed, --stale and --damaged")
    removed = upkeep.clean(folder, states, dry=dry)
    for row in removed.rows:
        click.echo(f"{row['job']}/cells/{row['key']}: {row['state']}")
    click.echo(f"{len(removed)} cells {'would be' if dry else 'are'} removed.")


@cli.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="FROM")
@click.argument("target", type=click.Path(path_type=Path), metavar="INTO")
def merge(source: Path, target: Path) -> None:
    """Copy the cells that results folder INTO lacks from FROM; no sound cell of INTO is replaced."""
    merged = upkeep.merge(source, target)
    for why in merged.left:
        click.echo(f"left out: {why}", err=True)
    click.echo(f"{merged.copied} cells copied, {merged.there} there already, {len(merged.left)} damaged and left out.")
    click.echo(f"`workbench plot {target}` writes the pages of both.")


@cli.command()
@click.argument("first", type=click.Path(path_type=Path), metavar="A")
@click.argument("second", type=click.Path(path_type=Path), metavar="B")
@click.option("--tolerance", type=click.FloatRange(min=0), default=upkeep.RELATIVE, show_default=True, help="Relative.")
@click.pass_context
def diff(ctx: click.Context, first: Path, second: Path, tolerance: float) -> None:
    """List the differences between two results folders: settings, versions and numbers.

    The exit status is 1 if a number differs by more than the tolerance, or if only one folder has a cell.
    """
    found = upkeep.difference(first, second, tolerance=tolerance)
    click.echo(found)
    if found.beyond:
        ctx.exit(APART)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--out", type=click.Path(path_type=Path), help="The ZIP file  [default: NAME.zip]")
def export(folder: Path, out: Path | None) -> None:
    """Pack a results folder in one file: jobs, cells, points, pages, figures, and the version of every package."""
    place = Path(f"{folder.resolve().name}.zip") if out is None else out
    cells = packs.export(folder, place)
    click.echo(f"{place}: {cells} cells; `workbench verify {place}` runs them again and compares")


@cli.command()
@click.argument("pack", type=click.Path(path_type=Path), metavar="PACK")
@click.option("--tolerance", type=click.FloatRange(min=0), help="Relative  [default: the tolerance of each job]")
@click.option("--quiet", is_flag=True, help="Print only what differs.")
@click.pass_context
def verify(ctx: click.Context, pack: Path, tolerance: float | None, quiet: bool) -> None:
    """Run every job of a pack again, and compare the results with those in the pack.

    The exit status is 1 if a cell fails, differs by more than the tolerance, or could not be checked.
    """
    ask_for_devices(None)
    with tempfile.TemporaryDirectory(prefix="workbench-verify-") as place, progress(quiet) as watch:
        packs.unpack(pack, Path(place) / "packed")
        checked = packs.verify(Path(place) / "packed", Path(place) / "again", tolerance=tolerance, watch=watch)
    rows = [{"cell": each.key, "state": each.state, "why": each.why or None} for each in checked]
    wrong = [row for row in rows if row["state"] not in ("same", "within")]
    if wrong or not quiet:
        click.echo(table_of(wrong if quiet else rows))
    if not quiet:
        click.echo(f"{len(rows) - len(wrong)} of {len(rows)} cells come out as they were packed.")
    if wrong:
        ctx.exit(APART)
