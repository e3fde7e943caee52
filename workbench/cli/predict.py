"""The command `predict`: the rows of a file labelled by a fitted model."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from workbench.cli.group import cli
from workbench.cli.shared import check_suffix, writing
from workbench.compare.answers import completed, labels_of
from workbench.data import Dataset, read_rows
from workbench.data.files import ARRAYS
from workbench.data.known import Known
from workbench.data.names import UnknownApart, UnknownColumns, lacking
from workbench.data.points import default_columns
from workbench.data.reading import WantedOfCommand
from workbench.errors import VALUE, InputError, cut, shown
from workbench.mixture import Background
from workbench.mixture.saved import SavedMixture, load_mixture
from workbench.table import Table

# The most rows that a message names.
NAMED = 5


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--id",
    "identity",
    metavar="COLUMN",
    help="A column of ids that is copied  [default: the one of the fit where the file has it, or row numbers]",
)
@click.option("--complete", is_flag=True, help="Write the rows themselves, with missing cells filled in.")
@click.option("--out", type=click.Path(path_type=Path), help="The CSV file to write  [default: standard output]")
def predict(model: Path, data: Path, identity: str | None, complete: bool, out: Path | None) -> None:
    """Label the rows of a file by a model that `workbench fit` saved.

    Writes CSV: for each row its component (counted from 1; 0 is the model's background), the probability of that
    component, the log density, and the probability of every component. The model's columns are looked up by name;
    others are not read. The columns of an array without names are taken in the model's order. A row of which cells are
    missing is judged by the others.

    With --complete it writes the model's columns instead, every missing cell filled in by its expectation given the
    row's other cells, and the number of such cells. An expectation varies less than a measured value: compute no
    variances from it.
    """
    check_suffix(out, "csv")
    saved = load_mixture(model)
    rows, identity = _rows_for(saved, model, data, identity)
    if isinstance(rows.x, np.ndarray):
        rows = _with_values(rows, data, complete=complete)
    if not len(rows.x):
        raise InputError(f"{data}: has no rows; give at least one")
    if saved.mixture.background is not None and not complete and isinstance(rows.x, np.ndarray):
        _tell_outside(saved.mixture.background, rows.x, data)
    ids = None if rows.ids is None else {identity or "row": rows.ids.tolist()}
    try:
        blocks = (completed if complete else labels_of)(saved, rows.x, ids)
        if out is not None:
            write_blocks(out, blocks, (model, data))
            click.echo(f"Written: {out}", file=sys.stderr)
            return
        for number, block in enumerate(blocks):
            click.echo(block.to_csv(header=number == 0), nl=False)
    except InputError as error:
        named = str(error).startswith(str(data)) or (out is not None and str(error).startswith(str(out)))
        raise error if named else InputError(f"{data}: {error}") from None


def _rows_for(saved: SavedMixture, model: Path, data: Path, identity: str | None) -> tuple[Dataset, str | None]:
    """The columns of a file that a model was fitted to, and the name of the column of ids that was read with them.

    Without a name that is given, it is the one that the model remembers, where the file has such a column.

    Raises:
        InputError: the file lacks some, or has another number of columns than a model that does not name its own.
    """
    remedy = "give a file that has them under these names, or a model of these columns"
    remembered = saved.about.get("id") if identity is None else None
    wanted = WantedOfCommand(saved.columns or None, identity=identity, missing="marginal")
    try:
        if isinstance(remembered, str) and remembered not in saved.columns:
            try:
                rows = read_rows(data, replace(wanted, identity=remembered))
                identity = remembered
            except UnknownApart:
                rows = read_rows(data, wanted)
        else:
            rows = read_rows(data, wanted)
    except UnknownColumns as error:
        if data.suffix.lower() in ARRAYS and error.present == default_columns(len(saved.columns)):
            order = cut(", ".join(saved.columns), VALUE)
            click.echo(f"{data}: names no columns; they are taken as {order}, in the order of {model}.", err=True)
            return read_rows(data, replace(wanted, columns=None)), identity
        lacks = lacking(str(data), saved.columns, error.present, f"the columns that {model} was fitted to")
        raise InputError(f"{lacks}; {remedy}") from None
    d = saved.mixture.num_dimensions
    if len(rows.columns) != d:
        raise InputError(
            f"{data}: has {len(rows.columns)} columns, {cut(', '.join(rows.columns), VALUE)}, and {model} was fitted "
            f"to {d}, which it does not name; give a file with these {d} columns alone, in their order"
        )
    return rows, identity


def _tell_outside(background: Background, x: np.ndarray, data: Path) -> None:
    """Say how many rows lie where a background has no density, and so count as the components' however far they are."""
    low, high = np.asarray(background.low), np.asarray(background.high)
    outside = int(np.sum(np.any((x < low) | (x > high), axis=1)))
    if outside:
        one = outside == 1
        click.echo(
            f"{data}: {_rows(outside)} outside the box of the model's background: {'it is' if one else 'they are'} "
            "labelled by the components alone, whatever the distance; see log_density.",
            err=True,
        )


def _with_values(rows: Dataset, data: Path, *, complete: bool) -> Dataset:
    """The rows of which a cell has a value; what becomes of missing cells is said."""
    lost = np.isnan(rows.x)
    empty, partly = np.all(lost, axis=1), int(np.sum(np.any(lost, axis=1) & ~np.all(lost, axis=1)))
    fate = "filled in by" if complete else "judged by"
    if partly:
        click.echo(f"{data}: {_rows(partly)} with missing cells: {fate} the other cells.", err=True)
    if not np.any(empty):
        return rows
    numbered = replace(rows, ids=np.arange(1, len(rows.x) + 1).astype(np.str_)) if rows.ids is None else rows
    some = numbered.some(empty)
    assert some.ids is not None
    names = [shown(name) for name in some.ids[:NAMED].tolist()] + ["..."] * (len(some.ids) > NAMED)
    end = "left out" if complete else "no label"
    click.echo(f"{data}: {_rows(len(some.ids))} without any value ({', '.join(names)}): {end}.", err=True)
    return numbered.some(~empty)


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"


def write_labels(
    path: Path,
    saved: SavedMixture,
    x: Any,
    about: Mapping[str, Sequence[str]] | None,
    known: Known | None = None,
) -> None:
    """Write the labels of points x [N, D] as CSV, behind columns `about` them; some may be known (`labels_of`)."""
    write_blocks(path, labels_of(saved, x, about, known))


def write_blocks(path: Path, blocks: Iterable[Table], inputs: Sequence[Path] = ()) -> None:
    """Write tables below each other as one CSV file; `inputs` are not to be written over."""
    with writing(path, *inputs) as temporary, temporary.open("w", encoding="utf-8") as out:
        for number, block in enumerate(blocks):
            out.write(block.to_csv(header=number == 0))
