"""Rows in groups, each of which has chunks of its own: rows with the same missing cells, or of one known component."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn, Self

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from workbench.data.known import UNKNOWN
from workbench.data.observed import Observed
from workbench.engine.layout import Layout
from workbench.engine.rows import Chunk, RandomChunk, Rows
from workbench.errors import InputError
from workbench.mixture.covariance import Covariance

# Rows of a chunk are at least so many: a vector register's width. Groups of fewer rows are padded to it.
FEWEST = 8


@dataclass(frozen=True)
class GroupedRows(Rows):
    """Rows in the order of their groups, of which only the one pass knows what their members have in common.

    `place` finds them. Other sums over rows are refused, because they would take a row for one without a group.
    """

    why: ClassVar[str]  # what other sums over rows cannot do, and the remedy

    place: Array | None = None  # [N]   the place of each row among the chunks' C B places
    known: Array | None = None  # [C]   the component that the rows of a chunk come from; -1 where it is not known

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """As those of `Rows`, with two leaves more."""
        leaves, static = super().tree_flatten()
        return (*leaves, self.place, self.known), static

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], leaves: tuple[Any, ...]) -> Self:
        """Inverse of `tree_flatten`."""
        *leaves_of_rows, place, known = leaves
        rows = super().tree_unflatten(static, tuple(leaves_of_rows))
        assert isinstance(rows, cls)
        return replace(rows, place=place, known=known)

    @classmethod
    def of_groups(
        cls,
        data: Observed,
        groups: Sequence[NDArray[np.intp]],
        covariance: Covariance,
        components: int,
        matrix: NDArray[np.float64],
    ) -> tuple[Self, NDArray[np.intp]]:
        """Rows in chunks of one group each, and the number of chunks of each group. [G]

        Args:
            data: the points [N, D]; missing cells of `z` are completed from the others, for starts and figures.
            groups: the rows of each group, which are all rows together.
            covariance: the covariance family.
            components: K, for which the chunk size is tuned.
            matrix: the working units, lower triangular [D, D].
        """
        n, d = data.x.shape
        row_bytes = covariance.row_bytes(components, d) + 8 * components * d
        mean_size = 2 ** int(np.ceil(np.log2(n / len(groups))))
        size = max(FEWEST, min(Layout.of(n, row_bytes, 1).size, mean_size))
        chunks = np.asarray([-(-len(members) // size) for members in groups])
        z = np.zeros((int(np.sum(chunks)) * size, d))
        place, first = np.zeros(n, int), 0
        for members, number in zip(groups, chunks.tolist(), strict=True):
            place[members] = first + np.arange(len(members))
            first += number * size
        inverse = np.linalg.inv(matrix)
        points = data.x if data.completed is None else data.completed
        z[place] = (points - data.moments.mean) @ inverse.T
        counts = np.zeros(len(z))
        counts[place] = 1.0 if data.weights is None else data.weights
        filled = np.zeros(len(z), int)
        filled[place] = 1
        known = None
        if data.known is not None:
            own = [data.known.components[members[0]] for members in groups]
            known = jnp.asarray(np.repeat(own, chunks))
        dtype = jnp.result_type(float)
        rows = cls(
            z=jnp.asarray(z.reshape(-1, size, d).transpose(0, 2, 1), dtype),
            counted=jnp.asarray(filled.reshape(-1, size).sum(axis=1)),
            shift=jnp.asarray(data.moments.mean),
            matrix=jnp.asarray(matrix),
            inverse=jnp.asarray(inverse),
            total=jnp.asarray(z.T * counts @ z),
            num_points=data.moments.num_points,  # type: ignore[arg-type]
            weights=None if data.weights is None else jnp.asarray(counts.reshape(-1, size), dtype),
            num_weighted=None if data.weights is None else n,
            place=jnp.asarray(place),
            known=known,
        )
        return rows, chunks

    @property
    def shared(self) -> bool:
        """Never: chunks are as many as the groups need, and not a multiple of the devices."""
        return False

    def masked(self, log_weights: Array, number: Array) -> Array:
        """The log-weights of a chunk: minus infinity for components that its rows do not come from. [K] -> [K]"""
        if self.known is None:
            return log_weights
        own = self.known[number]
        allowed = (own == UNKNOWN) | (jnp.arange(len(log_weights)) == own)
        return jnp.where(allowed, log_weights, -jnp.inf)

    def at(self, index: Array) -> Array:
        """The rows with the given numbers, completed, in the data's units. [I] -> [I, D]"""
        assert self.place is not None
        return super().at(self.place[index])

    def of_any_size(self) -> Self:
        """The rows themselves: their chunks depend on the groups, so that other data rarely have the same."""
        return self

    @property
    def each_weight(self) -> Array:
        """The weights of the rows, in their order, if they have weights. [N]"""
        return jnp.reshape(jnp.asarray(self.weights), -1)[self.place]

    def weighted(self, weights: Array) -> Self:
        """The same rows with other weights, one for each row, which are scaled to a sum of N."""
        assert self.place is not None
        scaled = weights * (self.num_points / jnp.sum(weights))
        chunks, _, size = self.z.shape
        placed = jnp.zeros(chunks * size, self.dtype).at[self.place].set(scaled)
        return replace(self, weights=placed.reshape(chunks, size), num_weighted=self.num_rows)

    def sum(self, chunk: Chunk, parameters: Any) -> NoReturn:
        """Refused: a chunk must know its group."""
        self._refuse()

    def random_sum(self, chunk: RandomChunk, parameters: Any, key: Array) -> NoReturn:
        """Refused, as `sum`."""
        self._refuse()

    def minibatch(self, key: Array, size: int) -> NoReturn:
        """Refused: rows of several groups share no chunk."""
        self._refuse()

    def holding(self, x: Array) -> NoReturn:
        """Refused: the groups of other points are not known."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise InputError(self.why)
