"""Fifty fits of different shapes by `workbench.sklearn.GaussianMixture` and by scikit-learn's, in one process.

N is between 100 and 500 and K between 1 and 6; the four families take turns, in two columns unless `--columns` says
otherwise. `cold` is the first time that a process fits, with everything to be compiled; `kept` is a fresh process that
reads the programs that the first one left in a folder; `again` repeats the fits in the same process. Imports are not
counted. What JAX does at the first fit is: it starts its backend, and traces, lowers and reads one program for each
family and number of columns. `floor` is the least of that, measured in a process of its own: the start of the backend
and one empty program, kept as well. scikit-learn has fitted once before, so that its own first call is not counted.
Both fit the same data from the same starts, and must agree. Each has one thread: with more, scikit-learn's threads wait
for each other on a machine that does other things as well.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.mixture

TYPES = ("full", "tied", "diag", "spherical")


def main() -> None:
    """Measure in fresh processes, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=50, help="number of fits")
    parser.add_argument("--columns", type=int, nargs="+", default=[2], help="numbers of columns, in turn")
    parser.add_argument("--families", nargs="+", default=list(TYPES), choices=TYPES, help="families, in turn")
    parser.add_argument("--child", choices=["fits", "floor"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(floor() if asked.child == "floor" else measured(asked.fits, asked.columns, asked.families)))
        return
    with tempfile.TemporaryDirectory() as folder:
        kept = {"JAX_COMPILATION_CACHE_DIR": folder, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        kept |= {"JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
        kept |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

        def child(what: str) -> Any:
            command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--child", what]
            done = subprocess.run(command, env=os.environ | kept, check=True, stdout=subprocess.PIPE, text=True)
            return json.loads(done.stdout)

        for name in ("cold", "kept"):
            found = child("fits")
            ours, again, peer = (found[key] for key in ("ours", "again", "peer"))
            print(f"{name}: ours {ours:.2f} s, {ours / peer:.1f}x scikit-learn's {peer:.2f} s; ", end="")
            print(f"again {again:.2f} s, {again / peer:.1f}x (median of the fits {found['median']:.1f}x)")
        child("floor")  # compiles the empty program
        print(f"floor: {child('floor'):.2f} s for JAX's start and an empty program, which are part of cold and kept")
    print("load of the machine over the last minute, this one's included:", f"{os.getloadavg()[0]:.1f}")


def measured(fits: int, columns: list[int], families: list[str]) -> dict[str, float]:
    """Seconds of all fits: ours the first and the second time, and scikit-learn's."""
    from workbench.sklearn import GaussianMixture

    warnings.simplefilter("ignore")
    asked = [problem(number, columns, families) for number in range(fits)]
    # scikit-learn loads its threads at its first call.
    seconds(sklearn.mixture.GaussianMixture, asked[:1])
    ours, mine = seconds(GaussianMixture, asked)
    again, _ = seconds(GaussianMixture, asked)
    peer, theirs = seconds(sklearn.mixture.GaussianMixture, asked)
    for a, b in zip(mine, theirs, strict=True):
        # The two objectives differ by about reg_covar over the variance.
        np.testing.assert_allclose(a.means_, b.means_, rtol=1e-4, atol=1e-4)
    ratios = [a / b for a, b in zip(again, peer, strict=True)]
    return {"ours": sum(ours), "again": sum(again), "peer": sum(peer), "median": statistics.median(ratios)}


def floor() -> float:
    """Seconds until JAX has started and run an empty program, once all is imported."""
    import jax

    import workbench.sklearn  # noqa: F401

    begun = time.perf_counter()
    jax.block_until_ready(jax.jit(lambda: 0)())
    return time.perf_counter() - begun


def problem(number: int, columns: list[int], families: list[str]) -> tuple[np.ndarray, dict[str, Any]]:
    """Points of as many groups as there are components, and the arguments of the estimator."""
    random = np.random.default_rng(number)
    points, components, d = int(random.integers(100, 501)), 1 + number % 6, columns[number % len(columns)]
    centres = random.normal(size=(components, d)) * 4
    x = centres[random.integers(components, size=points)] + random.normal(size=(points, d))
    family = families[number % len(families)]
    return x, {"n_components": components, "covariance_type": family, "random_state": number}


def seconds(kind: type, asked: list[tuple[np.ndarray, dict[str, Any]]]) -> tuple[list[float], list[Any]]:
    """Seconds of each fit, and the fitted estimators."""
    spent, fitted = [], []
    for x, arguments in asked:
        begun = time.perf_counter()
        fitted.append(kind(**arguments).fit(x))
        spent.append(time.perf_counter() - begun)
    return spent, fitted


if __name__ == "__main__":
    main()
