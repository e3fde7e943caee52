"""Passes that EM, its accelerations and L-BFGS need to come within 1e-8 of the optimum, from the same starts.

    python benchmarks/acceleration.py [--restarts 16] [--json FILE]

The optimum of a start is the higher of EM's end and the method's; only starts from which both end there are compared
(those that end elsewhere are counted). Rows of a trace lie at most a tenth of their passes apart, so figures over ten
are rounded up by at most a tenth.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import numpy as np

import workbench as wb

NEAR = 1e-8  # nats from the optimum
SAME = 1e-6  # two ends this close are one optimum
STEEP = 1e-9  # gradient per point at which L-BFGS ends

METHODS = {
    "em": wb.EM(tolerance=0.0, max_iterations=20_000),
    "squarem": wb.SQUAREM(of=wb.EM(tolerance=0.0)),
    "anderson": wb.Anderson(of=wb.EM(tolerance=0.0)),
    "overrelaxed": wb.OverRelaxed(of=wb.EM(tolerance=0.0, max_iterations=10_000)),
    "lbfgs": wb.GradientAscent(gradient_tolerance=STEEP, max_iterations=1000),
}


@dataclass(frozen=True)
class Row:
    """One method on one problem."""

    problem: str
    method: str
    starts: int
    same_optimum: int  # starts from which it ends where EM does, and both come near it
    lower: int  # starts from which it ends lower than EM
    higher: int
    passes: float | None  # median over the starts of `same_optimum`
    em_passes: float | None  # EM's from the same starts
    ratio: float | None  # median of EM's passes over the method's


def main() -> None:
    """Run, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=int, default=16, help="starts for each problem (16)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write one row for each problem and method")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rows = []
    for name, problem in problems().items():
        traces = wb.compare(problem, METHODS, restarts=arguments.restarts, starts=wb.RandomPoints())
        found = [measure(name, method, traces["em"], trace) for method, trace in traces.items()]
        print(table(found), flush=True)
        rows += found
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def problems() -> dict[str, wb.Problem]:
    """Pearson's crabs and simulated groups that overlap, by name."""
    made = {"Pearson's crabs, K = 2": wb.Problem(wb.load_dataset("pearson_crabs").x, 2)}
    for k, d, n, separation, family in (
        (2, 1, 1000, 1.5, "full"),
        (3, 2, 1000, 1.5, "spherical"),
        (3, 3, 1000, 2.0, "diagonal"),
        (3, 2, 1000, 1.5, "full"),
    ):
        data = wb.Simulator(components=k, dimensions=d, points=n, separation=separation).draw(1)
        made[f"K = {k}, D = {d}, N = {n}, {separation:g} sd apart, {family}"] = wb.Problem(data.x, k, family)
    return made


def measure(problem: str, method: str, em: wb.Trace, trace: wb.Trace) -> Row:
    """Passes to the optimum, over the starts from which EM and the method reach one and the same."""
    ends, theirs = trace.log_joint[:, -1], em.log_joint[:, -1]
    target = np.maximum(ends, theirs) - NEAR
    mine, reference = arrivals(trace, target), arrivals(em, target)
    both = (np.abs(ends - theirs) <= SAME) & np.isfinite(mine) & np.isfinite(reference)
    some = bool(both.any())
    return Row(
        problem=problem,
        method=method,
        starts=len(ends),
        same_optimum=int(both.sum()),
        lower=int(np.sum(~(ends >= theirs - SAME))),
        higher=int(np.sum(ends > theirs + SAME)),
        passes=float(np.median(mine[both])) if some else None,
        em_passes=float(np.median(reference[both])) if some else None,
        ratio=float(np.median(reference[both] / mine[both])) if some else None,
    )


def arrivals(trace: wb.Trace, target: np.ndarray) -> np.ndarray:
    """Passes at the first row of each restart that is not below its target; infinite where there is none. [R]"""
    near = trace.log_joint >= target[:, None]  # [R, T]
    passes = trace.passes[np.arange(len(near)), near.argmax(1)]
    return np.where(near.any(1), passes, np.inf)


def table(rows: list[Row]) -> str:
    """The rows of one problem as text."""
    lines = [rows[0].problem, f"  {'method':12}{'passes':>8}{'EM':>8}{'ratio':>8}{'same':>7}{'lower':>7}{'higher':>8}"]
    for row in rows:
        figures = (row.passes, row.em_passes, row.ratio)
        passes, em, ratio = ("–" if f is None else f"{f:.{d}f}" for f, d in zip(figures, (0, 0, 1), strict=True))
        counts = f"{row.same_optimum:>7}{row.lower:>7}{row.higher:>8}"
        lines.append(f"  {row.method:12}{passes:>8}{em:>8}{ratio:>8}{counts}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
