"""The generator of random numbers: JAX's own, Threefry, bit for bit, with its loop of rounds written out.

JAX compiles Threefry for a CPU as a loop of five turns, and a sampler that needs a few numbers at a time spends most of
its step on that loop. Written out, a sweep of Gibbs takes half of the time, and what draws compiles faster. With
WORKBENCH_PLAIN_THREEFRY=1 in the environment JAX's own loop is used instead; no number changes.
"""

import math
import os
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.random import define_prng_impl, threefry_prng_impl
from jax.typing import ArrayLike

# The variable of the environment that chooses JAX's own loop.
PLAIN = "WORKBENCH_PLAIN_THREEFRY"

# Salmon, Moraes, Dror & Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3", SC11: the rotations of
# Threefry-2x32, four rounds of each in turn, and the constant of its key schedule.
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
TURNS = 5
PARITY = 0x1BD11BDA


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


def _straight() -> Any:
    """Threefry with its rounds written out."""
    return define_prng_impl(
        key_shape=(2,),
        seed=threefry_prng_impl.seed,
        split=_split,
        random_bits=_random_bits,
        fold_in=_fold_in,
        name="threefry2x32_straight",
        tag="straight",
    )


# What every key of the package belongs to. Both give the same numbers.
GENERATOR = threefry_prng_impl if os.environ.get(PLAIN) == "1" else _straight()
