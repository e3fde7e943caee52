"""Rows that are not held in memory: read block by block from where they are, in every pass anew."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from workbench.data.moments import forget

# Bytes read at a time: enough that the call costs nothing beside the copy.
READ_BYTES = 2**22


@dataclass(frozen=True, eq=False)
class Stream:
    """Points x [N, D] outside a compiled program, handed to it in blocks of chunks.

    A program asks for a block by its number and gets the points as they are, so that whatever gives slices of rows can
    be streamed: an array, a memory map, a Parquet file. Two streams are equal only if they are the same one.
    """

    x: NDArray[np.float64]  # [N, D]
    chunk: int  # B, rows of a chunk
    devices: int  # that share the blocks

    @property
    def chunks_per_block(self) -> int:
        """Chunks read at a time."""
        rows = max(1, READ_BYTES // (8 * self.x.shape[1]))
        return max(1, min(rows, -(-len(self.x) // self.devices)) // self.chunk)

    @property
    def num_blocks(self) -> int:
        """Blocks, the last ones padded: as many for each device."""
        rows = self.chunks_per_block * self.chunk * self.devices
        return -(-len(self.x) // rows) * self.devices

    def read(self, block: Array) -> tuple[Array, Array]:
        """The chunks of a block, in the data's units, and the points in each. [C, B, D], [C]"""
        rows = self.chunks_per_block * self.chunk
        points = self.run(block * rows, rows).reshape(self.chunks_per_block, self.chunk, -1)
        first = block * rows + self.chunk * jnp.arange(self.chunks_per_block)
        return points, jnp.clip(len(self.x) - first, 0, self.chunk)

    def run(self, first: Array, rows: int) -> Array:
        """So many consecutive points from the `first` on; zeros beyond the last. [rows, D]"""
        dtype = jnp.result_type(float)
        shape = jax.ShapeDtypeStruct((rows, self.x.shape[1]), dtype)
        return jnp.asarray(jax.pure_callback(partial(self._fetch, dtype, rows), shape, first, vmap_method="sequential"))

    def _fetch(self, dtype: np.dtype[Any], rows: int, first: Any) -> NDArray[Any]:
        begin = int(first)
        points = np.zeros((rows, self.x.shape[1]), dtype)
        found = self.x[begin : begin + rows]
        points[: len(found)] = found
        forget(self.x)
        return points
