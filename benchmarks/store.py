"""A results folder of ten thousand cells, and how long `workbench status` and `workbench table` take to open it.

The cells are as those of a sweep over seeds and separations: as many columns, and files of about as many bytes. Each
command is a process of its own, as a user starts it, and runs once before an index of the folder is there and several
times with one. Seconds are of the processor, so that what else the machine does counts little, and those of
`workbench --help`, which reads nothing, stand beside them.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.jobs.base import Cell, Job, Record, Value
from workbench.jobs.store import Store
from workbench.methods import EM
from workbench.provenance import Provenance

CELLS, ROUNDS = 10_000, 3
GOAL = 2.0  # seconds
MADE_BY = Provenance.of(EM)


def main() -> None:
    """Write the folder, and time the commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--folder", type=Path, help="where the results are written; a temporary folder unless given")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary) / "many"
        if not folder.is_dir():
            write(folder, asked.cells)
        print(f"{asked.cells:,} cells; goal {GOAL} s; load {os.getloadavg()[0]:.1f}")
        for words in (["--help"], ["status", str(folder)], ["table", str(folder)]):
            (folder / ".index.json").unlink(missing_ok=True)
            seconds = [spent(words) for _ in range(1 + ROUNDS)]
            print(f"workbench {words[0]:8} first {seconds[0]:.2f} s, then {min(seconds[1:]):.2f} s")


def spent(words: Sequence[str]) -> float:
    """Seconds of the processor that a command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "workbench", *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@dataclass(frozen=True)
class Written:
    """A job of cells that are written and not run."""

    name: str
    written: Sequence[Cell]
    kind: str = "sweep"

    def config(self) -> dict[str, Any]:
        """A sweep of nothing."""
        return {"sweep": {}, "swept": ["seed", "separation"]}

    def all_cells(self) -> Sequence[Cell]:
        """Those that are written."""
        return self.written

    identity, prepare = Job.identity, Job.prepare


def write(folder: Path, cells: int) -> None:
    """A results folder of so many cells."""
    store = Store(folder)
    written = [_cell(number) for number in range(cells)]
    for number, cell in enumerate(written):
        store.save("sweep", cell, _record(number), 0.1)
    store.keep(Written("many", written))  # type: ignore[arg-type]


def _cell(number: int) -> Cell:
    method, seed, separation = ("em", "ascent")[number % 2], number // 8, 1.0 + number // 2 % 4
    settings = {f"setting_{i}": i for i in range(20)}
    identity = {"seed": seed, "separation": separation, "method": {"method": method, **settings}, "data": "0" * 32}
    coordinates: Mapping[str, Any] = {"method": method, "seed": seed, "separation": separation, **settings}
    return Cell(method, identity, MADE_BY, coordinates, dict(identity))


def _record(number: int) -> Record:
    rng = np.random.default_rng(number)
    arrays = {"weights": rng.random((8, 60, 3)), "log_joint": rng.random((8, 60))}
    values = {"statuses": [{"restart": r, "status": "CONVERGED", "message": "met its stopping rule"} for r in range(8)]}
    row: dict[str, Value] = {f"found_{i}": float(i) for i in range(8)}
    row |= {"status": "CONVERGED", "log_joint": float(rng.random()), "passes": float(number), "step_seconds": 0.1}
    return Record(values, arrays, row)


if __name__ == "__main__":
    main()
