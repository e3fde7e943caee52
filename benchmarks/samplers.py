"""Times samplers by their effective draws per second, warmed and from process start, beside peers where installed.

Every measurement is a fresh process. A rate is the smallest effective sample size over label-invariant functionals (the
log-joint, and the log density at eight rows of the data) over the seconds of warm-up and draws together; compiling is
apart. All samplers of a case start at the mixture that the points were drawn from, nutpie apart, which starts where
it likes, and have the same number of chains, of steps of warm-up, and of draws. Where Gibbs is measured there are four
thousand of each chain: a thousand take it a tenth of a second.

Samplers: `nuts` and `gibbs` are workbench's methods; `idiomatic` is NumPyro's kernel in the same loop, on the same
mixture written with MixtureSameFamily, on one device as JAX has it unless told otherwise; `nutpie` is PyMC's model of
the same mixture and prior, sampled by nutpie. NumPyro's own loop is left out: it traces its program anew in every run,
so that compiling cannot be told apart.

From process start, `cold` has nothing that an earlier run compiled, of whoever, and `cached` all that one kept.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.util import potential_energy

import setting
import workbench as wb
from workbench.diagnostics.convergence import followed_rows, rank_statistics
from workbench.engine.devices import use_all_cores
from workbench.engine.keys import named_key
from workbench.loop.run import run, score

# From process start: what is counted is drawn by then.
WINDOW = 30.0


class Case(NamedTuple):
    """Points, and how they are sampled."""

    about: str
    simulator: wb.Simulator
    chains: int
    warmup: int
    draws: int
    base: str  # the peer that ratios are to
    peers: tuple[str, ...]
    goals: dict[str, float]

    @property
    def counts(self) -> dict[str, int]:
        """Of chains and draws, as workbench's samplers name them."""
        return {"num_warmup": self.warmup, "num_samples": self.draws, "num_chains": self.chains}

    def problem(self, devices: int | None = None) -> tuple[wb.Problem, wb.Mixture]:
        """Under the conjugate prior, and the mixture that the points were drawn from."""
        data = self.simulator.draw(0)
        problem = wb.Problem(data.x, self.simulator.components, "full", wb.ConjugatePrior(), devices=devices)
        truth = data.truth
        return problem, wb.Mixture.from_covariances(truth.weights, truth.means, truth.covariances)


CASES = {
    "separated": Case(
        "N = 10,000, D = 4, K = 4, full, well separated",
        wb.Simulator(components=4, dimensions=4, points=10_000, separation=8.0),
        1, 200, 300, "idiomatic", ("nuts", "idiomatic", "gibbs"), {"nuts": 3.0},
    ),
    "pair": Case(
        "N = 1,000, D = 1, K = 2",
        wb.Simulator(components=2, dimensions=1, points=1_000, separation=4.0),
        4, 500, 1_000, "nutpie", ("nuts", "idiomatic", "gibbs", "nutpie"), {"nuts": 1.0},
    ),
    "pair, Gibbs": Case(
        "N = 1,000, D = 1, K = 2, Gibbs beside NUTS",
        wb.Simulator(components=2, dimensions=1, points=1_000, separation=8.0),
        4, 500, 4_000, "nuts", ("gibbs", "nuts"), {"gibbs": 10.0},
    ),
    "plane, Gibbs": Case(
        "N = 1,000, D = 2, K = 3, full, Gibbs beside NUTS",
        wb.Simulator(components=3, dimensions=2, points=1_000, separation=8.0),
        4, 500, 4_000, "nuts", ("gibbs", "nuts"), {"gibbs": 10.0},
    ),
    "cold": Case(
        f"the pair: effective draws within {WINDOW:g} s of process start, nothing compiled before",
        wb.Simulator(components=2, dimensions=1, points=1_000, separation=4.0),
        4, 500, 1_000, "nutpie", ("nuts", "gibbs", "nutpie"), {"nuts": 10.0},
    ),
    "cached": Case(
        f"the pair: effective draws within {WINDOW:g} s of process start, compiled in an earlier run",
        wb.Simulator(components=2, dimensions=1, points=1_000, separation=4.0),
        4, 500, 1_000, "nutpie", ("nuts", "gibbs", "nutpie"), {},
    ),
}  # fmt: skip

