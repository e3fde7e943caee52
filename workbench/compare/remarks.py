"""Sentences beside the results of a comparison: why ends are not sound and what to try, and remarks on the run."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from workbench.compare.comparison import Comparison
from workbench.data import Tie, default_columns
from workbench.data.reading import told_dropped
from workbench.data.weights import number_text
from workbench.diagnostics.convergence import FOLLOWED_COLUMNS
from workbench.diagnostics.support import slivers
from workbench.errors import VALUE, cut
from workbench.loop.trace import Trace
from workbench.mixture import COVARIANCES, ConjugatePrior, FlatPrior, Mixture
from workbench.mixture.fixed import told_fixed
from workbench.problem import Problem
from workbench.soundness import Health, Soundness, tie_under

# At most NAMED columns are named in which a covariance is narrow. Directions count as narrow if their variance is at
# most ALIKE times the smallest. A column counts if the part of its unit vector in the narrow directions is at least the
# share ALONG of the largest such part.
NAMED = 3
ALIKE = 100.0
ALONG = 0.5


def why_unsound(problem: Problem, trace: Trace, rule: Soundness, columns: Sequence[str]) -> str:
    """Why ends of a climb are not sound, counted by reason; empty if all are sound.

    For a singular covariance it names the equal values under it, or the columns in which the narrowest component of the
    highest such end is narrow.
    """
    ends, healths = trace.ends, rule.check_all(problem, trace.ends)
    scores = trace.log_joint[:, -1]
    finite = np.isfinite(scores) & np.asarray([health.finite for health in healths])
    singular = finite & (trace.collapsed | np.asarray([health.singular for health in healths]))
    starved = finite & ~singular & np.asarray([health.starved for health in healths])
    parts = []
    if singular.any():
        each = [jax.tree.map(lambda leaf, r=r: leaf[r], ends) for r in np.argsort(-scores) if singular[r]]
        parts.append(f"{_of(singular)} run into a singular covariance{_under(problem, each, columns)}")
    if starved.any():
        few = [health for health, is_starved in zip(healths, starved, strict=True) if is_starved]
        parts.append(f"{_of(starved)} leave a component {_too_few(problem, few)}")
    if not finite.all():
        parts.append(f"{_of(~finite)} end on numbers that are not finite")
    return "; ".join(parts)


def sliver_in(problem: Problem, mixture: Mixture, columns: Sequence[str]) -> str | None:
    """The component whose gain is farthest below its price, and which may be there by chance; None if there is none."""
    found = slivers(problem, mixture)
    if not found:
        return None
    worst = min(found, key=lambda sliver: sliver.gain - sliver.price)
    where = _named(_along(problem, mixture, worst.component), columns)
    return (
        f"a component of {worst.points:.3g} points' worth, narrow {where}, that adds {worst.gain:.1f} nats where "
        f"stating it takes {worst.price:.1f}"
    )


def remedies(problem: Problem, *, tied: bool) -> str:
    """What to try if components collapse, starve or merge.

    Args:
        problem: the problem that was climbed.
        tied: whether they do so on equal values.
    """
    family, k, d = problem.covariance, problem.components, problem.num_dimensions
    tries = []
    if not problem.prior.bounds_components(family, d):
        tries.append('a prior that bounds every component (prior.family = "conjugate" or "chen_tan")')
    else:
        tries.append("a stronger prior")
    lighter = [other for other in COVARIANCES.values() if other != family and not other.is_unrestricted]
    # In every family with separate variances, a component's variance vanishes on equal values; a shared one does not.
    # In one column, all families with separate variances are the same.
    lighter = [other for other in lighter if other.is_shared or (not tied and d > 1)]
    if lighter:
        tries.append("covariance = " + " or ".join(f'"{other.name}"' for other in lighter))
    if tied:
        tries.append("leaving the equal values out, as a group of their own")
    if k > 1:
        tries.append("fewer components")
    rule = "[soundness] holds the rule of what is sound"
    return f"{needs(problem)}Try {', '.join(tries[:-1])}, or {tries[-1]}; {rule}."


def needs(problem: Problem) -> str:
    """A sentence on the number of points that the family's covariances need, if there are fewer; else empty."""
    family, k, d, n = problem.covariance, problem.components, problem.num_dimensions, problem.num_points
    own = k * family.fewest_points(d)
    if n < own:
        return f"{k} {family.name} covariances of {d} columns take {own} points at least, and there are {n}. "
    if own == 0 and n < k + d:
        return f"A covariance of {d} columns about {k} means takes {k + d} points at least, and there are {n}. "
    return ""


def _of(which: np.ndarray) -> str:
    return f"{int(np.sum(which))} of {len(which)} starts"


