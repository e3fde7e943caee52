"""Random keys: one root seed, split by name, so that adding one consumer never changes another's draws."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from workbench.engine.compat.generator import GENERATOR


def named_key(seed: int, name: str) -> Array:
    """The key of one consumer ("starts", a method's name, ...) under a root seed."""
    # Any seed that fits the word of a key is one, whatever JAX's own whole numbers hold.
    return _named(np.uint32(seed) if 0 <= seed < 2**32 else seed, np.uint32(zlib.crc32(name.encode())))


# One program, where each operation by itself would be compiled by itself.
@jax.jit
def _named(seed: ArrayLike, name: ArrayLike) -> Array:
    return jax.random.fold_in(jax.random.key(seed, impl=GENERATOR), name)


def restart_keys(key: Array, restarts: int) -> Array:
    """One key for each restart; the first R are the same however many follow. [R]"""
    return jax.vmap(lambda r: jax.random.fold_in(key, r))(jnp.arange(restarts))


def quick(key: Array) -> Array:
    """The same key, of the generator written out; from a key of another generator than Threefry, one that it draws."""
    words = jax.random.key_data(key)
    return of_words(words if words.shape[-1] == 2 else jax.random.bits(key, (2,), "uint32"))


def of_words(words: Array) -> Array:
    """Inverse of `jax.random.key_data`. [..., 2] -> [...]"""
    return jax.random.wrap_key_data(words, impl=GENERATOR)
