"""The kind of point at which a climb has ended: a strict maximum, a saddle, a plateau, or no stationary point.

The gradient and the exact Hessian decide it, both in the metric of the complete-data information. In this metric the
eigenvalues are those of `DM - I`, with DM the Jacobian of the EM map (Dempster, Laird & Rubin 1977), so they depend
neither on units nor on coordinates. An eigenvalue of -1 is a direction without missing information, and one of 0 is a
flat direction. Along a direction with m > 0 EM moves away from the point, 1 + m times as far in every step.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from workbench.charts import Chart
from workbench.engine.compat.compilation import jit_by_size
from workbench.errors import InputError
from workbench.geometry.curvature import complete_fisher, curvature, raveled
from workbench.methods.base import check_smooth
from workbench.mixture import Mixture
from workbench.mixture.matching import heaviest
from workbench.problem import Problem
from workbench.soundness import VANISHED, Health, Soundness, merged_groups

# Most nats between the end of a climb and the stationary point that it stands for. With EM's stopping rule the gap is
# below 1e-5 on every data set shipped; distinct optima differ by more, except by chance.
REACH = 1e-2

# Nats from the stationary point at which Newton steps have arrived, and at which they have settled. At SETTLED,
# eigenvalues that vanish by the model's symmetry are below 1e-7. Rounding is a thousandth of it or less.
ARRIVED = 1e-8
SETTLED = 1e-12

# Most Newton steps. At a strict maximum or saddle they double the digits, and three are enough; on a plateau they halve
# the distance.
MOST_STEPS = 30

# Eigenvalues smaller than this count as flat. The limit is ten times what remains on a settled plateau; EM would need a
# million steps along so slow a direction.
FLAT = 1e-6


class Kind(StrEnum):
    """The kind of an end."""

    MAXIMUM = "maximum"  # strict, and sound
    SADDLE = "saddle"  # stationary, with a direction that ascends
    PLATEAU = "plateau"  # stationary and flat: merged components, or a vanished weight
    DEGENERATE = "degenerate"  # not sound: a singular covariance, or a component starved of points
    UNFINISHED = "unfinished"  # no stationary point within `REACH`: out of budget
    NONFINITE = "not finite"


def check_mappable(problem: Problem) -> None:
    """Refuse a problem whose ends cannot be told apart by the information of their components.

    Raises:
        InputError: a maximum can lie on a bound of the prior, or there is a background.
    """
    check_smooth(problem)
    if problem.background is not None:
        raise InputError("background: an atlas is of mixtures without a background; set background = false")


@dataclass(frozen=True)
class Nature:
    """The kind of a point, and the stationary point that it stands for."""

    kind: Kind
    mixture: Mixture  # polished; the point itself if there is no stationary point within `REACH`
    log_joint: float
    groups: np.ndarray  # [K]   equal for components that have merged
    settled: bool = False  # whether there is a stationary point within `REACH`
    ascending: int = 0  # directions in which log_joint rises to second order
    flat: int = 0  # directions in which it neither rises nor falls
    largest_eigenvalue: float = float("nan")  # of the Hessian, in the complete-data information
    reason: str = ""


class Spectrum(NamedTuple):
    """The quadratic model at a point, along the eigenvectors of its Hessian in the complete-data information."""

    log_joint: float
    eigenvalues: np.ndarray  # [P]   ascending
    slopes: np.ndarray  # [P]   of log_joint along each
    directions: np.ndarray  # [P, P]   columns, in the coordinates of the chart

    @property
    def gain(self) -> float:
        """Nats to the stationary point of the quadratic, as a sum of absolute values over the directions.

        A flat direction counts as one with an eigenvalue of `FLAT`.
        """
        return float(np.sum(self.slopes**2 / (2.0 * np.maximum(np.abs(self.eigenvalues), FLAT))))

    @property
    def step(self) -> np.ndarray:
        """The step to that point, uphill or downhill; zero along flat directions. [P]"""
        flat = np.abs(self.eigenvalues) <= FLAT
        return np.asarray(self.directions @ np.where(flat, 0.0, -self.slopes / np.where(flat, 1.0, self.eigenvalues)))


def classify(problem: Problem, mixture: Mixture, rule: Soundness | None = None) -> Nature:
    """The kind of an end, from the gradient and the exact Hessian at the nearest stationary point.

    Newton steps polish the end; they lead to a stationary point of any kind. Components that no row distinguishes are
    first merged, because the Hessian is singular there by the model's symmetry. The price is P + 1 passes for each of a
    few steps, where P is the number of parameters. A mixture that is not sound is degenerate, unless the reason is a
    weight that has vanished.

    Args:
        problem: the problem that was climbed.
        mixture: the end of the climb.
        rule: of soundness.
    """
    health = (Soundness() if rule is None else rule).check(problem, mixture)
    point = Nature(Kind.UNFINISHED, mixture, float(_value(problem, mixture)), np.arange(problem.components))
    if not (health.finite and np.isfinite(point.log_joint)):
        return replace(point, kind=Kind.NONFINITE, reason="a parameter or the score is not a finite number")
    if not health.singular and health.smallest_component_size < VANISHED:
        return replace(point, kind=Kind.PLATEAU, settled=True, reason="a weight has vanished")
    point = _nearest_stationary(problem, point)
    kind, reason = _kind_of(point, health)
    return replace(point, kind=kind, reason=reason)


def joined(mixture: Mixture, groups: np.ndarray) -> Mixture:
    """Every component with the mean and scale of the heaviest of its group [K]; weights do not change."""
    index = heaviest(np.asarray(mixture.weights), groups)
    return replace(mixture.take(index), weights=mixture.weights)


def spectrum(problem: Problem, mixture: Mixture) -> Spectrum:
    """Gradient and Hessian of `log_joint` at a mixture, in the metric of the complete-data information."""
    value, gradient, hessian, metric = (np.asarray(part) for part in _quadratic(problem.rows.z.size, problem, mixture))
    sizes, vectors = np.linalg.eigh(metric)
    white = vectors / np.sqrt(np.maximum(sizes, np.finfo(sizes.dtype).eps * sizes[-1]))
    eigenvalues, inner = np.linalg.eigh(white.T @ hessian @ white)
    directions = white @ inner
    return Spectrum(float(value), eigenvalues, directions.T @ gradient, directions)


def _kind_of(point: Nature, health: Health) -> tuple[Kind, str]:
    """The kind of a finite point, and the reason."""
    if health.singular:
        return Kind.DEGENERATE, f"a covariance is singular: {health.smallest_relative_eigenvalue:.2g} of the data's"
    if health.starved:
        return Kind.DEGENERATE, f"a component holds {health.smallest_component_size:.3g} points' worth"
    if not point.settled:
        return Kind.UNFINISHED, f"no stationary point within {REACH:g} nats"
    if point.ascending:
        return Kind.SADDLE, f"ascends in {_directions(point.ascending)}"
    if len(np.unique(point.groups)) < len(point.groups):
        return Kind.PLATEAU, "components have merged"
    if point.flat:
        return Kind.PLATEAU, f"flat in {_directions(point.flat)}"
    return Kind.MAXIMUM, "descends in every direction"


def _nearest_stationary(problem: Problem, end: Nature) -> Nature:
    """The polished end, where components that no row distinguishes are merged."""
    near = _settle(problem, end.mixture, end, ARRIVED)
    groups = merged_groups(problem, near.mixture)
    exact = replace(_settle(problem, joined(near.mixture, groups), end, SETTLED), groups=groups)
    return exact if exact.settled else near


def _settle(problem: Problem, mixture: Mixture, end: Nature, within: float) -> Nature:
    """The stationary point to which Newton steps from a mixture lead, if within `REACH` of the end; else the end."""
    for _ in range(MOST_STEPS):
        now = spectrum(problem, mixture)
        if not np.isfinite(now.gain) or abs(now.log_joint - end.log_joint) > REACH:
            break
        if now.gain <= max(within, _rounding(now.log_joint, mixture)):
            return replace(
                end,
                mixture=mixture,
                log_joint=now.log_joint,
                settled=True,
                ascending=int(np.sum(now.eigenvalues > FLAT)),
                flat=int(np.sum(np.abs(now.eigenvalues) <= FLAT)),
                largest_eigenvalue=float(now.eigenvalues[-1]),
            )
        mixture = _moved(problem.rows.z.size, problem, mixture, now.step)
    return end


def _directions(count: int) -> str:
    return "1 direction" if count == 1 else f"{count} directions"


def _rounding(log_joint: float, mixture: Mixture) -> float:
    """Size of the rounding error of `log_joint`, in nats."""
    return float(np.finfo(mixture.means.dtype).eps) * max(abs(log_joint), 1.0)


def _chart(problem: Problem) -> Chart:
    """A chart without redundant directions, which would be flat at every point."""
    return Chart.of(problem, weights="log_ratio")


@jit_by_size
def _quadratic(problem: Problem, mixture: Mixture) -> tuple[Array, Array, Array, Array]:
    chart = _chart(problem)
    return *curvature(problem, mixture, chart), complete_fisher(problem, mixture, chart)


@jit_by_size
def _moved(problem: Problem, mixture: Mixture, step: ArrayLike) -> Mixture:
    u, constrain = raveled(mixture, _chart(problem))
    return constrain(u + step)


_value = jax.jit(Problem.log_joint)
