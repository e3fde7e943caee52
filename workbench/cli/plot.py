"""`plot`: figures of stored results for a paper or a talk, in a format, size and palette of one's own."""

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from workbench.cli.group import cli
from workbench.cli.shared import job_option, names_of
from workbench.errors import InputError, shown
from workbench.jobs.names import Stored, newest_of
from workbench.jobs.registry import results_in, selections_in
from workbench.report import Look, drawn, film_of, redraw, save_figure, save_film
from workbench.report.animated import ANIMATION, MOVING
from workbench.report.figure import FORMATS, MAKERS, OF_PAGE
from workbench.selection import CRITERIA

NAMES = ", ".join((*MAKERS, ANIMATION, *OF_PAGE))

# Seconds of drawing after which a terminal shows a bar.
PATIENCE = 2.0


class _Size(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer versions of click
    """Width and height, as 3.4x2.6."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Two numbers around an x."""
        try:
            width, height = map(float, str(value).lower().split("x"))
        except ValueError:
            raise InputError(f"--size: give inches as WIDTHxHEIGHT, such as 3.4x2.6, got {shown(value)}") from None
        return width, height


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--figure",
    "names",
    multiple=True,
    metavar="NAME",
    help=f"Only this figure, for a paper; may be repeated. Of an experiment: {NAMES}. Of a choice of K: selection, "
    f"{', '.join(CRITERIA)}.",
)
@job_option
@click.option("--out", type=click.Path(path_type=Path), help="The file  [default: NAME.pdf in the folder's figures]")
@click.option(
    "--format",
    "form",
    type=click.Choice([each[1:] for each in (*FORMATS, *MOVING)]),
    help="Format  [default: pdf; gif of an animation]",
)
@click.option("--size", type=_Size(), metavar="WxH", help="Width and height in inches, as 3.4x2.6.")
@click.option("--palette", metavar="NAMES", help="A colour map of matplotlib, as viridis, or colours between commas.")
@click.option("--legend", type=click.Choice(["inside", "above", "right", "none"]), help="Where the legend goes.")
@click.option("--columns", metavar="NAMES", help="Names of the columns to show, between commas; a plane has two.")
@click.option("--colour", type=click.Choice(["component", "class"]), help="What the colours of classification mean.")
@click.option("--method", metavar="NAME", help="The method to show  [default: the one that ends highest]")
@click.option("--methods", metavar="NAMES", help="Methods of an animation, between commas  [default: all that climb]")
def plot(
    folder: Path, names: tuple[str, ...], job: str | None, out: Path | None, form: str | None, **look: Any
) -> None:
    """Draw a figure of stored results as PDF, SVG or PNG, or an animation of climbs from one start as GIF or MP4.

    Without --figure, redraw every page and figure, or those of one job.
    """
    if not names:
        given = [f"--{name}" for name, value in {"out": out, "format": form, **look}.items() if value]
        if given:
            raise InputError(f"{given[0]}: say which figure it is for, as --figure classification")
        for path in redraw(folder, job):
            click.echo(path)
        return
    if out is not None and len(names) > 1:
        raise InputError(f"--out: is one file, and there are {len(names)} figures; leave it out")
    shown, written = _look(**look), list[Path]()
    for name in dict.fromkeys(names):
        if out is not None and form is not None and out.suffix.lower() != f".{form}":
            raise InputError(f"--format: {form} does not go with --out {out}; leave one out")
        of_choice = name in ("selection", *CRITERIA)
        found: Sequence[Stored[Any]] = selections_in(folder) if of_choice else results_in(folder)
        stored, others = newest_of(found, job, folder)
        chosen = stored.results
        if others:
            click.echo(others, err=True)
        own = name if len(found) == 1 else f"{re.sub(r'[^A-Za-z0-9_-]+', '-', stored.name).strip('-')}-{name}"
        usual = "gif" if name == ANIMATION else "pdf"
        target = folder / "figures" / f"{own}.{form or usual}" if out is None else out
        if name == ANIMATION:
            with _frames() as progress:
                written.append(save_film(film_of(chosen, shown), target, progress))
        else:
            written.append(save_figure(drawn(chosen, name, shown), target))
    # Printed when all are written: what reads the output may close it after the first line.
    click.echo("\n".join(map(str, written)))


@contextmanager
def _frames() -> Iterator[Callable[[int, int], None] | None]:
    """A bar for the frames of an animation, on a terminal and where they take long."""
    if not sys.stderr.isatty():
        yield None
        return
    # Imported where it is needed, so that other commands do not wait for it.
    from rich.console import Console
    from rich.progress import Progress

    began = time.monotonic()
    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("frames", total=None, visible=False)
        yield lambda done, total: bars.update(
            bar, completed=done, total=total, visible=time.monotonic() - began > PATIENCE
        )


def _look(
    size: tuple[float, float] | None,
    palette: str | None,
    legend: str | None,
    columns: str | None,
    methods: str | None,
    **more: Any,
) -> Look:
    several = palette is not None and "," in palette
    return Look(
        size=size,
        palette=[each.strip() for each in str(palette).split(",")] if several else palette,
        legend=False if legend == "none" else legend,  # type: ignore[arg-type]  # click allows these alone
        columns=None if columns is None else [each.strip() for each in columns.split(",")],
        methods=names_of("--methods", methods),
        **more,
    )
