"""Parts that several commands share: the progress bar, options, and the import of a user's own methods.

If a command has done the same thing for a minute, it reports where it stands.
"""

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import click
import tomli_w

from workbench.compare.comparison import Watch
from workbench.errors import VALUE, InputError, one_line, typed
from workbench.experiment import Experiment
from workbench.experiment.own import import_methods
from workbench.experiment.reading import read_toml
from workbench.files import replacing
from workbench.jobs import executors
from workbench.jobs.executors import EXECUTORS, workers_of
from workbench.jobs.running import Reuse
from workbench.loop.run import Progress as RunProgress

# Seconds in one place before the first message; the next ones come after two, four, eight times as many.
PATIENCE = 60.0

# Chooses one of several jobs of a folder.
job_option = click.option(
    "--job",
    metavar="NAME",
    help="The job, where the folder holds several: its name or its id in `workbench status`, or a part of it.",
)


class Finite(click.FloatRange):
    """A number in a range, and no NaN, which click takes for one in every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


# What a command writes into one file, and the suffix that says so; and the suffixes of other formats.
SUFFIXES = {
    "csv": ".csv",
    "json": ".json",
    "parquet": ".parquet",
    "latex": ".tex",
    "markdown": ".md",
    "table": ".txt",
    "toml": ".toml",
    "zip": ".zip",
}
OTHER_SUFFIXES = (".tsv", ".npy", ".npz", ".xlsx", ".pdf", ".html")

Place = tuple[str, int]  # a function, and the instruction it is at

# The share of CPU time above which a command computes and does not wait.
BUSY = 0.1

_PACKAGE = str(Path(__file__).parents[1])


@contextmanager
def watching(say: Callable[[str], object], patience: float = PATIENCE) -> Iterator[Callable[[str], None]]:
    """Within this context, report where the calling thread stands if it stays in one place and reports nothing new.

    A run that steps reports progress every second. A thread that does not, and is found at the same instruction of this
    package each time, is busy with one operation or waits for one; the CPU time says which.

    Args:
        say: takes one line.
        patience: seconds.

    Yields:
        A function that takes, in words, what the command is doing now.
    """
    reports = ["started"]
    ended = threading.Event()

    def watch(thread: int) -> None:
        stand = Stand(patience)
        while not ended.wait(min(1.0, patience / 4)):
            place = _place_of(thread)
            # Workers spend CPU time that is not this process's own.
            used = None if place[0].startswith(executors.__file__) else time.process_time()
            line = stand.look(place, reports, time.monotonic(), used)
            if line is not None:
                say(line)

    watcher = threading.Thread(target=watch, args=(threading.get_ident(),), daemon=True)
    watcher.start()
    try:
        yield reports.append
    finally:
        ended.set()
        watcher.join()


class Stand:
    """Where a thread was last found, and since when.

    Args:
        patience: seconds in one place before the first message; the next come after two, four, eight times as many.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.met: tuple[Place, int] | None = None

    def look(self, place: Place, reports: Sequence[str], now: float, used: float | None) -> str | None:
        """A line if the thread has stood in one place for long; None if it moves, or no line is due.

        Args:
            place: where it is found now.
            reports: everything that it has reported.
            now: seconds of a clock.
            used: seconds of CPU time; None while other processes work.
        """
        if self.met != (place, len(reports)):
            self.met, self.since, self.used, self.due = (place, len(reports)), now, used, self.patience
            return None
        waited = now - self.since
        if waited < self.due:
            return None
        self.due *= 2
        return f"{reports[-1]}: nothing new for {waited:.0f} s; {self._doing(waited, used)}"

    def _doing(self, waited: float, used: float | None) -> str:
        if used is None or self.used is None:
            return "its workers are at their cells"
        busy = used - self.used
        return f"{'waiting' if busy < BUSY * waited else 'computing'} ({busy:.0f} s of CPU time used since)"


def _place_of(thread: int) -> Place:
    """The innermost function of this package in a thread, and the instruction it is at."""
    frame: FrameType | None = sys._current_frames().get(thread)
    while frame is not None and not frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "", 0
    return f"{frame.f_code.co_filename}: {frame.f_code.co_qualname}", frame.f_lasti


class Folder(click.Path):
    """A folder to write to, as a `Path`. An empty value, which would mean the current folder, is refused."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The folder.

        Raises:
            BadParameter: the value is empty.
        """
        if not str(value).strip():
            self.fail("is empty; give a folder, or . for the current one", param, ctx)
        return super().convert(value, param, ctx)


