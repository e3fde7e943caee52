"""NumPy generators that depend on a seed and a purpose, so that no two purposes share random numbers."""

import zlib

import numpy as np

from workbench.errors import InputError, shown


def generator(seed: int, purpose: str) -> np.random.Generator:
    """The NumPy generator of `(seed, purpose)`: the same pair always draws the same numbers.

    Raises:
        InputError: `seed` is not a whole number of at least 0.
    """
    if not _is_seed(seed):
        raise InputError(f"seed must be a whole number of at least 0, got {seed!r}")
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def check_seed(seed: object) -> None:
    """Check that `seed` can be the root seed of random keys.

    Raises:
        InputError: it is not a whole number from 0 to 2^32 - 1, the range that keys accept on every platform.
    """
    if not (_is_seed(seed) and int(seed) < 2**32):  # type: ignore[call-overload]  # it is a whole number
        raise InputError(f"seed: must be a whole number from 0 to {2**32 - 1}, got {shown(seed)}")


def _is_seed(seed: object) -> bool:
    return isinstance(seed, int | np.integer) and not isinstance(seed, bool) and bool(seed >= 0)
