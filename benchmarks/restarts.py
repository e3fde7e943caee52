"""Times the way to equal answers: EM from k-means++ on one problem, with as many restarts as it takes, of workbench and
of scikit-learn.

A number of restarts is no answer: with 100 of each, one side may have found an optimum that the other missed. So every
way of running doubles its restarts, from `--restarts`, until its best log-likelihood is within 0.1 nats of the highest
that any of them found; what is timed is the run with the fewest restarts that got there. A side that does not get
there with `--most` says so and has no ratio. How many restarts it takes is luck, so every round has a seed of its own.

Every measurement is a fresh process, and its clock runs from the points to the best mixture, imports apart: for
workbench compiling, drawing starts, stepping and scoring. Workbench is measured without JAX's compilation cache, which
is the figure that counts; with a filled one; and racing, without one: after 20 iterations of every restart, the best
tenth goes on (small-EM of Biernacki, Celeux & Govaert, 2003). A ratio compares times of one round.

Both stop by the same rule: the mean log-likelihood per point rises by less than 1e-8 in an iteration. scikit-learn's
`tol` is that number; workbench's `tolerance` is a share of the log-likelihood, here of the one at the truth.
scikit-learn keeps its `reg_covar` of 1e-6, because its k-means++ start has components of one point: without it the
first covariances are singular. Workbench has no prior. The log-likelihoods are printed beside the times. NumPy's
threads are limited to one: products of two columns are over before a second has woken up, and on a machine with
neighbours its spinning costs scikit-learn many times what it does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

import setting
import workbench as wb
from judge import Parameters, log_likelihood
from workbench.engine.devices import use_all_cores
from workbench.methods import Race

TOLERANCE = 1e-8  # rise of the mean log-likelihood per point
MOST_ITERATIONS = 10_000
POINTS = (1_000, 10_000)
GOALS = {1_000: 10.0, 10_000: 20.0}
CACHED, RACING = "workbench, cached", "workbench, racing"
EQUAL = (
    0.1  # nats: either side stops short of an optimum by less, where the last rate of EM is below .9999 at N = 1,000
)


def main() -> None:
    """Time every size asked for and print the ratios."""
    asked = _arguments()
    if asked.child:
        print(json.dumps(CHILDREN[asked.child](asked.points[0], asked.restarts, asked.seed)))
        return
    rows = [row for n in asked.points for row in time_size(n, (asked.restarts, asked.most), asked.rounds)]
    for row in rows:
        goal = f", goal {GOALS[row['N']]:g}x" if row["peer"] == "workbench" and row["N"] in GOALS else ""
        ratio = "no ratio"
        if row["speedup"] is not None:
            ratio = f"{row['speedup']:.1f}x ({row['speedup_min']:.1f} to {row['speedup_max']:.1f}{goal})"
        print(
            f"N={row['N']:<7,} {row['peer']:18} {row['restarts']:5.0f} restarts {row['seconds']:8.2f} s  {ratio:32} "
            f"equal in {row['equal']} of {row['rounds']}, log-likelihood {row['log_likelihood']:.3f}"
        )
    if asked.json:
        setting.write(asked.json, rows)


def time_size(n: int, restarts: tuple[int, int], rounds: int) -> list[dict[str, Any]]:
    """A row for each way of running, with its speed over scikit-learn's in the rounds where both are equal."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in ("workbench", CACHED, RACING, "scikit-learn")}
    with tempfile.TemporaryDirectory() as cache:
        child("workbench", n, restarts[0], 0, cache)
        caches = {CACHED: cache}
        for seed in range(rounds):
            for name, found in equal_answers(list(results), n, restarts, seed, caches).items():
                results[name].append(found)
    theirs = results["scikit-learn"]
    rows = []
    for name, of in results.items():
        both = [b["seconds"] / a["seconds"] for a, b in zip(of, theirs, strict=True) if a["equal"] and b["equal"]]
        rows.append(
            {"peer": name, "N": n, "D": 2, "K": 5, "rounds": rounds, "equal": int(sum(r["equal"] for r in of))}
            | {key: float(np.median([r[key] for r in of])) for key in ("restarts", "seconds")}
            | {"log_likelihood": max(r["log_likelihood"] for r in of)}
            | {"speedup": float(np.median(both)) if both else None}
            | {"speedup_min": min(both, default=None), "speedup_max": max(both, default=None)}
        )
    return rows


