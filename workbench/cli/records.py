"""The commands that list the contents of results folders: the state of every cell, and every record as a row."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import click

from workbench.cli.group import cli
from workbench.errors import InputError
from workbench.jobs.base import DamagedJobError
from workbench.jobs.table import (
    checked_rows_of,
    selected,
    stores_in,
    table_of,
    table_of_folder,
    to_parquet,
    varying,
)
from workbench.jobs.table import where as chosen
from workbench.table import Table

STATES = ("done", "stale", "failed", "damaged", "missing")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR", default=Path("results"))
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def status(folder: Path, form: str) -> None:
    """Count the cells of every job by state: done, stale, failed, damaged or missing.

    DIR is a results folder, or a folder of results folders. A stale cell was made by other code or other packages;
    `workbench run` runs it again.
    """
    rows = []
    whys: Counter[str] = Counter()
    damaged = []
    for store in stores_in(folder):
        table = {str(row["key"]): row for row in checked_rows_of(store, store.stored_keys()).rows}
        whys.update(str(row["why"]) for row in table.values() if "why" in row)
        try:
            jobs = store.jobs()
        except DamagedJobError as error:
            damaged.append(error)
            continue
        for file, job in jobs:
            states = Counter(str(table[key]["state"]) if key in table else "missing" for key in job["cells"])
            about = {"folder": store.folder.name, "id": file.stem, "name": str(job["name"])}
            rows.append(about | {"cells": len(job["cells"])} | {state: states[state] for state in STATES})
    if damaged and not rows:
        raise damaged[0]
    for each in damaged:
        click.echo(f"Warning: {each}", err=True)
    if not rows:
        raise InputError(f"{folder}: no jobs; give a folder that `workbench run` wrote, or one that holds some")
    found = replace(table_of(rows), keep=("name", "cells", *STATES))
    click.echo(_formatted(found, form))
    if form == "table":
        for why, count in whys.most_common():
            click.echo(f"{count} x {why}")


@cli.command("table")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR", default=Path("results"))
@click.option(
    "--where", metavar="SQL", help="Only rows that meet a condition, such as \"method = 'em' and passes < 100\"."
)
@click.option("--columns", metavar="NAME,NAME", help="Only these columns  [default: those that differ]")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv", "parquet"]), default="table", show_default=True
)
@click.option("--out", type=click.Path(path_type=Path), help="The file to write with --format parquet.")
def table_(folder: Path, where: str | None, columns: str | None, form: str, out: Path | None) -> None:
    """Show every record of every job as a row: its setting, its state and its results.

    DIR is a results folder, or a folder of results folders. The printed table has the columns that differ between rows;
    CSV, JSON and Parquet have all columns.
    """
    found = table_of_folder(folder)
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
    if form == "parquet":
        if out is None:
            raise InputError("--format parquet: needs a file; give --out FILE")
        to_parquet(found, out)
        click.echo(out)
        return
    click.echo(_formatted(found, form))


def _formatted(found: Table, form: str) -> str:
    match form:
        case "json":
            return found.to_json()
        case "csv":
            return found.to_csv().rstrip("\n")
        case _:
            return str(found)
