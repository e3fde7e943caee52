"""What the passes and the methods answer on however many devices there are; a program, because JAX begins only once.

`python tests/sharded.py HOSTS NAME...` joins so many processes and prints, as JSON, what families and methods gave.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from patience import LONG

import workbench as wb
from workbench.engine import hosts
from workbench.engine.one_pass import one_pass
from workbench.mixture import COVARIANCES

# No multiple of anything: the last chunk is padded.
N, D, K = 9_001, 2, 3

# A pass over rows with weights.
WEIGHTED = "weighted rows"

# A pass over rows of which every third has a known component.
KNOWN = "known rows"

# Points of which each restart ends after steps of its own.
RESTARTS = {"restarts of few": 500, "restarts of many": N}

# Chains of few points, which devices share.
CHAINS = wb.NUTS(num_warmup=2, num_samples=4, num_chains=4, max_tree_depth=2)

METHODS = {
    "em": wb.EM(max_iterations=30),
    "ascent": wb.GradientAscent(optimizer="gradient", max_iterations=10),
    "nuts": wb.NUTS(num_warmup=2, num_samples=4, num_chains=1, max_tree_depth=3),
    "gibbs": wb.Gibbs(num_warmup=600, num_samples=400, num_chains=1),
}


def answers(devices: int | None, names: Sequence[str]) -> dict[str, Any]:
    """Statistics of one pass for families, and for methods the score and the means of every row."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)) @ np.array([[2.0, 0.5], [0.0, 30.0]]) + 20 * rng.integers(K, size=(N, 1))
    found = {}
    for name in [name for name in names if name in {*COVARIANCES, WEIGHTED, KNOWN}]:
        family = COVARIANCES.get(name, COVARIANCES["full"])
        more: dict[str, Any] = {
            WEIGHTED: {"weights": 1.0 + np.arange(N) % 3},
            KNOWN: {"label_known": np.where(np.arange(N) % 3 == 0, np.arange(N) % K, -1)},
        }.get(name, {})
        problem = wb.Problem(x, K, family.name, wb.ConjugatePrior(), devices=devices, **more)
        scales = family.broadcast(jnp.asarray(np.cov(x.T)), K)
        mixture = wb.Mixture(jnp.full(K, 1 / K), jnp.asarray(x[:K]), scales, family)
        found[name] = [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(jax.jit(one_pass)(mixture, problem.rows))]
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **about: compiled.append(about["fun_name"]) if "backend_compile" in event else None
    )
    for name in [name for name in names if name in METHODS]:
        problem = wb.Problem(x, K, prior=wb.ConjugatePrior(), devices=devices)
        trace = wb.compare(problem, [METHODS[name]], restarts=1)[name]
        found[name] = [trace.log_joint.tolist(), np.asarray(trace.mixtures.means).tolist()]
        found[f"programs of {name}"] = compiled.count("jit(advance_program)")
        compiled.clear()
    for name in [name for name in names if name in RESTARTS]:
        problem = wb.Problem(x[: RESTARTS[name]], K, prior=wb.ConjugatePrior(), devices=devices)
        trace = wb.compare(problem, [wb.EM(max_iterations=200)], restarts=11)["em"]
        ends = jax.tree.map(lambda leaf: leaf[:, -1].tolist(), trace.mixtures)
        found[name] = [trace.log_joint.tolist(), ends.weights, ends.means, ends.scales]
        found[f"steps of {name}"] = trace.passes[:, -1].tolist()
        found[f"programs of {name}"] = compiled.count("jit(advance_program)")
        compiled.clear()
    return found


def traces(function: str) -> int:
    """How often JAX traces a function until all of `CHAINS` have been drawn."""
    traced: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **about: traced.append(about["fun_name"]) if event.endswith("jaxpr_trace_duration") else None
    )
    x = np.random.default_rng(0).normal(size=(min(RESTARTS.values()), D))
    wb.compare(wb.Problem(x, K, prior=wb.ConjugatePrior()), [CHAINS], restarts=4)
    return traced.count(function)


def agreements() -> dict[str, Any]:
    """What this host hears of the first."""
    number, array = hosts.from_first_host((jax.process_index(), np.full(3, hosts.leads())))
    heard = {"number": int(number), "array": array.tolist()}

    def refuse() -> None:
        raise wb.InputError(f"field: refused by {jax.process_index()}")

    try:
        hosts.on_first_host(refuse)
    except wb.InputError as error:
        return heard | {"error": str(error)}
    return heard


def main() -> None:
    """Join, answer, print."""
    jax.config.update("jax_enable_x64", True)
    number = int(sys.argv[1])
    # Compiling on a busy machine can keep a host from every sign of life for longer than users have to wait.
    hosts.HEARTBEAT = hosts.MEETING = int(LONG)
    with hosts.joined(number):
        found = answers(None, sys.argv[2:]) | {"devices": jax.device_count()}
        if "traces" in sys.argv[2:]:
            found |= {"traces": traces("_value_and_slope")}
        if number > 1:
            found |= {"heard": agreements()}
        print(json.dumps(found if hosts.leads() else {"heard": found["heard"]}))


if __name__ == "__main__":
    main()
