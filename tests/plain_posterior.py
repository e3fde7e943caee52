"""Posteriors of Gaussian mixtures in plain NumPy and SciPy, as an oracle of the package: densities, sums, chains.

Nothing here comes from the package or from JAX.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaln, multigammaln
from scipy.stats import norm, rankdata

Array = NDArray[Any]


class Conjugate(NamedTuple):
    """pi ~ Dirichlet(a), Sigma_k ~ inverse-Wishart(nu, Psi), mu_k ~ N(m, Sigma_k / kappa)."""

    concentration: float
    location: Array  # [D]
    shrinkage: float
    degrees: float
    scatter: Array  # [D, D]

    @classmethod
    def weak(cls, x: Array, components: int) -> "Conjugate":
        """That of Fraley & Raftery (2007), sec. 3, for points [N, D]."""
        d = x.shape[1]
        return cls(1.0, x.mean(axis=0), 0.01, d + 2.0, np.cov(x.T).reshape(d, d) / components ** (2.0 / d))

    def log_density(self, weights: Array, means: Array, covariances: Array) -> Array:
        """Of weights [..., K], means [..., K, D] and full covariances [..., K, D, D]. [...]"""
        a, nu, d = self.concentration, self.degrees, means.shape[-1]
        k = weights.shape[-1]
        dirichlet = gammaln(k * a) - k * gammaln(a) + (a - 1.0) * np.sum(np.log(weights), axis=-1)
        logs, precisions = np.linalg.slogdet(covariances)[1], np.linalg.inv(covariances)
        own = 0.5 * nu * np.linalg.slogdet(self.scatter)[1] - 0.5 * nu * d * np.log(2.0) - multigammaln(0.5 * nu, d)
        wishart = own - 0.5 * (nu + d + 1) * logs - 0.5 * np.einsum("ij,...ji->...", self.scatter, precisions)
        about = means - self.location
        squares = np.einsum("...i,...ij,...j->...", about, precisions, about)
        normal = -0.5 * d * np.log(2 * np.pi / self.shrinkage) - 0.5 * logs - 0.5 * self.shrinkage * squares
        return np.asarray(dirichlet + np.sum(wishart + normal, axis=-1))


def log_likelihood(weights: Array, means: Array, covariances: Array, x: Array) -> Array:
    """Of mixtures with leading axes, at points [N, D]. [...]"""
    about = x[:, None] - means[..., None, :, :]  # [..., N, K, D]
    squares = np.einsum("...nki,...kij,...nkj->...nk", about, np.linalg.inv(covariances), about)
    logs = np.log(weights) - 0.5 * np.linalg.slogdet(2 * np.pi * covariances)[1]
    return np.asarray(np.sum(np.logaddexp.reduce(logs[..., None, :] - 0.5 * squares, axis=-1), axis=-1))


def half_of_allocations(n: int, together: int = 2**16) -> Iterator[Array]:
    """All ways to put n points into two groups, up to their names, as rows of zeros and ones. [B, n] each"""
    for first in range(0, 2 ** (n - 1), together):
        index = np.arange(first, min(first + together, 2 ** (n - 1)))
        yield (index[:, None] >> np.arange(n)) & 1


class Spikes(NamedTuple):
    """Probabilities that of two components one is narrow: one that holds points, and only one that holds none."""

    on_points: float
    empty: float


def spikes_of(x: Array, prior: Conjugate, variances: Array) -> list[Spikes]:
    """For each bound, by a sum over all allocations of points [N] of one column (Murphy 2007, sec. 3)."""
    a0, b0, k0 = 0.5 * prior.degrees, 0.5 * float(prior.scatter[0, 0]), prior.shrinkage
    centred, total, found = x - prior.location, 0.0, np.zeros((len(variances), 2))
    # Sizes of the terms beside the first, which is of all points in one group.
    unit = None
    for second in half_of_allocations(len(x)):
        log_weight, wide = np.zeros(len(second)), np.ones((len(variances), 2, len(second)))
        for member in (second, 1 - second):
            n, first, squares = member.sum(axis=1), member @ centred, member @ centred**2
            a, b = a0 + 0.5 * n, b0 + 0.5 * (squares - first**2 / (k0 + n))
            log_weight += gammaln(n + prior.concentration) - gammaln(prior.concentration)
            log_weight += gammaln(a) - gammaln(a0) + a0 * np.log(b0) - a * np.log(b) + 0.5 * np.log(k0 / (k0 + n))
            # 1 / variance has a gamma distribution of shape a and rate b.
            above = gammainc(a, b / variances[:, None])
            wide *= np.stack([np.where(n > 0, above, 1.0), above], axis=1)
        unit = log_weight[0] if unit is None else unit
        weights = np.exp(log_weight - unit)
        total, found = total + weights.sum(), found + (1.0 - wide) @ weights
    return [Spikes(held / total, (either - held) / total) for held, either in found]


def split(draws: Array) -> Array:
    """Both halves of each chain of draws [R, S]. [2 R, S // 2]"""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, draws.shape[1] - half :]])


def r_hat(draws: Array) -> float:
    """Split R-hat of draws [R, S] (Gelman et al. 2013, eq. 11.3 and 11.4)."""
    chains = split(draws)
    n = chains.shape[1]
    within, between = np.mean(np.var(chains, axis=1, ddof=1)), np.var(np.mean(chains, axis=1), ddof=1)
    return float(np.sqrt((n - 1) / n + between / within))


def scores_of(draws: Array) -> Array:
    """Normal scores of the ranks among all draws (Vehtari et al. 2021, eq. 14). [R, S]"""
    return np.asarray(norm.ppf((rankdata(draws).reshape(draws.shape) - 0.375) / (draws.size + 0.25)))


def effective_size(draws: Array) -> float:
    """Bulk effective sample size of draws [R, S] (Vehtari et al. 2021, sec. 3.2; Geyer 1992, sec. 3.3)."""
    chains = split(draws)
    chains = scores_of(chains)
    r, n = chains.shape
    centred = chains - chains.mean(axis=1, keepdims=True)
    lagged = np.array([np.sum(centred[:, : n - t] * centred[:, t:]) for t in range(n)]) / (n * r)
    within = lagged[0] * n / (n - 1)
    total = lagged[0] + np.var(chains.mean(axis=1), ddof=1)
    rho = 1.0 - (within - lagged) / total
    rho[0] = 1.0
    time, smallest, t = -1.0, np.inf, 0
    # Sums of neighbours are positive and fall, by theory; the sum ends where they no longer are.
    while t + 4 < n and rho[t] + rho[t + 1] > 0:
        smallest = min(smallest, rho[t] + rho[t + 1])
        time += 2.0 * smallest
        t += 2
    time += max(rho[t], 0.0)
    return float(r * n / max(time, 1.0 / np.log10(r * n)))
