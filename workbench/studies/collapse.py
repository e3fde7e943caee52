"""Singularities: how often climbs collapse and under which remedies, and the likelihood on the way into one."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import jax
import numpy as np
from pydantic import Field, model_validator

from workbench.config import Config, Listed, Whole
from workbench.data import Simulator
from workbench.diagnostics import Status, restart_statuses
from workbench.diagnostics.proportion import Proportion
from workbench.engine.keys import named_key
from workbench.errors import MOST_WHOLE
from workbench.experiment.config import AnyMethods, AnyPrior
from workbench.geometry.singularity import Flat, escape, falls, falls_in_rounding, path_of
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import EM, FlooredEM
from workbench.mixture import FlatPrior
from workbench.problem import Problem
from workbench.soundness import Soundness
from workbench.starts import RandomPoints, draw_starts
from workbench.studies.base import Row, Study
from workbench.studies.subjects import Subject

Counts = Annotated[tuple[Whole, ...], Field(min_length=1), Listed]
Separations = Annotated[tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...], Field(min_length=1), Listed]
AXES = ("points", "dimensions", "components", "separation")
SUMMED = ("starved", "failed", "unfinished", "steps", "log_joint_falls", "log_likelihood_falls", "falls_in_rounding")


class Map(Config):
    """A block of simulated problems: all combinations of these values. `Simulator` explains them."""

    points: Counts = Field(description="sizes N of the data sets")
    dimensions: Counts = Field(description="numbers of columns, D")
    components: Counts = Field(description="numbers of components, K, drawn and fitted")
    separation: Separations = Field(
        description="smallest distances of two means, in average standard deviations of a component"
    )

    def coordinates(self) -> list[Row]:
        """The coordinates of each combination."""
        values: Iterable[Any] = itertools.product(*(getattr(self, axis) for axis in AXES))
        return [dict(zip(AXES, each, strict=True)) for each in values]


class Remedy(Config):
    """A remedy against singularities: a prior, and the methods of the study that use it."""

    name: Annotated[str, Field(min_length=1)] = Field(description="shown in tables and figures")
    prior: AnyPrior = Field(FlatPrior(), description="prior of the parameters")
    methods: Annotated[tuple[str, ...], Field(min_length=1), Listed] = Field(description="names of the study's methods")


class Collapse(Study):
    """Climbs from the same starts under each remedy, with the number that collapse.

    A climb has *collapsed* if a covariance is singular or that of the next step would be. A climb that has not, but
    leaves a component fewer points than a covariance of the family needs (`Covariance.fewest_points`), has *starved*
    the component, and is counted separately. Without a remedy such a component is on its way into a singularity or has
    vanished. Under a remedy it can be an ordinary mode: a component on a point or two at the width that the remedy
    allows, or on none. A climb that broke its method's promise or met a non-finite number is counted as `failed`.

    Data set i and its starts are drawn with the seed plus i, so they are the same for all methods and remedies. The
    intervals are Wilson's, over all starts as if these were independent. They are too narrow, because starts of the
    same data set are correlated.

    For EM and EM with a floor, the first `steps` steps are run without a stopping rule, and those in which `log_joint`
    falls beyond rounding, and in which the log-likelihood does, are counted.
    """

    study: Literal["collapse"] = "collapse"
    maps: Annotated[tuple[Map, ...], Field(min_length=1), Listed] = Field(description="blocks of the grid")
    remedies: Annotated[tuple[Remedy, ...], Field(min_length=1), Listed] = Field(
        description="priors that are compared, each with methods of the study"
    )
    methods: AnyMethods
    covariance: Literal["full", "diagonal", "spherical"] = Field("full", description="family of the covariances")
    datasets: Whole = Field(4, description="data sets drawn for each problem of the grid")
    restarts: Whole = Field(16, description="starts for each data set")
    steps: Whole = Field(50, description="steps from each start in which falls are counted")

    summary: ClassVar[str] = "the share of climbs that collapse, over N, D, K and separation, under each remedy"
    shown: ClassVar[tuple[str, ...]] = (
        "remedy", "method", "starts", "collapsed", "share", "low", "high", "starved", "failed", "steps",
        "log_joint_falls", "log_likelihood_falls",
    )  # fmt: skip

    @model_validator(mode="after")
    def _known_methods(self) -> "Collapse":
        for remedy in self.remedies:
            unknown = [name for name in remedy.methods if name not in self.methods]
            if unknown:
                raise ValueError(f"remedies.{remedy.name}.methods: unknown {unknown}; allowed: {list(self.methods)}")
        return self

    def cells(self) -> Sequence[Row]:
        """Every distinct problem of the maps, under every remedy."""
        places = {tuple(place.values()): place for each in self.maps for place in each.coordinates()}
        return [place | {"remedy": remedy.name} for place in places.values() for remedy in self.remedies]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """A row for each method of the remedy."""
        (remedy,) = (each for each in self.remedies if each.name == cell["remedy"])
        simulator = Simulator(**{axis: cell[axis] for axis in AXES})  # type: ignore[arg-type]
        problems = [
            Problem(simulator.draw(self.seed + i).x, simulator.components, self.covariance, remedy.prior)
            for i in range(self.datasets)
        ]
        return [self._row(name, problems) for name in remedy.methods]

    def tabulated(self, rows: list[Row]) -> list[Row]:
        """The sums over the whole grid for each remedy and method."""
        pairs = dict.fromkeys((row["remedy"], row["method"]) for row in rows)
        return [_summed([row for row in rows if (row["remedy"], row["method"]) == pair]) for pair in pairs]

    def _row(self, name: str, problems: list[Problem]) -> Row:
        method, ends, passes = self.methods[name], Counter[str](), []
        fallen, rounded = np.zeros((2, 2), int), 0  # log_joint and log_likelihood: falls, steps
        for seed, problem in enumerate(problems, self.seed):
            starts = draw_starts(RandomPoints(), problem, self.restarts, seed)
            trace = run(method, problem, starts, named_key(seed, name))
            ends.update(_ends(problem, trace))
            passes += trace.passes[:, -1].tolist()
            if isinstance(method, EM | FlooredEM):
                path = path_of(method, problem, starts, self.steps)
                fallen += np.asarray([falls(path.log_joint), falls(path.log_likelihood)])
                rounded += falls_in_rounding(path, problem.num_points)
        counted = isinstance(method, EM | FlooredEM)
        return {
            "method": name,
            **_share(ends["collapsed"], len(problems) * self.restarts),
            "starved": ends["starved"],
            "failed": ends["failed"],
            "unfinished": ends["unfinished"],
            "median_passes": float(np.median(passes)),
            "steps": int(fallen[0, 1]) if counted else None,
            "log_joint_falls": int(fallen[0, 0]) if counted else None,
            "log_likelihood_falls": int(fallen[1, 0]) if counted else None,
            "falls_in_rounding": rounded if counted else None,  # of those of log_joint
        }


def _ends(problem: Problem, trace: Trace) -> list[str]:
    """How each restart ended: "collapsed", "starved", "failed", "unfinished" or "other". [R]"""
    healths = Soundness().check_all(problem, trace.ends)
    statuses = [ended.status for ended in restart_statuses(trace, problem, Soundness(), None)]
    fewest = problem.covariance.fewest_points(problem.num_dimensions)
    return [
        _end(status, health.singular or bool(brink), health.smallest_component_size < fewest)
        for status, health, brink in zip(statuses, healths, trace.collapsed, strict=True)
    ]


def _end(status: Status, singular: bool, starved: bool) -> str:
    if status in (Status.DIVERGENT, Status.NONFINITE):
        return "failed"
    if singular:
        return "collapsed"
    if starved:
        return "starved"
    return "unfinished" if status == Status.BUDGET else "other"


def _share(collapsed: int, starts: int) -> Row:
    share = Proportion(collapsed, starts)
    low, high = share.interval
    return {"starts": starts, "collapsed": collapsed, "share": share.share, "low": low, "high": high}


def _summed(rows: list[Row]) -> Row:
    """The sum of the rows of one remedy and method."""

    def total(name: str) -> int | None:
        numbers = [row[name] for row in rows]
        return None if None in numbers else sum(n for n in numbers if isinstance(n, int))

    counts = {name: total(name) for name in SUMMED}
    share = _share(total("collapsed") or 0, total("starts") or 0)
    return {"remedy": rows[0]["remedy"], "method": rows[0]["method"], **share, **counts}


Width = Annotated[float, Field(gt=0, lt=1)]


class EscapeSubject(Subject):
    """A problem, and the rows of its data onto which the first component shrinks."""

    rows: Annotated[tuple[Annotated[int, Field(ge=0, le=MOST_WHOLE)], ...], Field(min_length=1), Listed] = Field(
        description="one row for a point, or up to D rows for the flat through them"
    )


class Escapes(Study):
    """Three ways into the same singularity, for each subject.

    - `held`: the first component of the first start shrinks onto the rows, and everything else is held fixed.
    - `settled`: the same, but at each width all weights and the other components take some EM steps.
    - `em`: EM runs from random starts. Of those that collapse, the one that gets narrowest is recorded step by step, up
      to the last mixture that is not singular; there are no rows if none collapses. EM chooses the point.

    The slope of the log-likelihood against log sigma is fitted to the narrower half of the widths. In theory it is
    minus the number of rows that lie exactly on the flat times the number of directions lost.
    """

    study: Literal["escape"] = "escape"
    subjects: Annotated[tuple[EscapeSubject, ...], Field(min_length=1), Listed] = Field(
        description="the problems to look at"
    )
    widest: Width = Field(0.3, description="first width of the component, in units in which the data have unit spread")
    narrowest: Width = Field(1e-7, description="last width")
    widths: Annotated[int, Field(ge=6, le=MOST_WHOLE)] = Field(
        28, description="number of widths, evenly spaced in the logarithm"
    )
    steps: Whole = Field(10, description="EM steps of the others at each width, when settled")
    restarts: Whole = Field(64, description="random starts of EM")
    iterations: Whole = Field(300, description="EM steps from each start")

    summary: ClassVar[str] = "the log-likelihood against log sigma on the way into a singularity, its slope and theory"
    shown: ClassVar[tuple[str, ...]] = (
        "subject", "way", "points_on_it", "directions", "slope", "slope_error", "theory", "log_sigma",
        "log_likelihood",
    )  # fmt: skip

    def cells(self) -> Sequence[Row]:
        """Every subject in every way."""
        return [{"subject": s.name, "way": way} for s in self.subjects for way in ("held", "settled", "em")]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """A row for each width, or for each step of EM."""
        subject = next(each for each in self.subjects if each.name == cell["subject"])
        problem = subject.problem(self.seed, folder)
        if cell["way"] == "em":
            return self._by_em(problem)
        return self._by_hand(problem, subject.rows, self.steps if cell["way"] == "settled" else 0)

    def tabulated(self, rows: list[Row]) -> list[Row]:
        """The end of every curve, with its slope."""
        return list({(row["subject"], row["way"]): row for row in rows}.values())

    def _by_hand(self, problem: Problem, rows: tuple[int, ...], steps: int) -> list[Row]:
        mixture = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), problem, 1, self.seed))
        flat = Flat.through(problem, rows)
        log_sigmas = np.linspace(math.log(self.widest), math.log(self.narrowest), self.widths)
        found = escape(problem, mixture, 0, flat, log_sigmas, steps=steps)
        fitted: Row = {
            "points_on_it": flat.points,
            "directions": int(flat.lost.shape[1]),
            "slope": _number(found.slope),
            "slope_error": _number(found.slope_error),
            "theory": found.theory,
        }
        curve = zip(found.log_sigmas, found.log_likelihoods, strict=True)
        return [fitted | {"log_sigma": float(s), "log_likelihood": _number(value)} for s, value in curve]

    def _by_em(self, problem: Problem) -> list[Row]:
        starts = draw_starts(RandomPoints(), problem, self.restarts, self.seed)
        path = path_of(EM(), problem, starts, self.iterations)
        lengths = np.sum(np.isfinite(path.log_joint), axis=1)
        collapsed = np.nonzero(lengths <= self.iterations)[0]
        if len(collapsed) == 0:
            return []
        ends = path.log_width[collapsed, lengths[collapsed] - 1]
        deepest = collapsed[np.argmin(ends)]
        unknown: Row = dict.fromkeys(("points_on_it", "directions", "slope", "slope_error", "theory"))
        curve = zip(path.log_width[deepest], path.log_likelihood[deepest], strict=True)
        return [
            unknown | {"step": step, "log_sigma": float(width), "log_likelihood": float(value)}
            for step, (width, value) in enumerate(curve)
            if step < lengths[deepest]
        ]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
