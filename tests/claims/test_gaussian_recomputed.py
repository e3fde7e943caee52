"""Claims on one Gaussian's equations and on responsibilities, whose figures plain NumPy computes again."""

from pathlib import Path

import numpy as np
import pytest
from ledger_runs import decided

from workbench.data import load_dataset

SUBJECT = "subjects=[{ name = 'two columns', data = { dataset = 'faithful' }, model = { components = 1 } }]"


def share_between(information: np.ndarray, first: int) -> float:
    """The share of the norm between the first coordinates and the others, once each block is the identity."""
    blocks = [slice(0, first), slice(first, None)]
    roots = [np.linalg.cholesky(information[b, b]) for b in blocks]
    correlations = np.linalg.svd(
        np.linalg.solve(roots[0], np.linalg.solve(roots[1], information[blocks[1], blocks[0]]).T), compute_uv=False
    )
    between = 2.0 * np.sum(correlations**2)
    return float(np.sqrt(between / (between + len(information))))


def in_mean_and_covariance(x: np.ndarray) -> np.ndarray:
    """Minus the Hessian of the log-likelihood at its maximum (Magnus & Neudecker 2007, sec. 15.3)."""
    d, mean = x.shape[1], x.mean(axis=0)
    precision = np.linalg.inv(np.cov(x, rowvar=False, bias=True).reshape(d, d))
    # Changes of the covariance: one of a variance, or of both entries of a covariance.
    ways = [np.eye(d)[[i]].T @ np.eye(d)[[j]] for i in range(d) for j in range(i + 1)]
    ways = [np.maximum(way, way.T) for way in ways]
    mixed = np.stack([precision @ way @ precision @ np.sum(x - mean, axis=0) for way in ways], axis=1)
    own = [[0.5 * len(x) * np.trace(precision @ a @ precision @ b) for b in ways] for a in ways]
    return np.block([[len(x) * precision, mixed], [mixed.T, np.asarray(own)]])


def in_natural_parameters(x: np.ndarray) -> np.ndarray:
    """The covariance of the sufficient statistics `x_i` and `x_i x_j` of a Gaussian, by its moments (Isserlis 1918)."""
    d, m = x.shape[1], x.mean(axis=0)
    s = np.cov(x, rowvar=False, bias=True).reshape(d, d)
    pairs = [(i, j) for i in range(d) for j in range(i + 1)]
    mixed = np.asarray([[m[j] * s[a, i] + m[i] * s[a, j] for i, j in pairs] for a in range(d)])
    second = s + np.outer(m, m)
    products = np.einsum("ac,bd->abcd", second, second) + np.einsum("ad,bc->abcd", second, second)
    products = products - 2.0 * np.einsum("a,b,c,d->abcd", m, m, m, m)  # Cov(x_a x_b, x_c x_d)
    own = np.asarray([[products[(*p, *q)] for q in pairs] for p in pairs])
    return np.block([[s, mixed], [mixed.T, own]])


@pytest.mark.slow
def test_one_gaussian_is_uncoupled_in_mean_and_covariance_and_coupled_in_natural_parameters(tmp_path: Path) -> None:
    decision, (findings,) = decided("one_gaussian", tmp_path, SUBJECT, "components=[]", "restarts=1")
    x = np.asarray(load_dataset("faithful").x)
    usual, natural = (share_between(f(x), x.shape[1]) for f in (in_mean_and_covariance, in_natural_parameters))
    # Rounding: the sum of the points about their mean, zero but for it, is all that couples the two.
    assert decision.value == pytest.approx(usual, abs=1e-11)
    # Identity: one matrix, by second derivatives and by moments. Whitening means far from zero costs some digits.
    (row,) = findings.rows
    assert row["share_natural"] == pytest.approx(natural, rel=1e-8)
    assert decision.sensitivity[-1].figure.startswith(f"{natural:.3g} ")


def em_of_shared_deviation(x: np.ndarray, weights: np.ndarray, means: np.ndarray, variance: float) -> tuple:
    """EM for points [N] to rounding: weights [K], means [K], the variance, and the log-likelihood."""
    height = -np.inf
    for _ in range(20_000):
        logs = np.log(weights) - 0.5 * (x[:, None] - means) ** 2 / variance - 0.5 * np.log(2 * np.pi * variance)
        sums = np.logaddexp.reduce(logs, axis=1)
        if sums.sum() - height < 1e-12:
            break
        height, r = sums.sum(), np.exp(logs - sums[:, None])
        weights, means = r.mean(axis=0), x @ r / r.sum(axis=0)
        variance = np.sum(r * (x[:, None] - means) ** 2) / len(x)
    return weights, means, variance, height


def test_responsibilities_that_no_indicator_takes_are_as_many_as_by_plain_em(tmp_path: Path) -> None:
    decision, (ran,) = decided("z_is_a_probability", tmp_path)
    x = np.asarray(load_dataset("faithful").x)[:, 1]
    starts = [ran.climbs["em"].at(restart, 0) for restart in range(4)]
    ends = [
        em_of_shared_deviation(x, np.asarray(s.weights), np.asarray(s.means)[:, 0], float(np.ravel(s.covariances)[0]))
        for s in starts
    ]
    weights, means, variance, _ = max(ends, key=lambda end: end[-1])
    # Bayes' rule for two groups of one deviation: log-odds are a line.
    slope = (means[1] - means[0]) / variance
    odds = np.log(weights[1] / weights[0]) + slope * (x - means.mean())
    gamma = 1.0 / (1.0 + np.exp(-odds))
    # The ends differ by what the stopping rule leaves, 1e-10 of the height: no point lies that near to a border.
    assert np.min(np.abs(gamma[:, None] - [0.01, 0.99])) > 1e-5
    assert decision.value == np.sum((gamma > 0.01) & (gamma < 0.99))
