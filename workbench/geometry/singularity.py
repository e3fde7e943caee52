"""Escapes to infinity: the log-likelihood as a component shrinks onto points, and the slope at which it rises.

The monotonicity of fixed-point methods, which can fail on the way there, is measured here too.

Let a component shrink in J of its directions, all with width sigma, and let m points lie exactly on the limiting flat:
its centre if J = D, a line, plane, ... through its centre if J < D. Each of the m points gains `-J log sigma`, and the
other components explain the rest. The log-likelihood therefore has the slope `-m J` against log sigma (Day 1969,
"Estimating the components of a mixture of normal distributions", Biometrika 56, for one point). Tied values count as
often as they occur.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.data.moments import number_of
from workbench.errors import InputError
from workbench.methods.base import is_usable
from workbench.methods.parts import ROUNDING, Map
from workbench.mixture import Mixture
from workbench.mixture.covariance import lower_triangular
from workbench.problem import Problem

# A row lies on a flat if its distance is at most this, in units in which the data have unit spread. It allows for the
# rounding of the conversion to these units, for data a thousand deviations from their origin.
ON_IT = 1e-12

# The slope is fitted to half of the widths, and a line through fewer than three points has no standard error.
FEWEST_WIDTHS = 6


@dataclass(frozen=True)
class Flat:
    """A point, or the line, plane, ... through several rows, onto which a component shrinks; in working units."""

    centre: Array  # [D]
    lost: Array  # [D, J]   orthonormal directions in which the component shrinks
    points: int | float  # number of points of the data that lie on it

    @classmethod
    def through(cls, problem: Problem, rows: tuple[int, ...]) -> "Flat":
        """The flat through these rows of the data. One row is a point, and all rows of the same value count.

        Raises:
            InputError: there is no such row, the flat leaves no direction to shrink in, or the covariance family cannot
                shrink onto it.
        """
        n, d = problem.num_rows, problem.num_dimensions
        if not rows or min(rows) < 0 or max(rows) >= n:
            raise InputError(f"rows: must be numbers from 0 to {n - 1}, at least one, got {list(rows)}")
        z = np.asarray(problem.rows.at(jnp.arange(n)) - problem.rows.shift) @ np.asarray(problem.rows.inverse).T
        centre, along = z[rows[0]], (z[list(rows[1:])] - z[rows[0]]).reshape(-1, d)
        directions, sizes, _ = np.linalg.svd(along.T)
        rank = int(np.sum(sizes > ON_IT))
        lost = directions[:, rank:]
        family = problem.covariance
        if lost.shape[1] == 0 or (rank > 0 and not family.is_unrestricted) or family.is_shared:
            raise InputError(
                f"rows: a {family.name} component of {d} dimensions cannot shrink onto the flat through "
                f"{list(rows)}; name one row of a full, diagonal or spherical problem, or up to D rows of a full one"
            )
        beside = np.max(np.abs((z - centre) @ lost), axis=1)
        counts = np.ones(n) if problem.weights is None else problem.weights
        return cls(jnp.asarray(centre), jnp.asarray(lost), number_of(counts[beside <= ON_IT]))


@dataclass(frozen=True)
class Escape:
    """The log-likelihood along an escape, its slope at the narrow end, and the slope of the theory."""

    log_sigmas: np.ndarray  # [S]   natural logarithms of widths in working units, falling
    log_likelihoods: np.ndarray  # [S]
    slope: float  # by least squares over the narrower half
    slope_error: float  # its standard error, from the residuals
    theory: float  # minus points times directions


def escape(
    problem: Problem, mixture: Mixture, component: int, on: Flat, log_sigmas: np.ndarray, *, steps: int = 0
) -> Escape:
    """Follow a component as it shrinks onto a flat.

    Its mean lies on the flat, and its weight does not change; along the flat it keeps its width.

    Args:
        problem: with a family whose covariances are not shared.
        mixture: gives all other parameters.
        component: index of the component that shrinks.
        on: the flat onto which it shrinks.
        log_sigmas: natural logarithms of its width in the directions that it loses, in working units, falling. [S]
        steps: EM steps that all weights and the other components take at each width; 0 keeps them fixed.

    Raises:
        InputError: there are too few widths for a slope and its error.
    """
    log_sigmas = np.asarray(log_sigmas, float)
    if len(log_sigmas) < FEWEST_WIDTHS:
        raise InputError(f"log_sigmas: needs at least {FEWEST_WIDTHS} widths for a slope, got {len(log_sigmas)}")
    values = np.asarray(_follow(problem, mixture, component, on.centre, on.lost, log_sigmas, steps))
    slope, error = fitted_slope(log_sigmas[len(values) // 2 :], values[len(values) // 2 :])
    return Escape(log_sigmas, values, slope, error, -float(on.points * on.lost.shape[1]))


def fitted_slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Least-squares slope of y against x, and its standard error from the residuals."""
    dx = x - np.mean(x)
    slope = float(dx @ y / (dx @ dx))
    residuals = y - np.mean(y) - slope * dx
    return slope, float(np.sqrt(residuals @ residuals / (len(x) - 2) / (dx @ dx)))


