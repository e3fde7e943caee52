"""What the rows of `em.py` say against the goals, in a few lines."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

GOALS = {"scikit-learn": 12.0, "gmmx": 8.0}  # geometric mean of the ratios, at least
LARGE = 100_000  # points, from which on
LEAST = 2.0  # is the least ratio
HALF = 0.5  # of the floor's speed, for full covariance at D = 8 to 64

Row = dict[str, Any]


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """Geometric means, then the cells that miss a goal, then the share of the floor."""
    for peer in peers(rows):
        yield geometric_mean_line(peer, [row["ratio"] for row in rows if row["peer"] == peer])
    others = [row for row in rows if row["peer"] != "workbench"]
    yield listed(f"under {LEAST:g}x at N >= {LARGE:,}", [r for r in large(others) if r["ratio"] < LEAST])
    yield listed("slower than a peer", [row for row in others if row["ratio"] < 1])
    own = [row for row in rows if row["peer"] == "workbench" and row["family"] == "full" and row["D"] >= 8]
    if own:
        shares = sorted(row["share_of_floor"] for row in own)
        yield (
            f"share of the floor, full, D >= 8: {shares[0]:.0%} to {shares[-1]:.0%}, median "
            f"{shares[len(shares) // 2]:.0%}; {sum(s >= HALF for s in shares)} of {len(shares)} cells reach {HALF:.0%}"
        )


def peers(rows: Sequence[Row]) -> list[str]:
    """The peers there are, in the order of the rows."""
    return [name for name in dict.fromkeys(row["peer"] for row in rows) if name != "workbench"]


def large(rows: Sequence[Row]) -> list[Row]:
    """The rows of many points."""
    return [row for row in rows if row["N"] >= LARGE]


def geometric_mean(ratios: Sequence[float]) -> float:
    """exp of the mean logarithm."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def geometric_mean_line(peer: str, ratios: Sequence[float]) -> str:
    """A peer's ratios in a line, with the goal where there is one."""
    goal = f", goal {GOALS[peer]:g}x" if peer in GOALS else ""
    return (
        f"{peer}: {geometric_mean(ratios):.1f}x as the geometric mean of {len(ratios)} cells{goal}; "
        f"{min(ratios):.2f}x to {max(ratios):.1f}x"
    )


def listed(what: str, found: Sequence[Row]) -> str:
    """The cells found, each with its peer and ratio."""
    cells = [f"{r['family']} N={r['N']} D={r['D']} K={r['K']} {r['peer']} {r['ratio']:.2f}x" for r in found]
    return f"{what}: {'; '.join(cells) if cells else 'none'}"


def left_out_lines(left_out: Sequence[Row]) -> Iterator[str]:
    """How many cells each package was left out of, and why."""
    for (peer, reason), cells in Counter((entry["peer"], entry["reason"]) for entry in left_out).items():
        yield f"left out: {peer}, {cells} cells: {reason}"
