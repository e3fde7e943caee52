"""Where climbs end, in plain NumPy and SciPy: EM by the package's stopping rule, L-BFGS, and what kind an end is.

Nothing here comes from the package or from JAX.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from plain_mixture import Array, Plain, component_log_joint, em_step, log_density, plain_of
from scipy.optimize import minimize

# The package's thresholds, as its documentation states them: a fall is more than 10,000 eps of the value; EM stops
# where a component is narrower than a millionth of the data, or where a step gains less than a share of 1e-10.
FALL = 1e4 * np.finfo(float).eps
NARROWEST = 1e-6
STILL = 1e-10


class End(NamedTuple):
    """Where a climb of EM ended."""

    mixture: Plain
    height: float  # log-likelihood
    steps: int
    falls: int
    collapsed: bool


def each_of(mixtures: Any) -> list[Plain]:
    """The mixtures of a batch of the package, leaves [R, ...], as arrays."""
    names = ("weights", "means", "scales")
    alone = ({name: getattr(mixtures, name)[r] for name in names} for r in range(len(mixtures.weights)))
    return [plain_of(replace(mixtures, **leaves)) for leaves in alone]


def rows_of(trace: Any, row: int) -> list[Plain]:
    """The mixture in one row of each restart of the package's trace: its start, or its end."""
    return [plain_of(trace.at(restart, row)) for restart in range(trace.num_restarts)]


def height(mixture: Plain, x: Array) -> float:
    """The log-likelihood."""
    return float(np.sum(log_density(mixture, x)))


def widths(mixture: Plain, x: Array) -> Array:
    """The eigenvalues of the covariances, where the data have unit covariance, ascending. [K, D]"""
    units = np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(x, rowvar=False, bias=True))))
    return np.asarray(np.linalg.eigvalsh(units @ mixture.covariances @ units.T))


def sizes(mixture: Plain, x: Array) -> Array:
    """The sum of each component's responsibilities. [K]"""
    return np.asarray(np.exp(component_log_joint(mixture, x) - log_density(mixture, x)[:, None]).sum(axis=0))


def is_sound(mixture: Plain, x: Array, fewest: int) -> bool:
    """No component of fewer than so many points, and none narrower than a 300th of the data."""
    return bool(np.min(sizes(mixture, x)) >= fewest and np.min(widths(mixture, x)) >= 1e-5)


def climbed(start: Plain, x: Array, family: str = "full", *, most: int = 5000, still: float = STILL) -> End:
    """EM from a start until a step gains too little, or the next mixture is too narrow."""
    mixture, before, falls = start, -np.inf, 0
    for step in range(1, most + 1):
        image, value = em_step(mixture, x, family)
        size = max(abs(value), 1.0)
        falls += value - before < -FALL * size
        across = widths(image, x)
        # As the package: the Frobenius norm of the inverse of a factor.
        if not np.min(across) > 0 or np.sqrt(np.max(np.sum(1.0 / across, axis=1))) >= 1.0 / NARROWEST:
            return End(mixture, value, step, int(falls), True)
        mixture = image
        if 0 <= value - before <= still * size:
            break
        before = value
    return End(mixture, height(mixture, x), step, int(falls), False)


