"""Passes until within 1e-3 nats per point of the optimum: minibatch methods beside those that look at all rows.

    python benchmarks/online.py [--points 100000 1000000] [--restarts 4] [--json FILE]

Simulated groups, five in two dimensions, 3 standard deviations apart, with starts by k-means++. The optimum is the best
end of any method. Rows of a trace lie a tenth of their passes apart, so figures are rounded up by at most a tenth; a
restart counts from its first row that is near, if its last is near too.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import jax

import workbench as wb

METHODS = {
    "em": wb.EM(),
    "online_em": wb.OnlineEM(max_passes=10.0),
    "lbfgs": wb.GradientAscent(),
    "stochastic_ascent": wb.StochasticAscent(max_passes=10.0),
}


@dataclass(frozen=True)
class Row:
    """One method on one problem."""

    points: int
    method: str
    restarts: int
    near: int  # restarts that end near the optimum
    passes: float | None  # median over them, until they are near
    passes_in_all: float
    seconds: float  # stepping, all restarts


def main() -> None:
    """Run, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[100_000, 1_000_000], metavar="N")
    parser.add_argument("--restarts", type=int, default=4, help="starts for each problem (4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write one row for each problem and method")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rows = []
    for points in arguments.points:
        found = measure(points, arguments.restarts)
        print(table(found), flush=True)
        rows += found
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def measure(points: int, restarts: int) -> list[Row]:
    """Every method on so many simulated points."""
    data = wb.Simulator(components=5, dimensions=2, points=points, separation=3.0).draw(0)
    problem = wb.Problem(data.x, 5)
    comparison = wb.compare(problem, METHODS, restarts=restarts, starts=wb.KMeansPlusPlus())
    return [
        Row(points, s.method, s.restarts, s.near_best or 0, s.passes_to_near_best, s.passes, s.seconds)
        for s in wb.summarise(comparison)
    ]


def table(rows: list[Row]) -> str:
    """The rows of one problem as text."""
    lines = [f"N = {rows[0].points:,}", f"  {'method':20}{'passes':>8}{'near':>8}{'in all':>9}{'seconds':>9}"]
    for row in rows:
        passes = "–" if row.passes is None else f"{row.passes:.3g}"
        near = f"{row.near} of {row.restarts}"
        lines.append(f"  {row.method:20}{passes:>8}{near:>8}{row.passes_in_all:>9.0f}{row.seconds:>9.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
