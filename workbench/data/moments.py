"""Mean and covariance of points of any number, computed block by block."""

import mmap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InputError, shown

# Standard deviations must lie within this power of the range of their float type. Their squares then lie within the
# 0.9th power of the range, which leaves a margin.
ROOM = 0.45

# Bytes of a block.
BLOCK_BYTES = 2**24


class Moments(NamedTuple):
    """The moments of the data, from which priors and working units are derived."""

    num_points: int
    mean: NDArray[np.float64]  # [D]
    covariance: NDArray[np.float64]  # [D, D]   over N, not N - 1


def blocks_of(x: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Iterate over points x [N, D] in blocks of at most `BLOCK_BYTES`; x may be anything that can be sliced by rows."""
    step = max(1, BLOCK_BYTES // (8 * max(1, x.shape[1])))
    for first in range(0, len(x), step):
        yield np.asarray(x[first : first + step])
        forget(x)


def forget(x: object) -> None:
    """Release the pages of a memory map that have been read, which would otherwise count as this process's memory."""
    while x is not None and not isinstance(x, mmap.mmap):
        x = getattr(x, "base", None)
    if x is not None and hasattr(mmap, "MADV_DONTNEED"):
        x.madvise(mmap.MADV_DONTNEED)


def moments_of(x: NDArray[np.float64]) -> Moments:
    """Moments of points x [N, D], in two sweeps: first the mean, then the covariance about it."""
    n, d = x.shape
    second = np.zeros((d, d))
    # Overflow gives infinity, which `check_scales` reports.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        mean = np.asarray(sum((np.sum(block, axis=0) for block in blocks_of(x)), np.zeros(d)) / n)
        for block in blocks_of(x):
            centred = block - mean
            second += centred.T @ centred
    return Moments(n, mean, second / n)


def check_scales(moments: Moments, where: str, *, dtype: np.dtype[Any], columns: Sequence[str]) -> None:
    """Check that no column is so narrow or wide that its variance or precision leaves the range of a float type.

    Args:
        moments: the moments of the points.
        where: the name of the points in the message.
        dtype: the float type of the computation.
        columns: names of the D columns.

    Raises:
        InputError: names the first such column and the remedy.
    """
    info = np.finfo(dtype)
    least, most = float(info.tiny) ** ROOM, float(info.max) ** ROOM
    deviations = np.sqrt(np.diag(moments.covariance))
    bad = ~(np.isfinite(moments.mean) & (deviations >= least) & (deviations <= most))
    if np.any(bad):
        name, sd = columns[int(np.argmax(bad))], deviations[np.argmax(bad)]
        raise InputError(
            f"{where}: column {shown(name)} has standard deviation {sd:.3g}, whose square or its inverse is beyond "
            f"{info.dtype}; give it in another unit, between {least:.0e} and {most:.0e} (data.divide_by, "
            "data.standardize)"
        )
