"""Random keys: one root seed, split by name, so that adding one consumer never changes another's draws.

They belong to a generator that gives JAX's own numbers, Threefry's, bit for bit. JAX compiles it for a CPU as a loop
of five turns, which a sampler that needs a few numbers at a time spends most of its step on. Here it is written out:
a sweep of Gibbs takes half of the time, and what draws compiles faster.
"""

import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.random import define_prng_impl, threefry_prng_impl
from jax.typing import ArrayLike

# Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3", SC11: the rotations of
# Threefry-2x32, four rounds of each in turn, and the constant of its key schedule.
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
TURNS = 5
PARITY = 0x1BD11BDA


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


@jax.jit
def _cipher(key: Array, first: Array, second: Array) -> tuple[Array, Array]:
    """Two random words of 32 bits, from a key of two and a counter of two."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(PARITY))
    first, second = first + schedule[0], second + schedule[1]
    for turn in range(TURNS):
        for rotation in ROTATIONS[turn % 2]:
            first = first + second
            second = first ^ ((second << jnp.uint32(rotation)) | (second >> jnp.uint32(32 - rotation)))
        first = first + schedule[(turn + 1) % 3]
        second = second + schedule[(turn + 2) % 3] + jnp.uint32(turn + 1)
    return first, second


def _counted(key: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Two random words for each place of an array."""
    size = math.prod(shape)
    if size > 2**32:
        raise ValueError(f"shape: {shape} are more random numbers than one key gives; split it")
    count = jnp.arange(size, dtype=jnp.uint32).reshape(shape)
    return _cipher(key, jnp.zeros_like(count), count)


def _split(key: Array, shape: tuple[int, ...]) -> Array:
    return jnp.stack(_counted(key, shape), axis=-1)


def _fold_in(key: Array, data: ArrayLike) -> Array:
    return jnp.stack(_cipher(key, jnp.uint32(0), jnp.asarray(data).astype(jnp.uint32)))


def _random_bits(key: Array, width: int, shape: tuple[int, ...]) -> Array:
    high, low = _counted(key, shape)
    if width == 64:
        return (high.astype(jnp.uint64) << jnp.uint64(32)) | low.astype(jnp.uint64)
    return (high ^ low).astype(f"uint{width}")


GENERATOR = define_prng_impl(
    key_shape=(2,),
    seed=threefry_prng_impl.seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="threefry2x32_straight",
    tag="straight",
)
