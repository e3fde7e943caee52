"""Short runs of EM for many mixtures at once on few rows, from whose ends starts are chosen.

They run in NumPy on the host, without compilation; a step for ten mixtures of 150 rows takes half a millisecond.
Responsibilities and sums are two matrix products with one matrix of features, as in `engine/one_pass.py`.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.mixture.covariance import Covariance
from workbench.mixture.covariance.base import LOG_2PI
from workbench.soundness import MOST, NARROWEST, VANISHED, Soundness
from workbench.starts.storage import Flags, Kind, Mixtures, Points, kind_of

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
    # Log-density of a background in working units, whose weight is what the weights leave; None if there is none.
    outside: float | None = None

    @classmethod
    def of(
        cls, z: Points, family: Covariance, components: int, x: Points | None = None, outside: float | None = None
    ) -> "Climber":
        """The climber of rows z [N, D] for mixtures of K components.

        Equal values are determined from x [N, D], the rows in the data's units, because working units mix columns.
        `outside` is the log-density of a background in working units, if there is one.
        """
        kind, (n, d) = kind_of(family, beside_background=outside is not None), z.shape
        features = np.concatenate([np.ones((1, n)), z.T, kind.squares(z)])
        ties = () if x is None else _ties(x)
        size = min(n, max(1, ONE_THREAD // (components * len(features))))
        blocks = -(-n // size)
        padded = np.pad(features, ((0, 0), (0, blocks * size - n))).reshape(len(features), blocks, size)
        return cls(
            kind, family.fewest_points(d), n, np.ascontiguousarray(padded.swapaxes(0, 1)), z.T @ z, ties, outside
        )

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

    def leap(self, mixtures: Mixtures, leaps: int) -> tuple[Mixtures, Points]:
        """The mixtures after `leaps` times three EM steps, the third from an extrapolation of the first two.

        This is SQUAREM (Varadhan & Roland 2008, scheme S3, Scand. J. Stat. 35): where EM is slow, a leap is worth many
        steps. Where the extrapolation is no mixture or lower than after the first step, there is no third step.

        Returns:
            The mixtures, and their log-likelihoods as of `climb`. [C, ...], [C].
        """
        proper = np.ones(len(mixtures.weights), bool)
        for _ in range(leaps):
            values, shares = self._expect(mixtures)
            first = self._maximise(shares)
            reached, shares = self._expect(first)
            second = self._maximise(shares)
            proper &= np.isfinite(values) & np.isfinite(reached)
            ahead = _extrapolated(mixtures, first, second)
            values, shares = self._expect(ahead)
            higher = (values >= reached) & np.all(ahead.weights > 0, axis=1)
            if self.outside is not None:
                higher &= np.sum(ahead.weights, axis=1) < 1.0
            third = self._maximise(shares)
            mixtures = Mixtures(*(np.where(_wide(higher, b), a, b) for a, b in zip(third, second, strict=True)))
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
        shares = self._expect(mixtures.some(slice(place, place + 1)))[1][0]  # [B, K, N']
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
        if self.outside is not None:
            left = np.maximum(1.0 - np.sum(weights, axis=-1), np.finfo(float).tiny)
            background = np.log(left)[:, None, None, None] + self.outside
            largest = np.maximum(largest, background)
        np.exp(np.subtract(shares, largest, out=shares), out=shares)
        sums = np.sum(shares, axis=2, keepdims=True)
        if self.outside is not None:
            sums += np.exp(background - largest)
        # The first feature is 1 for rows and 0 for padding.
        values = np.sum((largest + np.log(sums))[:, :, 0] * self.features[:, 0], axis=(1, 2)) + shared
        shares /= sums
        return np.where(regular & np.isfinite(values), values, -np.inf), shares

    def reweighted(self, mixtures: Mixtures, rng: np.random.Generator) -> Mixtures:
        """The mixtures after one EM step in which each row has a random weight, another one for each mixture.

        Weights are exponential, as in the Bayesian bootstrap (Rubin 1981), so that every parameter moves by about its
        standard error.
        """
        shares, d = self._expect(mixtures)[1], len(self.total)
        drawn = rng.exponential(size=(len(shares), self.num_rows))
        drawn *= self.num_rows / np.sum(drawn, axis=1, keepdims=True)
        blocks, size = self.features.shape[0], self.features.shape[-1]
        padded = np.pad(drawn, ((0, 0), (0, blocks * size - self.num_rows))).reshape(-1, blocks, 1, size)
        z = self.features[:, 1 : d + 1]
        second = np.sum((padded * z) @ z.swapaxes(-1, -2), axis=1) / self.num_rows  # [C, D, D]
        return self._maximise(shares * padded, second)

    def _maximise(self, responsibilities: Points, second: Points | None = None) -> Mixtures:
        """Weighted maximum likelihood (Bishop 2006, eq. 9.24-9.26).

        `second` is the weighted mean of `z z^T` [C, D, D] if rows have weights.
        """
        d, n = len(self.total), self.num_rows
        second = self.total / n if second is None else second
        sums = np.sum(responsibilities @ self.features.swapaxes(-1, -2), axis=1)  # [C, K, F]
        counts = np.maximum(sums[..., :1], np.finfo(float).tiny)  # [C, K, 1]
        means, squares = sums[..., 1 : d + 1] / counts, sums[..., d + 1 :] / counts
        weights = sums[..., 0] / n
        return Mixtures(weights, means, self.kind.covariances(weights, means, squares, second))


def _ties(x: Points) -> tuple[NDArray[np.intp], ...]:
    """For whole rows and each column with equal values: the number of the value that a row shares, or 0. [N] each"""
    ties = []
    for part in (x, *(x.T[:, :, None] if x.shape[1] > 1 else ())):
        _, which, counts = np.unique(part, axis=0, return_inverse=True, return_counts=True)
        shared = counts > 1
        if np.any(shared):
            ties.append(np.where(shared, np.cumsum(shared), 0)[which.reshape(-1)])
    return tuple(ties)


def _extrapolated(start: Mixtures, first: Mixtures, second: Mixtures) -> Mixtures:
    """The extrapolation of two EM steps, by a factor for each mixture that is the ratio of the step to its change."""
    steps = [b - a for a, b in zip(start, first, strict=True)]
    changes = [(c - b) - step for b, c, step in zip(first, second, steps, strict=True)]
    lengths = [sum(np.sum(leaf.reshape(len(leaf), -1) ** 2, axis=1) for leaf in leaves) for leaves in (steps, changes)]
    # At least one, the factor of the second step itself.
    factor = np.sqrt(np.maximum(lengths[0] / np.maximum(lengths[1], np.finfo(float).tiny), 1.0))
    return Mixtures(*(
        a + 2.0 * _wide(factor, a) * step + _wide(factor, a) ** 2 * change
        for a, step, change in zip(start, steps, changes, strict=True)
    ))  # fmt: skip


def _wide(each: NDArray[Any], leaf: Points) -> NDArray[Any]:
    """One value for each mixture [C], with as many axes as a leaf."""
    return each.reshape(-1, *(1,) * (leaf.ndim - 1))