def equal_answers(
    names: list[str], n: int, restarts: tuple[int, int], seed: int, caches: dict[str, str]
) -> dict[str, dict[str, float]]:
    """The run of each with the fewest restarts, doubling, whose answer is the best that any of them has found."""
    first, most = restarts
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    while True:
        best = max((run["log_likelihood"] for runs in found.values() for run in runs), default=np.inf)
        behind = [name for name, runs in found.items() if not any(_equals(run, best) for run in runs)]
        going = [name for name in behind if not found[name] or found[name][-1]["restarts"] < most]
        if not going:
            break
        for name in going:
            count = min(2 * found[name][-1]["restarts"], most) if found[name] else first
            run = child(name.removesuffix(", cached"), n, int(count), seed, caches.get(name))
            found[name].append(run | {"restarts": count})
    return {
        name: next(({**run, "equal": True} for run in runs if _equals(run, best)), {**runs[-1], "equal": False})
        for name, runs in found.items()
    }


def _equals(run: dict[str, float], best: float) -> bool:
    return run["log_likelihood"] >= best - EQUAL


def child(peer: str, n: int, restarts: int, seed: int, cache: str | None) -> dict[str, float]:
    """One measurement in a fresh process, with the compilation cache in a folder or off."""
    # XLA warns, at length, of features of its own that no processor lists when it loads what it compiled here.
    settings = {"JAX_ENABLE_X64": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
    settings |= {"JAX_ENABLE_COMPILATION_CACHE": "false"} if cache is None else {"JAX_COMPILATION_CACHE_DIR": cache}
    command = [sys.executable, __file__, "--child", peer, "--points", str(n), "--restarts", str(restarts)]
    command += ["--seed", str(seed)]
    done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def by_workbench(n: int, restarts: int, seed: int, *, races: bool = False) -> dict[str, float]:
    """Seconds to the best sound mixture of all restarts, and its log-likelihood."""
    data = simulated(n)
    share = TOLERANCE / abs(mean_log_likelihood(data))
    begun = time.perf_counter()
    use_all_cores()
    problem = wb.Problem(data.x, 5)
    race = Race(after=20, keep=max(1, restarts // 10)) if races else None
    method = wb.EM(tolerance=share, max_iterations=MOST_ITERATIONS, race=race)
    traces = wb.compare(problem, [method], restarts=restarts, starts=wb.KMeansPlusPlus(), seed=seed)
    best = traces["em"].best(problem)
    seconds = time.perf_counter() - begun
    if best is None:
        raise SystemExit("workbench: no sound mixture")
    return {"seconds": seconds, "log_likelihood": judged(best.weights, best.means, best.covariances, data.x)}


def by_scikit_learn(n: int, restarts: int, seed: int) -> dict[str, float]:
    """Seconds of `fit` with as many initialisations, and the log-likelihood of what it keeps."""
    x = simulated(n).x
    model = GaussianMixture(
        5, tol=TOLERANCE, max_iter=MOST_ITERATIONS, n_init=restarts, init_params="k-means++", random_state=seed
    )
    begun = time.perf_counter()
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x)
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "log_likelihood": judged(model.weights_, model.means_, model.covariances_, x)}


CHILDREN = {"workbench": by_workbench, RACING: partial(by_workbench, races=True), "scikit-learn": by_scikit_learn}


def simulated(n: int) -> wb.Dataset:
    """Five components in the plane, overlapping so that EM takes hundreds of iterations from most starts."""
    return wb.Simulator(components=5, dimensions=2, points=n, separation=2.5).draw(0)


def mean_log_likelihood(data: wb.Dataset) -> float:
    """Per point, at the mixture the points were drawn from: within a few per cent of that at any optimum."""
    truth = data.truth
    return judged(truth.weights, truth.means, truth.covariances, data.x) / len(data.x)


def judged(weights: Any, means: Any, covariances: Any, x: np.ndarray) -> float:
    """Log-likelihood of full covariances."""
    return log_likelihood(Parameters(np.asarray(weights), np.asarray(means), np.asarray(covariances)), x, "full")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", nargs="+", type=int, default=list(POINTS), metavar="N")
    parser.add_argument("--restarts", type=int, default=25, help="of the first run of each (25)")
    parser.add_argument("--most", type=int, default=1600, help="restarts beyond which none doubles (1600)")
    parser.add_argument("--rounds", type=int, default=3, help="each with a seed of its own (3)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--seed", type=int, default=0, help="of a child")
    parser.add_argument("--child", choices=tuple(CHILDREN), help="run one measurement here and print it as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
