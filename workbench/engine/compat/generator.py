"""The random number generator: Threefry with its loop unrolled; its numbers equal those of JAX's own bit for bit.

JAX compiles Threefry for a CPU as a loop of five iterations, in which a sampler that needs a few numbers at a time
spends most of its step. With the loop unrolled a Gibbs sweep takes half the time, and programs that draw compile
faster. WORKBENCH_PLAIN_THREEFRY=1 in the environment selects JAX's own loop instead; no number changes.
"""

import math
import os
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.random import define_prng_impl, threefry_prng_impl
from jax.typing import ArrayLike

# The environment variable that selects JAX's own loop.
PLAIN = "WORKBENCH_PLAIN_THREEFRY"

# Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3", SC11: the rotations of
# Threefry-2x32, applied alternately in groups of four rounds, and the constant of its key schedule.
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
TURNS = 5
PARITY = 0x1BD11BDA

# From this many numbers on, XLA must compute their key before them: it would otherwise derive the key anew for every
# number, which takes longer than the number itself.
MANY = 64


@jax.jit
def _cipher(key: Array, first: Array, second: Array) -> tuple[Array, Array]:
    """Two random 32-bit words, from a key of two words and a counter of two words."""
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
    """Two random words for each element of an array."""
    size = math.prod(shape)
    if size > 2**32:
        raise ValueError(f"shape: {shape} are more random numbers than one key gives; split it")
    if size >= MANY:
        key = jax.lax.optimization_barrier(key)
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


def _straight() -> Any:
    """Threefry with its loop unrolled."""
    return define_prng_impl(
        key_shape=(2,),
        seed=threefry_prng_impl.seed,
        split=_split,
        random_bits=_random_bits,
        fold_in=_fold_in,
        name="threefry2x32_straight",
        tag="straight",
    )


# The generator of every key of the package. Both give the same numbers.
GENERATOR = threefry_prng_impl if os.environ.get(PLAIN) == "1" else _straight()
