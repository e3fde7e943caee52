"""Gaussian mixtures in plain NumPy, as an oracle of the package: density, EM, coordinates, derivatives and climbs.

Nothing here comes from the package or from JAX. The density is analytic in the parameters, so that it takes complex
ones: the imaginary part of `f(u + i h)` over h is a derivative to the last digit, without a difference (Squire & Trapp
1998, SIAM Review 40).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array: TypeAlias = NDArray[Any]

# So small that its square is lost beside one, and derivatives have no error of truncation.
TINY = 1e-30


class Plain(NamedTuple):
    """A mixture whose covariances are dense in every family."""

    weights: Array  # [K]
    means: Array  # [K, D]
    covariances: Array  # [K, D, D]


def plain_of(mixture: Any) -> Plain:
    """The same mixture of the package, as arrays."""
    return Plain(*(np.asarray(getattr(mixture, name), float) for name in Plain._fields))


def component_log_joint(mixture: Plain, x: Array) -> Array:
    """`ln pi_k N(x_n | mu_k, Sigma_k)`, also for complex parameters. [N, K]"""
    about = x[:, None] - mixture.means  # [N, K, D]
    solved = np.linalg.solve(mixture.covariances, np.moveaxis(about, 0, -1))  # [K, D, N]
    squares = np.einsum("nkd,kdn->nk", about, solved)
    determinants = np.linalg.det(2 * np.pi * mixture.covariances)
    return np.asarray(np.log(mixture.weights) - 0.5 * np.log(determinants) - 0.5 * squares)


def log_density(mixture: Plain, x: Array) -> Array:
    """The logarithm of the mixture's density at each point. [N]"""
    logs = component_log_joint(mixture, x)
    largest = logs.real.max(axis=1)
    return np.asarray(largest + np.log(np.exp(logs - largest[:, None]).sum(axis=1)))


def em_step(mixture: Plain, x: Array, family: str = "full") -> tuple[Plain, float]:
    """One step of EM for the likelihood, and the log-likelihood before it (Bishop 2006, eq. 9.23 to 9.28)."""
    logs = component_log_joint(mixture, x)
    largest = logs.max(axis=1, keepdims=True)
    shares = np.exp(logs - largest)
    sums = shares.sum(axis=1, keepdims=True)
    r = shares / sums
    counts = r.sum(axis=0)
    means = r.T @ x / counts[:, None]
    about = x[:, None] - means
    scatter = np.einsum("nk,nkd,nke->kde", r, about, about)
    covariances = scatter / counts[:, None, None]
    if family == "tied":
        covariances = np.broadcast_to(scatter.sum(axis=0) / len(x), scatter.shape)
    if family == "diagonal":
        covariances = covariances * np.eye(x.shape[1])
    if family == "spherical":
        variances = np.trace(covariances, axis1=1, axis2=2) / x.shape[1]
        covariances = variances[:, None, None] * np.eye(x.shape[1])
    return Plain(counts / len(x), means, covariances), float(np.sum(largest + np.log(sums)))


def moved(mixture: Plain, matrix: Array, shift: Array) -> Plain:
    """The mixture of the points `matrix x + shift`."""
    return Plain(mixture.weights, mixture.means @ matrix.T + shift, matrix @ mixture.covariances @ matrix.T)


class Units(NamedTuple):
    """The units in which data have mean zero and unit covariance: `x = shift + matrix z`, matrix lower triangular."""

    shift: Array  # [D]
    matrix: Array  # [D, D]

    @classmethod
    def of(cls, x: Array) -> "Units":
        """Those of points [N, D]."""
        about = x - x.mean(axis=0)
        return cls(x.mean(axis=0), np.linalg.cholesky(about.T @ about / len(x)))

    def points(self, x: Array) -> Array:
        """The points in these units. [N, D]"""
        return np.asarray(np.linalg.solve(self.matrix, (x - self.shift).T).T)

    def mixture(self, mixture: Plain) -> Plain:
        """The mixture in these units."""
        inverse = np.linalg.inv(self.matrix)
        return moved(mixture, inverse, -inverse @ self.shift)


def coordinates_of(mixture: Plain) -> Array:
    """`ln(pi_k / pi_K)`, means, and rows of the Cholesky factors with logarithms of their diagonals. [P]"""
    factors = np.linalg.cholesky(mixture.covariances)
    rows, columns = np.tril_indices(factors.shape[-1])
    entries = factors[:, rows, columns]
    entries[:, rows == columns] = np.log(entries[:, rows == columns])
    ratios = np.log(mixture.weights[:-1] / mixture.weights[-1])
    return np.concatenate([ratios, mixture.means.ravel(), entries.ravel()])


