"""The atlas of optima: the distinct ends of thousands of starts, the kind of each, and the size of its basin.

The survey that makes it runs the starts, groups equal ends, and classifies each group.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from workbench.data.dataset import check_seed
from workbench.diagnostics.proportion import Proportion
from workbench.display import PRINTED, line, page
from workbench.engine.devices import USUAL, dtype_name, precision_note
from workbench.engine.keys import named_key
from workbench.errors import InputError, checks_arguments, whole_number
from workbench.geometry.stationary import Kind, Nature, check_mappable, classify
from workbench.loop.run import Progress, run
from workbench.loop.trace import Trace
from workbench.methods import Climber, method_of
from workbench.methods.parts import EndsOnly
from workbench.mixture import Mixture, covariance_named
from workbench.mixture.matching import Components, distinct
from workbench.problem import Problem
from workbench.soundness import VANISHED, Soundness
from workbench.starts import Alternating, Start, draw_starts
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
        return str(replace(self.table, title=f"{self.method} from {self.rule}", note=self.reading))

    def __repr__(self) -> str:
        return line("Atlas", f"{self.method} from {self.rule}", self.reading, PRINTED)

    def _repr_html_(self) -> str:
        return page(f"{self.method} from {self.rule}", self.table, self.reading)

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
                "log_joint": [v if math.isfinite(v) else None for v in self.log_joint.tolist()],
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
    mixture, largest = basin.mixture, basin.largest_eigenvalue
    return {
        "log_joint": basin.log_joint,
        "kind": basin.kind.value,
        **_share(basin.share),
        "median_passes": basin.median_passes,
        "ascending": basin.ascending,
        "flat": basin.flat,
        "largest_eigenvalue": float(largest) if math.isfinite(largest) else None,
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


@checks_arguments
def atlas(
    problem: Problem,
    method: Climber | str,
    *,
    starts: int = 1000,
    rule: Start | None = None,
    seed: int = 0,
    name: str | None = None,
    soundness: Soundness | None = None,
    progress: Progress | None = None,
) -> Atlas:
    """Run a method from thousands of starts and map where they end.

    Args:
        problem: the problem to climb.
        method: any method that climbs, by itself or by its name; its race, if it has one, is not run.
        starts: number of starts.
        rule: of the starts; by default `Alternating()`.
        seed: root seed. A start depends only on the seed and its number, as in `compare`.
        name: of the method, if not its own.
        soundness: the rule of soundness.
        progress: called with the number of rows recorded, which is one for each end, and the most there can be.

    Raises:
        InputError: the method cannot climb this problem, or the rule does not fit it.
    """
    climber = method_of(method)
    if not isinstance(climber, Climber):
        raise InputError(f"method: an atlas is of methods that climb to a point, got {type(climber).__name__}")
    starts = whole_number("starts", starts)
    check_seed(seed)
    rule = Alternating() if rule is None else rule
    name = climber.method if name is None else name
    climber.admit(problem)
    check_mappable(problem)
    rule.check(problem)
    begun = draw_starts(rule, problem, starts, seed)
    trace = run(EndsOnly(inner=climber), problem, begun, named_key(seed, name), progress=progress)
    return atlas_of(problem, trace, method=name, rule=str(rule.model_dump()["rule"]), soundness=soundness)


def atlas_of(problem: Problem, trace: Trace, *, method: str, rule: str, soundness: Soundness | None = None) -> Atlas:
    """The atlas of the ends of a trace.

    Ends are first grouped by their parameters. One end of each group is classified, which polishes it. Polished ends at
    the same point, or at the same mixture apart from the weights of merged components, are then one optimum.
    """
    ends, score = trace.ends, np.asarray(trace.log_joint[:, -1], float)
    finite = np.isfinite(score) & np.all(
        [np.isfinite(leaf).reshape(len(leaf), -1).all(1) for leaf in jax.tree.leaves(ends)], axis=0
    )  # [R]
    going = np.flatnonzero(finite & ~trace.collapsed)
    gathered, natures = _gather(problem, ends, score, going, soundness)
    optimum, firsts = _merge(problem, natures)
    place = np.full(trace.num_restarts, -1)
    place[going] = optimum[gathered]
    kinds = [Kind.DEGENERATE if there else Kind.NONFINITE for there in finite]
    for r, gathering in zip(going, gathered, strict=True):
        kinds[r] = natures[gathering if place[r] < 0 else firsts[place[r]]].kind
    passes = np.asarray(trace.passes[:, -1], float)
    optima = [_basin(natures[first], passes[place == i], len(place)) for i, first in enumerate(firsts)]
    dtype = dtype_name(ends.means)
    return Atlas(method, rule, tuple(optima), place, tuple(kinds), score, passes, dtype)


def numbered(atlases: Sequence[Atlas], problem: Problem) -> list[np.ndarray]:
    """A number for each optimum of each atlas of one problem, the same for the same optimum; the highest is 0."""
    basins, num_points = [basin for atlas in atlases for basin in atlas.optima], problem.num_points
    components = [Components.of(basin.mixture, basin.groups, VANISHED / num_points) for basin in basins]
    scores = [basin.log_joint for basin in basins]
    numbers = distinct(components, np.asarray(scores), num_points, allowed=problem.interchangeable)
    return np.split(numbers, np.cumsum([len(atlas.optima) for atlas in atlases])[:-1])


def _gather(
    problem: Problem, ends: Mixture, score: np.ndarray, going: np.ndarray, soundness: Soundness | None
) -> tuple[np.ndarray, list[Nature]]:
    """The group of each of the usable ends [G], and the nature of the first end of each group."""
    if len(going) == 0:
        return np.zeros(0, int), []
    components = Components.of_all(jax.tree.map(lambda leaf: leaf[going], ends))
    gathered = distinct(components, score[going], problem.num_points, allowed=problem.interchangeable)
    firsts = going[np.unique(gathered, return_index=True)[1]]
    at = (jax.tree.map(lambda leaf, r=r: jnp.asarray(leaf[r]), ends) for r in firsts)
    return gathered, [classify(problem, mixture, soundness) for mixture in at]


def _merge(problem: Problem, natures: list[Nature]) -> tuple[np.ndarray, list[int]]:
    """The optimum of each point, -1 for points that are none, and the first point of each optimum; sound ones first."""
    optimum = np.full(len(natures), -1)
    settled = np.asarray([i for i, nature in enumerate(natures) if nature.settled], int)
    if len(settled) == 0:
        return optimum, []
    points = [natures[i] for i in settled]
    least = VANISHED / problem.num_points
    components = [Components.of(point.mixture, point.groups, least) for point in points]
    scores = np.asarray([point.log_joint for point in points])
    numbers = distinct(components, scores, problem.num_points, allowed=problem.interchangeable)
    firsts = settled[np.unique(numbers, return_index=True)[1]]
    order = sorted(range(len(firsts)), key=lambda i: (natures[firsts[i]].kind == Kind.DEGENERATE, i))
    optimum[settled] = np.argsort(order)[numbers]
    return optimum, [int(firsts[i]) for i in order]


def _basin(point: Nature, passes: np.ndarray, starts: int) -> Basin:
    order = np.lexsort(np.asarray(point.mixture.means).T[::-1])
    return Basin(
        mixture=point.mixture.permute(order),
        groups=point.groups[order],
        log_joint=point.log_joint,
        kind=point.kind,
        share=Proportion(len(passes), starts),
        median_passes=float(np.median(passes)),
        ascending=point.ascending,
        flat=point.flat,
        largest_eigenvalue=point.largest_eigenvalue,
        reason=point.reason,
    )
