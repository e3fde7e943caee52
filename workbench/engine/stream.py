"""Rows that are not held in memory: every pass reads them block by block from their source."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from workbench.data.moments import forget

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
        """The chunks of a block, in the data's units, and the number of points in each. [C, B, D], [C]"""
        rows = self.chunks_per_block * self.chunk
        points = self.read_rows(block * rows, rows).reshape(self.chunks_per_block, self.chunk, -1)
        first = block * rows + self.chunk * jnp.arange(self.chunks_per_block)
        return points, jnp.clip(len(self.x) - first, 0, self.chunk)

    def read_rows(self, first: Array, rows: int) -> Array:
        """`rows` consecutive points, starting with number `first`; zeros beyond the last point. [rows, D]"""
        dtype = jnp.result_type(float)
        shape = jax.ShapeDtypeStruct((rows, self.x.shape[1]), dtype)
        return jnp.asarray(jax.pure_callback(partial(self._fetch, dtype, rows), shape, first, vmap_method="sequential"))

    def _fetch(self, dtype: np.dtype[Any], rows: int, first: Any) -> NDArray[Any]:
        begin = int(first)
        points = np.zeros((rows, self.x.shape[1]), dtype)
        available = self.x[begin : begin + rows]
        points[: len(available)] = available
        forget(self.x)
        return points
