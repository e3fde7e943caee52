"""Where scikit-learn's rule stops EM, and how far off, beside plain NumPy that shares nothing with the package."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from workbench.data import load_dataset
from workbench.starts import KMeansPlusPlus, draw_starts
from workbench.studies.reading import read_study
from workbench.studies.stopping import Stopping

CONFIG = Path(__file__).parents[2] / "experiments" / "stopping.toml"


def parts(v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and variances of two components from five numbers."""
    return np.array([v[0], 1 - v[0]]), v[1:3], v[3:5]


def densities(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Of each component at each point; a tenth of the time of SciPy's. [N, 2]"""
    _, means, variances = parts(v)
    return np.exp(-((x[:, None] - means) ** 2) / (2 * variances)) / np.sqrt(2 * np.pi * variances)


def log_likelihood(v: np.ndarray, x: np.ndarray) -> float:
    return float(np.sum(np.log(densities(v, x) @ parts(v)[0])))


def em(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    r = parts(v)[0] * densities(v, x)
    r /= r.sum(axis=1, keepdims=True)
    n = r.sum(axis=0)
    means = r.T @ x / n
    return np.concatenate([[n[0] / len(x)], means, np.sum(r * (x[:, None] - means) ** 2, axis=0) / n])


def errors_at(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Standard errors from a Hessian by central differences."""
    step = 1e-4 * np.abs(v)
    hessian = np.empty((5, 5))
    for i, j in product(range(5), repeat=2):
        a, b = (np.eye(5)[k] * step[k] for k in (i, j))
        corners = [s * t * log_likelihood(v + s * a + t * b, x) for s, t in product((1, -1), repeat=2)]
        hessian[i, j] = sum(corners) / (4 * step[i] * step[j])
    return np.sqrt(np.diag(np.linalg.inv(-hessian)))


def test_on_pearsons_crabs_the_usual_rule_stops_as_plain_em_does_and_far_from_the_optimum() -> None:
    shipped = read_study(CONFIG)
    assert isinstance(shipped, Stopping)
    study = shipped.model_copy(update={"restarts": 3, "tolerances": (1e-3, 1e-6)})
    rows = study.measure({"subject": "Pearson's crabs"}, CONFIG.parent)
    assert [row["tolerance"] for row in rows] == [1e-3] * 3 + [1e-6] * 3
    x = np.asarray(load_dataset("pearson_crabs").x)[:, 0]
    problem = study.subjects[0].problem(0, CONFIG.parent)
    starts = draw_starts(KMeansPlusPlus(), problem, 3, 0)
    for start in range(3):
        v = np.concatenate([starts.weights[start, :1], starts.means[start, :, 0], starts.covariances[start, :, 0, 0]])
        path = [v]
        while len(path) < 4000:
            path.append(em(path[-1], x))
        best = path[-1]
        heights = np.asarray([log_likelihood(each, x) for each in path[:600]])
        order = np.argsort(best[1:3])

        def sorted_by_mean(v: np.ndarray, order: np.ndarray = order) -> np.ndarray:
            return np.concatenate([parts(v)[0][order][:1], v[1:3][order], v[3:5][order]])

        for row in (rows[start], rows[3 + start]):
            stop = int(np.flatnonzero(np.diff(heights) < row["tolerance"] * len(x))[0]) + 1
            assert row["passes"] == stop
            assert row["short"] == pytest.approx(log_likelihood(best, x) - heights[stop], abs=1e-6)
            off = np.abs(sorted_by_mean(path[stop]) - sorted_by_mean(best)) / errors_at(sorted_by_mean(best), x)
            # Differences of a Hessian are good to a thousandth.
            assert row["off"] == pytest.approx(np.max(off), rel=5e-3)
    assert min(row["off"] for row in rows[:3]) > 0.5 and max(row["passes"] for row in rows[:3]) < 10
