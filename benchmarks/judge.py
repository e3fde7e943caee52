"""The judge of all packages: the log-likelihood in plain NumPy, sharing no code with any of them."""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

AGREEMENT = {"float64": 1e-6, "float32": 1e-3}  # relative, of log-likelihoods


class Parameters(NamedTuple):
    """A mixture in NumPy arrays."""

    weights: np.ndarray  # [K]
    means: np.ndarray  # [K, D]
    covariances: np.ndarray  # the family's shape: [K, D, D], [D, D], [K, D] or [K]


def log_likelihood(p: Parameters, x: np.ndarray, family: str) -> float:
    """The judge: sum_n ln sum_k pi_k N(x_n | mu_k, Sigma_k) in NumPy, component by component; NaN if singular."""
    k, d = p.means.shape
    log_joint = np.empty((len(x), k))
    for j in range(k):
        covariance = p.covariances if family == "tied" else p.covariances[j]
        dense = covariance * np.eye(d) if family in ("diagonal", "spherical") else covariance
        try:
            root = np.linalg.cholesky(dense.astype(float))
        except np.linalg.LinAlgError:
            return math.nan
        white = (x - p.means[j]) @ np.linalg.inv(root).T
        constant = np.log(p.weights[j]) - 0.5 * d * math.log(2 * math.pi) - np.log(np.diag(root)).sum()
        log_joint[:, j] = constant - 0.5 * np.sum(white**2, axis=1)
    return float(logsumexp(log_joint, axis=1).sum())


def agree(value: float, reference: float, dtype: str) -> bool:
    """Whether two log-likelihoods are the same to `AGREEMENT`; nothing agrees with NaN."""
    return abs(value - reference) <= AGREEMENT[dtype] * abs(reference)
