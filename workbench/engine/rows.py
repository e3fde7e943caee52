"""The data as the one pass reads them: in working units, in chunks, on one device, on several, or streamed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, PartitionSpec
from numpy.typing import NDArray

from workbench.data.moments import Moments, blocks_of, moments_of
from workbench.engine.layout import ROWS, Layout, Stream, placed
from workbench.errors import InputError
from workbench.mixture.covariance import Covariance, Statistics
from workbench.mixture.covariance.base import product
from workbench.mixture.mixture import Mixture

# Data larger than this many bytes are streamed from their source instead of copied.
RESIDENT_BYTES = 2**29

# Number of rows of streamed data that are held in memory; starts are drawn from them.
SAMPLED_ROWS = 2**16

# N x D from which devices share the rows. On smaller data the sum over devices takes longer than the pass.
SHARED_AT = 2**14

Sums = Any  # a pytree of arrays, all of which are sums over rows
Chunk = Callable[[Any, Array, Array], Sums]  # (parameters, z [D, B], counted [B]) -> sums
RandomChunk = Callable[[Any, Array, Array, Array], Sums]  # (parameters, key, z [D, B], counted [B]) -> sums


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Rows:
    """Points `z = matrix^-1 (x - shift)` in working units, in which the data have mean zero and unit covariance.

    The covariance family restricts the matrix, so that a mixture of the family remains in the family under the change
    of units. Working units keep the expanded form of the one pass accurate and optimisers' coordinates well scaled.
    Everything outside the pass and the charts is in the data's own units.

    Each row is a column of `z`, so that sums over components and features run along contiguous memory. Rows are held in
    memory unless they are *streamed*: then `z` is an evenly spaced sample of them, from which starts are drawn, and a
    pass reads all rows block by block from their source. With a mesh, the chunks are divided among its devices.
    """

    z: Array  # [C, D, B]   chunks of rows, the last padded with zeros
    counted: Array  # [C]   number of points in each chunk
    shift: Array  # [D]
    matrix: Array  # [D, D]   lower triangular
    inverse: Array  # [D, D]
    total: Array  # [D, D]   sum_n z_n z_n^T over all N points
    num_points: int  # N, static in compiled programs; an array after `of_any_size`
    mesh: Mesh | None = None
    stream: Stream | None = None
    weights: Array | None = None  # [C, B]   multiplicity of each row; 1 unless given

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Arrays are leaves; N is a leaf if it is an array, and static otherwise."""
        arrays = (self.z, self.counted, self.shift, self.matrix, self.inverse, self.total, self.weights)
        if self.has_known_size:
            return (*arrays, None), (self.num_points, self.mesh, self.stream)
        return (*arrays, self.num_points), (None, self.mesh, self.stream)

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], leaves: tuple[Any, ...]) -> "Rows":
        """Inverse of `tree_flatten`."""
        known, mesh, stream = static
        z, counted, shift, matrix, inverse, total, weights, size = leaves
        num_points = size if known is None else known
        return cls(z, counted, shift, matrix, inverse, total, num_points, mesh, stream, weights)

    @classmethod
    def of(
        cls,
        x: NDArray[np.float64],
        covariance: Covariance,
        components: int = 1,
        mesh: Mesh | None = None,
        *,
        moments: Moments | None = None,
    ) -> "Rows":
        """Rows of points x [N, D] for a covariance family.

        Args:
            x: an array, or anything that has a shape and can be sliced by rows (a memory map, a Parquet file). If it
                has more than `RESIDENT_BYTES` it is not copied, and must not change while it is in use.
            covariance: the covariance family.
            components: K, for which the chunk size is tuned.
            mesh: devices along an axis named "rows"; a single device unless given. They share the rows if N x D is at
                least `SHARED_AT`, or if they belong to several hosts.
            moments: the moments of x, if known already.
        """
        d = x.shape[1]
        n, shift, spread = moments_of(x) if moments is None else moments
        matrix = covariance.units(spread)
        inverse = np.linalg.inv(matrix) if d > 1 else 1.0 / matrix
        sharing = mesh if _worth_sharing(mesh, n * d) else None
        devices = 1 if sharing is None else sharing.size
        layout = Layout.of(n, covariance.row_bytes(components, d), devices)
        stream = None
        if n * d * 8 > RESIDENT_BYTES:
            stream = Stream(x, layout.size, devices)
            x = _even_sample(x, SAMPLED_ROWS)
            layout = Layout(-(-len(x) // layout.size), layout.size)
        z, counted = placed(x, shift, inverse, layout, None if stream is not None else sharing)
        return cls(
            z=z,
            counted=counted,
            shift=jnp.asarray(shift),
            matrix=jnp.asarray(matrix),
            inverse=jnp.asarray(inverse),
            total=jnp.asarray(n * inverse @ spread @ inverse.T),
            num_points=n,
            mesh=mesh,
            stream=stream,
        )

    def of_any_size(self) -> "Rows":
        """The same rows with N as an array, so that one compiled program serves every N with equally many equal chunks.

        Shared and streamed rows are returned unchanged: they are so many that compiling a program for their N pays.
        """
        if self.shared or self.stream is not None:
            return self
        return replace(self, num_points=np.asarray(self.num_points, self.dtype))  # type: ignore[arg-type]

    @property
    def has_known_size(self) -> bool:
        """Whether N is a Python number, and so static in compiled programs."""
        return isinstance(self.num_points, int | np.integer)

    @property
    def num_resident(self) -> int:
        """Number of rows in memory: N, or the size of the sample if streamed; with padding after `of_any_size`."""
        if not self.has_known_size:
            return len(self.counted) * self.z.shape[-1]
        return self.num_points if self.stream is None else min(SAMPLED_ROWS, self.num_points)

    @property
    def num_numbers(self) -> int:
        """N x D; includes padding after `of_any_size`."""
        return self.num_points * len(self.shift) if self.has_known_size else self.z.size

    @property
    def shared(self) -> bool:
        """Whether the rows are divided among the devices of the mesh, which then add up their sums in every pass."""
        return self.has_known_size and _worth_sharing(self.mesh, self.num_numbers)

    @property
    def whole(self) -> "Rows":
        """The same rows on a single device, for programs of which every device runs its own copy."""
        return replace(self, mesh=None)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype in which a pass computes."""
        return np.dtype(self.z.dtype)

    def sum(self, chunk: Chunk, parameters: Any) -> Sums:
        """`sum_c chunk(parameters, z_c, counted_c)` over all chunks c, holding one chunk's intermediates at a time.

        Args:
            chunk: a function of `parameters`, rows z [D, B] and counts [B], which are 1 for points (or their weights,
                if the rows are weighted) and 0 for padding. It must not close over traced values.
            parameters: a pytree, the same for all chunks.
        """
        return self._sum(lambda given, number, z, counted: chunk(given, z, counted), parameters)

    def random_sum(self, chunk: RandomChunk, parameters: Any, key: Array) -> Sums:
        """`sum_c chunk(parameters, key_c, z_c, counted_c)`: as `sum`, with a random key for each chunk.

        Args:
            chunk: as for `sum`, with the chunk's key as second argument.
            parameters: a pytree, the same for all chunks.
            key: the key from which those of the chunks are derived, by chunk number.
        """

        def drawn(given: Any, number: Array, z: Array, counted: Array) -> Sums:
            parameters, key = given
            return chunk(parameters, jax.random.fold_in(key, number), z, counted)

        return self._sum(drawn, (parameters, key))

    def _sum(self, chunk: RandomChunk, parameters: Any) -> Sums:
        """Sum over chunks of a function that also receives the chunk's number."""
        stream = self.stream
        if stream is None:
            counted = self.counted if self.weights is None else self.weights
            pieces: Any = (jnp.arange(len(self.counted)), self.z, counted)

            def local(given: Any, own: Any) -> Sums:
                return _sum_of(lambda piece: chunk(given[0], piece[0], piece[1], _counting(*piece[1:])), own)
        else:
            pieces = jnp.arange(stream.num_blocks)

            def local(given: Any, own: Any) -> Sums:
                inner, shift, inverse = given

                def of_block(block: Array) -> Sums:
                    def of_piece(piece: Any) -> Sums:
                        z = product(inverse, piece[1].T - shift[:, None])
                        return chunk(inner, piece[0], z, _counting(z, piece[2]))

                    numbers = block * stream.chunks_per_block + jnp.arange(stream.chunks_per_block)
                    return _sum_of(of_piece, (numbers, *stream.read(block)))

                return _sum_of(of_block, own)

        given = (parameters, self.shift, self.inverse)
        if not self.shared:
            return local(given, pieces)

        def shared(given: Any, own: Any) -> Sums:
            # All sums in one vector, so that devices communicate once instead of once for each array.
            flat, unravel = ravel_pytree(local(given, own))
            return unravel(jax.lax.psum(flat, ROWS))

        split = jax.shard_map(
            shared,
            mesh=self.mesh,
            in_specs=(PartitionSpec(), PartitionSpec(ROWS)),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
        return split(given, pieces)

    def at(self, index: Array) -> Array:
        """The resident rows with the given numbers, in the data's units. [I] -> [I, D]"""
        size = self.z.shape[-1]
        return self.shift + product(self.z[index // size, :, index % size], self.matrix.T)

    def minibatch(self, key: Array, size: int) -> "Rows":
        """`size` random rows drawn with replacement; for streamed rows, consecutive ones from a random position.

        The rows keep their working units and weights, so that N / size times the sums of a pass over the minibatch
        estimate those of a pass over all rows.
        """
        weights = None
        if self.stream is None:
            index = jax.random.randint(key, (size,), 0, self.num_points)
            chunk, place = index // self.z.shape[-1], index % self.z.shape[-1]
            z = self.z[chunk, :, place].T  # [D, B]
            weights = None if self.weights is None else self.weights[chunk, place]
        else:
            first = jax.random.randint(key, (), 0, self.num_points - size + 1)
            z = product(self.inverse, self.stream.read_rows(first, size).T - self.shift[:, None])
        return self._of_working(z, weights)

    def holding(self, x: Array) -> "Rows":
        """Rows of other points x [N', D] in the same working units, in one chunk on one device.

        Raises:
            InputError: these rows are weighted, and the weights of the other points are not known.
        """
        if self.weights is not None:
            raise InputError("x: weighted rows are not replaced by points without weights; replace those first")
        return self._of_working(product(self.inverse, x.T - self.shift[:, None]))

    def weighted(self, weights: Array) -> "Rows":
        """The same rows with weights [N], which are scaled to a sum of N.

        Sums over rows become weighted sums. An integer weight acts as that many copies of the row.

        Raises:
            InputError: the rows are streamed, so that not all of them are in memory.
        """
        if self.stream is not None:
            raise InputError(f"x: rows of more than {RESIDENT_BYTES} bytes cannot be weighted; use a sample of them")
        chunks, _, size = self.z.shape
        scaled = weights * (self.num_points / jnp.sum(weights))
        placed = jnp.pad(scaled, (0, chunks * size - self.num_points)).reshape(chunks, size)
        total = jnp.einsum("cib,cb,cjb->ij", self.z, placed, self.z, precision="highest")
        return replace(self, weights=placed, total=total)

    def _of_working(self, z: Array, weights: Array | None = None) -> "Rows":
        """Rows of points z [D, B] in working units, in one chunk, with weights [B] if given."""
        size, total = z.shape[-1], product(z if weights is None else z * weights, z.T)
        chunked = None if weights is None else weights[None]
        counted = jnp.full(1, size)
        return replace(
            self, z=z[None], counted=counted, total=total, num_points=size, mesh=None, stream=None, weights=chunked
        )

    @property
    def log_determinant(self) -> Array:
        """Log-determinant of `matrix`: the increase of the log-density of a point on the change to working units."""
        return jnp.sum(jnp.log(jnp.diagonal(self.matrix)))

    def to_working(self, mixture: Mixture) -> Mixture:
        """The mixture in working units."""
        means = product(mixture.means - self.shift, self.inverse.T)
        scales = mixture.covariance.transform(mixture.scales, self.inverse)
        return Mixture(mixture.weights, means, scales, mixture.covariance)

    def from_working(self, mixture: Mixture) -> Mixture:
        """Inverse of `to_working`."""
        means = self.shift + product(mixture.means, self.matrix.T)
        scales = mixture.covariance.transform(mixture.scales, self.matrix)
        return Mixture(mixture.weights, means, scales, mixture.covariance)

    def statistics_from_working(self, statistics: Statistics, covariance: Covariance) -> Statistics:
        """Statistics in the data's units from those in working units; the origins are transformed alike."""
        second = covariance.transform_second(statistics.second, self.matrix)
        return Statistics(statistics.counts, product(statistics.first, self.matrix.T), second)


def _worth_sharing(mesh: Mesh | None, size: int) -> bool:
    """Whether the devices of a mesh should share rows of N x D = `size` numbers."""
    return mesh is not None and (mesh.is_multi_process or size >= SHARED_AT)


def _counting(z: Array, counted: Array) -> Array:
    """The multiplicity of each row of a chunk: 1 for the first `counted` rows and 0 for padding. [B]

    If `counted` is an array of weights [B], it is returned unchanged.
    """
    return counted if counted.ndim else (jnp.arange(z.shape[-1]) < counted).astype(z.dtype)


def _sum_of(term: Callable[[Any], Sums], pieces: Any) -> Sums:
    """Sum of `term(piece)` over the leading axis of `pieces`."""
    first = jax.tree.map(lambda leaf: leaf[0], pieces)
    if jax.tree.leaves(pieces)[0].shape[0] == 1:
        return term(first)

    def add(carry: Sums, piece: Any) -> tuple[Sums, None]:
        return jax.tree.map(jnp.add, carry, term(piece)), None

    # Start from zeros: to start from the first term would compile `term` twice and copy the other pieces.
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(term, first))
    return jax.lax.scan(add, zeros, pieces)[0]


def _even_sample(x: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """At most `most` rows, evenly spaced over x."""
    chosen = np.linspace(0, len(x) - 1, min(most, len(x))).astype(int)
    parts, first = [], 0
    for block in blocks_of(x):
        inside = chosen[(chosen >= first) & (chosen < first + len(block))]
        parts.append(block[inside - first])
        first += len(block)
    return np.concatenate(parts)
