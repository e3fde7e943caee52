"""Random keys: one root seed, split by name, so that adding one consumer never changes another's draws."""

import zlib

import jax
from jax import Array


def named_key(seed: int, name: str) -> Array:
    """The key of one consumer ("starts", a method's name, ...) under a root seed."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))


def restart_keys(key: Array, restarts: int) -> Array:
    """One key for each restart; the first R are the same however many follow. [R]"""
    return jax.vmap(lambda r: jax.random.fold_in(key, r))(jax.numpy.arange(restarts))
