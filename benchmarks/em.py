"""Times an EM iteration of workbench and of its peers: same points, same start, same number of iterations, one process.

What is reported is a ratio, the peer's time over workbench's in the same round. A round runs every package once, in
an order that is reversed from round to round, with a pause between them in which the threads of the one before go to
sleep. The first call of each, which compiles, is apart. Before a ratio counts, the log-likelihood at each package's
parameters after the iterations, judged by a plain NumPy function, must agree with workbench's to 1e-6.

Cells: N, D, K and family, see `grid`. The points are drawn from a mixture of K overlapping components (separation 1);
the start is that mixture with its means moved and unit covariances.
"""

import argparse
import itertools
import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import setting
import workbench as wb
from floor import Rates, features, floor_seconds, measure
from judge import AGREEMENT, Parameters, agree, log_likelihood
from peers import FAMILIES, PEERS, Peer
from summary import left_out_lines, summary
from workbench.engine.devices import use_all_cores

# Families, N, D, K.
GRID = (FAMILIES, (1_000, 10_000, 100_000, 1_000_000), (1, 2, 8, 32, 64), (2, 5, 16, 64))
QUICK = (FAMILIES, (10_000,), (2, 8), (5,))
GIBIBYTES = 4.0  # a package that must hold more is left out of the cell
JUDGED = 20_000  # rows that the judge looks at, at most
MOST_ROUNDS = 5
PAUSE = 0.05  # seconds; OpenBLAS's and OpenMP's threads spin for some tens of milliseconds after their work
LONGEST = 1e10  # operations of an iteration, beyond which a cell is for `--full`


class Cell(NamedTuple):
    """A shape of problem."""

    family: str
    N: int
    D: int
    K: int

    @property
    def in_thinned_grid(self) -> bool:
        """Whether the cell is one of a fifth of the grid: for each family, N and K there is one D."""
        places = (axis.index(value) for axis, value in zip(GRID, self, strict=True))
        return sum(place * weight for place, weight in zip(places, (1, 2, 1, 3), strict=True)) % 5 == 0

    @property
    def work(self) -> float:
        """Operations of an iteration, an exponential counted as 30 features."""
        return 4.0 * self.N * self.K * (features(self.family, self.D) + 30)

    @property
    def iterations(self) -> int:
        """The fixed number: 100 where they are short, 2 where they are long.

        As a run takes dozens at least, the call itself must not count: it takes about a millisecond.
        """
        return int(min(100, max(2, 1.5e9 / self.work)))


def main() -> None:
    """Time the cells asked for, print a line for each package and cell, then the summary."""
    asked = _arguments()
    jax.config.update("jax_platforms", {"cpu": "cpu", "gpu": "cuda"}[asked.device])
    jax.config.update("jax_enable_x64", asked.dtype == "float64")
    use_all_cores()
    peers = installed(asked.peers)
    rates = measure(asked.dtype)
    print(f"{setting.machine()}\nBLAS: {setting.blas()}\n{asked.dtype}: {rates.words()}")
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    end = time.perf_counter() + 60 * asked.minutes
    for cell in grid(asked):
        if time.perf_counter() > end:
            left_out.append({"peer": "all", **cell._asdict(), "reason": "no time left"})
            continue
        able = [peer for peer in peers if fits(peer, cell, left_out)]
        measured = with_floor(time_cell(cell, able, asked.dtype, asked.seconds, left_out), rates, asked.dtype)
        print(*map(line, measured), sep="\n", flush=True)
        rows += measured
    print(*summary(rows), sep="\n")
    print(*left_out_lines(left_out), sep="\n")
    if asked.json:
        setting.write(asked.json, rows, rates=rates._asdict(), left_out=left_out)
    if not all(row["agrees"] for row in rows):
        raise SystemExit("a package's log-likelihood does not agree with workbench's")


