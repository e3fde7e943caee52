"""Peak resident memory of EM against the size of the data, for points in an array and in a memory-mapped NPY file.

Every measurement is a fresh process that runs `wb.compare` with EM for a few iterations from one start of random rows,
as a user would, and reads the kernel's own high-water mark at the end (`VmHWM`, so Linux only; `ru_maxrss` would begin
at the parent's). *Peak* counts everything, the interpreter and the libraries too; *grown* leaves out what was resident
after the imports. Pages of a mapped file count as resident while the kernel keeps them, though it may drop them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import setting
import workbench as wb
from workbench.engine.devices import use_all_cores

KINDS = ("array", "mapped")
DIMENSIONS, COMPONENTS, ITERATIONS = 8, 16, 3
BLOCK = 100_000  # rows written at a time
GOAL = 1.3  # times the data


def main() -> None:
    """Measure both kinds of data and print shares of their size."""
    asked = _arguments()
    if asked.child:
        print(json.dumps(fit(asked.file, asked.child)))
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        file = Path(folder) / "points.npy"
        write_points(file, asked.points)
        rows = [measured(kind, file, asked.points) for kind in KINDS]
    for row in rows:
        print(
            f"N={row['N']:,} D={row['D']} K={row['K']} {row['data']:6} {row['data_mb']:.0f} MB of data: peak "
            f"{row['peak']:.2f}x (goal {GOAL}x), grown {row['grown']:.2f}x after {row['imports_mb']:.0f} MB of imports"
        )
    if asked.json:
        setting.write(asked.json, rows)


def write_points(file: Path, points: int) -> None:
    """A mixture of K components, drawn and written block by block."""
    rng = np.random.default_rng(0)
    means = 3 * rng.standard_normal((COMPONENTS, DIMENSIONS))
    out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float64, shape=(points, DIMENSIONS))
    for first in range(0, points, BLOCK):
        size = min(BLOCK, points - first)
        component = rng.integers(COMPONENTS, size=size)
        out[first : first + size] = means[component] + rng.standard_normal((size, DIMENSIONS))
    out.flush()


def measured(kind: str, file: Path, points: int) -> dict[str, Any]:
    """One row, from a fresh process."""
    command = [sys.executable, __file__, "--child", kind, "--file", str(file)]
    environment = os.environ | {"JAX_ENABLE_X64": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    before, after = json.loads(done.stdout)
    size = points * DIMENSIONS * 8
    return {
        "data": kind,
        **{"family": "full", "N": points, "D": DIMENSIONS, "K": COMPONENTS, "data_mb": size / 1e6},
        **{"peak": after / size, "grown": (after - before) / size, "imports_mb": before / 1e6},
    }


def fit(file: Path, kind: str) -> tuple[int, int]:
    """Peak bytes after the imports and JAX's start, and after EM as well."""
    use_all_cores()
    before = peak_bytes()
    x = np.load(file, mmap_mode="r" if kind == "mapped" else None)
    wb.compare(wb.Problem(x, COMPONENTS), [wb.EM(max_iterations=ITERATIONS)], restarts=1, starts=wb.RandomPoints())
    return before, peak_bytes()


def peak_bytes() -> int:
    """The high-water mark of this process's resident memory."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10_000_000, metavar="N")
    parser.add_argument(
        "--folder", type=Path, help="where the file of points is written; the system's own unless given"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--child", choices=KINDS, help="measure in this process and print the peaks as JSON")
    parser.add_argument("--file", type=Path, help="the points of --child")
    return parser.parse_args()


if __name__ == "__main__":
    main()
