"""The rate of an over-specified fit: each estimate by bracketing a root, the slope by least squares in NumPy."""

import itertools
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from ledger_runs import decided
from scipy.optimize import brentq
from scipy.stats import norm

from workbench.engine.keys import named_key

Array = np.ndarray


def estimate(x: Array, weight: float) -> float:
    """The largest root below 1.5 of `mean(x tanh(theta x + c)) = theta`, and 0 if there is none above it."""
    c = 0.5 * np.log(weight / (1 - weight))

    def rest(theta: float) -> float:
        return float(np.mean(x * np.tanh(theta * x + c))) - theta

    grid = np.linspace(1.5, 1e-6 if weight == 0.5 else -1.5, 61)
    for above, below in itertools.pairwise(grid):
        if rest(below) > 0 >= rest(above):
            return float(brentq(rest, below, above, xtol=1e-14))
    return 0.0


def test_the_slope_of_the_error_is_that_of_roots_of_the_likelihood_equation(tmp_path: Path) -> None:
    decision, (findings,) = decided("overspecified", tmp_path)
    study, zeros, fitted = findings.study, 0, {}
    for weight in study.weights:
        logs = []
        for n in study.points:
            keys = jax.random.split(named_key(study.seed, f"{weight} {n}"), study.replications)
            samples = [np.asarray(jax.random.normal(key, (n,))) for key in keys]
            found = np.abs([estimate(x, weight) for x in samples])
            # With equal weights the likelihood has its maximum at 0 unless the points are wider than the component.
            zero = np.asarray([weight == 0.5 and np.mean(x**2) <= 1 for x in samples])
            assert np.array_equal(zero, found == 0)
            zeros += int(zero.sum())
            kept = found[~zero]
            logs.append([np.log(n), np.log(kept.mean()), kept.std(ddof=1) / np.sqrt(len(kept)) / kept.mean()])
        x, y, errors = np.asarray(logs).T
        slope, covariance = np.polyfit(x, y, 1, w=1 / errors, cov="unscaled")
        fitted[weight] = slope[0], float(np.sqrt(covariance[0, 0]))
    slope, error = fitted[0.5]
    # EM stops at steps of 1e-5 / sqrt(N), where it is hundreds of steps short: 1e-3 of an error that falls like N^-1/4.
    assert decision.value == pytest.approx(slope, abs=2e-3)
    assert (decision.error.low, decision.error.high) == pytest.approx(
        slope + error * norm.ppf([0.025, 0.975]), abs=4e-3
    )
    assert decision.note.startswith(f"{zeros} estimates of 0 are left out.")
    (other,) = re.findall(r"weights of 0.7: (-?[\d.]+\d)", decision.note)
    # Printed to three decimals.
    assert float(other) == pytest.approx(fitted[0.7][0], abs=1e-3)
