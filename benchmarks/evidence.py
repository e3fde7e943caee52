"""The evidence by IBIS beside that by tempered SMC: the same within their errors, and what each costs.

Galaxies, iris, and simulated rows of two columns in three groups, under the default conjugate prior. CPU seconds are
those of stepping and compiling; a size that was met before is not compiled again.
"""

import argparse
import resource

import jax
import numpy as np

import workbench as wb
from workbench.data import Simulator
from workbench.diagnostics import pooled_evidence
from workbench.engine.keys import named_key
from workbench.methods import IBIS, Sampler, TemperedSMC
from workbench.problem import Problem
from workbench.selection.nesting import run_nested
from workbench.starts import RandomPoints, draw_starts

METHODS: tuple[Sampler, ...] = (TemperedSMC(num_samples=500), IBIS())


def main() -> None:
    """Print a line for each problem and method."""
    asked = _arguments()
    jax.config.update("jax_enable_x64", True)
    for name, x in points().items():
        for components in range(1, asked.most + 1):
            problem = Problem(x, components, "full", wb.ConjugatePrior(), devices=1)
            for method in METHODS:
                starts = draw_starts(RandomPoints(), problem, method.num_chains, 0)
                before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
                trace = run_nested(method, problem, starts, named_key(asked.seed, method.method))
                cpu = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
                found = pooled_evidence(np.asarray(trace.log_evidence))
                told = f"{found.log_evidence:10.2f} ± {found.half_width:.2f}"
                passes = f"{np.sum(trace.passes[:, -1]):9.0f} passes"
                print(
                    f"{name:10} K = {components}  {method.method:12} {told}  {passes}  {cpu:5.1f} s of CPU", flush=True
                )


def points() -> dict[str, np.ndarray]:
    """The data sets."""
    simulator = Simulator(components=3, dimensions=2, points=200, separation=4.0)
    return {
        "galaxies": wb.load_dataset("galaxies").x,
        "iris": wb.load_dataset("iris").x,
        "simulated": simulator.draw(0).x,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=4, help="components at most")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