@partial(jax.jit, static_argnums=6)
def _follow(
    problem: Problem, mixture: Mixture, component: Array, centre: Array, lost: Array, log_sigmas: Array, steps: int
) -> Array:
    """The log-likelihood at each width. [S]"""
    chosen = jnp.arange(problem.components) == component

    def at(log_sigma: Array) -> Array:
        narrow = _shrunk(problem, mixture, chosen, centre, lost * jnp.exp(log_sigma))

        def settle(_: int, current: Mixture) -> Mixture:
            image = problem.em_step(current)[0]
            means = _put(chosen, narrow.means, image.means)
            return Mixture(image.weights, means, _put(chosen, narrow.scales, image.scales), narrow.covariance)

        settled: Mixture = jax.lax.fori_loop(0, steps, settle, narrow)
        return problem.log_likelihood(settled)

    return jax.lax.map(at, log_sigmas)


def _shrunk(problem: Problem, mixture: Mixture, chosen: Array, centre: Array, narrow: Array) -> Mixture:
    """The mixture with the chosen component on the flat; `narrow` [D, J] are its half-axes across the flat."""
    family, working = problem.covariance, problem.rows.to_working(mixture)
    if family.has_correlations:
        across = narrow / jnp.sqrt(jnp.sum(narrow**2, 0))
        along = working.scales - across @ (across.T @ working.scales)  # [K, D, D]   the rest of each factor
        wide = jnp.concatenate([along, jnp.broadcast_to(narrow, (len(along), *narrow.shape))], -1)
        scales = lower_triangular(wide)
    else:
        scales = jnp.full_like(working.scales, jnp.max(jnp.abs(narrow)))
    means = _put(chosen, jnp.broadcast_to(centre, working.means.shape), working.means)
    scales = _put(chosen, scales, working.scales)
    return problem.rows.from_working(Mixture(working.weights, means, scales, family))


def _put(chosen: Array, new: Array, old: Array) -> Array:
    """Components of `new` where chosen, of `old` elsewhere; along the first axis."""
    return jnp.where(chosen.reshape(-1, *[1] * (old.ndim - 1)), new, old)


Values = tuple[Array, Array, Array]


class Mapped(Protocol):
    """A method whose step is a map from mixture to mixture, such as `EM` and `FlooredEM`."""

    def map(self, problem: Problem) -> Map:
        """The map."""
        ...


class Path(NamedTuple):
    """Objectives along the steps of a map; row 0 is the start. After a singular mixture, rows are NaN."""

    log_joint: np.ndarray  # [R, T + 1]
    log_likelihood: np.ndarray  # [R, T + 1]
    log_width: np.ndarray  # [R, T + 1]   of the narrowest component, in working units


def path_of(method: Mapped, problem: Problem, starts: Mixture, steps: int) -> Path:
    """Objectives at every step of a method from starts, leaves [R, ...], without its stopping rule. One pass a step."""
    return Path(*(np.asarray(values) for values in _paths(method, problem, starts, steps)))


