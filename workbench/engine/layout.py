"""The layout of rows: how they are cut into chunks, which device holds which chunk, and rows that are streamed."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from workbench.data.moments import blocks_of, forget

# Bytes read at a time: large enough that the cost of a call is negligible compared with the copy.
READ_BYTES = 2**22


@dataclass(frozen=True, eq=False)
class Stream:
    """Points x [N, D] outside a compiled program, which reads them in blocks of chunks.

    A program requests a block by its number and receives the points in the data's units. Anything that can be sliced by
    rows can be streamed: an array, a memory map, a Parquet file. Streams are compared by identity.
    """

    x: NDArray[np.float64]  # [N, D]
    chunk: int  # B, rows of a chunk
    devices: int  # over which the blocks are divided
    weights: NDArray[np.float64] | None = None  # [N]   in memory, unlike x

    @property
    def chunks_per_block(self) -> int:
        """Number of chunks read at a time."""
        rows = max(1, READ_BYTES // (8 * self.x.shape[1]))
        return max(1, min(rows, -(-len(self.x) // self.devices)) // self.chunk)

    @property
    def num_blocks(self) -> int:
        """Number of blocks, the last ones padded; a multiple of the number of devices."""
        rows = self.chunks_per_block * self.chunk * self.devices
        return -(-len(self.x) // rows) * self.devices

    def read(self, block: Array) -> tuple[Array, Array]:
        """The chunks of a block, in the data's units, and the number of points in each. [C, B, D], [C]

        If the rows are weighted, their weights [C, B] replace the numbers; those of padding are zero.
        """
        rows = self.chunks_per_block * self.chunk
        points = self.read_rows(block * rows, rows).reshape(self.chunks_per_block, self.chunk, -1)
        if self.weights is not None:
            return points, self.read_weights(block * rows, rows).reshape(self.chunks_per_block, self.chunk)
        first = block * rows + self.chunk * jnp.arange(self.chunks_per_block)
        return points, jnp.clip(len(self.x) - first, 0, self.chunk)

    def read_rows(self, first: Array, rows: int) -> Array:
        """`rows` consecutive points, starting with number `first`; zeros beyond the last point. [rows, D]"""
        dtype = jnp.result_type(float)
        shape = jax.ShapeDtypeStruct((rows, self.x.shape[1]), dtype)
        return jnp.asarray(jax.pure_callback(partial(self._fetch, dtype, rows), shape, first, vmap_method="sequential"))

    def read_weights(self, first: Array, rows: int) -> Array:
        """The weights of the rows that `read_rows` reads; zeros beyond the last point. [rows]"""
        dtype = jnp.result_type(float)
        shape = jax.ShapeDtypeStruct((rows,), dtype)
        fetch = partial(self._fetch_weights, dtype, rows)
        return jnp.asarray(jax.pure_callback(fetch, shape, first, vmap_method="sequential"))

    def _fetch_weights(self, dtype: np.dtype[Any], rows: int, first: Any) -> NDArray[Any]:
        assert self.weights is not None
        weights = np.zeros(rows, dtype)
        available = self.weights[int(first) : int(first) + rows]
        weights[: len(available)] = available
        return weights

    def _fetch(self, dtype: np.dtype[Any], rows: int, first: Any) -> NDArray[Any]:
        begin = int(first)
        points = np.zeros((rows, self.x.shape[1]), dtype)
        available = self.x[begin : begin + rows]
        points[: len(available)] = available
        forget(self.x)
        return points


# The mesh axis over which rows are sharded.
ROWS = "rows"

# Bounds on the rows of a chunk: 128 to 1,024 rows were fastest, fewer for wider rows. Matrix products of fewer rows do
# not use a core's vector units fully, and more rows of few columns gain nothing.
FEWEST, MOST = 128, 512

# On a GPU each row is the work of one thread. Chunks are as large as possible while the intermediates of one chunk stay
# small compared with the device's memory.
GPU_CHUNK_BYTES = 2**28


class Layout(NamedTuple):
    """How N rows are cut: `chunks` (C) of `size` (B) rows each, the last ones padded."""

    chunks: int
    size: int

    @classmethod
    def of(cls, num_points: int, row_bytes: int, devices: int) -> "Layout":
        """Chunks of equal size whose intermediates, `row_bytes` for each row, fill half of a core's cache.

        The number of chunks is a multiple of the number of devices. Their size is a multiple of 8, the width of a
        vector register in float64.
        """
        bound = GPU_CHUNK_BYTES if jax.default_backend() != "cpu" else _cache_bytes()
        most = MOST if jax.default_backend() == "cpu" else bound
        size = min(max(bound // (2 * row_bytes), FEWEST), most)
        chunks = -(-num_points // (size * devices)) * devices
        return cls(chunks, -(-num_points // (8 * chunks)) * 8)


def placed(
    x: NDArray[np.float64], shift: np.ndarray, inverse: np.ndarray, layout: Layout, mesh: Mesh | None
) -> tuple[Array, Array]:
    """Chunks [C, D, B] in working units and the number of points in each [C], sharded over the devices of the mesh."""
    n, d = x.shape
    chunks, size = layout
    counted = np.clip(n - size * np.arange(chunks), 0, size)
    dtype = jnp.result_type(float)

    def share(index: tuple[slice, ...]) -> np.ndarray:
        first, last, _ = index[0].indices(chunks)
        z = np.zeros((last - first, d, size), dtype)
        step = max(1, READ_BYTES // (8 * d * size))
        for c in range(first, last, step):
            end = min(c + step, last)
            piece = np.zeros(((end - c) * size, d))
            points = (np.asarray(x[c * size : end * size]) - shift) @ inverse.T
            piece[: len(points)] = points
            z[c - first : end - first] = piece.reshape(end - c, size, d).transpose(0, 2, 1)
        return z

    if mesh is None:
        return jnp.asarray(share((slice(None),))), jnp.asarray(counted)
    sharding = NamedSharding(mesh, PartitionSpec(ROWS))
    z = jax.make_array_from_callback((chunks, d, size), sharding, share)  # type: ignore[arg-type]
    return z, jax.make_array_from_callback((chunks,), sharding, lambda index: counted[index])


def placed_weights(weights: NDArray[np.float64], layout: Layout, mesh: Mesh | None) -> Array:
    """Weights [N] of the rows that `placed` places, zero for padding. [C, B]"""
    chunks, size = layout
    cut = np.pad(weights.astype(jnp.result_type(float)), (0, chunks * size - len(weights))).reshape(chunks, size)
    if mesh is None:
        return jnp.asarray(cut)
    sharding = NamedSharding(mesh, PartitionSpec(ROWS))
    return jax.make_array_from_callback((chunks, size), sharding, lambda index: cut[index])


def even_sample(x: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """At most `most` rows, evenly spaced over x."""
    chosen = even_places(len(x), most)
    parts, first = [], 0
    for block in blocks_of(x):
        inside = chosen[(chosen >= first) & (chosen < first + len(block))]
        parts.append(block[inside - first])
        first += len(block)
    return np.concatenate(parts)


def even_places(rows: int, most: int) -> NDArray[np.intp]:
    """The numbers of at most `most` rows, evenly spaced."""
    return np.linspace(0, rows - 1, min(most, rows)).astype(int)


def sum_of_pieces(term: Callable[[Any], Any], pieces: Any) -> Any:
    """Sum of `term(piece)` over the leading axis of `pieces`."""
    first = jax.tree.map(lambda leaf: leaf[0], pieces)
    if jax.tree.leaves(pieces)[0].shape[0] == 1:
        return term(first)

    def add(carry: Any, piece: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, carry, term(piece)), None

    # Start from zeros: to start from the first term would compile `term` twice and copy the other pieces.
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(term, first))
    return jax.lax.scan(add, zeros, pieces)[0]


def sum_over_devices(local: Callable[[Any, Any], Any], given: Any, pieces: Any, mesh: Mesh | None) -> Any:
    """The sum of `local(given, own)` over the devices of a mesh, if there is one, among which `pieces` are divided."""
    if mesh is None:
        return local(given, pieces)

    def shared(given: Any, own: Any) -> Any:
        # All sums in one vector, so that devices communicate once instead of once for each array.
        flat, unravel = ravel_pytree(local(given, own))
        return unravel(jax.lax.psum(flat, ROWS))

    split = jax.shard_map(
        shared,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(ROWS)),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    return split(given, pieces)


def counting(z: Array, counted: Array) -> Array:
    """The multiplicity of each row of a chunk: 1 for the first `counted` rows and 0 for padding. [B]

    If `counted` is an array of weights [B], it is returned unchanged.
    """
    return counted if counted.ndim else (jnp.arange(z.shape[-1]) < counted).astype(z.dtype)


def _cache_bytes() -> int:
    """Size of a core's second-level cache; 1 MiB where the system does not report it."""
    name = "SC_LEVEL2_CACHE_SIZE"
    known = os.sysconf(name) if name in getattr(os, "sysconf_names", {}) else 0
    return known if known > 0 else 2**20
