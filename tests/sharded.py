"""What the passes and the methods answer on however many devices there are; a program, because JAX begins only once.

`python tests/sharded.py HOSTS` joins so many processes and prints, on the first, what they found, as JSON.
"""

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import workbench as wb
from workbench import hosts
from workbench.mixture import COVARIANCES, one_pass

# No multiple of anything: the last chunk is padded.
N, D, K = 9_001, 2, 3

METHODS = {
    "em": wb.EM(max_iterations=30),
    "ascent": wb.GradientAscent(max_iterations=10),
    "nuts": wb.NUTS(num_warmup=2, num_samples=4, num_chains=2, max_tree_depth=3),
}


def answers(devices: int | None, methods: list[str]) -> dict[str, Any]:
    """Statistics of one pass for every family, and the scores of every row of some methods."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)) @ np.array([[2.0, 0.5], [0.0, 30.0]]) + 20 * rng.integers(K, size=(N, 1))
    found = {}
    for name, family in COVARIANCES.items():
        problem = wb.Problem(x, K, name, wb.ConjugatePrior(), devices=devices)
        scales = family.broadcast(jnp.asarray(np.cov(x.T)), K)
        mixture = wb.Mixture(jnp.full(K, 1 / K), jnp.asarray(x[:K]), scales, family)
        found[name] = [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(jax.jit(one_pass)(mixture, problem.rows))]
    problem = wb.Problem(x, K, prior=wb.ConjugatePrior(), devices=devices)
    for name, trace in wb.compare(problem, {m: METHODS[m] for m in methods}, restarts=2).items():
        found[name] = [trace.log_joint.tolist(), np.asarray(trace.mixtures.means).tolist()]
    return found


def agreements() -> dict[str, Any]:
    """What this host hears of the first."""
    heard = {"number": int(hosts.told(jax.process_index())), "array": hosts.told(np.full(3, hosts.leads())).tolist()}

    def refuse() -> None:
        raise wb.InputError(f"field: refused by {jax.process_index()}")

    try:
        hosts.by_the_first(refuse)
    except wb.InputError as error:
        return heard | {"error": str(error)}
    return heard


def main() -> None:
    """Join, answer, print."""
    jax.config.update("jax_enable_x64", True)
    number = int(sys.argv[1])
    with hosts.joined(number):
        methods = ["em", "ascent"] if number > 1 else list(METHODS)
        found = answers(None, methods) | {"devices": jax.device_count()}
        if number > 1:
            found |= {"heard": agreements()}
        print(json.dumps(found if hosts.leads() else {"heard": found["heard"]}))


if __name__ == "__main__":
    main()