def falls(values: np.ndarray, rounding: float = ROUNDING) -> tuple[int, int]:
    """The number of steps in which values fall beyond rounding, and the number of all steps without NaN.

    Args:
        values: the objective along each climb. [R, T + 1]
        rounding: the largest fall that counts as rounding, in eps of the objective's size, which is at least one.
    """
    rises = np.diff(values, axis=1)
    size = np.maximum(np.abs(values[:, 1:]), 1.0)
    limit = -rounding * np.finfo(values.dtype).eps * size
    counted = np.isfinite(rises)
    return int(np.sum(rises[counted] < limit[counted])), int(np.sum(counted))


def falls_in_rounding(path: Path, num_points: int) -> int:
    """The number of those falls of log_joint that the rounding of squared distances explains.

    Next to a singularity a squared distance is a difference of coordinates of order one, divided by a width w: its
    rounding is of order `eps / w^2`, and that of a sum over N points at most N times that.
    """
    values = path.log_joint
    rises, size = np.diff(values, axis=1), np.maximum(np.abs(values[:, 1:]), 1.0)
    eps = np.finfo(values.dtype).eps
    narrow = np.minimum(path.log_width[:, 1:], path.log_width[:, :-1])
    fell = np.isfinite(rises) & (rises < -ROUNDING * eps * size)
    return int(np.sum(fell & (rises >= -num_points * eps * np.exp(-2.0 * np.where(fell, narrow, 0.0)))))


class RunOn(NamedTuple):
    """Where EM comes to from mixtures at which climbs stop, if it is not stopped."""

    heights: np.ndarray  # [R]   the largest log_joint on the way, less its rounding except at the start
    lost: np.ndarray  # [R]   whether a covariance is no longer positive definite in the arithmetic


def run_on(problem: Problem, mixtures: Mixture, most: int) -> RunOn:
    """EM from mixtures, leaves [R, ...], into the singularity, as far as the precision of its numbers goes.

    It goes on at any width, until `log_joint` no longer rises, or a number is not finite, or after `most` steps. The
    rounding of `log_joint` at a width is that of `falls_in_rounding`.
    """
    return RunOn(*(np.asarray(values) for values in _run_on(problem, mixtures, most)))


@partial(jax.jit, static_argnums=2)
def _run_on(problem: Problem, mixtures: Mixture, most: int) -> tuple[Array, Array]:
    """The fields of `RunOn`, inside the compiled program."""
    eps = float(np.finfo(problem.dtype).eps)

    def climb(start: Mixture) -> tuple[Array, Array]:
        low = jnp.asarray(-jnp.inf, problem.dtype)

        def goes_on(carry: tuple[Array, Mixture, Array, Array, Array]) -> Array:
            return carry[4] & (carry[0] < most)

        def step(
            carry: tuple[Array, Mixture, Array, Array, Array],
        ) -> tuple[Array, Mixture, Array, Array, Array]:
            count, mixture, before, height, _ = carry
            image, value = problem.em_step(mixture)  # the value is that of the mixture before the step
            rounded = problem.num_points * eps * jnp.exp(-2.0 * _log_width(mixture, problem))
            least = value - jnp.where(count == 0, 0.0, rounded)
            return count + 1, image, value, jnp.fmax(height, least), value > before  # False where it is NaN

        _, _, last, height, _ = jax.lax.while_loop(goes_on, step, (jnp.asarray(0), start, low, low, jnp.asarray(True)))
        return height, ~jnp.isfinite(last)

    return jax.vmap(climb)(mixtures)


@partial(jax.jit, static_argnums=(0, 3))
def _paths(method: Mapped, problem: Problem, starts: Mixture, steps: int) -> Values:
    """The fields of `Path`, inside the compiled program."""
    step = method.map(problem)

    def advance(mixture: Mixture, _: None) -> tuple[Mixture, Values]:
        image, log_joint = step(mixture)
        # The map returns the log_joint of the mixture before the step, so that a row needs no other pass.
        values = log_joint, log_joint - problem.log_prior(mixture), _log_width(mixture, problem)
        usable = is_usable(mixture, problem)
        return image, jax.tree.map(lambda value: jnp.where(usable, value, jnp.nan), values)

    return jax.vmap(lambda start: jax.lax.scan(advance, start, None, length=steps + 1)[1])(starts)


def _log_width(mixture: Mixture, problem: Problem) -> Array:
    trils = problem.rows.to_working(mixture).scale_trils
    return jnp.log(jnp.min(jnp.linalg.svd(trils, compute_uv=False)))
