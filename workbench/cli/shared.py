"""What several commands share: the progress bar, and how a config is shown."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tomli_w

from workbench.compare.comparison import Watch
from workbench.experiment import Experiment


@contextmanager
def progress(quiet: bool) -> Iterator[Watch | None]:
    """A bar for the method that is running, on standard error, and only where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    # Loaded where it is needed: other runs do not wait for it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def watch(name: str) -> Any:
            bar = bars.add_task(f"{name} (compiling)", total=None)
            return lambda done, total: bars.update(bar, completed=done, total=total, description=name)

        yield watch


def config_text(experiment: Experiment) -> str:
    """The resolved config as TOML."""
    return tomli_w.dumps(experiment.resolved())
