"""The atlas of optima: the distinct ends of thousands of starts, the kind of each, and the size of its basin."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from workbench.diagnostics.proportion import Proportion
from workbench.engine.devices import USUAL, precision_note
from workbench.geometry.stationary import Kind
from workbench.mixture import Mixture, covariance_named
from workbench.table import Table


@dataclass(frozen=True)
class Basin:
    """One distinct end, and the starts that lead to it."""

    mixture: Mixture  # polished, its components in canonical order
    groups: np.ndarray  # [K]   equal for components that have merged
    log_joint: float
    kind: Kind
    share: Proportion  # of all starts
    median_passes: float  # over the starts that end here
    ascending: int  # directions in which log_joint rises to second order
    flat: int  # directions in which it neither rises nor falls
    largest_eigenvalue: float  # of the Hessian in the complete-data information; NaN where it was not computed
    reason: str

    @property
    def count(self) -> int:
        """Number of starts that end here."""
        return self.share.successes


@dataclass(frozen=True, eq=False)
class Atlas:
    """All distinct ends of one method from one rule of starts, and the end of each start.

    `optima` are the stationary points that were reached, best first; those that are not sound come last. Starts that
    reached none are counted in `others`: they ran into a singularity, ran out of budget, or are not finite.
    """

    method: str
    rule: str
    optima: tuple[Basin, ...]
    place: np.ndarray  # [R]   index in `optima`; -1 for the others
    kinds: tuple[Kind, ...]  # [R]
    log_joint: np.ndarray  # [R]   at the end, before polishing
    passes: np.ndarray  # [R]
    dtype: str = USUAL  # in which the numbers were computed

    @property
    def starts(self) -> int:
        """Number of starts, R."""
        return len(self.place)

    @property
    def best(self) -> Basin | None:
        """The highest strict and sound maximum; None if no start leads to one."""
        return next((basin for basin in self.optima if basin.kind == Kind.MAXIMUM), None)

    @property
    def others(self) -> dict[Kind, Proportion]:
        """The shares of starts that reached no stationary point, by the kind of their ends."""
        ends = [kind for kind, place in zip(self.kinds, self.place, strict=True) if place < 0]
        return {kind: Proportion(ends.count(kind), self.starts) for kind in Kind if kind in ends}

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """The cells of the table under `HEADINGS`: the optima, best first, then one line for each kind in `others`."""
        shown = len(self.optima) if len(self.optima) <= MOST_LINES else MOST_LINES - 1
        lines = [_line(basin) for basin in self.optima[:shown]]
        if shown < len(self.optima):
            lines.append(_line_of_the_rest(self.optima[shown:], self.starts))
        for kind, share in self.others.items():
            passes = np.median([self.passes[r] for r in np.flatnonzero(self.place < 0) if self.kinds[r] == kind])
            name = "collapsing" if kind == Kind.DEGENERATE else kind.value
            lines.append(("–", name, f"{share.successes:,}", percent(share), f"{passes:,.0f}", "–", ""))
        return lines

    @property
    def reading(self) -> str:
        """A sentence that sums up the table."""
        best, count, note = self.best, len(self.optima), precision_note(self.dtype)
        ends = "1 distinct end" if count == 1 else f"{count} distinct ends"
        if best is None:
            return f"{self.starts:,} starts, {ends}; none is a strict sound maximum. {note}".rstrip()
        share = f"{best.count:,} of {self.starts:,} starts ({percent(best.share)})"
        text = f"{ends}; the best strict sound maximum, {best.log_joint:.3f}, is reached from {share}."
        return f"{text} {note}".rstrip()

    @property
    def table(self) -> Table:
        """The optima, best first, then one line for each kind in `others`."""
        return Table.of_lines(HEADINGS, self.lines, words=("kind", "why"))

    def __str__(self) -> str:
        return f"{self.method} from {self.rule}\n{self.table}\n{self.reading}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values; None stands for numbers that are not finite."""
        return {
            "method": self.method,
            "rule": self.rule,
            "dtype": self.dtype,
            "starts": self.starts,
            "optima": [_basin_to_dict(basin) for basin in self.optima],
            "others": {kind.value: _share(share) for kind, share in self.others.items()},
            "ends": {
                "place": self.place.tolist(),
                "kinds": [kind.value for kind in self.kinds],
                "log_joint": [_number(value) for value in self.log_joint],
                "passes": self.passes.tolist(),
            },
        }

    def to_json(self) -> str:
        """`to_dict` on one line."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Atlas":
        """Inverse of `to_dict`."""
        ends = values["ends"]
        return cls(
            method=str(values["method"]),
            rule=str(values["rule"]),
            optima=tuple(_basin_from_dict(one, int(values["starts"])) for one in values["optima"]),
            place=np.asarray(ends["place"], int),
            kinds=tuple(Kind(kind) for kind in ends["kinds"]),
            log_joint=np.asarray([np.nan if v is None else v for v in ends["log_joint"]], float),
            passes=np.asarray(ends["passes"], float),
            dtype=str(values.get("dtype", USUAL)),
        )


# Most lines of the table; further optima are counted in one line.
MOST_LINES = 15

HEADINGS = ("log-joint", "kind", "starts", "share (95 % interval)", "passes (median)", "largest eigenvalue", "why")


def _line(basin: Basin) -> tuple[str, ...]:
    eigenvalue = "–" if math.isnan(basin.largest_eigenvalue) else f"{basin.largest_eigenvalue:.2g}"
    passes = f"{basin.median_passes:,.0f}"
    share = f"{basin.count:,}", percent(basin.share)
    why = "" if basin.kind == Kind.MAXIMUM else basin.reason
    return f"{basin.log_joint:.3f}", basin.kind.value, *share, passes, eigenvalue, why


def _line_of_the_rest(rest: tuple[Basin, ...], starts: int) -> tuple[str, ...]:
    share = Proportion(sum(basin.count for basin in rest), starts)
    kinds = [basin.kind for basin in rest]
    why = ", ".join(f"{kinds.count(kind)} {kind.value}" for kind in Kind if kind in kinds)
    return "–", f"{len(rest)} more", f"{share.successes:,}", percent(share), "–", "–", why


def percent(share: Proportion) -> str:
    """A share and its interval as text."""
    low, high = share.interval
    return f"{100 * share.share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _basin_to_dict(basin: Basin) -> dict[str, Any]:
    mixture = basin.mixture
    return {
        "log_joint": basin.log_joint,
        "kind": basin.kind.value,
        **_share(basin.share),
        "median_passes": basin.median_passes,
        "ascending": basin.ascending,
        "flat": basin.flat,
        "largest_eigenvalue": _number(basin.largest_eigenvalue),
        "reason": basin.reason,
        "groups": basin.groups.tolist(),
        "covariance": mixture.covariance.name,
        "weights": np.asarray(mixture.weights).tolist(),
        "means": np.asarray(mixture.means).tolist(),
        "scales": np.asarray(mixture.scales).tolist(),
    }


def _basin_from_dict(values: Mapping[str, Any], starts: int) -> Basin:
    eigenvalue = values["largest_eigenvalue"]
    weights, means, scales = (jnp.asarray(values[name]) for name in ("weights", "means", "scales"))
    return Basin(
        mixture=Mixture(weights, means, scales, covariance_named(values["covariance"])),
        groups=np.asarray(values["groups"], int),
        log_joint=float(values["log_joint"]),
        kind=Kind(values["kind"]),
        share=Proportion(int(values["starts"]), starts),
        median_passes=float(values["median_passes"]),
        ascending=int(values["ascending"]),
        flat=int(values["flat"]),
        largest_eigenvalue=math.nan if eigenvalue is None else float(eigenvalue),
        reason=str(values["reason"]),
    )


def _share(share: Proportion) -> dict[str, Any]:
    low, high = share.interval
    return {"starts": share.successes, "share": share.share, "low": low, "high": high}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
