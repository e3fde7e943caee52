"""The rule of what counts as a sound mixture: the one place where a spike is told from a maximum."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field

from workbench.config import Config
from workbench.data import Tie
from workbench.engine.compat.compilation import FEW_NUMBERS, jit_by_size
from workbench.engine.one_pass import one_pass
from workbench.engine.rows import Rows
from workbench.mixture import Mixture
from workbench.mixture.filled import COMPONENTS, filled
from workbench.problem import Problem

# Working units give the data unit spread. A component that is narrower than this share of it in some direction has
# lost three quarters of the digits of its covariance, which is formed from squares, and the likelihood has no bound
# there: a method stops.
NARROWEST = 1e-6

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Health:
    """How far a mixture is from degenerate, and what the rule says of it."""

    smallest_relative_eigenvalue: float  # of any covariance, relative to the data's
    smallest_component_size: float  # points' worth of responsibility
    finite: bool
    singular: bool
    starved: bool
    suspicious: bool
    merged: bool
    vanished: int  # components that hold no point
    distinct: int  # components that hold one and that rows tell apart
    tie: Tie | None  # equal values that make up most of a tight component

    @property
    def sound(self) -> bool:
        """Finite, no singular covariance, no starved component."""
        return self.finite and not self.singular and not self.starved


class Soundness(Config):
    """A mixture is sound if it is finite, no covariance is singular and no component is starved.

    - A covariance is *singular* if its smallest eigenvalue, in units in which the data have unit covariance, is below
      `min_relative_eigenvalue` and it rests on few points (below `small` times the fewest) or on tied values, on
      which a component collapses however many they are. Groups that lie hundreds of their deviations apart, or one
      row far out, make a covariance as narrow beside the data's that rests on many points which differ: it is no
      spike. Below the square of `NARROWEST` it is singular all the same, because too few of its digits are left.
    - A component is *starved* if it holds less than `min_relative_size` times the fewest points of which the family's
      covariance is not singular (`Covariance.fewest_points`: full D + 1, diagonal and spherical 2; tied 0, because the
      covariance is shared), or no point at all: less than `VANISHED` points' worth of responsibility. Such a component
      is on its way into a singularity, or the mixture is one of fewer components. Under a prior that bounds every
      component (`Prior.bounds_components`: conjugate, Chen-Tan, Hathaway's bound, log-normal deviations) it is neither,
      but a mode like others: there no component counts as starved unless `min_relative_size` is given.
    - A sound mixture is *suspicious* if one and the same component is both tight (below `tight`) and small (below
      `small` times the fewest points): often a spurious maximum on a few close points (McLachlan & Peel 2000,
      sec. 3.10). Where the covariance is shared, none is. So it is if equal values, of a column or of whole rows, are
      most of a tight component: a spike on ties, however many.

    Two components are *merged* if both hold points and no row tells them apart: their log densities differ by less than
    `MERGED` on all.
    """

    min_relative_size: NonNegative | None = Field(
        None,
        description="least points' worth of a component, over the fewest of which the family's covariance is not "
        "singular; default: 1, and 0 under a prior that bounds every component",
    )
    min_relative_eigenvalue: NonNegative = 1e-5
    tight: NonNegative = 1e-3
    small: NonNegative = 5.0

    def check(self, problem: Problem, mixture: Mixture) -> Health:
        """The health of one mixture on a problem; costs one pass."""
        (health,) = self.check_all(problem, _alone(mixture))
        return health

    def check_all(self, problem: Problem, mixtures: Mixture) -> list[Health]:
        """The health of every mixture of a batch with leaves [R, ...]; costs one pass for each."""
        trils, sizes, gaps = _margins(problem, mixtures)
        found = zip(_smallest_eigenvalues(trils), sizes, gaps, strict=True)
        return [
            self._health(problem, jax.tree.map(lambda leaf, r=r: leaf[r], mixtures), *margins)
            for r, margins in enumerate(found)
        ]

    def _health(
        self, problem: Problem, mixture: Mixture, eigenvalues: np.ndarray, sizes: np.ndarray, gaps: np.ndarray
    ) -> Health:
        """Of a mixture with such eigenvalues [K], sizes [K] and distances between its components [K, K]."""
        fewest = problem.covariance.fewest_points(problem.num_dimensions)
        finite = bool(np.all(np.isfinite(eigenvalues)) and np.all(np.isfinite(sizes)))
        tight, vanished = eigenvalues < self.tight, sizes < VANISHED
        sought = np.flatnonzero(tight & ~vanished) if finite else ()
        found = {int(k): tie_under(problem, mixture, int(k), float(sizes[k])) for k in sought}
        ties = {k: tie for k, tie in found.items() if tie is not None}
        narrow = eigenvalues < self.min_relative_eigenvalue
        weak = self._rests_on_few(problem, sizes) | np.isin(np.arange(len(sizes)), list(ties))
        groups = _groups(gaps[np.ix_(~vanished, ~vanished)] < MERGED)
        # A component's own points: rounding in the sum of responsibilities must not tip the balance.
        least = self._relative_size(problem) * max(fewest, VANISHED) * (1 - 1e-9)
        return Health(
            smallest_relative_eigenvalue=float(np.min(eigenvalues)),
            smallest_component_size=float(np.min(sizes)),
            finite=finite,
            singular=bool(np.any(narrow & (weak | (eigenvalues < NARROWEST**2)))),
            starved=bool(np.any(sizes < least)),
            suspicious=finite and (bool(ties) or bool(np.any(tight & (sizes < self.small * fewest)))),
            merged=len(np.unique(groups)) < len(groups),
            vanished=int(np.sum(vanished)),
            distinct=len(np.unique(groups)),
            tie=next(iter(ties.values()), None),
        )

    def _rests_on_few(self, problem: Problem, sizes: np.ndarray) -> np.ndarray:
        """Whether the covariance of each component rests on few points: its own, or all less K if it is shared. [K]"""
        fewest, d = problem.covariance.fewest_points(problem.num_dimensions), problem.num_dimensions
        if fewest == 0:
            return np.full(len(sizes), problem.num_points - len(sizes) < self.small * (d + 1))
        return sizes < self.small * fewest

    def _relative_size(self, problem: Problem) -> float:
        """The least size of a component, given or by the prior."""
        if self.min_relative_size is not None:
            return self.min_relative_size
        return 0.0 if problem.prior.bounds_components(problem.covariance, problem.num_dimensions) else 1.0


# A component of fewer points' worth has vanished: its weight is on its way to zero and no point tells of its other
# parameters. A component on a spike keeps its one point.
VANISHED = 1e-2

# Rows looked at when components are compared, spread evenly over the data.
COMPARED_ROWS = 512

# Mixtures looked at side by side where data are few: a call takes longer than the passes of a few more.
FEW_TOGETHER = 8

# Two components whose log densities agree to 0.3 on every row are one component: EM on a plateau stops when they are
# this close, while the components of a maximum differ by much more on some row.
MERGED = 0.3


# Rows at which a component's share in a tie is looked at: they differ in the columns that are not tied.
TIED_ROWS = 64

# A component sits on a tie that makes up at least this share of its points' worth.
MOST = 0.5


def merged_groups(problem: Problem, mixture: Mixture) -> np.ndarray:
    """The group of each component: equal for those that no row tells apart. [K]"""
    _, _, (gaps,) = _margins(problem, _alone(mixture))
    return _groups(gaps < MERGED)


def tie_under(problem: Problem, mixture: Mixture, component: int, size: float | None = None) -> Tie | None:
    """The equal rows, or else the equal values of a column, that most of a component's points are; None if none are.

    Args:
        problem: whose points they are.
        mixture: whose component it is.
        component: its number.
        size: points' worth of responsibility that it holds; costs one pass unless given.
    """
    if size is None:
        size = float(_margins(problem, _alone(mixture))[1][0, component])
    some = problem.sample
    for tie in problem.ties:
        tied = some[tie.match(some)]
        if not len(tied):
            continue
        rows = tied[np.linspace(0, len(tied) - 1, TIED_ROWS).astype(int)]
        if tie.points * float(np.mean(_belonging(mixture, rows)[:, component])) >= MOST * size:
            return tie
    return None


def _groups(close: np.ndarray) -> np.ndarray:
    """The group of each component: equal for those that are close to each other [K, K], or to others that are. [K]"""
    groups = np.arange(len(close))
    for k, j in np.argwhere(np.triu(close, 1)):
        groups[groups == groups[j]] = groups[k]
    return groups


def _alone(mixture: Mixture) -> Mixture:
    """A batch of one, leaves [1, ...]."""
    batch: Mixture = jax.tree.map(lambda leaf: np.asarray(leaf)[None], mixture)
    return batch


def _margins(problem: Problem, mixtures: Mixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cholesky factor in working units and size of every component, and how far apart each two are, of a batch.

    [R, K, D, D], [R, K], [R, K, K]
    """
    k, numbers = mixtures.num_components, problem.rows.z.size
    few = numbers * COMPONENTS <= FEW_NUMBERS
    asked = filled(mixtures) if few else mixtures
    total, size = len(mixtures.weights), FEW_TOGETHER if few else 1
    found = []
    for first in range(0, total, size):
        places = np.minimum(np.arange(first, first + size), total - 1)
        batch = jax.tree.map(lambda leaf, places=places: np.asarray(leaf)[places], asked)
        found.append(jax.device_get(_margins_of(numbers, problem.rows.of_any_size(), batch)))
    trils, sizes, gaps = (np.concatenate(parts)[:total] for parts in zip(*found, strict=True))
    return trils[:, :k], sizes[:, :k], gaps[:, :k, :k]


def _margins_of_all(rows: Rows, mixtures: Mixture) -> tuple[Array, Array, Array]:
    """Of mixtures with leaves [R, ...]; of one without a batch, in which what is streamed cannot be read."""
    if len(mixtures.weights) > 1:
        return jax.vmap(partial(_margins_in, rows))(mixtures)
    alone = jax.tree.map(lambda leaf: leaf[0], mixtures)
    found: tuple[Array, Array, Array] = jax.tree.map(lambda leaf: leaf[None], _margins_in(rows, alone))
    return found


def _margins_in(rows: Rows, mixture: Mixture) -> tuple[Array, Array, Array]:
    places = jnp.arange(0, rows.num_resident, -(-rows.num_resident // COMPARED_ROWS))
    # Of rows of any size the last stands for padding.
    some = rows.at(jnp.minimum(places, jnp.sum(rows.counted) - 1))
    trils = rows.to_working(mixture).scale_trils
    density = mixture.component_log_joint(some) - jnp.log(mixture.weights)  # [N, K]
    gaps = jnp.max(jnp.abs(density[:, :, None] - density[:, None, :]), axis=0)  # [K, K]
    return trils, one_pass(mixture, rows)[1].counts, gaps


_margins_of = jit_by_size(_margins_of_all)
_belonging = jax.jit(Mixture.responsibilities)


def _smallest_eigenvalues(trils: np.ndarray) -> np.ndarray:
    """Of `L L^T` for factors [R, K, D, D], as squared singular values: squaring L first would lose them. [R, K]

    By NumPy: XLA computes singular values on the threads on which devices wait for each other (`engine/devices.py`).
    """
    finite = np.all(np.isfinite(trils), axis=(2, 3))
    smallest = np.full(finite.shape, np.nan)
    smallest[finite] = np.linalg.svd(trils[finite], compute_uv=False)[:, -1] ** 2
    return smallest