def grid(asked: argparse.Namespace) -> list[Cell]:
    """The cells asked for, in an order of chance, always the same: what no time is left for is no matter of size.

    Every cell where `--full` or a filter is given. Otherwise a fifth, in which every pair of values of two axes occurs,
    of at most `LONGEST` operations; `--quick` takes those of `QUICK`. Cells with fewer than 2 K (D + 1) points are no
    problems: some maximum-likelihood covariance is singular.
    """
    given = (asked.family, asked.points, asked.dimensions, asked.components)
    axes = [chosen or all_of for chosen, all_of in zip(given, QUICK if asked.quick else GRID, strict=True)]
    cells = [Cell(*values) for values in itertools.product(*axes)]
    if not (asked.full or asked.quick or any(given)):
        cells = [cell for cell in cells if cell.in_thinned_grid and cell.work <= LONGEST]
    cells = [cell for cell in cells if cell.N >= 2 * cell.K * (cell.D + 1)]
    random.Random(0).shuffle(cells)
    return cells


def installed(names: Sequence[str]) -> list[Peer]:
    """The packages asked for that import here; a line for each that does not."""
    found = []
    for peer in PEERS:
        version = peer.version()
        if version is None:
            print(f"{peer.name}: not installed, left out")
        elif peer.name == "workbench" or peer.name in names:
            found.append(peer)
    return found


def fits(peer: Peer, cell: Cell, left_out: list[dict[str, Any]]) -> bool:
    """Whether a package has the family and the memory; notes why not."""
    if cell.family not in peer.families:
        reason = "no such family"
    elif peer.gibibytes(*cell) > GIBIBYTES:
        reason = f"would hold more than {GIBIBYTES:g} GiB"
    else:
        return True
    left_out.append({"peer": peer.name, **cell._asdict(), "reason": reason})
    return False


