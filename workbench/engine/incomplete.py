"""Rows with missing cells, as the one pass reads them: each chunk holds rows of one pattern.

A row counts by the density of the cells that are there, which for a mixture of Gaussians is a mixture of Gaussians with
fewer columns. Rows with the same cells share a chunk, so that all of a chunk's work on rows is still a matrix product.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.data.incomplete import Patterns
from workbench.data.observed import Observed
from workbench.engine.layout import Layout
from workbench.engine.rows import Chunk, RandomChunk, Rows, Sums
from workbench.errors import InputError
from workbench.mixture.covariance import Covariance

PatternChunk = Callable[[Any, Array, Array, Array], Sums]  # (parameters, observed [D], z [D, B], counted [B]) -> sums

# Rows of a chunk are at least so many: a vector register's width. Patterns of fewer rows are padded to it.
FEWEST = 8


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class IncompleteRows(Rows):
    """Rows of which some cells are missing. Each column has a unit of its own, which keeps a missing cell one.

    Missing cells of `z` are completed from the others, for starts and figures; `pattern_sum` says which they are. The
    rows stand in the order of their patterns, and `place` finds them.
    """

    observed: Array | None = None  # [C, D]   1 where the rows of a chunk have a value
    place: Array | None = None  # [N]   the place of each row among the chunks' C B places

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """As those of `Rows`, with two leaves more."""
        leaves, static = super().tree_flatten()
        return (*leaves, self.observed, self.place), static

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], leaves: tuple[Any, ...]) -> "IncompleteRows":
        """Inverse of `tree_flatten`."""
        *leaves_of_rows, observed, place = leaves
        rows = super().tree_unflatten(static, tuple(leaves_of_rows))
        assert isinstance(rows, cls)
        return replace(rows, observed=observed, place=place)

    @classmethod
    def of_points(cls, data: Observed, covariance: Covariance, components: int = 1) -> "IncompleteRows":
        """Rows of points for a covariance family.

        Args:
            data: points [N, D] of which cells are missing; the deviations of the Gaussian that fits them are the units.
            covariance: the covariance family.
            components: K, for which the chunk size is tuned.
        """
        x, weights, _, moments, completed, _ = data
        n, d = x.shape
        patterns = Patterns.of(x)
        matrix = covariance.units(np.diag(np.diag(moments.covariance)))
        inverse = np.diag(1.0 / np.diag(matrix))
        row_bytes = covariance.row_bytes(components, d) + 8 * components * d
        mean_size = 2 ** int(np.ceil(np.log2(n / len(patterns.members))))
        size = max(FEWEST, min(Layout.of(n, row_bytes, 1).size, mean_size))
        chunks = [-(-len(members) // size) for members in patterns.members]
        z = np.zeros((sum(chunks) * size, d))
        place, first = np.zeros(n, int), 0
        for members, number in zip(patterns.members, chunks, strict=True):
            place[members] = first + np.arange(len(members))
            first += number * size
        z[place] = ((x if completed is None else completed) - moments.mean) @ inverse
        counts = np.zeros(len(z))
        counts[place] = 1.0 if weights is None else weights
        filled = np.zeros(len(z), int)
        filled[place] = 1
        dtype = jnp.result_type(float)
        return cls(
            z=jnp.asarray(z.reshape(-1, size, d).transpose(0, 2, 1), dtype),
            counted=jnp.asarray(filled.reshape(-1, size).sum(axis=1)),
            shift=jnp.asarray(moments.mean),
            matrix=jnp.asarray(matrix),
            inverse=jnp.asarray(inverse),
            total=jnp.asarray(z.T * counts @ z),
            num_points=moments.num_points,  # type: ignore[arg-type]
            weights=None if weights is None else jnp.asarray(counts.reshape(-1, size), dtype),
            num_weighted=None if weights is None else n,
            observed=jnp.asarray(np.repeat(patterns.observed, chunks, axis=0), dtype),
            place=jnp.asarray(place),
        )

    @property
    def shared(self) -> bool:
        """Never: chunks are as many as the patterns need, and not a multiple of the devices."""
        return False

    @property
    def log_volume(self) -> Array:
        """The change of the log-likelihood with the units: only cells that are there count."""
        assert self.observed is not None
        cells = jnp.sum(self._counts()[..., None] * self.observed[:, None, :], axis=(0, 1))
        return jnp.sum(cells * jnp.log(jnp.diagonal(self.matrix)))

    def pattern_sum(self, chunk: PatternChunk, parameters: Any) -> Sums:
        """`sum_c chunk(parameters, observed_c, z_c, counted_c)` over all chunks, as `Rows.sum`."""

        def of_pattern(given: Any, number: Array, z: Array, counted: Array) -> Sums:
            inner, observed = given
            return chunk(inner, observed[number], z, counted)

        return self._sum(of_pattern, (parameters, self.observed))

    def at(self, index: Array) -> Array:
        """The rows with the given numbers, completed, in the data's units. [I] -> [I, D]"""
        assert self.place is not None
        return super().at(self.place[index])

    def of_any_size(self) -> "IncompleteRows":
        """The rows themselves: their chunks depend on the patterns, so that other data rarely have the same."""
        return self

    @property
    def each_weight(self) -> Array:
        """The weights of the rows, in their order, if they have weights. [N]"""
        return jnp.reshape(jnp.asarray(self.weights), -1)[self.place]

    def weighted(self, weights: Array) -> Rows:
        """The same rows with other weights, one for each row, which are scaled to a sum of N."""
        assert self.place is not None
        scaled = weights * (self.num_points / jnp.sum(weights))
        chunks, _, size = self.z.shape
        placed = jnp.zeros(chunks * size, self.dtype).at[self.place].set(scaled)
        return replace(self, weights=placed.reshape(chunks, size), num_weighted=self.num_rows)

    def sum(self, chunk: Chunk, parameters: Any) -> NoReturn:
        """Refused: a chunk must know which cells are missing, see `pattern_sum`."""
        _refuse()

    def random_sum(self, chunk: RandomChunk, parameters: Any, key: Array) -> NoReturn:
        """Refused, as `sum`."""
        _refuse()

    def minibatch(self, key: Array, size: int) -> NoReturn:
        """Refused: rows of several patterns share no chunk."""
        _refuse()

    def holding(self, x: Array) -> NoReturn:
        """Refused: which cells of other points are missing is not known."""
        _refuse()

    def _counts(self) -> Array:
        """The multiplicity of each place. [C, B]"""
        if self.weights is not None:
            return self.weights
        return (jnp.arange(self.z.shape[-1]) < self.counted[:, None]).astype(self.dtype)


def _refuse() -> NoReturn:
    raise InputError('x: some cells are missing, which this computation cannot marginalise; use missing = "drop"')
