"""The data as the one pass reads them: in working units, in chunks, on one device, on several, or streamed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from numpy.typing import NDArray

from workbench.data.moments import Moments, Weights, moments_of
from workbench.engine.layout import (
    Layout,
    Stream,
    counting,
    even_places,
    even_sample,
    placed,
    placed_weights,
    sum_of_pieces,
    sum_over_devices,
)
from workbench.engine.observations import drawn_observations, every_observation
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
Block = Callable[[Any, Array, Array, Array], Sums]  # (parameters, numbers [C], z [C, D, B], counts [C]|[C, B]) -> sums


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Rows:
    """Points `z = matrix^-1 (x - shift)` in working units, in which the data have mean zero and unit covariance.

    The covariance family restricts the matrix, so that a mixture remains in the family under the change of units. They
    keep the expanded form of the one pass accurate and optimisers' coordinates well scaled; all but the pass and the
    charts is in the data's own units.

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
    num_points: int  # N, the sum of the weights if there are any; static in programs, an array after `of_any_size`
    mesh: Mesh | None = None
    stream: Stream | None = None
    weights: Array | None = None  # [C, B]   how often each row counts; once unless given
    num_weighted: int | None = None  # the number of rows if they have weights, static; None: it is N

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Arrays are leaves; N is a leaf if it is an array, and static otherwise."""
        arrays = (self.z, self.counted, self.shift, self.matrix, self.inverse, self.total, self.weights)
        static = (self.mesh, self.stream, self.num_weighted)
        if self.has_known_size:
            return (*arrays, None), (self.num_points, *static)
        return (*arrays, self.num_points), (None, *static)

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], leaves: tuple[Any, ...]) -> "Rows":
        """Inverse of `tree_flatten`."""
        known, mesh, stream, num_weighted = static
        z, counted, shift, matrix, inverse, total, weights, size = leaves
        num_points = size if known is None else known
        return cls(z, counted, shift, matrix, inverse, total, num_points, mesh, stream, weights, num_weighted)

    @classmethod
    def of(
        cls,
        x: NDArray[np.float64],
        covariance: Covariance,
        components: int = 1,
        mesh: Mesh | None = None,
        *,
        moments: Moments | None = None,
        weights: Weights | None = None,
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
            weights: how often each row counts, [N]. N is their sum.
        """
        rows, d = x.shape
        n, shift, spread = moments_of(x, weights) if moments is None else moments
        matrix = covariance.units(spread)
        inverse = np.linalg.inv(matrix) if d > 1 else 1.0 / matrix
        sharing = mesh if _worth_sharing(mesh, rows * d) else None
        devices = 1 if sharing is None else sharing.size
        layout = Layout.of(rows, covariance.row_bytes(components, d), devices)
        stream = None
        if rows * d * 8 > RESIDENT_BYTES:
            stream = Stream(x, layout.size, devices, weights)
            x = even_sample(x, SAMPLED_ROWS)
            weights = None if weights is None else weights[even_places(rows, SAMPLED_ROWS)]
            layout, sharing = Layout(-(-len(x) // layout.size), layout.size), None
        z, counted = placed(x, shift, inverse, layout, sharing)
        shift, matrix, inverse, total = jax.device_put((shift, matrix, inverse, n * inverse @ spread @ inverse.T))
        return cls(
            z=z,
            counted=counted,
            shift=shift,
            matrix=matrix,
            inverse=inverse,
            total=total,
            num_points=n,  # type: ignore[arg-type]
            mesh=mesh,
            stream=stream,
            weights=None if weights is None else placed_weights(weights, layout, sharing),
            num_weighted=None if weights is None else rows,
        )

    def of_any_size(self) -> "Rows":
        """The same rows with N as an array, so that one compiled program serves every N with equally many equal chunks.

        Shared and streamed rows are returned as they are: compiling a program for their N pays.
        """
        if self.shared or self.stream is not None:
            return self
        return replace(self, num_points=np.asarray(self.num_points, self.dtype), num_weighted=None)  # type: ignore[arg-type]

    @property
    def has_known_size(self) -> bool:
        """Whether N is a Python number, and so static in compiled programs."""
        return isinstance(self.num_points, int | float | np.integer)

    @property
    def num_rows(self) -> int:
        """Number of rows: N, unless they have weights; with padding after `of_any_size`."""
        if not self.has_known_size:
            return len(self.counted) * self.z.shape[-1]
        return self.num_points if self.num_weighted is None else self.num_weighted

    @property
    def num_resident(self) -> int:
        """Number of rows in memory: all, or the size of the sample if streamed; with padding after `of_any_size`."""
        return self.num_rows if self.stream is None else min(SAMPLED_ROWS, self.num_rows)

    @property
    def num_numbers(self) -> int:
        """Rows times D; includes padding after `of_any_size`."""
        return self.num_rows * len(self.shift)

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
        """`sum_c chunk(parameters, key_c, z_c, counted_c)`: as `sum`, with a key for each chunk, derived from `key`."""

        def drawn(given: Any, number: Array, z: Array, counted: Array) -> Sums:
            parameters, key = given
            return chunk(parameters, jax.random.fold_in(key, number), z, counted)

        return self._sum(drawn, (parameters, key))

    def _sum(self, chunk: RandomChunk, parameters: Any) -> Sums:
        """Sum over chunks of a function that also receives the chunk's number."""

        def block(given: Any, numbers: Array, z: Array, counted: Array) -> Sums:
            def of_piece(piece: Any) -> Sums:
                return chunk(given, piece[0], piece[1], counting(*piece[1:]))

            return sum_of_pieces(of_piece, (numbers, z, counted))

        return self.block_sum(block, parameters)

    @property
    def num_blocks(self) -> int:
        """Number of the blocks over which `block_sum` adds up."""
        resident = self.mesh.size if self.mesh is not None and self.shared else 1
        return resident if self.stream is None else self.stream.num_blocks

    def block_sum(self, block: Block, parameters: Any) -> Sums:
        """The sum of `block(parameters, numbers, z, counted)` over blocks of chunks.

        A block, the chunks of a device or those of streamed rows read at a time, has their `numbers` [C], rows z
        [C, D, B], and the number of points in each [C], or weights [C, B].
        """
        stream = self.stream
        if stream is None:
            counts = self.counted if self.weights is None else self.weights
            pieces: Any = (jnp.arange(len(self.counted)), self.z, counts)

            def local(given: Any, own: Any) -> Sums:
                return block(given[0], *own)
        else:
            pieces = jnp.arange(stream.num_blocks)

            def local(given: Any, own: Any) -> Sums:
                inner, shift, inverse = given

                def of_block(number: Array) -> Sums:
                    points, counted = stream.read(number)
                    z = product(inverse, jnp.swapaxes(points - shift, -1, -2))
                    numbers = number * stream.chunks_per_block + jnp.arange(stream.chunks_per_block)
                    return block(inner, numbers, z, counted)

                return sum_of_pieces(of_block, own)

        given = (parameters, self.shift, self.inverse)
        return sum_over_devices(local, given, pieces, self.mesh if self.shared else None)

    def at(self, index: Array) -> Array:
        """The resident rows with the given numbers, in the data's units. [I] -> [I, D]"""
        size = self.z.shape[-1]
        return self.shift + product(self.z[index // size, :, index % size], self.matrix.T)

    def minibatch(self, key: Array, size: int) -> "Rows":
        """`size` random rows drawn with replacement; for streamed rows, consecutive ones from a random position.

        The rows keep their working units, and N / size times the sums of a pass over the minibatch estimate those of a
        pass over all rows. A row of weight w is drawn as one that occurs w times; streamed rows keep their weights,
        divided by the mean weight.
        """
        weights = None
        if self.stream is None:
            index = self.drawn(key, size)
            z = self.z[index // self.z.shape[-1], :, index % self.z.shape[-1]].T  # [D, B]
        else:
            first = jax.random.randint(key, (), 0, self.num_rows - size + 1)
            z = product(self.inverse, self.stream.read_rows(first, size).T - self.shift[:, None])
            if self.weights is not None:
                weights = self.stream.read_weights(first, size) * (self.num_rows / self.num_points)
        return self._of_working(z, weights)

    def drawn(self, key: Array, size: int) -> Array:
        """The rows in memory that `minibatch` draws. [size]"""
        if self.weights is None:
            return jax.random.randint(key, (size,), 0, self.num_points)
        return drawn_observations(key, size, self.each_weight, self.num_points)

    @property
    def each_weight(self) -> Array:
        """The weights of the rows in memory, in their order, if they have weights. [N']"""
        return jnp.reshape(jnp.asarray(self.weights), -1)[: self.num_resident]

    def every_observation(self) -> Array:
        """The row of each observation, in order; of rows in memory, with whole weights if they have any. [N]"""
        if self.weights is None:
            return jnp.arange(self.num_points)
        return every_observation(self.each_weight, self.num_points)

    def holding(self, x: Array) -> "Rows":
        """Rows of other points x [N', D] in the same working units, in one chunk on one device, without weights."""
        return self._of_working(product(self.inverse, x.T - self.shift[:, None]))

    def weighted(self, weights: Array) -> "Rows":
        """The same rows with other weights, one for each row, which are scaled to a sum of N.

        Sums over rows become weighted sums. A row of weight w acts as w equal rows.

        Raises:
            InputError: the rows are streamed, so that not all of them are in memory.
        """
        if self.stream is not None:
            raise InputError(f"x: rows of more than {RESIDENT_BYTES} bytes cannot be weighted; use a sample of them")
        (chunks, _, size), scaled = self.z.shape, weights * (self.num_points / jnp.sum(weights))
        cut = jnp.pad(scaled, (0, chunks * size - self.num_rows)).reshape(chunks, size)
        total = jnp.einsum("cib,cb,cjb->ij", self.z, cut, self.z, precision="highest")
        return replace(self, weights=cut, total=total, num_weighted=self.num_rows)

    def _of_working(self, z: Array, weights: Array | None = None) -> "Rows":
        """Rows of points z [D, B] in working units, in one chunk, with weights [B] if given."""
        size, total = z.shape[-1], product(z if weights is None else z * weights, z.T)
        own: dict[str, Any] = {"mesh": None, "stream": None, "weights": None, "num_weighted": None}
        if weights is not None:
            own |= {"weights": weights[None], "num_weighted": size}
        return replace(self, z=z[None], counted=jnp.full(1, size), total=total, num_points=size, **own)

    @property
    def log_determinant(self) -> Array:
        """Log-determinant of `matrix`: the increase of the log-density of a point on the change to working units."""
        return jnp.sum(jnp.log(jnp.diagonal(self.matrix)))

    @property
    def log_volume(self) -> Array:
        """The increase of the log-likelihood on the change to working units."""
        return self.num_points * self.log_determinant

    def to_working(self, mixture: Mixture) -> Mixture:
        """The components in working units, without a background."""
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
