"""Has JAX compile the programs of a method, of its judges and of the diagnostics, for rows that devices share.

`python tests/every_program.py FAMILY NAME...`, with XLA told to write what it compiles; see `test_waiting.py`.
"""

import sys
from typing import Any

import jax
import numpy as np

import workbench as wb
from workbench.charts import Chart
from workbench.geometry.curvature import information
from workbench.geometry.standard_errors import missing_information
from workbench.methods import METHODS
from workbench.mixture.prior import BoundedRatioPrior

# Enough numbers for devices to share the rows, and columns for LAPACK to share out its work.
N, D, K = 2_400, 10, 2
# The mixed sampler takes few points, and refuses others.
SHAPES = {"mixed": (900, 20)}

FEW: dict[str, dict[str, Any]] = {
    "nuts": {"num_warmup": 2, "num_samples": 4, "num_chains": 2, "max_tree_depth": 2},
    "mixed": {"num_warmup": 2, "num_samples": 4, "num_chains": 2, "max_tree_depth": 2},
    "gibbs": {"num_warmup": 4, "num_samples": 4, "num_chains": 2},
    "tempered_smc": {"num_samples": 8, "num_chains": 2},
    "ibis": {"num_samples": 8, "num_chains": 2},
    "cavi": {"max_iterations": 3, "num_samples": 4},
    "variational": {"max_iterations": 3, "num_samples": 4},
    "permuted": {},
}


def main(family: str, names: list[str]) -> None:
    wb.use_all_cores()
    jax.config.update("jax_enable_x64", True)
    for name in names:
        n, d = SHAPES.get(name, (N, D))
        rng = np.random.default_rng(0)
        x = rng.normal(size=(n, d)) + 6.0 * rng.integers(K, size=(n, 1))
        problem = wb.Problem(x, K, family, wb.ConjugatePrior())
        assert problem.rows.shared
        if name == "diagnostics":
            diagnose(problem)
        elif name == "bounded_ratio":
            wb.compare(wb.Problem(x, K, family, BoundedRatioPrior()), [wb.EM(max_iterations=3)], restarts=2)
        elif name == "matrix_logarithm":
            wb.compare(problem, [wb.GradientAscent(scales="matrix_logarithm", max_iterations=3)], restarts=2)
        else:
            compare(problem, name)


def compare(problem: wb.Problem, name: str) -> None:
    """A method, the judges of its traces, and of its draws."""
    few = {"max_iterations": 3} if "max_iterations" in METHODS[name].model_fields else {}
    method = METHODS[name](**FEW.get(name, few))
    comparison = wb.compare(problem, {name: method}, restarts=2)
    str(wb.table(comparison))
    if comparison[name].is_sampler:
        str(wb.posterior_summary(comparison[name], problem))


def diagnose(problem: wb.Problem) -> None:
    """An atlas with its polish and Hessians, and standard errors."""
    (optimum, *_) = wb.atlas(problem, wb.EM(max_iterations=200), starts=4).optima
    chart = Chart.of(problem, "softmax", "log_cholesky")
    for way in (information, missing_information):
        jax.jit(lambda problem, mixture, way=way: way(problem, mixture, chart))(problem, optimum.mixture)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
