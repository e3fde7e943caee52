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
    # A seed below 2^32 fits the word of a key, even where JAX's default integer type could not hold it.
    return _named(np.uint32(seed) if 0 <= seed < 2**32 else seed, np.uint32(zlib.crc32(name.encode())))


# Jitted as one program; otherwise each operation would be compiled on its own.
@jax.jit
def _named(seed: ArrayLike, name: ArrayLike) -> Array:
    return jax.random.fold_in(jax.random.key(seed, impl=GENERATOR), name)


def restart_keys(key: Array, restarts: int) -> Array:
    """One key for each restart; the first keys do not depend on the number of restarts. [R]"""
    return jax.vmap(lambda r: jax.random.fold_in(key, r))(jnp.arange(restarts))


def quick(key: Array) -> Array:
    """The same key for the unrolled generator; for a key of a generator other than Threefry, a key drawn from it."""
    words = jax.random.key_data(key)
    return of_words(words if words.shape[-1] == 2 else jax.random.bits(key, (2,), "uint32"))


def of_words(words: Array) -> Array:
    """Inverse of `jax.random.key_data`. [..., 2] -> [...]"""
    return jax.random.wrap_key_data(words, impl=GENERATOR)
