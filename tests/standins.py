"""A study that computes nothing and can be slow, fail, or end its process: what the tests of jobs run."""

import os
import signal
import time
from pathlib import Path
from typing import ClassVar, Literal

from workbench.studies import Row, Study

_KEPT: list[bytes] = []


class Steps(Study):
    """Squares of whole numbers; each cell that is begun is a line of a log."""

    summary: ClassVar[str] = "squares"
    study: Literal["steps"] = "steps"
    upto: int = 4
    log: str
    pause: float = 0.0  # seconds in each cell
    fatal: int = -1  # the cell that kills its process,
    deaths: int = 0  # so many times
    broken: int = -1  # the cell that fails,
    error: str = "RuntimeError"  # by this error
    keeps: int = 0  # million bytes that each cell leaves in its process; its row then names the process

    def cells(self) -> list[Row]:
        return [{"n": n} for n in range(self.upto)]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        n = cell["n"]
        assert isinstance(n, int)
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"{n}\n")
        time.sleep(self.pause)
        if n == self.fatal and begun(self.log).count(n) <= self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.keeps:
            _KEPT.append(b"x" * (self.keeps * 10**6))
            return [{"process": os.getpid()}]
        if n == self.broken:
            raise {"RuntimeError": RuntimeError, "OSError": OSError, "MemoryError": MemoryError}[self.error]("no")
        return [{"square": n * n, "third": n / 3}, {"square": -n, "third": None}]


def begun(log: Path | str) -> list[int]:
    """The cells that were begun, in order."""
    path = Path(log)
    return [int(line) for line in path.read_text(encoding="utf-8").split()] if path.is_file() else []
