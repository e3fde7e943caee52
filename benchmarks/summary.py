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
    """Geometric means, then what misses a goal."""
    for peer in peers(rows):
        ratios = [row["ratio"] for row in of_peer(rows, peer)]
        goal = f", goal {GOALS[peer]:g}x" if peer in GOALS else ""
        mean = f"{geometric_mean(ratios):.1f}x as the geometric mean of {len(ratios)} cells{goal}"
        yield f"{peer}: {mean}; {min(ratios):.2f}x to {max(ratios):.1f}x"
    yield from missed(rows)


def missed(rows: Sequence[Row]) -> Iterator[str]:
    """The cells that miss a goal, and the share of the floor."""
    others = [row for row in rows if row["peer"] != "workbench"]
    slow = [row for row in others if row["N"] >= LARGE and row["ratio"] < LEAST]
    yield f"under {LEAST:g}x at N >= {LARGE:,}: {cells(slow)}"
    yield f"slower than a peer: {cells([row for row in others if row['ratio'] < 1])}"
    own = shares(rows)
    if own:
        reached = f"{sum(share >= HALF for share in own)} of {len(own)} cells reach {HALF:.0%}"
        yield f"share of the floor's speed, full, D >= 8: {own[0]:.0%} to {own[-1]:.0%}, {reached}"
    wrong = [row for row in rows if not row["agrees"]]
    yield f"log-likelihoods that disagree: {cells(wrong)}"


def shares(rows: Sequence[Row]) -> list[float]:
    """Workbench's shares of the floor for full covariance at D >= 8, ascending."""
    own = of_peer(rows, "workbench")
    return sorted(row["share_of_floor"] for row in own if row["family"] == "full" and row["D"] >= 8)


def peers(rows: Sequence[Row]) -> list[str]:
    """The peers there are, in the order of the rows."""
    return [name for name in dict.fromkeys(row["peer"] for row in rows) if name != "workbench"]


def of_peer(rows: Sequence[Row], peer: str) -> list[Row]:
    """The rows of one package."""
    return [row for row in rows if row["peer"] == peer]


def geometric_mean(ratios: Sequence[float]) -> float:
    """exp of the mean logarithm."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def cells(rows: Sequence[Row]) -> str:
    """The cells of the rows, each with its peer and ratio."""
    each = [f"{r['family']} N={r['N']} D={r['D']} K={r['K']} {r['peer']} {r['ratio']:.2f}x" for r in rows]
    return "; ".join(each) or "none"


def left_out_lines(left_out: Sequence[Row]) -> Iterator[str]:
    """How many cells each package was left out of, and why."""
    for (peer, reason), count in Counter((entry["peer"], entry["reason"]) for entry in left_out).items():
        yield f"left out: {peer}, {count} cells: {reason}"