@contextmanager
def writing(path: Path, *inputs: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` if the block ends without an error.

    Args:
        path: the file to write.
        inputs: files that the command reads, which it must not replace.

    Raises:
        InputError: the path is one of the inputs, or cannot be written.
    """
    try:
        if any(path.exists() and each.exists() and path.samefile(each) for each in inputs):
            raise InputError(f"{path}: is read by the command, and would be lost; give another --out")
        with replacing(path) as temporary:
            yield temporary
    except (OSError, UnicodeEncodeError) as error:
        reason = getattr(error, "strerror", None) or "its name or text is no UTF-8"
        raise InputError(f"{one_line(str(path), VALUE)}: cannot be written ({reason}); give another --out") from None


def check_suffix(out: Path | None, form: str) -> None:
    """Refuse a file whose suffix says another format than that in which it is written, a key of `SUFFIXES`.

    Raises:
        InputError: it does; the message says what to call it.
    """
    own = SUFFIXES[form]
    if out is not None and out.suffix.lower() in {*SUFFIXES.values(), *OTHER_SUFFIXES} - {own, SUFFIXES["table"]}:
        what = "text" if form == "table" else form
        more = ", or give another --format" if "form" in click.get_current_context().params else ""
        raise InputError(f"--out: {out} would hold {what}; name it {out.with_suffix(own)}{more}")


def names_of(option: str, text: str | None) -> list[str] | None:
    """The names in `NAME,NAME`; None if the option is not given.

    Raises:
        InputError: a name is given twice.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise InputError(f"{option}: {typed(twice)}: given twice; name each once")
    return names


@contextmanager
def progress(quiet: bool) -> Iterator[Watch | None]:
    """Report progress on standard error: a line if nothing moves, and on a terminal a bar for the running method."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        with watching(partial(print, file=sys.stderr, flush=True)) as come_to:
            yield lambda name: _counting(name, come_to, lambda done, total: None)
        return
    # Imported where it is needed, so that other runs do not wait for it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as bars,
        watching(partial(bars.console.print, markup=False, highlight=False)) as come_to,
    ):

        def watch(name: str) -> RunProgress:
            bar = bars.add_task(f"{name} (compiling)", total=None)
            return _counting(
                name, come_to, lambda done, total: bars.update(bar, completed=done, total=total, description=name)
            )

        yield watch


def _counting(name: str, come_to: Callable[[str], None], show: RunProgress) -> RunProgress:
    """A progress callback that also reports progress in words to `come_to`."""
    come_to(f"{name} at its start")

    def count(done: int, total: int) -> None:
        come_to(f"{name} at {done:,} of {total:,}")
        show(done, total)

    return count


def config_text(experiment: Experiment) -> str:
    """The resolved config as TOML."""
    return tomli_w.dumps(experiment.resolved())


@contextmanager
def named(file: Path) -> Iterator[None]:
    """Begin every message about wrong input with the name of the file."""
    try:
        yield
    except InputError as error:
        if str(error).startswith(f"{file}: "):
            raise
        raise InputError(f"{file}: {error}") from None


def import_own(file: Path, settings: tuple[str, ...] = ()) -> None:
    """Import a user's own methods that a config names. By naming them the user asks for their code to be executed.

    Raises:
        InputError: the file cannot be read, or such a method cannot be imported.
    """
    values = read_toml(file, settings)
    with named(file):
        import_methods(values, file.parent)


def reusing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options on the use of stored results; the command takes them as one argument, `reuse`."""

    @click.option("--force", is_flag=True, help="Run again what is stored; every process given --force runs all cells.")
    @click.option("--keep-stale", is_flag=True, help="Use results that other code made, and mark them as stale.")
    @click.option("--retry", is_flag=True, help="Run failed cells again.")
    @wraps(command)
    def with_reuse(*arguments: Any, force: bool, keep_stale: bool, retry: bool, **options: Any) -> Any:
        return command(*arguments, reuse=Reuse(force, keep_stale, retry), **options)

    return with_reuse


def working(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options on the processes that run cells; the command takes them as one argument, `workers`."""

    @click.option(
        "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Number of processes that run cells."
    )
    @click.option(
        "--executor", type=click.Choice(EXECUTORS), help="The library that runs them  [default: loky, on this machine]"
    )
    @click.option("--scheduler", metavar="ADDRESS", help="Address of a Dask scheduler, for --executor dask.")
    @wraps(command)
    def with_workers(*arguments: Any, jobs: int, executor: str | None, scheduler: str | None, **options: Any) -> Any:
        return command(*arguments, workers=workers_of(executor, jobs, scheduler), **options)

    return with_workers


class Formatted(Protocol):
    """What can be printed as text, JSON and CSV."""

    def to_json(self) -> str:
        """As JSON."""

    def to_csv(self) -> str:
        """As CSV."""


def in_format(found: Formatted, form: str) -> str:
    """What a command prints in the format that `--format` names: json, csv, or text."""
    match form:
        case "json":
            return found.to_json()
        case "csv":
            return found.to_csv().rstrip("\n")
        case _:
            return str(found)