def _under(problem: Problem, ends: Sequence[Mixture], columns: Sequence[str]) -> str:
    """What is under the narrowest components of some ends, which are ordered from the highest down."""
    narrowest = [_narrowest(problem, end) for end in ends]
    ties: Counter[Tie] = Counter()
    for end, (component, _) in zip(ends, narrowest, strict=True):
        tie = tie_under(problem, end, component)
        ties.update([] if tie is None else [tie])
    if ties:
        return "".join(f", {count} of them on equal values: {tie.text(columns)}" for tie, count in ties.items())
    component, along = narrowest[0]
    size = problem.num_points * float(ends[0].weights[component])
    where = _named(along, columns)
    return f", the highest with a component of {size:.3g} points' worth that is narrow {where}"


class _Narrow(NamedTuple):
    """The columns in which a component is narrow, the narrowest first, and in how many directions it is."""

    columns: list[int]
    directions: int


def _narrowest(problem: Problem, mixture: Mixture) -> tuple[int, _Narrow]:
    """The component that is narrowest relative to the data, and where it is narrow."""
    trils = np.asarray(problem.rows.to_working(mixture).scale_trils)
    component = int(np.argmin(np.linalg.svd(trils, compute_uv=False)[..., -1]))
    return component, _along(problem, mixture, component)


def _along(problem: Problem, mixture: Mixture, component: int) -> _Narrow:
    """Where a component is narrow."""
    deviations = np.sqrt(np.diag(np.asarray(problem.rows.matrix) @ np.asarray(problem.rows.matrix).T))
    scaled = np.asarray(mixture.covariances)[component] / np.outer(deviations, deviations)
    values, vectors = np.linalg.eigh(scaled)
    alike = values <= ALIKE * values[0]
    reach = np.linalg.norm(vectors[:, alike], axis=1)
    order = np.argsort(-reach)
    return _Narrow([int(d) for d in order if reach[d] >= ALONG * reach[order[0]]], int(np.sum(alike)))


def _named(narrow: _Narrow, columns: Sequence[str]) -> str:
    """Where a component is narrow, as text."""
    along = narrow.columns
    if narrow.directions == len(columns):
        return "in every column"
    rest = f" and {len(along) - NAMED} more" if len(along) > NAMED else ""
    named = f"{', '.join(columns[d] for d in along[:NAMED])}{rest}"
    if len(along) <= narrow.directions:
        return f"along {named}"
    # Points on a line across two columns spread in both of them.
    return f"in {'one direction' if narrow.directions == 1 else f'{narrow.directions} directions'} across {named}"


def _too_few(problem: Problem, healths: Sequence[Health]) -> str:
    """The number of points in the starved components of some ends, as text."""
    fewest = problem.covariance.fewest_points(problem.num_dimensions)
    least = min(health.smallest_component_size for health in healths)
    if all(health.vanished for health in healths) or fewest == 0:
        return "without a point"
    return (
        f"of fewer points than its {problem.covariance.name} covariance needs ({fewest}; the least holds {least:.3g})"
    )


# Steps of a column that differ by at most this share of their mean count as equal.
EVEN = 1e-9


def remarks_on(comparison: Comparison) -> tuple[str, ...]:
    """A sentence for each remark, in a fixed order."""
    missing = [f"{name} is not in this table: {why}." for name, why in comparison.missing.items()]
    stale = [
        f"Beware: the run of {name} is STALE: other code made it ({why})." for name, why in comparison.stale.items()
    ]
    return (
        *_on_weights(comparison),
        *_on_starts(comparison),
        *_on_missing(comparison),
        *_on_known(comparison),
        *_on_fixed(comparison),
        *_on_background(comparison),
        *_on_row_numbers(comparison),
        *_on_followed_columns(comparison),
        *missing,
        *stale,
    )


def counts_rows(column: NDArray[np.float64]) -> bool:
    """Whether values [N] look like row numbers: they rise from row to row, and are integers or evenly spaced."""
    steps = np.diff(column)
    if not np.all(steps > 0):
        return False
    return bool(np.all(column == np.round(column)) or np.ptp(steps) <= EVEN * np.mean(steps))


def _on_weights(comparison: Comparison) -> list[str]:
    """A remark on the weights of rows, if there are any: what N is, and whether it is too small to be a count.

    Weights that were made to sum to 1 or to K say how much a row matters, and not how often it occurs. With more rows
    than parameters and a sum of weights below these, that is what they look like, and every error and criterion is off.
    """
    problem = comparison.problem
    if problem.weights is None:
        return []
    rows, total = f"{problem.num_rows:,} rows", number_text(problem.weights)
    remark = f"The {rows} have weights: one of weight w counts as w equal rows, and N is their sum, {total}."
    if problem.num_points < problem.num_parameters <= problem.num_rows:
        remark += (
            f" That is fewer than the {problem.num_parameters} free parameters: if weights say how much a row matters, "
            "scale them so that they sum to the number of independent rows."
        )
    return [remark]


