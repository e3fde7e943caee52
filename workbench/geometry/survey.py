"""The survey that makes an atlas: it runs thousands of starts, groups equal ends, and classifies each group."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from workbench.data.dataset import check_seed
from workbench.diagnostics.proportion import Proportion
from workbench.engine.devices import dtype_name
from workbench.engine.keys import named_key
from workbench.errors import InputError
from workbench.geometry.atlas import Atlas, Basin
from workbench.geometry.stationary import Kind, Nature, classify
from workbench.loop.run import Progress, run
from workbench.loop.trace import Trace
from workbench.methods import Climber
from workbench.methods.base import check_smooth
from workbench.methods.kinds import EndsOnly
from workbench.mixture import Mixture
from workbench.mixture.matching import Components, distinct
from workbench.problem import Problem
from workbench.soundness import VANISHED, Soundness
from workbench.starts import Alternating, Start, draw_starts


def atlas(
    problem: Problem,
    method: Climber,
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
        method: any method that climbs; its race, if it has one, is not run.
        starts: number of starts.
        rule: of the starts; by default `Alternating()`.
        seed: root seed. A start depends only on the seed and its number, as in `compare`.
        name: of the method, if not its own.
        soundness: the rule of soundness.
        progress: called with the number of rows recorded, which is one for each end, and the most there can be.

    Raises:
        InputError: the method cannot climb this problem, or the rule does not fit it.
    """
    if not isinstance(method, Climber):
        raise InputError(f"method: an atlas is of methods that climb to a point, got {type(method).__name__}")
    if isinstance(starts, bool) or not isinstance(starts, int) or starts < 1:
        raise InputError(f"starts: must be a whole number of at least 1, got {starts!r}")
    check_seed(seed)
    rule = Alternating() if rule is None else rule
    name = method.method if name is None else name
    method.check(problem)
    check_smooth(problem)
    rule.check(problem)
    begun = draw_starts(rule, problem, starts, seed)
    trace = run(EndsOnly(inner=method), problem, begun, named_key(seed, name), progress=progress)
    return atlas_of(problem, trace, method=name, rule=str(rule.model_dump()["rule"]), soundness=soundness)


def atlas_of(problem: Problem, trace: Trace, *, method: str, rule: str, soundness: Soundness | None = None) -> Atlas:
    """The atlas of the ends of a trace.

    Ends are first grouped by their parameters. One end of each group is classified, which polishes it. Polished ends at
    the same point, or at the same mixture apart from the weights of merged components, are then one optimum.
    """
    ends, score = trace.ends, np.asarray(trace.log_joint[:, -1], float)
    finite = np.isfinite(score) & np.all([_finite(leaf) for leaf in jax.tree.leaves(ends)], axis=0)  # [R]
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


def numbered(atlases: Sequence[Atlas], num_points: int) -> list[np.ndarray]:
    """A number for each optimum of each atlas of one problem, the same for the same optimum; the highest is 0."""
    basins = [basin for atlas in atlases for basin in atlas.optima]
    components = [Components.of(basin.mixture, basin.groups, VANISHED / num_points) for basin in basins]
    numbers = distinct(components, np.asarray([basin.log_joint for basin in basins]), num_points)
    return np.split(numbers, np.cumsum([len(atlas.optima) for atlas in atlases])[:-1])


def _gather(
    problem: Problem, ends: Mixture, score: np.ndarray, going: np.ndarray, soundness: Soundness | None
) -> tuple[np.ndarray, list[Nature]]:
    """The group of each of the usable ends [G], and the nature of the first end of each group."""
    if len(going) == 0:
        return np.zeros(0, int), []
    components = Components.of_all(jax.tree.map(lambda leaf: leaf[going], ends))
    gathered = distinct(components, score[going], problem.num_points)
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
    numbers = distinct(components, np.asarray([point.log_joint for point in points]), problem.num_points)
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


def _finite(leaf: np.ndarray) -> np.ndarray:
    """Whether every number of each restart is finite. [R]"""
    return np.all(np.isfinite(leaf), axis=tuple(range(1, leaf.ndim)))
