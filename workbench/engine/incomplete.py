"""Rows with missing cells, as the one pass reads them: each chunk holds rows of one pattern.

A row counts by the density of the cells that are there, which for a mixture of Gaussians is a mixture of Gaussians with
fewer columns. Rows with the same cells share a chunk, so that all of a chunk's work on rows is still a matrix product.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.data.incomplete import Patterns
from workbench.data.known import divided
from workbench.data.observed import Observed
from workbench.engine.grouped import GroupedRows
from workbench.engine.rows import Sums
from workbench.mixture.covariance import Covariance

PatternChunk = Callable[[Any, Array, Array, Array], Sums]  # (parameters, observed [D], z [D, B], counted [B]) -> sums


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class IncompleteRows(GroupedRows):
    """Rows of which some cells are missing. Each column has a unit of its own, which keeps a missing cell one.

    Missing cells of `z` are completed from the others, for starts and figures; `pattern_sum` says which they are.
    Where components of rows are known, rows of one pattern and one component share a chunk.
    """

    why: ClassVar[str] = 'x: some cells are missing, which this computation cannot marginalise; use missing = "drop"'

    observed: Array | None = None  # [C, D]   1 where the rows of a chunk have a value

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """As those of `GroupedRows`, with one leaf more."""
        leaves, static = super().tree_flatten()
        return (*leaves, self.observed), static

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], leaves: tuple[Any, ...]) -> "IncompleteRows":
        """Inverse of `tree_flatten`."""
        *leaves_of_rows, observed = leaves
        return replace(super().tree_unflatten(static, tuple(leaves_of_rows)), observed=observed)

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
        rows, chunks = cls.of_groups(data, [part for group in groups for part in group], covariance, components, matrix)
        observed = np.repeat(patterns.observed, [len(group) for group in groups], axis=0)
        return replace(rows, observed=jnp.asarray(np.repeat(observed, chunks, axis=0), rows.dtype))

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