def time_cell(
    cell: Cell, peers: Sequence[Peer], dtype: str, seconds: float, left_out: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """One row for each package that does not fail; the first is workbench's."""
    x, start = problem(cell, dtype)
    runs = [peer.prepare(x, start, cell.family, cell.iterations) for peer in peers]
    firsts = [clock(run)[0] if peer.compiles else 0.0 for peer, run in zip(peers, runs, strict=True)]
    rounds, results = time_rounds(runs, seconds)
    if isinstance(results[0], Exception):
        raise results[0]
    rows: list[dict[str, Any]] = []
    for i, (peer, result) in enumerate(zip(peers, results, strict=True)):
        if isinstance(result, Exception):
            left_out.append({"peer": peer.name, **cell._asdict(), "reason": f"fails: {str(result)[:100]}"})
            continue
        answer = log_likelihood(peer.parameters(result), x[:JUDGED], cell.family)
        typical = float(np.nanmedian(rounds[:, i]))
        rows.append(
            {"peer": peer.name, **cell._asdict(), **ratios(rounds, i)}
            | {"iterations": cell.iterations, "seconds_per_iteration": typical / cell.iterations}
            | {"compile_seconds": max(firsts[i] - typical, 0.0), "log_likelihood": answer}
            | {"agrees": agree(answer, rows[0]["log_likelihood"] if rows else answer, dtype)}
        )
    return rows


def time_rounds(runs: Sequence[Callable[[], Any]], seconds: float) -> tuple[np.ndarray, list[Any]]:
    """Seconds of every run in every round, NaN where it took no part, and what each returned first. [rounds, runs]

    A run takes part until it has used its time up, the first in every round; `MOST_ROUNDS` at most.
    """
    rounds = np.full((MOST_ROUNDS, len(runs)), np.nan)
    results: list[Any] = [None] * len(runs)
    for turn, row in enumerate(rounds):
        taking = [i for i in range(len(runs)) if turn == 0 or 0 < np.nansum(rounds[:, i]) <= seconds]
        if taking in ([], [0]) and turn > 0 and len(runs) > 1:
            return rounds[:turn], results
        for i in sorted({0, *taking}, reverse=turn % 2 == 1):
            time.sleep(PAUSE)
            row[i], result = clock(runs[i])
            results[i] = result if turn == 0 else results[i]
    return rounds, results


def ratios(rounds: np.ndarray, i: int) -> dict[str, float | int]:
    """Times of run i over those of run 0 in the same rounds: median, minimum, maximum and how many."""
    each = rounds[:, i] / rounds[:, 0]
    each = each[np.isfinite(each)]
    return {
        "ratio": float(np.median(each)),
        "ratio_min": float(each.min()),
        "ratio_max": float(each.max()),
        "rounds": len(each),
    }


def clock(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of a call, and what it returned; NaN and the error where a package fails."""
    begun = time.perf_counter()
    try:
        result = run()
    except (ValueError, RuntimeError, MemoryError) as error:
        return math.nan, error
    return time.perf_counter() - begun, result


def problem(cell: Cell, dtype: str) -> tuple[np.ndarray, Parameters]:
    """Points [N, D] and the start of a cell."""
    data = wb.Simulator(components=cell.K, dimensions=cell.D, points=cell.N, separation=1.0).draw(0)
    moved = data.truth.means + 0.3 * np.random.default_rng(0).standard_normal((cell.K, cell.D))
    unit = np.eye(cell.D)
    covariances = {
        "full": np.tile(unit, (cell.K, 1, 1)),
        "tied": unit,
        "diagonal": np.ones((cell.K, cell.D)),
        "spherical": np.ones(cell.K),
    }[cell.family]
    return data.x.astype(dtype), Parameters(np.full(cell.K, 1 / cell.K), moved, covariances)


def with_floor(rows: Sequence[dict[str, Any]], rates: Rates, dtype: str) -> list[dict[str, Any]]:
    """The rows with the floor of the cell and workbench's share of it: floor over workbench's time."""
    out = []
    for row in rows:
        least = floor_seconds(row["N"], row["D"], row["K"], row["family"], rates, np.dtype(dtype).itemsize)
        share = least / rows[0]["seconds_per_iteration"]
        out.append({**row, "floor_seconds": least, "share_of_floor": share, "dtype": dtype})
    return out


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    cell = f"{row['family']:9} N={row['N']:<9,} D={row['D']:<3} K={row['K']:<3} {row['peer']:12}"
    figures = f"{1e3 * row['seconds_per_iteration']:10.3f} ms  compile {row['compile_seconds']:5.1f} s  "
    if row["peer"] == "workbench":
        return cell + figures + f"{row['share_of_floor']:.0%} of the floor's speed"
    spread = f"{row['ratio']:6.2f}x ({row['ratio_min']:.2f} to {row['ratio_max']:.2f}, {row['rounds']} rounds)"
    return cell + figures + spread + ("" if row["agrees"] else "  LOG-LIKELIHOOD DISAGREES")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="eight cells, within a minute")
    size.add_argument("--full", action="store_true", help="every cell of the grid, for hours")
    parser.add_argument("--family", nargs="+", choices=FAMILIES, help="these families only; every cell of theirs")
    parser.add_argument("--points", nargs="+", type=int, metavar="N", help="these N only, of the grid or not")
    parser.add_argument("--dimensions", nargs="+", type=int, metavar="D")
    parser.add_argument("--components", nargs="+", type=int, metavar="K")
    parser.add_argument("--peers", nargs="+", choices=[p.name for p in PEERS[1:]], default=[p.name for p in PEERS[1:]])
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="where workbench and gmmx run")
    parser.add_argument("--dtype", choices=tuple(AGREEMENT), default="float64")
    parser.add_argument("--seconds", type=float, help="time of a package in a cell: 0.4 unless given")
    parser.add_argument(
        "--minutes", type=float, help="no cell begins after so many: 0.5 if quick, no end if full, else 6"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a row for each cell and package")
    asked = parser.parse_args()
    if asked.minutes is None:
        asked.minutes = 0.5 if asked.quick else math.inf if asked.full else 6.0
    if asked.seconds is None:
        asked.seconds = 0.4
    return asked


if __name__ == "__main__":
    main()
