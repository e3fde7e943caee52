"""Rows with missing cells, as the one pass reads them: each chunk holds rows of one pattern.

A row counts by the density of the cells that are there, which for a mixture of Gaussians is a mixture of Gaussians with
fewer columns. Rows with the same cells share a chunk, so that all of a chunk's work on rows is still a matrix product.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from workbench.data.incomplete import Patterns
from workbench.data.known import UNKNOWN, divided
from workbench.data.observed import USE_DROP, Observed
from workbench.engine.layout import Layout
from workbench.engine.rows import Chunk, RandomChunk, Rows, Sums
from workbench.errors import InputError
from workbench.mixture.covariance import Covariance

PatternChunk = Callable[[Any, Array, Array, Array], Sums]  # (parameters, observed [D], z [D, B], counted [B]) -> sums

# Rows of a chunk are at least so many: a vector register's width. Groups of fewer rows are padded to it.
FEWEST = 8


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class IncompleteRows(Rows):
    """Rows of which some cells are missing. Each column has a unit of its own, which keeps a missing cell one.

    Missing cells of `z` are completed from the others, for starts and figures; `pattern_sum` says which they are.
    Where components of rows are known, rows of one pattern and one component share a chunk. Rows stand in the order of
    these groups; `place` finds them. Other sums over rows are refused, because they would take a row for a whole one.
    """

    observed: Array | None = None  # [C, D]   1 where the rows of a chunk have a value
    place: Array | None = None  # [N]   the place of each row among the chunks' C B places
    known: Array | None = None  # [C]   the component that the rows of a chunk come from; -1 where it is not known

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """As those of `Rows`, with three leaves more."""
        leaves, static = super().tree_flatten()
        return (*leaves, self.observed, self.place, self.known), static

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], leaves: tuple[Any, ...]) -> "IncompleteRows":
        """Inverse of `tree_flatten`."""
        *leaves_of_rows, observed, place, known = leaves
        rows = super().tree_unflatten(static, tuple(leaves_of_rows))
        assert isinstance(rows, cls)
        return replace(rows, observed=observed, place=place, known=known)

    @classmethod
    def of_points(cls, data: Observed, covariance: Covariance, components: int = 1) -> "IncompleteRows":
        """Rows of points for a covariance family.

        Args:
            data: points [N, D] of which cells are missing; the deviations of the Gaussian that fits them are the units.
            covariance: the covariance family.
            components: K, for which the chunk size is tuned.
        """
        patterns = Patterns.of(data.x)
        groups = [divided(members, data.known) for members in patterns.members]
        matrix = covariance.units(np.diag(np.diag(data.moments.covariance)))
        rows, chunks = cls._of_groups(
            data, [part for parts in groups for part in parts], covariance, components, matrix
        )
        observed = np.repeat(patterns.observed, [len(parts) for parts in groups], axis=0)
        return replace(rows, observed=jnp.asarray(np.repeat(observed, chunks, axis=0), rows.dtype))

    @classmethod
    def _of_groups(
        cls,
        data: Observed,
        groups: Sequence[NDArray[np.intp]],
        covariance: Covariance,
        components: int,
        matrix: NDArray[np.float64],
    ) -> tuple["IncompleteRows", NDArray[np.intp]]:
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

    def of_any_size(self) -> "IncompleteRows":
        """The rows themselves: their chunks depend on the groups, so that other data rarely have the same."""
        return self

    @property
    def each_weight(self) -> Array:
        """The weights of the rows, in their order, if they have weights. [N]"""
        return jnp.reshape(jnp.asarray(self.weights), -1)[self.place]

    def weighted(self, weights: Array) -> "IncompleteRows":
        """The same rows with other weights, one for each row, which are scaled to a sum of N."""
        assert self.place is not None
        scaled = weights * (self.num_points / jnp.sum(weights))
        chunks, _, size = self.z.shape
        placed = jnp.zeros(chunks * size, self.dtype).at[self.place].set(scaled)
        return replace(self, weights=placed.reshape(chunks, size), num_weighted=self.num_rows)

    def sum(self, chunk: Chunk, parameters: Any) -> NoReturn:
        """Refused: a chunk must know which cells are there."""
        self._refuse()

    def random_sum(self, chunk: RandomChunk, parameters: Any, key: Array) -> NoReturn:
        """Refused, as `sum`."""
        self._refuse()

    def minibatch(self, key: Array, size: int) -> NoReturn:
        """Refused: rows of several patterns share no chunk."""
        self._refuse()

    def holding(self, x: Array) -> NoReturn:
        """Refused: the cells of other points that are there are not known."""
        self._refuse()

    @property
    def log_volume(self) -> Array:
        """The change of the log-likelihood with the units: only cells that are there count."""
        assert self.observed is not None
        cells = jnp.sum(self._counts()[..., None] * self.observed[:, None, :], axis=(0, 1))
        return jnp.sum(cells * jnp.log(jnp.diagonal(self.matrix)))

    def pattern_sum(self, chunk: PatternChunk, log_weights: Array, parameters: tuple[Any, ...]) -> Sums:
        """`sum_c chunk((log_weights_c, *parameters), observed_c, z_c, counted_c)` over all chunks, as `Rows.sum`.

        The log-weights [K] are those of the components that the rows of the chunk may come from (`masked`).
        """

        def of_pattern(given: Any, number: Array, z: Array, counted: Array) -> Sums:
            (log_weights, *others), rows = given
            return chunk((rows.masked(log_weights, number), *others), rows.observed[number], z, counted)

        return self._sum(of_pattern, ((log_weights, *parameters), self))

    def _counts(self) -> Array:
        """The multiplicity of each place. [C, B]"""
        if self.weights is not None:
            return self.weights
        return (jnp.arange(self.z.shape[-1]) < self.counted[:, None]).astype(self.dtype)

    def _refuse(self) -> NoReturn:
        raise InputError(f"x: some cells are missing, which this computation cannot marginalise; {USE_DROP}")