def _on_starts(comparison: Comparison) -> list[str]:
    """A remark that the starts have climbed already, if so and if a method climbs on from them."""
    climbs = any(not trace.is_sampler for trace in comparison.values())
    if comparison.starts is None or not comparison.starts.climbs or not climbs:
        return []
    return [
        "The starts have climbed already (short runs of EM, which no method is charged for): passes count from there; "
        "starts.rule = random_points begins at random."
    ]


def _on_missing(comparison: Comparison) -> list[str]:
    """A remark on missing cells, if there are any."""
    problem = comparison.problem
    told = [told_dropped(problem.dropped, problem.missing)] if problem.dropped else []
    if problem.missing == "refuse":
        return told
    rows = int(np.sum(np.any(np.isnan(problem.x), axis=1)))
    return [
        *told,
        f"{rows:,} of {problem.num_rows:,} rows have missing cells and count by the others, which is right if cells "
        "are missing at random. Starts and figures complete them by one Gaussian.",
    ]


def _on_known(comparison: Comparison) -> list[str]:
    """A remark on rows of known components, if there are any: which component stands for which class."""
    known = comparison.problem.known
    if known is None:
        return []
    heldout = " Held-out rows are scored by their density, whatever is known of them."
    return [
        f"{known.told()}; these count by this component alone, and components keep these numbers."
        f"{heldout if comparison.reference.heldout is not None else ''}"
    ]


def _on_fixed(comparison: Comparison) -> list[str]:
    """A remark on parameters that are held fixed, if there are any."""
    problem = comparison.problem
    if not problem.fixed:
        return []
    return [f"Held fixed: {told_fixed(problem.fixed)}; {problem.num_parameters} parameters are free."]


def _on_background(comparison: Comparison) -> list[str]:
    """A remark on the background, if the problem has one."""
    if comparison.problem.background is None:
        return []
    told = (
        "Beside the components stands a uniform background over the box that holds all points: labels call it 0 (in "
        "Python -1), and its weight is among the estimates."
    )
    climbs = [trace for trace in comparison.values() if not trace.is_sampler]
    ends = [(score, float(end)) for trace in climbs for score, end in zip(*_last_of(trace), strict=True)]
    best = max((each for each in ends if np.isfinite(each[0])), default=None)
    if best is not None and best[1] * comparison.problem.num_points < 1.0:
        told += " The highest end gives it less than one point: fit without it."
    return [told]


def _last_of(trace: Trace) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The log_joint and the background's weight at the end of each restart. [R], [R]"""
    background = trace.ends.background
    assert background is not None
    return np.asarray(trace.log_joint[:, -1], float), np.asarray(background.weight, float)


def _on_row_numbers(comparison: Comparison) -> list[str]:
    """Remarks on columns that look like row numbers, if there are several columns."""
    problem = comparison.problem
    names = comparison.columns or default_columns(problem.num_dimensions)
    x = problem.sample
    # With two points every column rises or falls. A single column is often sorted, and cannot be left out.
    if problem.num_dimensions < 2 or len(x) < 3:
        return []
    return [
        f"Column {cut(name, VALUE)} looks like a row number: if it is one, leave it out by columns = [...]."
        for d, name in enumerate(names)
        if counts_rows(x[:, d])
    ]


def _on_followed_columns(comparison: Comparison) -> list[str]:
    """A remark on the columns that R-hat and ESS do not follow, if they are reported for any method."""
    d = comparison.problem.num_dimensions
    reported = any(trace.is_sampler and not trace.is_approximation for trace in comparison.values())
    if d <= FOLLOWED_COLUMNS or not reported:
        return []
    return [
        f"R-hat and ESS follow the means in the first {FOLLOWED_COLUMNS} of {d} columns, and weights, volumes and "
        "densities in all."
    ]


def words_on_mode(problem: Problem, method: str) -> str:
    """A sentence on the estimates of a method that climbs, where a prior moves them; empty under the flat one."""
    prior = problem.prior
    if isinstance(prior, FlatPrior):
        return ""
    pull = ""
    if isinstance(prior, ConjugatePrior) and prior.scatter is None:
        # The M-step's covariance is a weighted mean of the likelihood's and of that of a component without points.
        family, d = problem.covariance, problem.num_dimensions
        degrees = problem.hyperparameters["degrees"] + family.block_dimension(d) + 1
        degrees += jnp.max(family.degrees(jnp.ones(problem.components), d))
        share = (prior.scatter_components or problem.components) ** (-1 / d) / math.sqrt(float(degrees))
        pull = f", which draws standard deviations towards {share:.2g} of the data's"
    return (
        f"These are the mode under the {getattr(prior, 'family', type(prior).__name__)} prior{pull}, not maximum "
        f"likelihood: for that, fit without the prior (--set prior.family=flat --methods {method})."
    )
