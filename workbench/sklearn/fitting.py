"""The fit behind the estimator: EM by one compiled program for many N and K, and any other method by the one loop."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from workbench.data.incomplete import check_incomplete, check_pairs, completed_by_gaussian, has_missing
from workbench.data.moments import Moments, moments_of
from workbench.data.observed import Observed
from workbench.data.points import default_columns
from workbench.engine.compat.compilation import BRIEF, FEW_NUMBERS, OLD_EMITTERS, STEPPING, jit_with
from workbench.engine.devices import mesh_of
from workbench.engine.incomplete import IncompleteRows
from workbench.engine.keys import named_key
from workbench.engine.rows import Rows
from workbench.errors import InputError
from workbench.loop.run import run
from workbench.memory_maps import make_room
from workbench.methods import Method
from workbench.methods.base import is_usable
from workbench.mixture import DiagonalLoadingPrior, FlatPrior, Mixture, Prior, covariance_named
from workbench.mixture.covariance import Covariance
from workbench.mixture.filled import COMPONENTS, first_components
from workbench.problem import Problem

Points = NDArray[np.float64]

# Rows of small data are padded to a multiple of this, so that most small fits have one of a few shapes.
ROWS_TOGETHER = 512

# A larger value has a square that is infinite in float64, or nearly so.
LARGEST = 1e150

# The objective of this many iterations is kept; sizes in between are powers of two.
FEWEST_HEIGHTS, MOST_HEIGHTS = 128, 2**16


@dataclass(frozen=True)
class Climb:
    """One climb from one start."""

    mixture: Mixture  # on the host
    height: float  # the objective per row at the mixture
    heights: Points  # [T]   the objective per row: at the start, and after each iteration, the first `MOST_HEIGHTS`
    converged: bool
    collapsed: bool  # it stopped at a covariance that is singular
    num_iterations: int


class Rule(NamedTuple):
    """When EM stops: below this gain per row, or after so many iterations."""

    tolerance: float
    max_iterations: int


def check_squares(x: Points) -> None:
    """Check that sums of squares of values stay below infinity.

    Raises:
        InputError: some would not.
    """
    largest = np.max(np.abs(x), initial=0.0, where=np.isfinite(x))
    if largest > LARGEST:
        raise InputError(
            f"X: holds {largest:.3g}, whose square is infinite; give it in another unit, below {LARGEST:g}"
        )


def loaded_problem(x: Points, weights: Points | None, components: int, covariance: str, loading: float) -> Problem:
    """The problem under `DiagonalLoadingPrior`, for any finite points: constant and collinear columns are no error.

    The penalty bounds every covariance, whatever the points are. The working units are those of the data with noise of
    variance `loading`. Weights [N], all above 0, may have any sum: the fit depends on their ratios only. NaN is a
    missing cell; a row or a column without a value is an error, and so are two columns that are never there together in
    a family with correlations.
    """
    prior = FlatPrior() if loading == 0.0 else DiagonalLoadingPrior(loading=loading)
    scaled = None if weights is None else weights * (len(x) / np.sum(weights))
    if loading == 0.0:
        return Problem(x, components, covariance, prior, weights=scaled, missing="marginal")
    family = covariance_named(covariance)
    if has_missing(x):
        return _loaded_incomplete(x, scaled, components, family, prior, loading)
    moments = moments_of(x, weights)
    n, mean, spread = moments
    wider = Moments(n, mean, spread + loading * np.eye(x.shape[1]))
    rows = Rows.of(x, family, components, mesh_of(None), moments=wider, weights=weights)
    inverse = np.asarray(rows.inverse)
    rows = replace(rows, total=n * inverse @ spread @ inverse.T)
    hyperparameters = prior.hyperparameters(moments, components, family)
    return Problem.tree_unflatten((components, family, prior, (), "free"), (rows, hyperparameters, None, None))


def _loaded_incomplete(
    x: Points, weights: Points | None, components: int, family: Covariance, prior: Prior, loading: float
) -> Problem:
    """`loaded_problem` for points with missing cells."""
    check_incomplete(x, "x", components, different=1)
    if family.has_correlations:
        check_pairs(x, "x", default_columns(x.shape[1]))
    moments, completed = completed_by_gaussian(x, weights)
    wider = moments._replace(covariance=moments.covariance + loading * np.eye(x.shape[1]))
    data = Observed(x, weights, (), wider, completed)
    rows = IncompleteRows.of_points(data, family, components)
    hyperparameters = prior.hyperparameters(moments, components, family)
    problem = Problem.tree_unflatten((components, family, prior, (), "free"), (rows, hyperparameters, None, None))
    object.__setattr__(problem, "_data", data._replace(moments=moments))
    return problem


def climb(problem: Problem, start: Mixture, rule: Rule, before: float = -np.inf) -> Climb:
    """EM from a start, until the objective per row changes by less than the tolerance.

    As scikit-learn does, an iteration compares the objective at its own start with that at the start of the iteration
    before it.

    Args:
        problem: under a prior with a closed-form M-step.
        start: the first mixture.
        rule: when to stop.
        before: the objective per row one iteration before the start, where the climb goes on from there.
    """
    make_room()
    common, begun = _common(problem, start)
    beside = 0.0 if common.active is None else _inactive_log_prior(problem, COMPONENTS - problem.components)
    room = min(max(FEWEST_HEIGHTS, 1 << rule.max_iterations.bit_length()), MOST_HEIGHTS)
    program = next(program for most, program in _PROGRAMS if problem.rows.z.size <= most)
    end = jax.device_get(program(room, common, begun, beside, rule, before))
    mixture = first_components(end.mixture, problem.components)
    return Climb(
        mixture=mixture,
        height=float(end.height),
        heights=end.heights[:room][: int(end.iterations) + 1],
        converged=bool(end.converged),
        collapsed=bool(end.collapsed),
        num_iterations=int(end.iterations),
    )


def climb_by(method: Method, problem: Problem, starts: Sequence[Mixture], seed: int) -> list[Climb]:
    """Climbs of any method from several starts, by the one loop; each stops by the method's own rule.

    `heights` are those of the rows that the loop records, and iterations are passes over the data.

    Raises:
        InputError: the method cannot solve the problem.
    """
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)
    trace = run(method, problem, stacked, named_key(seed, method.method))
    return [
        Climb(
            mixture=jax.tree.map(lambda leaf, r=r: np.asarray(leaf)[r, -1], trace.mixtures),
            height=float(trace.log_joint[r, -1]) / problem.num_points,
            heights=np.asarray(trace.log_joint[r]) / problem.num_points,
            converged=bool(trace.converged[r]),
            collapsed=bool(trace.collapsed[r]),
            num_iterations=round(float(trace.passes[r, -1])),
        )
        for r in range(trace.num_restarts)
    ]


def _common(problem: Problem, start: Mixture) -> tuple[Problem, Mixture]:
    """The problem and the start in the shape of a program that many small problems share; others as they are."""
    rows = problem.rows
    if rows.shared or rows.stream is not None or problem.missing == "marginal":
        return problem, start
    if rows.z.size > FEW_NUMBERS:
        return problem.of_any_size(), start
    rows = replace(_padded(rows), mesh=None)
    problem = problem.over(rows).of_any_size()
    additive: tuple[type[Prior], ...] = (FlatPrior, DiagonalLoadingPrior)
    k = start.num_components
    if k >= COMPONENTS or rows.z.size * COMPONENTS > FEW_NUMBERS or not isinstance(problem.prior, additive):
        return problem, start
    # Components without points follow; `Problem.nested_in` fixes them.
    weights = np.pad(np.asarray(start.weights), (0, COMPONENTS - k))
    means = np.pad(np.asarray(start.means), ((0, COMPONENTS - k), (0, 0)), mode="edge")
    scales = np.asarray(start.scales)
    if not start.covariance.is_shared:
        scales = np.concatenate([scales, np.repeat(scales[:1], COMPONENTS - k, axis=0)])
    return problem.nested_in(COMPONENTS), Mixture(weights, means, scales, start.covariance)  # type: ignore[arg-type]


def _padded(rows: Rows) -> Rows:
    """The same rows, padded with rows that count nothing to one of a few shapes."""
    z, counted = np.asarray(rows.z), np.asarray(rows.counted)
    chunks = 1 << (len(counted) - 1).bit_length()
    more = ((0, chunks - len(counted)), (0, 0), (0, -z.shape[-1] % ROWS_TOGETHER))
    weights = None if rows.weights is None else np.pad(np.asarray(rows.weights), (more[0], more[2]))
    return replace(rows, z=np.pad(z, more), counted=np.pad(counted, more[0]), weights=weights)  # type: ignore[arg-type]


def _inactive_log_prior(problem: Problem, number: int) -> float:
    """The part of `log_prior` of so many inactive components, under an additive prior, as `Problem` fixes them."""
    prior, rows = problem.prior, problem.rows
    if problem.covariance.is_shared or not isinstance(prior, DiagonalLoadingPrior):
        return 0.0
    matrix = np.asarray(rows.matrix)
    entries = problem.covariance.nearest((matrix @ matrix.T)[None])
    trace = np.trace(np.linalg.inv(entries[0])) if entries.ndim > 2 else len(matrix) * np.mean(1.0 / entries)
    return float(-0.5 * prior.loading * problem.num_points / problem.components * trace) * number


class _State(NamedTuple):
    mixture: Mixture
    height: Array  # []   of the last mixture whose height is known
    heights: Array  # [T]
    iterations: Array  # []
    last: Array  # []   no iteration follows; the height of the mixture is still to be computed
    converged: Array  # []
    collapsed: Array  # []
    ended: Array  # []


def _climbed(room: int, problem: Problem, start: Mixture, beside: float, rule: Rule, before: float) -> _State:
    """All iterations of a climb, and one more pass, which gives the height of the last mixture.

    `beside` is what components that only fill up the program's shape add to the objective.
    """
    tolerance, most = rule

    def turn(now: _State) -> _State:
        proposed, log_joint = problem.em_step(now.mixture)
        height = (log_joint - beside) / problem.num_points
        small = jnp.abs(height - now.height) < tolerance
        usable = is_usable(proposed, problem)
        taken = usable & ~now.last
        iterations = now.iterations + taken
        return _State(
            mixture=jax.tree.map(lambda new, old: jax.lax.select(taken, new, old), proposed, now.mixture),
            height=height,
            # The last place takes what there is no room for.
            heights=jax.lax.dynamic_update_index_in_dim(now.heights, height, now.iterations, 0),
            iterations=iterations,
            last=now.last | small | (iterations >= most),
            converged=now.converged | (small & taken),
            collapsed=~usable & ~now.last,
            ended=now.last | ~usable,
        )

    zero, no = jnp.asarray(0), jnp.asarray(False)
    heights = jnp.zeros(room + 1, start.means.dtype)
    begun = _State(start, jnp.asarray(before, heights.dtype), heights, zero, jnp.asarray(most) <= 0, no, no, no)
    return jax.lax.while_loop(lambda now: ~now.ended, turn, begun)


# The most numbers of data, and how the program of a fit of that many is compiled: the better a program, the longer it
# takes to compile. A hundred iterations of 2^18 numbers took 3.3 s, 2.9 s and 5.3 s with these, compiling included.
_PROGRAMS = tuple(
    (most, jit_with(options, static_argnums=0)(_climbed))
    for most, options in ((FEW_NUMBERS, BRIEF), (2**22, STEPPING | OLD_EMITTERS), (np.inf, STEPPING))
)
