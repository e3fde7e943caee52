"""Short runs of EM for many mixtures at once on few rows, from whose ends starts are chosen.

They run in NumPy on the host, without compilation; a step for ten mixtures of 150 rows takes half a millisecond.
Responsibilities and sums are two matrix products with one matrix of features, as in `engine/one_pass.py`.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.mixture.covariance import Covariance
from workbench.mixture.covariance.base import LOG_2PI
from workbench.soundness import MOST, NARROWEST, VANISHED, Soundness
from workbench.starts.kinds import Flags, Kind, Mixtures, Points, kind_of

# The default rule decides which ends are close to a singularity or hold only a few close points.
RULE = Soundness()

# The largest number of multiplications for which OpenBLAS computes a matrix product on one thread (its
# `SMP_THRESHOLD_MIN` times `GEMM_MULTITHREAD_THRESHOLD`). For small products, synchronising threads costs more than it
# saves; on a busy machine it makes them twenty times as slow.
ONE_THREAD = 2**18


@dataclass(frozen=True)
class Climber:
    """EM on rows z [N, D] in working units, for C mixtures of one family at once."""

    kind: Kind
    fewest: int  # the fewest points whose covariance in the family is not singular
    num_rows: int  # N
    features: Points  # [B, F, N']   1, z and the family's squares; blocks of rows, the last padded with zeros
    total: Points  # [D, D]   sum_n z_n z_n^T
    ties: tuple[NDArray[np.intp], ...]  # [N] each   rows that share a value of a column, or all values: see `_ties`

    @classmethod
    def of(cls, z: Points, family: Covariance, components: int, x: Points | None = None) -> "Climber":
        """The climber of rows z [N, D] for mixtures of K components.

        Equal values are determined from x [N, D], the rows in the data's units, because working units mix columns.
        """
        kind, (n, d) = kind_of(family), z.shape
        features = np.concatenate([np.ones((1, n)), z.T, kind.squares(z)])
        ties = () if x is None else _ties(x)
        size = min(n, max(1, ONE_THREAD // (components * len(features))))
        blocks = -(-n // size)
        padded = np.pad(features, ((0, 0), (0, blocks * size - n))).reshape(len(features), blocks, size)
        return cls(kind, family.fewest_points(d), n, np.ascontiguousarray(padded.swapaxes(0, 1)), z.T @ z, ties)

    def climb(self, mixtures: Mixtures, steps: int) -> tuple[Mixtures, Points]:
        """The mixtures after `steps` EM steps (flat prior), and their log-likelihoods [C].

        The log-likelihood is -inf if a covariance became singular on the way, since EM then continued from another
        mixture.
        """
        proper = np.ones(len(mixtures.weights), bool)
        for _ in range(steps):
            values, shares = self._expect(mixtures)
            proper &= np.isfinite(values)
            mixtures = self._maximise(shares)
        values = self._expect(mixtures)[0]
        return mixtures, np.where(proper, values, -np.inf)

    def usable(self, mixtures: Mixtures) -> Flags:
        """Whether no component of each mixture is starved, singular, or tight on few rows or on equal ones. [C]

        All equal values count, whatever their number. `Soundness` only considers the most frequent, but a component on
        any of them is a spike.
        """
        sizes, narrow = mixtures.weights * self.num_rows, self.kind.smallest(mixtures.covariances)  # [C, K]
        few, tight = sizes < RULE.small * self.fewest, narrow < RULE.tight
        bad = (sizes < max(self.fewest, VANISHED)) | ~(narrow > NARROWEST**2) | (few & tight)
        usable = ~np.any(bad, axis=1)
        if self.ties and self.fewest > 0:
            for place in np.flatnonzero(usable & np.any(tight, axis=1)).tolist():
                usable[place] = not self._sits_on_ties(mixtures, place, np.flatnonzero(tight[place]))
        return np.asarray(usable)

    def _sits_on_ties(self, mixtures: Mixtures, place: int, components: NDArray[np.intp]) -> bool:
        """Whether rows that share a value make up most of one of these components of a mixture."""
        shares = self._expect(Mixtures(*(leaf[[place]] for leaf in mixtures)))[1][0]  # [B, K, N']
        own = np.concatenate(list(shares[:, components]), axis=-1)[:, : self.num_rows]
        return any(
            np.max(np.bincount(tie, weights=points)[1:]) >= MOST * np.sum(points)
            for points, tie in itertools.product(own, self.ties)
        )

    def _expect(self, mixtures: Mixtures) -> tuple[Points, Points]:
        """Log-likelihoods [C], in working units, and responsibilities [C, B, K, N'], including those of padding."""
        weights, means, _ = mixtures
        d = means.shape[-1]
        log_roots, linear, quadratic, shared, regular = self.kind.natural(mixtures, self.total)
        constant = np.log(np.maximum(weights, np.finfo(float).tiny)) - log_roots - 0.5 * d * LOG_2PI
        constant = constant - 0.5 * np.sum(linear * means, axis=-1)
        coefficients = np.concatenate([constant[..., None], linear, quadratic], axis=-1)  # [C, K, F]
        shares = coefficients[:, None] @ self.features  # [C, B, K, N']
        largest = np.max(shares, axis=2, keepdims=True)
        np.exp(np.subtract(shares, largest, out=shares), out=shares)
        sums = np.sum(shares, axis=2, keepdims=True)
        # The first feature is 1 for rows and 0 for padding.
        values = np.sum((largest + np.log(sums))[:, :, 0] * self.features[:, 0], axis=(1, 2)) + shared
        shares /= sums
        return np.where(regular & np.isfinite(values), values, -np.inf), shares

    def _maximise(self, responsibilities: Points) -> Mixtures:
        """Weighted maximum likelihood (Bishop 2006, eq. 9.24-9.26)."""
        d, n = len(self.total), self.num_rows
        sums = np.sum(responsibilities @ self.features.swapaxes(-1, -2), axis=1)  # [C, K, F]
        counts = np.maximum(sums[..., :1], np.finfo(float).tiny)  # [C, K, 1]
        means, squares = sums[..., 1 : d + 1] / counts, sums[..., d + 1 :] / counts
        weights = sums[..., 0] / n
        return Mixtures(weights, means, self.kind.covariances(weights, means, squares, self.total / n))


def _ties(x: Points) -> tuple[NDArray[np.intp], ...]:
    """For whole rows and each column with equal values: the number of the value that a row shares, or 0. [N] each"""
    ties = []
    for part in (x, *(x.T[:, :, None] if x.shape[1] > 1 else ())):
        _, which, counts = np.unique(part, axis=0, return_inverse=True, return_counts=True)
        shared = counts > 1
        if np.any(shared):
            ties.append(np.where(shared, np.cumsum(shared), 0)[which.reshape(-1)])
    return tuple(ties)