COLD = ("cold", "cached")


def main() -> None:
    """Measure the cases asked for and print the ratios."""
    asked = _arguments()
    if asked.child:
        print(json.dumps(_measured(asked.cases[0], asked.child, asked.since)))
        return
    rows = [row for name in asked.cases for row in time_case(name, asked.rounds)]
    for row in rows:
        goal = f", goal {row['goal']:g}x" if row["goal"] else ""
        none = f"{row['base']} drew none" if row["base"] else ""
        ratio = none if row["ratio"] is None else f"{row['ratio']:.1f}x {row['base']}{goal}"
        rate = f"{row['ess']:9,.0f} in {WINDOW:g} s" if row["case"] in COLD else f"{row['rate']:9,.0f} a second"
        print(f"{row['case']:14} {row['peer']:10} {rate:20} compiling {row['compile_seconds']:5.1f} s   {ratio}")
    if asked.json:
        setting.write(asked.json, rows)


def time_case(name: str, rounds: int) -> list[dict[str, Any]]:
    """A row for each sampler that is installed: the median over the rounds, and its ratio to the base's."""
    case = CASES[name]
    found: dict[str, list[dict[str, float]]] = {peer: [] for peer in case.peers if _installed(peer)}
    for _ in range(rounds):
        for peer, of in found.items():
            of.append(_child(name, peer))
    measure = "ess" if name in COLD else "rate"
    values = {peer: np.array([r[measure] for r in of]) for peer, of in found.items()}
    base, rows = case.base if case.base in values else None, []
    for peer, of in found.items():
        # A base that drew nothing has no ratio.
        ratios = values[peer] / values[base] if base and np.all(values[base] > 0) else None
        rows.append(
            {"case": name, "about": case.about, "peer": peer, "base": base, "goal": case.goals.get(peer)}
            | {key: float(np.median([r[key] for r in of])) for key in ("ess", "seconds", "rate", "compile_seconds")}
            | {"ratio": None if ratios is None else float(np.median(ratios)), "rounds": rounds}
        )
    return rows


class Sampled(NamedTuple):
    """What a sampler gives."""

    mixtures: wb.Mixture  # leaves [R, S, ...]
    seconds: float  # of warm-up and draws
    compile_seconds: float


def by_workbench(method: wb.NUTS | wb.Gibbs, case: Case, seed: int, devices: int | None = None) -> Sampled:
    """In its own loop."""
    problem, truth = case.problem(devices)
    starts = jax.tree.map(lambda leaf: jnp.repeat(jnp.asarray(leaf)[None], case.chains, 0), truth)
    trace = run(method, problem, starts, named_key(seed, method.method))
    return Sampled(trace.answer, float(trace.seconds[-1]), trace.compile_seconds)


def by_idiomatic(case: Case, seed: int) -> Sampled:
    """The kernel and the loop of `nuts` on the potential of NumPyro's own words."""
    points = jnp.asarray(case.problem()[0].x)

    def idiomatic(problem: wb.Problem, sites: dict[str, jax.Array]) -> jax.Array:
        return potential_energy(wb.mixture_model, (problem, points), {}, sites)

    with patch("workbench.methods.nuts.sloped_potential", idiomatic):
        return by_workbench(wb.NUTS(**case.counts), case, seed, devices=1)


def by_nutpie(case: Case, seed: int) -> Sampled:
    """PyMC's model of a problem with one column, compiled by the first call of a process."""
    import nutpie

    problem, _ = case.problem()
    begun = time.perf_counter()
    compiled = _compiled_by_nutpie(case.about)
    ready = time.perf_counter()
    drawn = nutpie.sample(
        compiled, draws=case.draws, tune=case.warmup, chains=case.chains, seed=seed, progress_bar=False
    ).posterior
    done = time.perf_counter()
    weights, means, variances = (jnp.asarray(np.asarray(drawn[name])) for name in ("weights", "means", "variances"))
    mixtures = wb.Mixture(weights, means[..., None], jnp.sqrt(variances)[..., None, None], problem.covariance)
    return Sampled(mixtures, done - ready, ready - begun)


