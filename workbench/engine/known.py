"""Rows of which some have a known component, as the one pass reads them: each row has the components it may come from.

A row of known component k counts by `pi_k N(x_n | mu_k, Sigma_k)`, and any other by the sum over all components: the
log-weights of other components are minus infinity in a known row's column. Responsibilities there are 0 and 1, and
statistics, Fisher's identity, gradients and Hessians all follow.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from workbench.data.known import UNKNOWN
from workbench.data.observed import Observed
from workbench.engine.rows import RESIDENT_BYTES, Chunk, RandomChunk, Rows, Sums
from workbench.errors import InputError
from workbench.mixture.covariance import Covariance


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class KnownRows(Rows):
    """Rows without a missing cell, of which some have a known component. Any part of them keeps what is known.

    Plain sums over rows are refused, because they would take a row for one of unknown component; see `component_sum`.
    """

    known: Array | None = None  # [C, B]   the component of each row; -1 where it is not known, and in padding

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """As those of `Rows`, with one leaf more."""
        leaves, static = super().tree_flatten()
        return (*leaves, self.known), static

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], leaves: tuple[Any, ...]) -> "KnownRows":
        """Inverse of `tree_flatten`."""
        *leaves_of_rows, known = leaves
        rows = super().tree_unflatten(static, tuple(leaves_of_rows))
        assert isinstance(rows, cls)
        return replace(rows, known=known)

    @classmethod
    def of_points(
        cls, data: Observed, covariance: Covariance, components: int, mesh: Mesh | None = None
    ) -> "KnownRows":
        """Rows of points [N, D] for a covariance family, in memory.

        Args:
            data: the points, with the known components.
            covariance: the covariance family.
            components: K, for which the chunk size is tuned.
            mesh: as for `Rows.of`.

        Raises:
            InputError: the points are so many that they would be streamed.
        """
        if 8 * data.x.size > RESIDENT_BYTES:
            raise InputError(f"label_known: needs points of at most {RESIDENT_BYTES} bytes; use a sample of them")
        rows = Rows.of(data.x, covariance, components, mesh, moments=data.moments, weights=data.weights)
        assert data.known is not None
        return cls.of_rows(rows, jnp.asarray(data.known.components))

    @classmethod
    def of_rows(cls, rows: Rows, known: Array) -> "KnownRows":
        """Rows in memory, with the component of each; -1 where it is not known. [N]"""
        chunks, _, size = rows.z.shape
        padded = jnp.pad(known, (0, chunks * size - len(known)), constant_values=UNKNOWN)
        return cls(**{f.name: getattr(rows, f.name) for f in fields(Rows)}, known=padded.reshape(chunks, size))

    @property
    def each_known(self) -> Array:
        """The component of each row in order, and of padding after them; -1 where it is not known. [C B]"""
        return jnp.reshape(jnp.asarray(self.known), -1)

    def anchored(self, components: int) -> Array:
        """Which of K components have known rows, so that their numbers mean something. [K]"""
        return jnp.any(self.each_known == jnp.arange(components)[:, None], axis=1)

    def padded(self, more: int) -> "KnownRows":
        """The same rows, with the places of as many more rows in each chunk that `z` and the weights have already."""
        return replace(self, known=jnp.pad(jnp.asarray(self.known), ((0, 0), (0, more)), constant_values=UNKNOWN))

    def minibatch(self, key: Array, size: int) -> "KnownRows":
        """As that of `Rows`; each row keeps its known component."""
        rows = super().minibatch(key, size)
        assert isinstance(rows, KnownRows)
        return replace(rows, known=self.each_known[self.drawn(key, size)][None])

    def sum(self, chunk: Chunk, parameters: Any) -> NoReturn:
        """Refused: a chunk must know what is known of its rows."""
        self._refuse()

    def random_sum(self, chunk: RandomChunk, parameters: Any, key: Array) -> NoReturn:
        """Refused, as `sum`."""
        self._refuse()

    def holding(self, x: Array) -> NoReturn:
        """Refused: the components of other points are not known."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise InputError(
            "label_known: components of rows are known, which this computation cannot use; leave label_known out"
        )


def component_sum(rows: Rows, chunk: Chunk, log_weights: Array, parameters: tuple[Any, ...]) -> Sums:
    """`rows.sum(chunk, (log_weights, *parameters))` with log-weights of each row, by what is known of it.

    The chunk takes them as [K, B]; as [K, 1] where no component is known.
    """
    if not isinstance(rows, KnownRows):
        return rows.sum(chunk, (log_weights[:, None], *parameters))

    def of_known(given: Any, number: Array, z: Array, counted: Array) -> Sums:
        parameters, known, log_weights = given
        return chunk((masked(log_weights, known[number]), *parameters), z, counted)

    return rows._sum(of_known, (parameters, rows.known, log_weights))


def random_component_sum(
    rows: Rows, chunk: RandomChunk, log_weights: Array, parameters: tuple[Any, ...], key: Array
) -> Sums:
    """`component_sum` with a key for each chunk, as `rows.random_sum`."""
    if not isinstance(rows, KnownRows):
        return rows.random_sum(chunk, (log_weights[:, None], *parameters), key)

    def of_known(given: Any, number: Array, z: Array, counted: Array) -> Sums:
        parameters, known, log_weights, key = given
        own = jax.random.fold_in(key, number)
        return chunk((masked(log_weights, known[number]), *parameters), own, z, counted)

    return rows._sum(of_known, (parameters, rows.known, log_weights, key))


def known_observations(rows: Rows) -> Array | None:
    """The component of each observation in memory, in order; -1 where it is not known, None if none is. [N]"""
    return rows.each_known[rows.every_observation()] if isinstance(rows, KnownRows) else None


def masked(log_weights: Array, known: Array) -> Array:
    """Log-weights [K] or [K, M], minus infinity where the component of a row [M] is known to be another. [K, M]"""
    log_weights = log_weights.reshape(len(log_weights), -1)
    allowed = (known == UNKNOWN) | (jnp.arange(len(log_weights))[:, None] == known)
    return jnp.where(allowed, log_weights, -jnp.inf)


def shares_of(shares: Array, known: Array) -> Array:
    """Responsibilities [M, K] with those of known rows [M], 0 and 1, in place of what they would be without."""
    return jnp.where(known[:, None] == UNKNOWN, shares, known[:, None] == np.arange(shares.shape[1]))