def mixture_at(u: Array, k: int, d: int) -> Plain:
    """Inverse of `coordinates_of`, also for complex coordinates [P]."""
    odds = np.append(np.exp(u[: k - 1]), 1.0)
    means, entries = u[k - 1 : k - 1 + k * d].reshape(k, d), u[k - 1 + k * d :].reshape(k, -1)
    rows, columns = np.tril_indices(d)
    factors = np.zeros((k, d, d), u.dtype)
    factors[:, rows, columns] = np.where(rows == columns, np.exp(np.where(rows == columns, entries, 0.0)), entries)
    return Plain(odds / odds.sum(), means, factors @ factors.swapaxes(1, 2))


def height_at(x: Array, k: int) -> Callable[[Array], Any]:
    """The log-likelihood of full covariances as a function of coordinates."""
    return lambda u: np.sum(log_density(mixture_at(u, k, x.shape[1]), x))


def gradient(f: Callable[[Array], Any], u: Array) -> Array:
    """Derivatives of an analytic function, of a number or of an array: the last axis is that of u. [..., P]"""
    return np.stack([np.imag(f(u + 1j * TINY * unit)) / TINY for unit in np.eye(len(u))], axis=-1)


def hessian(f: Callable[[Array], Any], u: Array, width: float = 1e-3) -> Array:
    """Differences of gradients, of the fourth order: ten digits at coordinates of order one. [P, P]"""
    steps = width * np.eye(len(u))
    first = np.asarray([gradient(f, u + s) - gradient(f, u - s) for s in steps]) / (2 * width)
    second = np.asarray([gradient(f, u + 2 * s) - gradient(f, u - 2 * s) for s in steps]) / (4 * width)
    return np.asarray((4 * first - second + (4 * first - second).T) / 6)


def optimum_near(start: Plain, x: Array, steps: int = 50) -> Plain:
    """The maximum of the likelihood of full covariances to which steps of EM, then Newton's method lead, to rounding.

    Where the likelihood curves upwards, a step goes uphill there as well, by the absolute curvature.
    """
    for _ in range(steps):
        start, _ = em_step(start, x)
    f, u = height_at(x, len(start.weights)), coordinates_of(start)
    for _ in range(100):
        values, vectors = np.linalg.eigh(hessian(f, u))
        step = vectors @ (vectors.T @ gradient(f, u) / np.abs(values))
        while np.max(np.abs(step)) > 1e-6 and not f(u + step) > f(u):
            step = step / 2
        u = u + step
        if np.max(np.abs(step)) < 1e-12:
            break
    assert np.max(values) < 0
    return mixture_at(u, len(start.weights), x.shape[1])


def lbfgs_passes(start: Plain, x: Array, levels: Array, limit: int = 2000) -> Array:
    """Evaluations of SciPy's L-BFGS until an iterate is at each level of the log-likelihood; NaN if it is not. [L]"""
    k, spent = len(start.weights), 0
    f, counts = height_at(x, k), np.full(len(levels), np.nan)

    def loss(u: Array) -> tuple[float, Array]:
        nonlocal spent
        spent += 1
        with np.errstate(all="ignore"):
            value, slope = -f(u) / len(x), -gradient(f, u) / len(x)
        return (float(value), slope) if np.isfinite(value) else (1e10, np.zeros_like(u))

    def each(intermediate_result: Any) -> None:
        there = np.isnan(counts) & (-intermediate_result.fun * len(x) >= levels)
        counts[there] = spent

    options = {"maxcor": 10, "ftol": 0.0, "gtol": 0.0, "maxfun": limit, "maxiter": limit}
    minimize(loss, coordinates_of(start), jac=True, method="L-BFGS-B", callback=each, options=options)
    return counts


class Information(NamedTuple):
    """Information matrices of full covariances at a maximum, by differences."""

    observed: Array  # [P, P]   minus the Hessian of the log-likelihood
    complete: Array  # [P, P]   minus that of the expected log-likelihood of points and labels

    @classmethod
    def at(cls, u: Array, x: Array, k: int) -> "Information":
        """Both at the coordinates of a maximum."""
        mixture = mixture_at(u, k, x.shape[1])
        r = np.exp(component_log_joint(mixture, x) - log_density(mixture, x)[:, None])
        expected = hessian(lambda v: np.sum(r * component_log_joint(mixture_at(v, k, x.shape[1]), x)), u)
        return cls(-hessian(height_at(x, k), u), -expected)

    @property
    def missing(self) -> Array:
        """The fractions of missing information, largest first (Dempster, Laird & Rubin 1977, sec. 3). [P]"""
        return np.sort(1 - np.linalg.eigvals(np.linalg.solve(self.complete, self.observed)).real)[::-1]

    def away(self, drawn: Array) -> Array:
        """The step that lowers the quadratic by one nat, in the direction of a draw [P] in its own metric. [P]"""
        factor = np.linalg.cholesky(self.observed)
        return np.sqrt(2.0) * np.linalg.solve(factor.T, drawn / np.linalg.norm(drawn))