@cache
def _compiled_by_nutpie(about: str) -> Any:
    import nutpie
    import pymc as pm

    problem, _ = next(case for case in CASES.values() if case.about == about).problem()
    h = {name: np.asarray(value, float) for name, value in problem.hyperparameters.items()}
    k = problem.components
    with pm.Model() as model:
        weights = pm.Dirichlet("weights", np.full(k, h["concentration"]))
        variances = pm.InverseGamma("variances", 0.5 * h["degrees"], 0.5 * h["scatter"].item(), shape=k)
        spread = pm.math.sqrt(variances / h["mean_shrinkage"])
        means = pm.Normal("means", h["mean_location"].item(), spread, shape=k)
        pm.NormalMixture("x", weights, means, sigma=pm.math.sqrt(variances), observed=np.asarray(problem.x)[:, 0])
    return nutpie.compile_pymc_model(model)


SAMPLERS: dict[str, Callable[[Case, int], Sampled]] = {
    "nuts": lambda case, seed: by_workbench(wb.NUTS(**case.counts), case, seed),
    "gibbs": lambda case, seed: by_workbench(wb.Gibbs(**case.counts), case, seed),
    "idiomatic": by_idiomatic,
    "nutpie": by_nutpie,
}


def effective_size(problem: wb.Problem, mixtures: wb.Mixture) -> float:
    """The smallest bulk effective sample size over the functionals."""
    log_joint, _ = score(problem, jax.tree.map(np.asarray, mixtures))
    rows = jnp.asarray(followed_rows(problem))
    densities = jax.jit(jax.vmap(jax.vmap(lambda mixture: mixture.log_density(rows))))(mixtures)
    _, sizes = rank_statistics(np.concatenate([log_joint[..., None], np.asarray(densities)], -1))
    return float(sizes.min())


def _measured(name: str, peer: str, since: float) -> dict[str, float]:
    """One measurement, in this process."""
    case = CASES[name]
    use_all_cores()
    if name in COLD:
        ess, compiling, seed = 0.0, 0.0, 0
        kept = []
        while True:
            sampled = SAMPLERS[peer](case, seed)
            compiling = compiling or sampled.compile_seconds
            seed += 1
            if time.time() - since > WINDOW:
                break
            kept.append(sampled.mixtures)
        problem, _ = case.problem()
        ess = sum(effective_size(problem, mixtures) for mixtures in kept)
        return {"ess": ess, "seconds": WINDOW, "rate": ess / WINDOW, "compile_seconds": compiling}
    sampled = SAMPLERS[peer](case, 0)
    problem, _ = case.problem()
    ess = effective_size(problem, sampled.mixtures)
    rate = ess / sampled.seconds
    return {"ess": ess, "seconds": sampled.seconds, "rate": rate, "compile_seconds": sampled.compile_seconds}


def _child(name: str, peer: str) -> dict[str, float]:
    """A measurement in a fresh process: with what an earlier one compiled, or with nothing compiled at all."""
    with tempfile.TemporaryDirectory() as folder:
        if name == "cached":
            # Over as soon as it has sampled once.
            _begun(name, peer, folder, time.time() - WINDOW)
        return _begun(name, peer, folder, time.time())


def _begun(name: str, peer: str, folder: str, since: float) -> dict[str, float]:
    """A measurement in a fresh process that keeps what it compiles in a folder."""
    settings = {
        "JAX_ENABLE_X64": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTENSOR_FLAGS": f"base_compiledir={folder}/pytensor",
    }
    settings |= {"JAX_COMPILATION_CACHE_DIR": f"{folder}/jax", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    settings |= {"NUMBA_CACHE_DIR": f"{folder}/numba"}
    command = [sys.executable, __file__, "--child", peer, "--cases", name, "--since", repr(since)]
    done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def _installed(peer: str) -> bool:
    needed = {"nutpie": ("nutpie", "pymc")}.get(peer, ())
    return all(importlib.util.find_spec(package) is not None for package in needed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=list(CASES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--child", choices=tuple(SAMPLERS), help="run one measurement here and print it as JSON")
    parser.add_argument("--since", type=float, default=time.time(), help="when the process began, for a child")
    return parser.parse_args()


if __name__ == "__main__":
    main()
