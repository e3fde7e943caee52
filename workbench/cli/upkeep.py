"""The commands on results folders: list cells and records; remove, merge, compare and pack cells; verify packs."""

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import click

from workbench.cli.group import cli
from workbench.cli.shared import Finite, check_suffix, in_format, job_option, progress, writing
from workbench.engine.devices import ask_for_devices
from workbench.errors import InputError
from workbench.jobs import packs, upkeep
from workbench.jobs.base import DamagedJobError
from workbench.jobs.formats import damaged_points
from workbench.jobs.names import jobs_of
from workbench.jobs.table import (
    checked_rows_of,
    selected,
    stores_in,
    table_of,
    table_of_folder,
    to_parquet,
    varying,
    with_precision,
)
from workbench.jobs.table import where as chosen

STATES = ("done", "stale", "failed", "damaged", "missing")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR", default=Path("results"))
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def status(folder: Path, form: str) -> None:
    """Count the cells of every job by state: done, stale, failed, damaged or missing.

    DIR is a results folder, or a folder of results folders. Other commands take the name or the id of a job as --job.
    A stale cell was made by other code or other packages; `workbench run` runs it again.
    """
    rows = []
    whys: Counter[str] = Counter()
    damaged = list[str]()
    for store in stores_in(folder):
        table = {str(row["key"]): row for row in checked_rows_of(store, store.stored_keys()).rows}
        whys.update(str(row["why"]) for row in table.values() if "why" in row)
        damaged += damaged_points(store.folder)
        try:
            jobs = jobs_of(store)
        except DamagedJobError as error:
            damaged.append(str(error))
            continue
        for job in jobs:
            cells = job.record["cells"]
            states = Counter(str(table[key]["state"]) if key in table else "missing" for key in cells)
            about = {"folder": store.folder.name, "id": job.id, "name": job.name}
            rows.append(about | {"cells": len(cells)} | {state: states[state] for state in STATES})
    if damaged and not rows:
        raise InputError(damaged[0])
    for each in damaged:
        click.echo(f"Warning: {each}", err=True)
    if not rows:
        raise InputError(f"{folder}: no jobs; give a folder that `workbench run` wrote, or one that holds some")
    found = replace(table_of(rows), keep=("name", "id", "cells", *STATES), words=("name",))
    click.echo(in_format(found, form))
    if form == "table":
        for why, count in whys.most_common():
            click.echo(f"{count} x {why}")


@cli.command("table")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR", default=Path("results"))
@job_option
@click.option(
    "--where", metavar="SQL", help="Only rows that meet a condition, such as \"method = 'em' and passes < 100\"."
)
@click.option("--columns", metavar="NAME,NAME", help="Only these columns  [default: those that differ]")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv", "parquet"]), default="table", show_default=True
)
@click.option("--out", type=click.Path(path_type=Path), help="The file to write  [default: standard output]")
def table_(folder: Path, job: str | None, where: str | None, columns: str | None, form: str, out: Path | None) -> None:
    """Show every record of every job as a row: its setting, its state and its results.

    DIR is a results folder, or a folder of results folders. The printed table has the columns that differ between rows;
    CSV, JSON and Parquet have all columns.
    """
    check_suffix(out, form)
    found = table_of_folder(folder, job)
    if where is not None:
        if not where.strip():
            raise InputError("--where: is empty; give a condition in SQL, as --where \"method = 'em'\"")
        found = chosen(found, where)
    if columns is not None:
        names = [name.strip() for name in columns.split(",") if name.strip()]
        if not names:
            raise InputError("--columns: is empty; give names, as --columns method,passes")
        found = selected(found, names)
    elif form == "table":
        found = varying(found)
    if form == "parquet" and out is None:
        raise InputError("--format parquet: needs a file; give --out FILE")
    found = with_precision(found)
    if out is None:
        click.echo(in_format(found, form))
        return
    with writing(out) as temporary:
        if form == "parquet":
            to_parquet(found, temporary)
        else:
            temporary.write_text(f"{in_format(found, form)}\n", encoding="utf-8")
    click.echo(out)


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
@click.option("--tolerance", type=Finite(0), default=upkeep.RELATIVE, show_default=True, help="Relative.")
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
    check_suffix(out, "zip")
    place = Path(f"{folder.resolve().name}.zip") if out is None else out
    cells = packs.export(folder, place)
    click.echo(f"{place}: {cells} cells; `workbench verify {place}` runs them again and compares")


@cli.command()
@click.argument("pack", type=click.Path(path_type=Path), metavar="PACK")
@click.option("--tolerance", type=Finite(0), help="Relative  [default: the tolerance of each job]")
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