class Chart(NamedTuple):
    """Coordinates: `ln(pi_k / pi_K)`, means, Cholesky factors with logarithms on their diagonals, one if shared."""

    k: int
    d: int
    shared: bool

    def coordinates(self, mixture: Plain) -> Array:
        """Those of a mixture. [P]"""
        factors = np.linalg.cholesky(mixture.covariances[: 1 if self.shared else self.k])
        rows, columns = np.tril_indices(self.d)
        entries = np.where(rows == columns, np.log(np.abs(factors[:, rows, columns]) + (rows != columns)), 0.0)
        entries += np.where(rows == columns, 0.0, factors[:, rows, columns])
        ratios = np.log(mixture.weights[:-1] / mixture.weights[-1])
        return np.concatenate([ratios, mixture.means.ravel(), entries.ravel()])

    def factors(self, u: Array) -> Array:
        """The lower triangular factors at coordinates. [1 or K, D, D]"""
        entries = u[self.k - 1 + self.k * self.d :].reshape(1 if self.shared else self.k, -1)
        rows, columns = np.tril_indices(self.d)
        factors = np.zeros((len(entries), self.d, self.d))
        factors[:, rows, columns] = np.where(rows == columns, np.exp(np.where(rows == columns, entries, 0)), entries)
        return factors

    def mixture(self, u: Array) -> Plain:
        """Inverse of `coordinates`."""
        odds = np.append(np.exp(u[: self.k - 1] - np.max(u[: self.k - 1], initial=0.0)), 0.0)
        odds[-1] = np.exp(-np.max(u[: self.k - 1], initial=0.0))
        factors = self.factors(u)
        covariances = np.broadcast_to(factors @ factors.swapaxes(1, 2), (self.k, self.d, self.d))
        means = u[self.k - 1 : self.k - 1 + self.k * self.d].reshape(self.k, self.d)
        return Plain(odds / odds.sum(), means, covariances)

    def slope(self, u: Array, x: Array) -> tuple[float, Array]:
        """The log-likelihood and its gradient at coordinates, by Fisher's identity. [], [P]"""
        mixture, factors = self.mixture(u), self.factors(u)
        logs = log_density(mixture, x)
        r = np.exp(component_log_joint(mixture, x) - logs[:, None])
        about, precisions = x[:, None] - mixture.means, np.linalg.inv(mixture.covariances)
        scatter = np.einsum("nk,nkd,nke->kde", r, about, about)
        counts = r.sum(axis=0)
        inner = 0.5 * precisions @ (scatter - counts[:, None, None] * mixture.covariances) @ precisions
        inner = inner.sum(axis=0, keepdims=True) if self.shared else inner
        by_factor = 2.0 * inner @ factors
        rows, columns = np.tril_indices(self.d)
        entries = by_factor[:, rows, columns] * np.where(rows == columns, factors[:, rows, columns], 1.0)
        means = np.einsum("kde,nk,nke->kd", precisions, r, about)
        return float(logs.sum()), np.concatenate(
            [(counts - len(x) * mixture.weights)[:-1], means.ravel(), entries.ravel()]
        )


def ascended(start: Plain, x: Array, family: str = "full", *, most: int = 2000) -> Plain:
    """Where SciPy's L-BFGS ends from a start, stopped by rounding alone."""
    chart = Chart(*start.means.shape, family == "tied")

    def loss(u: Array) -> tuple[float, Array]:
        with np.errstate(all="ignore"):
            try:
                value, slope = chart.slope(u, x)
            except np.linalg.LinAlgError:
                return 1e10, np.zeros_like(u)
        good = np.isfinite(value) and np.all(np.isfinite(slope))
        return (-value / len(x), -slope / len(x)) if good else (1e10, np.zeros_like(u))

    options = {"maxcor": 10, "ftol": 1e-15, "gtol": 1e-10, "maxiter": most, "maxfun": 2 * most}
    found = minimize(loss, chart.coordinates(start), jac=True, method="L-BFGS-B", options=options)
    return chart.mixture(found.x)


def curvatures(mixture: Plain, x: Array, family: str = "full", width: float = 1e-5) -> tuple[Array, Array]:
    """The gradient [P] and the eigenvalues [P] of the Hessian, by differences of gradients."""
    chart = Chart(*mixture.means.shape, family == "tied")
    u = chart.coordinates(mixture)
    rows = [chart.slope(u + s, x)[1] - chart.slope(u - s, x)[1] for s in width * np.eye(len(u))]
    hessian = np.asarray(rows) / (2 * width)
    return chart.slope(u, x)[1], np.asarray(np.linalg.eigvalsh((hessian + hessian.T) / 2))
