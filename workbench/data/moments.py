"""Mean and covariance of points of any size, block by block."""

import mmap
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Bytes looked at together.
BLOCK_BYTES = 2**24


class Moments(NamedTuple):
    """What priors and units are made of."""

    num_points: int
    mean: NDArray[np.float64]  # [D]
    covariance: NDArray[np.float64]  # [D, D]   over N, not N - 1


def blocks_of(x: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """The points x [N, D] in order, in blocks of at most 16 MiB; whatever gives slices of rows will do."""
    step = max(1, BLOCK_BYTES // (8 * max(1, x.shape[1])))
    for first in range(0, len(x), step):
        yield np.asarray(x[first : first + step])
        forget(x)


def forget(x: object) -> None:
    """Let go of the pages of a memory map that have been read; they would count as this process's memory."""
    while x is not None and not isinstance(x, mmap.mmap):
        x = getattr(x, "base", None)
    if x is not None and hasattr(mmap, "MADV_DONTNEED"):
        x.madvise(mmap.MADV_DONTNEED)


def moments_of(x: NDArray[np.float64]) -> Moments:
    """Moments of points x [N, D], in two sweeps: the covariance about the mean that the first one found."""
    n, d = x.shape
    mean = np.asarray(sum((np.sum(block, axis=0) for block in blocks_of(x)), np.zeros(d)) / n)
    second = np.zeros((d, d))
    for block in blocks_of(x):
        centred = block - mean
        second += centred.T @ centred
    return Moments(n, mean, second / n)
