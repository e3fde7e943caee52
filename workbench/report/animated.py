"""The animation of climbs from stored results, in a size and with a legend, and as a file: GIF or MP4."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.animation import AbstractMovieWriter, FFMpegWriter, FuncAnimation
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from workbench.compare import Comparison
from workbench.errors import InputError
from workbench.plots.animation import HELD, MIXED, PER_SECOND, Film, climbing
from workbench.plots.style import Palette, Place
from workbench.report.figure import Look, checked_size, fitting, grid, written
from workbench.report.fitting import legend_of_panels, settle

ANIMATION = "animation"
MOVING = (".gif", ".mp4")

# Inches of a panel from top to bottom, and from left to right: the first of these in which all titles fit, which large
# numbers and a legend to the right make wider.
HIGH, WIDTHS = 2.7, (2.5, 3.2, 4.2, 5.4)

# Dots of an inch: every frame of a file holds each.
DOTS_PER_INCH = 120

# Called after each frame with the number of those that are drawn, and of all.
Progress: TypeAlias = Callable[[int, int], object]


def animation(
    results: Comparison,
    *,
    size: tuple[float, float] | None = None,
    palette: Palette = None,
    legend: Place | None = None,
    columns: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> FuncAnimation:
    """The climbs of methods from one start side by side (`plots.animation`), laid out in a figure of its own.

    Args:
        results: a comparison.
        size: width and height in inches.
        palette: colours, or the name of a colour map of matplotlib.
        legend: "above" (the default), "right", "inside" the first panel, or False for none.
        columns: names of one or two columns that are shown.
        methods: the methods that are shown; by default all that climb.

    Raises:
        InputError: a method samples, or an argument is wrong.
    """
    return film_of(results, Look(size, palette, legend, columns, methods=methods)).animation()


def film_of(results: Any, look: Look) -> Film:
    """As `animation`, from one `Look`, before it moves."""
    if not isinstance(results, Comparison):
        raise InputError(f"figure: {ANIMATION!r} is of an experiment; a choice of K has no climbs")
    checked_size(look)
    given = look.keywords(ANIMATION, "palette", "legend", "columns", "methods")
    legend = given.pop("legend", "above")
    films: list[Film] = []

    def draw(made: Figure, axes: list[Any]) -> None:
        films.append(Film(axes, results, **given))
        films[-1].widen()
        for ax in axes:
            if not ax.get_subplotspec().is_first_col():
                ax.set_ylabel("")
        legend_of_panels(made, axes[0], legend, MIXED)

    count = len(climbing(results, look.methods))
    for wide in WIDTHS:
        made = fitting(ANIMATION, lambda look, wide=wide: grid(look, count, HIGH, draw, wide), look)  # type: ignore[misc]
        if look.size is not None or settle(made) is None:
            break
    # The layout holds the widest titles, and stays as it is from frame to frame.
    made.set_layout_engine("none")
    return films[-1]


def save_film(film: Film, path: Path, progress: Progress | None = None) -> Path:
    """Write an animation whole, or not at all, in the format of the file's suffix.

    Raises:
        InputError: the suffix is none of `MOVING`, an MP4 is asked for and ffmpeg is missing, or the file cannot be
            written.
    """
    form = path.suffix.lower()
    if form not in MOVING:
        raise InputError(
            f"--out: {path}: suffix {path.suffix!r} is no format of an animation; give {', '.join(MOVING)}"
        )
    if form == ".mp4" and not FFMpegWriter.isAvailable():
        raise InputError(f"--out: {path}: needs ffmpeg, which is not installed here; install it, or give a .gif")
    writer = (_Gif if form == ".gif" else FFMpegWriter)(fps=PER_SECOND)
    with written(path) as temporary:
        film.animation().save(temporary, writer, dpi=DOTS_PER_INCH, progress_callback=progress)
    return path


class _Gif(AbstractMovieWriter):
    """As matplotlib's writer by Pillow, in half of the time: it draws each frame once. The last frame is held."""

    def setup(self, fig: Figure, outfile: str | Path, dpi: float | None = None) -> None:
        """Begin a file."""
        super().setup(fig, outfile, dpi)
        self._before = fig.canvas, fig.dpi
        self._canvas: Any = FigureCanvasAgg(fig)
        fig.dpi = self.dpi
        self._frames: list[Image.Image] = []

    def grab_frame(self, **_: Any) -> None:
        """Keep what the figure shows now."""
        self._canvas.draw()
        self._frames.append(Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB"))

    def finish(self) -> None:
        """Write the frames."""
        canvas, dpi = self._before
        self.fig.set_canvas(canvas)
        self.fig.dpi = dpi
        if self._frames:
            first, *rest = self._frames
            times = [round(1000 / self.fps)] * len(rest) + [HELD]
            first.save(self.outfile, format="GIF", save_all=True, append_images=rest, duration=times, loop=0)
