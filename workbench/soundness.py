"""The rule by which a mixture counts as sound; only this module distinguishes a spike from a maximum."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field

from workbench.config import Config
from workbench.data import Tie, ties_of
from workbench.data.incomplete import Patterns
from workbench.data.moments import SOUGHT_ROWS, recounted
from workbench.engine.compat.compilation import FEW_NUMBERS, jit_by_size
from workbench.engine.one_pass import one_pass
from workbench.engine.rows import Rows
from workbench.mixture import Mixture
from workbench.mixture.filled import COMPONENTS, filled
from workbench.problem import Problem

# In working units the data have unit covariance. The covariance of a component that is narrower than this in some
# direction has lost three quarters of its digits, because it is formed from squares, and the likelihood is unbounded
# there. Methods stop at such a component.
NARROWEST = 1e-6

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Health:
    """How close a mixture is to degenerate, and the verdicts of the rule on it."""

    smallest_relative_eigenvalue: float  # of all covariances, relative to the data's covariance
    smallest_component_size: float  # responsibility summed over the points
    finite: bool
    singular: bool
    starved: bool
    suspicious: bool
    merged: bool
    vanished: int  # components that hold no point
    distinct: int  # components that hold points, with merged ones counted once
    tie: Tie | None  # equal values that make up most of a tight component's points

    @property
    def sound(self) -> bool:
        """Finite, no singular covariance, no starved component."""
        return self.finite and not self.singular and not self.starved


class Soundness(Config):
    """A mixture is sound if it is finite, no covariance is singular and no component is starved.

    The *size* of a component is the sum of its responsibilities over the points. Where cells are missing, a tight
    component's is that of the rows that hold its covariance up: those whose cells are about as thin as all columns are.

    - A covariance is *singular* if its smallest eigenvalue, in units in which the data have unit covariance, is below
      `min_relative_eigenvalue` and the component holds few points (fewer than `small` times the fewest) or tied values.
      A component collapses on tied values however many they are. If groups are hundreds of their standard deviations
      apart, or one row is far away from the others, a covariance of many different points is also that narrow relative
      to the data's, but it is no spike. Below the square of `NARROWEST` a covariance is always singular, because too
      few of its digits are left. So is a narrow one that an EM step takes there: its points lie in a hyperplane,
      however many they are, and a climb that was cut off was on its way into the singularity.
    - A component is *starved* if its size is less than `min_relative_size` times the fewest points whose covariance in
      the family is not singular (`Covariance.fewest_points`: D + 1 for full, 2 for diagonal and spherical, 0 for tied,
      where the covariance is shared), or if it holds no point, with a size below `VANISHED`. Such a component is on its
      way into a singularity, or the mixture has fewer components in effect. Under a prior that bounds every component
      (`Prior.bounds_components`: conjugate, Chen-Tan, Hathaway's bound, log-normal deviations) neither is the case, and
      such a mixture is a mode like others. There no component counts as starved unless `min_relative_size` is given.
    - A sound mixture is *suspicious* if a component is both tight (an eigenvalue below `tight`) and small (a size below
      `small` times the fewest points). It is often a spurious maximum on a few close points (McLachlan & Peel 2000,
      sec. 3.10). With a shared covariance no component counts as small. A mixture is also suspicious if equal values,
      in one column or in whole rows, make up most of a tight component: a spike on ties, however many.

    Two components are *merged* if both hold points and their log densities differ by less than `MERGED` on every row.
    """

    min_relative_size: NonNegative | None = Field(
        None,
        description="least size of a component (responsibility summed over points), relative to the fewest points "
        "whose covariance in the family is not singular; default: 1, and 0 under a prior that bounds every component",
    )
    min_relative_eigenvalue: NonNegative = Field(
        1e-5, description="a covariance with a smaller eigenvalue, where the data have unit covariance, may be singular"
    )
    tight: NonNegative = Field(1e-3, description="a component with an eigenvalue below it is tight, in the same units")
    small: NonNegative = Field(5.0, description="a component of fewer than this many times the fewest points is small")

    def check(self, problem: Problem, mixture: Mixture) -> Health:
        """The health of one mixture on a problem; costs one pass."""
        (health,) = self.check_all(problem, _alone(mixture))
        return health

    def check_all(self, problem: Problem, mixtures: Mixture) -> list[Health]:
        """The health of every mixture of a batch with leaves [R, ...]; costs one pass for each."""
        return list(self.check_in_turn(problem, mixtures))

    def check_in_turn(self, problem: Problem, mixtures: Mixture) -> Iterator[Health]:
        """`check_all` of a few mixtures at a time, so that whoever needs only the first costs no pass for the rest."""
        first = 0
        for trils, *margins in _margins_in_turn(problem, mixtures):
            for found in zip(_smallest_eigenvalues(trils), *margins, strict=True):
                yield self._health(problem, jax.tree.map(lambda leaf, r=first: leaf[r], mixtures), *found)
                first += 1

    def _health(
        self, problem: Problem, mixture: Mixture, eigenvalues: np.ndarray, sizes: np.ndarray, gaps: np.ndarray
    ) -> Health:
        """The health of a mixture, given eigenvalues [K] and sizes [K] of its components and their gaps [K, K]."""
        fewest = problem.covariance.fewest_points(problem.num_dimensions)
        finite = bool(np.all(np.isfinite(eigenvalues)) and np.all(np.isfinite(sizes)))
        # A covariance that is held fixed cannot shrink, however narrow it is and however few points it holds.
        free = np.ones(len(sizes), bool) if problem.held is None else problem.held.free_scales
        tight, vanished = (eigenvalues < self.tight) & free, sizes < VANISHED
        candidates = np.flatnonzero(tight & ~vanished) if finite else ()
        under = {int(k): tie_under(problem, mixture, int(k), float(sizes[k])) for k in candidates}
        ties = {k: tie for k, tie in under.items() if tie is not None}
        narrow = (eigenvalues < self.min_relative_eigenvalue) & free
        held = _holding_up(problem, mixture, sizes, tight & ~vanished) if finite else sizes
        weak = self._rests_on_few(problem, held) | np.isin(np.arange(len(sizes)), list(ties))
        singular = narrow & (weak | (eigenvalues < NARROWEST**2))
        if finite and not np.any(singular) and np.any(narrow):
            singular = narrow & _falls_into_a_hyperplane(problem, mixture)
        groups = _groups(gaps[np.ix_(~vanished, ~vanished)] < MERGED)
        # Rounding in the sum of responsibilities must not decide for a component that holds exactly the fewest points.
        least = self._relative_size(problem) * max(fewest, VANISHED) * (1 - 1e-9)
        return Health(
            smallest_relative_eigenvalue=float(np.min(eigenvalues)),
            smallest_component_size=float(np.min(sizes)),
            finite=finite,
            singular=bool(np.any(singular)),
            starved=bool(np.any((sizes < least) & free)),
            suspicious=finite and (bool(ties) or bool(np.any(tight & (held < self.small * fewest)))),
            merged=len(np.unique(groups)) < len(groups),
            vanished=int(np.sum(vanished)),
            distinct=len(np.unique(groups)),
            tie=next(iter(ties.values()), None),
        )

    def _rests_on_few(self, problem: Problem, sizes: np.ndarray) -> np.ndarray:
        """Whether the covariance of each component rests on few points: its own, or all less K if it is shared. [K]"""
        fewest, d = problem.covariance.fewest_points(problem.num_dimensions), problem.num_dimensions
        if fewest == 0:
            points = np.full(len(sizes), problem.num_points) if problem.missing == "refuse" else sizes
            return np.asarray(points - len(sizes) < self.small * (d + 1))
        return sizes < self.small * fewest

    def _relative_size(self, problem: Problem) -> float:
        """The least size of a component, given or by the prior."""
        if self.min_relative_size is not None:
            return self.min_relative_size
        return 0.0 if problem.prior.bounds_components(problem.covariance, problem.num_dimensions) else 1.0


# A component of smaller size has vanished: its weight tends to zero, and no point determines its other parameters. A
# component on a spike keeps its one point.
VANISHED = 1e-2

# Number of rows, evenly spaced over the data, on which components are compared.
COMPARED_ROWS = 512

# Number of mixtures that are checked in one call on small data, where a call takes longer than a few passes.
FEW_TOGETHER = 8

# Two components whose log densities agree to 0.3 on every row count as one: EM on a plateau stops when they are this
# close, while the components of a maximum differ by much more on some row.
MERGED = 0.3


# Cells are about as thin as all of a row if the smallest standard deviation in any direction is so many times as large.
AS_THIN = 3.0

# Number of tied rows over which a component's responsibility is averaged; they differ in the columns without the tie.
TIED_ROWS = 64

# A component sits on a tie that makes up at least this fraction of its size.
MOST = 0.5


def merged_groups(problem: Problem, mixture: Mixture) -> np.ndarray:
    """The group of each component; components that no row distinguishes have the same group. [K]"""
    _, _, (gaps,) = _margins(problem, _alone(mixture))
    return _groups(gaps < MERGED)


def tie_under(problem: Problem, mixture: Mixture, component: int, size: float | None = None) -> Tie | None:
    """The equal rows, or else the equal values of a column, that make up most of a component; None if there are none.

    Args:
        problem: the problem with the points.
        mixture: the mixture with the component.
        component: number of the component.
        size: size of the component; computing it costs one pass unless given.
    """
    if size is None:
        size = float(_margins(problem, _alone(mixture))[1][0, component])
    some = problem.comparable[0]
    for tie in itertools.chain(problem.ties, ties_within(problem, mixture, component)):
        tied = np.flatnonzero(tie.match(some))
        if not len(tied):
            continue
        places = tied[np.linspace(0, len(tied) - 1, TIED_ROWS).astype(int)]
        if tie.points * float(np.mean(_members(problem, mixture, some, places)[:, component])) >= MOST * size:
            return tie
    return None


def ties_within(problem: Problem, mixture: Mixture, component: int) -> Iterator[Tie]:
    """The most frequent row and values among the points of a component, which may be rare among all points."""
    some, weights = problem.comparable
    every = max(1, -(-len(some) // SOUGHT_ROWS))
    places = np.arange(0, len(some), every)
    if problem.missing == "marginal" or problem.is_partly_known:
        shares = _members(problem, mixture, some, places).T
    else:
        shares = _shares(mixture, np.asarray(some)[places])
    some = np.asarray(some)[places]
    own = shares[component] >= MOST
    for tie in ties_of(some[own], None if weights is None else weights[::every][own]) if np.any(own) else ():
        (found,) = recounted([tie], problem.x, problem.weights)
        yield found._replace(num_points=problem.num_points)


def _members(problem: Problem, mixture: Mixture, x: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The responsibilities of some of the problem's rows x, by the cells that are there and what is known. [M, K]"""
    if problem.missing == "refuse":
        shares = np.asarray(_belonging(mixture, x[places]))
    else:
        shares = np.asarray(mixture.responsibilities(x[places], missing="marginal"))
    return shares if problem.known is None else problem.known.some(places).shares(shares)


def _holding_up(problem: Problem, mixture: Mixture, sizes: np.ndarray, tight: np.ndarray) -> np.ndarray:
    """The size of each component by the rows that hold it up: all, unless cells are missing. [K]

    The density of a row stays bounded where its own cells, of all the component's, are not the ones that are thin. So a
    tight component is held up by the rows whose cells have a covariance that is about as thin as that of all cells. A
    shared covariance is held up by the rows of all components.
    """
    if problem.missing == "refuse" or not np.any(tight):
        return sizes
    trils = np.asarray(problem.rows.to_working(jax.tree.map(jnp.asarray, mixture)).scale_trils)
    weights = np.ones(problem.num_rows) if problem.weights is None else problem.weights
    members = _members(problem, mixture, problem.x, np.arange(problem.num_rows)) * weights[:, None]  # [N, K]
    if problem.covariance.is_shared:
        members = np.broadcast_to(np.sum(members, axis=1, keepdims=True), members.shape)
    held, patterns = np.where(tight, 0.0, sizes), Patterns.of(problem.x)
    for k in np.flatnonzero(tight):
        thinnest = np.linalg.svd(trils[k], compute_uv=False)[-1]
        for observed, rows in zip(patterns.observed, patterns.members, strict=True):
            if np.linalg.svd(trils[k][observed], compute_uv=False)[-1] <= AS_THIN * thinnest:
                held[k] += np.sum(members[rows, k])
    return held


def _falls_into_a_hyperplane(problem: Problem, mixture: Mixture) -> np.ndarray:
    """Whether one EM step makes each covariance singular; false where the prior has no closed-form M-step. [K]"""
    if not problem.prior.closed_form:
        return np.zeros(mixture.num_components, bool)
    trils = jax.device_get(_stepped(problem.rows.z.size, problem.of_any_size(), jax.tree.map(jnp.asarray, mixture)))
    # Not "less than", because a covariance that is exactly singular has factors of NaN.
    return np.asarray(~(_smallest_eigenvalues(trils[None])[0] >= NARROWEST**2))


def _shares(mixture: Mixture, x: np.ndarray) -> np.ndarray:
    """The responsibilities of points x [N, D], on the host: a program would be compiled for every N. [K, N]"""
    weights, means, trils = (np.asarray(leaf) for leaf in (mixture.weights, mixture.means, mixture.scale_trils))
    white = x.T - means[..., None]  # [K, D, N]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for d in range(x.shape[1]):
            white[:, d] -= np.einsum("kj,kjn->kn", trils[:, d, :d], white[:, :d])
            white[:, d] /= trils[:, d, d, None]
        scales = np.sum(np.log(np.diagonal(trils, axis1=1, axis2=2)), axis=1)
        joint = (np.log(weights) - scales)[:, None] - 0.5 * np.sum(white**2, axis=1)
        shares = np.exp(joint - np.max(joint, axis=0))
        return np.asarray(shares / np.sum(shares, axis=0))


def _groups(close: np.ndarray) -> np.ndarray:
    """The group of each component: the connected components of the relation `close` [K, K]. [K]"""
    groups = np.arange(len(close))
    for k, j in np.argwhere(np.triu(close, 1)):
        groups[groups == groups[j]] = groups[k]
    return groups


def _alone(mixture: Mixture) -> Mixture:
    """A batch of one mixture, leaves [1, ...]."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[None], mixture)


def _margins(problem: Problem, mixtures: Mixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For a batch: Cholesky factors in working units, sizes, and gaps between any two components.

    A gap is the largest difference of two components' log densities on any row. [R, K, D, D], [R, K], [R, K, K]
    """
    trils, sizes, gaps = map(np.concatenate, zip(*_margins_in_turn(problem, mixtures), strict=True))
    return trils, sizes, gaps


def _margins_in_turn(problem: Problem, mixtures: Mixture) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The margins of a few mixtures at a time, as `_margins` has them."""
    k, numbers = mixtures.num_components, problem.rows.z.size
    few = numbers * COMPONENTS <= FEW_NUMBERS
    padded = filled(mixtures) if few else mixtures
    total, size = len(mixtures.weights), FEW_TOGETHER if few else 1
    for first in range(0, total, size):
        places = np.minimum(np.arange(first, first + size), total - 1)
        batch = jax.tree.map(lambda leaf, places=places: np.asarray(leaf)[places], padded)
        margins = jax.device_get(_margins_of(numbers, problem.rows.of_any_size(), batch))
        trils, sizes, gaps = (part[: total - first] for part in margins)
        yield trils[:, :k], sizes[:, :k], gaps[:, :k, :k]


def _margins_of_all(rows: Rows, mixtures: Mixture) -> tuple[Array, Array, Array]:
    """The margins of mixtures with leaves [R, ...]; without `vmap` for R = 1, because it cannot read streamed rows."""
    if len(mixtures.weights) > 1:
        return jax.vmap(partial(_margins_in, rows))(mixtures)
    alone = jax.tree.map(lambda leaf: leaf[0], mixtures)
    return jax.tree.map(lambda leaf: leaf[None], _margins_in(rows, alone))


def _margins_in(rows: Rows, mixture: Mixture) -> tuple[Array, Array, Array]:
    places = jnp.arange(0, rows.num_resident, -(-rows.num_resident // COMPARED_ROWS))
    # For rows `of_any_size` the last point is used in place of padding.
    some = rows.at(jnp.minimum(places, jnp.sum(rows.counted) - 1))
    trils = rows.to_working(mixture).scale_trils
    density = mixture.component_log_joint(some) - jnp.log(mixture.weights)  # [N, K]
    gaps = jnp.max(jnp.abs(density[:, :, None] - density[:, None, :]), axis=0)  # [K, K]
    return trils, one_pass(mixture, rows)[1].counts, gaps


_margins_of = jit_by_size(_margins_of_all)
# Cholesky factors in working units after one EM step. [K, D, D]
_stepped = jit_by_size(lambda problem, mixture: problem.rows.to_working(problem.em_step(mixture)[0]).scale_trils)
_belonging = jax.jit(Mixture.responsibilities)


def _smallest_eigenvalues(trils: np.ndarray) -> np.ndarray:
    """Smallest eigenvalues of `L L^T` for factors [R, K, D, D]. [R, K]"""
    # As squared singular values, because squaring L first would lose their digits; and by NumPy, because XLA does so on
    # the threads on which devices wait for each other (`engine/devices.py`).
    finite = np.all(np.isfinite(trils), axis=(2, 3))
    smallest = np.full(finite.shape, np.nan)
    smallest[finite] = np.linalg.svd(trils[finite], compute_uv=False)[:, -1] ** 2
    return smallest
