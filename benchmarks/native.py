"""The one pass as native code beside the same pass in JAX, and its share of the machine's floor, over named cells.

Both passes go over the same rows for the same mixture, in turns, on one device, compiled as programs that step are.
Each time is the least over all turns; the floor's rates are measured in the same way, on one core. The last column is
the relative difference of the two passes' log-likelihoods. To be run on a machine without other work.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import threadpoolctl
from jax import Array

import setting
from floor import Rates, floor_seconds
from workbench.engine import native
from workbench.engine.compat.compilation import STEPPING, jit_with
from workbench.engine.one_pass import _plain_pass
from workbench.engine.rows import Rows
from workbench.mixture import COVARIANCES, Mixture

# Family, N, D, K: six that are always looked at, small data and few dimensions, and the other families.
CELLS = (
    ("full", 1_000_000, 2, 5),
    ("full", 100_000, 8, 5),
    ("full", 100_000, 8, 16),
    ("full", 100_000, 32, 5),
    ("full", 100_000, 32, 32),
    ("full", 20_000, 64, 16),
    ("full", 1_000, 2, 5),
    ("full", 10_000, 1, 2),
    ("full", 10_000, 2, 5),
    ("full", 100_000, 4, 5),
    ("full", 10_000, 16, 5),
    *(
        (family, 100_000, *shape)
        for family in ("tied", "diagonal", "spherical")
        for shape in ((2, 5), (8, 5), (32, 16))
    ),
)
SIDE, IN_CACHE = 1536, 2**15  # of square matrices; numbers of which exponentials are taken


def main() -> None:
    """Measure all cells and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each cell and pass")
    parser.add_argument("--json", type=Path, help="file of the rows")
    asked = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rates = one_core(asked.seconds)
    print(rates.words(), flush=True)
    found = []
    for cell in CELLS:
        found.append(row := measured(*cell, rates=rates, seconds=asked.seconds))
        print(
            f"{row['family']:9} N={row['N']:9,} D={row['D']:2} K={row['K']:2} {1e3 * row['seconds']:9.3f} ms, "
            f"{row['ratio']:.2f}x, {row['share']:.0%} of the floor, {row['difference']:.0e}",
            flush=True,
        )
    if asked.json:
        setting.write(asked.json, found)


def measured(family: str, n: int, d: int, k: int, *, rates: Rates, seconds: float) -> dict[str, str | float]:
    """Times of both passes over one cell."""
    mixture, rows = problem(family, n, d, k)
    if not native.serves(mixture, rows):
        raise SystemExit("the native pass is not built: make setup")
    passes = [jit_with(STEPPING)(native.statistics), jit_with(STEPPING)(_plain_pass)]
    values = [float(each(mixture, rows)[0]) for each in passes]
    quick, plain = least([lambda each=each: each(mixture, rows)[0].block_until_ready() for each in passes], seconds)
    return {
        "family": family,
        "N": n,
        "D": d,
        "K": k,
        "seconds": quick,
        "ratio": plain / quick,
        "share": floor_seconds(n, d, k, family, rates) / quick,
        "difference": abs(values[0] - values[1]) / abs(values[1]),
    }


def problem(family: str, n: int, d: int, k: int) -> tuple[Mixture, Rows]:
    """Overlapping groups, and a mixture with its means among the points."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)) + 2.0 * rng.integers(0, 3, size=(n, 1))
    covariance = COVARIANCES[family]
    roots = 0.3 * rng.normal(size=(k, d, d)) + np.eye(d)
    covariances = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(d)
    scales: Array = covariance.factor(jnp.asarray(covariance.nearest(covariances)))
    means = jnp.asarray(x[rng.integers(0, n, k)])
    return Mixture(jnp.asarray(rng.dirichlet(np.ones(k))), means, scales, covariance), Rows.of(x, covariance, k)


def one_core(seconds: float) -> Rates:
    """What one core does: products and exponentials by NumPy, the better of which is the machine's; bytes unbounded."""
    square, chunk = np.ones((SIDE, SIDE)), np.full(IN_CACHE, 0.5)
    out = np.empty_like(chunk)
    with threadpoolctl.threadpool_limits(1):
        (products,) = least([lambda: square @ square], seconds)
        # One after the other, so that the numbers stay in the cache.
        (exponentials,) = least([lambda: np.exp(chunk, out=out)], seconds)
    return Rates(2.0 * SIDE**3 / products, IN_CACHE / exponentials, np.inf)


def least(calls: list[Callable[[], object]], seconds: float) -> list[float]:
    """The least time of each call, in turns, over `seconds` each."""
    best, end = [np.inf] * len(calls), time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < end:
        for place, call in enumerate(calls):
            begun = time.perf_counter()
            call()
            best[place] = min(best[place], time.perf_counter() - begun)
    return best


if __name__ == "__main__":
    main()
