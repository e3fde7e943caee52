"""The floor: the least time that one pass over the data can take on this machine.

    floor = max(4 N K F / products  +  N (K + 1) / exponentials,   data bytes / bandwidth)

One matrix product into the log densities and one out of the responsibilities, of 2 N K F operations each, over the F
features of the family; K exponentials and one logarithm, counted as an exponential, per point; the points read once.
`products` [1/s], `exponentials` [1/s] and `bandwidth` [bytes/s] are measured here on all cores, each as the best of
NumPy's and JAX's, so that the floor is the machine's and not a library's.

The floor leaves out: forming the features, the maximum and the sums of the log-sum-exp, the division, the M-step, and
the call. It takes products at the rate of large square ones, which no product with K = 2 columns comes near. It is
a bound for this formulation, exact on what it counts, and no bound on formulations with fewer features.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

FAMILIES = ("full", "tied", "diagonal", "spherical")
SIDE = 2048  # of the square matrices: 32 MiB each in float64
IN_CACHE = 2**15  # numbers a core takes exponentials of at a time: 256 KiB in float64, and as much for the result
STREAMED = 2**25  # numbers read for the bandwidth: 256 MiB in float64, beyond any cache
SECONDS = 0.5  # spent on each rate, at least


class Rates(NamedTuple):
    """What a machine does per second in one precision."""

    products: float  # additions and multiplications inside matrix products
    exponentials: float
    bandwidth: float  # bytes read

    def words(self) -> str:
        """The rates for people."""
        return (
            f"{self.products / 1e9:.1f} Gflop/s in matrix products, {self.exponentials / 1e9:.2f} G exponentials/s, "
            f"{self.bandwidth / 1e9:.1f} GB/s"
        )


def features(family: str, d: int) -> int:
    """F, the numbers a point gives to a component's log density: 1, x_i and the products the family keeps."""
    return {"full": 1 + d + d * (d + 1) // 2, "tied": 1 + d, "diagonal": 1 + 2 * d, "spherical": 2 + d}[family]


def floor_seconds(n: int, d: int, k: int, family: str, rates: Rates, itemsize: int = 8) -> float:
    """The formula above."""
    arithmetic = 4 * n * k * features(family, d) / rates.products + n * (k + 1) / rates.exponentials
    return max(arithmetic, n * d * itemsize / rates.bandwidth)


def measure(dtype: str, seconds: float = SECONDS) -> Rates:
    """The rates of JAX's default device, and where that is the CPU, NumPy's where they are better."""
    parts = [_jax_work(dtype)] + ([_numpy_work(dtype)] if jax.default_backend() == "cpu" else [])
    return Rates(*(max(units / best_time(call, seconds) for units, call in kind) for kind in zip(*parts, strict=True)))


def best_time(call: Callable[[], object], seconds: float) -> float:
    """The shortest of repeated calls, after one that does not count."""
    call()
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begun)
    return best


def _jax_work(dtype: str) -> list[tuple[float, Callable[[], object]]]:
    """Units of work and a call that does them: products, exponentials, bytes."""
    with jax.enable_x64(dtype == "float64"):
        square = jnp.ones((SIDE, SIDE), dtype)
        chunks = jnp.full((512, IN_CACHE), 0.5, dtype)
        vector = jnp.ones(STREAMED, dtype)
        multiply = jax.jit(lambda a: a @ a).lower(square).compile()
        # The sum keeps the exponentials from being written to memory.
        exponentiate = jax.jit(lambda a: jnp.sum(jnp.exp(a))).lower(chunks).compile()
        read = jax.jit(jnp.sum).lower(vector).compile()
    return [
        (2.0 * SIDE**3, lambda: multiply(square).block_until_ready()),
        (float(chunks.size), lambda: exponentiate(chunks).block_until_ready()),
        (float(vector.nbytes), lambda: read(vector).block_until_ready()),
    ]


def _numpy_work(dtype: str) -> list[tuple[float, Callable[[], object]]]:
    cores = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(cores)
    square = np.ones((SIDE, SIDE), dtype)
    chunks = np.full((cores, IN_CACHE), 0.5, dtype)
    out = np.empty_like(chunks)
    vector = np.ones(STREAMED, dtype)
    turns = 256

    def exponentiate(core: int) -> None:
        for _ in range(turns):
            np.exp(chunks[core], out=out[core])

    return [
        (2.0 * SIDE**3, lambda: square @ square),
        (float(turns * chunks.size), lambda: list(pool.map(exponentiate, range(cores)))),
        (float(vector.nbytes), lambda: list(pool.map(np.sum, np.array_split(vector, cores)))),
    ]


def main() -> None:
    """Print the rates of both precisions and the floor of one pass."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=8)
    parser.add_argument("--components", type=int, default=16)
    parser.add_argument("--family", choices=FAMILIES, default="full")
    asked = parser.parse_args()
    for dtype in ("float64", "float32"):
        rates = measure(dtype)
        cell = (asked.points, asked.dimensions, asked.components, asked.family)
        least = floor_seconds(*cell, rates, np.dtype(dtype).itemsize)
        print(f"{dtype}: {rates.words()}")
        print(f"  N = {cell[0]:,}, D = {cell[1]}, K = {cell[2]}, {cell[3]}: a pass takes {1e3 * least:.3f} ms or more")


if __name__ == "__main__":
    main()
