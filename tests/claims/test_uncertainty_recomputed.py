"""Claims on standard errors and coverage, whose figures plain NumPy computes again from the same points."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from ledger_runs import decided
from scipy.stats import kstest, norm

from workbench.data import load_dataset
from workbench.engine.keys import named_key, restart_keys
from workbench.mixture import Mixture
from workbench.studies.uncertainty import Coverage

Array = np.ndarray


class Two(NamedTuple):
    """Mixtures of two components that share a variance, one for each of M data sets."""

    weight: Array  # [M]   of the first
    means: Array  # [M, 2]
    variance: Array  # [M]

    @property
    def natural(self) -> Array:
        """Weight, means and variance. [M, 4]"""
        return np.column_stack([self.weight, self.means, self.variance])


def members(two: Two, x: Array) -> tuple[Array, Array]:
    """Responsibilities [M, N, 2] and log-likelihoods [M] of points [M, N]."""
    weights = np.stack([two.weight, 1.0 - two.weight], axis=-1)
    logs = norm.logpdf(x[..., None], two.means[:, None], np.sqrt(two.variance)[:, None, None])
    logs = logs + np.log(weights)[:, None]
    sums = np.logaddexp(logs[..., 0], logs[..., 1])
    return np.exp(logs - sums[..., None]), sums.sum(axis=1)


def em_step(two: Two, x: Array) -> tuple[Two, Array]:
    """One step of EM, and the log-likelihoods before it (Bishop 2006, eq. 9.24 to 9.26)."""
    r, heights = members(two, x)
    counts = r.sum(axis=1)
    means = np.einsum("mnk,mn->mk", r, x) / counts
    variance = np.einsum("mnk,mnk->m", r, (x[..., None] - means[:, None]) ** 2) / x.shape[1]
    return Two(counts[:, 0] / x.shape[1], means, variance), heights


def climbed(start: Two, x: Array, tolerance: float, limit: int) -> tuple[Two, Array]:
    """EM until the height rises by less than a share of itself, and whether it does within the limit. [M]"""
    ends, goes_on, before = start, np.ones(len(x), bool), np.full(len(x), -np.inf)
    for _ in range(limit):
        own = Two(*(leaf[goes_on] for leaf in ends))
        image, heights = em_step(own, x[goes_on])
        ends = Two(*(_placed(old, goes_on, new) for old, new in zip(ends, image, strict=True)))
        still = heights - before[goes_on] <= tolerance * np.maximum(np.abs(heights), 1.0)
        before[goes_on] = heights
        goes_on[goes_on] = ~still
        if not np.any(goes_on):
            break
    return ends, ~goes_on


def _placed(values: Array, there: Array, new: Array) -> Array:
    copy = values.copy()
    copy[there] = new
    return copy


def informations(two: Two, x: Array) -> tuple[Array, Array]:
    """Complete and missing information in `ln(pi_1 / pi_2)`, means and `ln sigma` (Louis 1982). [M, 4, 4], twice"""
    r, _ = members(two, x)
    z = (x[..., None] - two.means[:, None]) / np.sqrt(two.variance)[:, None, None]  # [M, N, 2]
    sd = np.sqrt(two.variance)[:, None, None]
    own = np.eye(2)
    # The score of a point whose component is known. [M, N, 2, 4]
    scores = np.stack(
        [
            np.broadcast_to(own[0] - two.weight[:, None, None], z.shape),
            z * own[0] / sd,
            z * own[1] / sd,
            z**2 - 1.0,
        ],
        axis=-1,
    )
    about = scores - np.einsum("mnk,mnkp->mnp", r, scores)[:, :, None]
    missing = np.einsum("mnk,mnkp,mnkq->mpq", r, about, about)
    complete = np.zeros_like(missing)
    complete[:, 0, 0] = x.shape[1] * two.weight * (1.0 - two.weight)
    for k in range(2):
        complete[:, 1 + k, 1 + k] = r[..., k].sum(axis=1) / two.variance
        complete[:, 1 + k, 3] = complete[:, 3, 1 + k] = np.sum(2.0 * r[..., k] * z[..., k] / sd[..., 0], axis=1)
    complete[:, 3, 3] = np.sum(2.0 * r * z**2, axis=(1, 2))
    return complete, missing


def standard_errors(two: Two, x: Array) -> Array:
    """Of weight, means and variance, by the delta method; NaN where the information is not positive definite. [M, 4]"""
    complete, missing = informations(two, x)
    observed = complete - missing
    definite = np.linalg.eigvalsh(observed)[:, 0] > 0
    inverse = np.linalg.inv(np.where(definite[:, None, None], observed, np.eye(4)))
    slopes = np.column_stack([two.weight * (1 - two.weight), np.ones((len(x), 2)), 2 * two.variance])
    errors = slopes * np.sqrt(np.abs(np.diagonal(inverse, axis1=1, axis2=2)))
    return np.where(definite[:, None], errors, np.nan)


def in_order(two: Two) -> Two:
    """With the lower mean first."""
    turned = two.means[:, 0] > two.means[:, 1]
    means = np.where(turned[:, None], two.means[:, ::-1], two.means)
    return Two(np.where(turned, 1.0 - two.weight, two.weight), means, two.variance)


def wald(truth: Two, x: Array, tolerance: float, limit: int) -> tuple[Array, Array]:
    """Estimates [M, 4] and 1.96 standard errors [M, 4] from EM begun at the truth; NaN where there are none."""
    ends, converged = climbed(Two(*(np.repeat(leaf, len(x), axis=0) for leaf in truth)), x, tolerance, limit)
    ends = in_order(ends)
    return ends.natural, np.where(converged[:, None], norm.ppf(0.975) * standard_errors(ends, x), np.nan)


def same_points(study: Coverage, separation: float, n: int) -> Array:
    """The points of the study's data sets: only the generator is the package's. [M, N]"""
    truth: Mixture = study.truth(separation)
    keys = jax.vmap(lambda key: jax.random.split(key)[0])(
        restart_keys(named_key(study.seed, f"{separation} {n}"), study.replications)
    )
    return np.asarray(jax.jit(jax.vmap(lambda key: truth.sample(key, n)[0]))(keys))[..., 0]


@pytest.mark.parametrize(("name", "separation", "n"), [("wald_falls_short", 1.0, 50), ("wald_covers", 4.0, 1000)])
def test_coverage_is_that_of_intervals_by_plain_em_and_louis_formula(
    name: str, separation: float, n: int, tmp_path: Path
) -> None:
    decision, (findings,) = decided(name, tmp_path, "replications=400")
    study = findings.study
    x = same_points(study, separation, n)
    truth = Two(np.array([0.4]), 0.5 * separation * np.array([[-1.0, 1.0]]), np.ones(1))
    estimates, halves = wald(truth, x, study.em.tolerance, study.em.max_iterations)
    distances = np.abs(estimates - truth.natural) / halves  # [M, 4]
    # The points are from the mixture that the study names; a true sample is refused once in ten thousand times.
    weights, means = (0.4, 0.6), truth.means[0]
    assert kstest(x.ravel(), lambda t: sum(w * norm.cdf(t, m) for w, m in zip(weights, means, strict=True)))[1] > 1e-4
    # The same points, steps and stopping rule: a data set could be counted otherwise only on the border itself.
    assert np.min(np.abs(distances[np.isfinite(distances)] - 1.0)) > 1e-6
    covered, missing = np.sum(distances <= 1.0, axis=0), np.sum(~np.isfinite(halves[:, 0]))
    assert decision.value == 100 * np.min(covered) / len(x)
    rows = findings.where(way="wald").rows
    assert [row["parameter"] for row in rows] == ["weight 1", "mean 1", "mean 2", "variance"]
    assert [row["covered"] for row in rows] == covered.tolist()
    assert {row["missing"] for row in rows} == {missing}
    widths = np.nanmean(2 * halves, axis=0)
    assert [row["mean_width"] for row in rows] == pytest.approx(widths, rel=1e-6)


def by_the_map(two: Two, x: Array) -> Array:
    """Standard errors by `complete^-1 (I - DM)^-1` in weight, means and variance, DM by central differences. [4]"""
    point, steps = two.natural[0], 1e-5 * np.eye(4)

    def image(u: Array) -> Array:
        return em_step(Two(u[:1], u[None, 1:3], u[3:]), x)[0].natural[0]

    rates = np.stack([(image(point + s) - image(point - s)) / 2e-5 for s in steps], axis=1)
    complete = informations(two, x)[0][0]
    slopes = np.diag([point[0] * (1 - point[0]), 1.0, 1.0, 2 * point[3]])
    covariance = np.linalg.solve(np.eye(4) - rates, slopes @ np.linalg.inv(complete) @ slopes)
    return np.sqrt(np.diag(covariance))


def by_differences(two: Two, x: Array) -> Array:
    """Standard errors by the inverse of minus the Hessian in weight, means and variance, by differences. [4]"""

    def height(u: Array) -> float:
        return float(members(Two(u[:1], u[None, 1:3], u[3:]), x)[1][0])

    point, h = two.natural[0], 1e-4 * np.eye(4)
    corners = [[[height(point + s * a + t * b) * s * t for s in (1, -1) for t in (1, -1)] for a in h] for b in h]
    return np.sqrt(np.diag(np.linalg.inv(-np.sum(corners, axis=2) / 4e-8)))


def test_standard_errors_by_em_are_those_of_three_plain_ways(tmp_path: Path) -> None:
    decision, (findings,) = decided("em_has_standard_errors", tmp_path)
    x = np.asarray(load_dataset("acidity").x)[:, 0][None]
    start = Two(np.array([0.5]), np.quantile(x, [[0.25, 0.75]], axis=1)[..., 0], np.var(x, axis=1))
    estimate = in_order(climbed(start, x, 1e-16, 5000)[0])
    own = standard_errors(estimate, x)[0]
    # Differences of heights of some hundred nats keep six digits of a second derivative, those of the map nine.
    assert by_differences(estimate, x) == pytest.approx(own, rel=1e-5)
    assert by_the_map(estimate, x) == pytest.approx(own, rel=1e-7)
    rows = [row for row in findings.rows if row["parameter"] != "weight 2"]
    assert [row["estimate"] for row in rows] == pytest.approx(estimate.natural[0], rel=1e-7)
    # Both are identities at one maximum, which plain EM finds to the root of eps of its height; supplemented EM has
    # the error of its differences besides.
    for way, rel in (("observed", 1e-6), ("louis", 1e-6), ("supplemented", 1e-5)):
        assert [row[way] for row in rows] == pytest.approx(own, rel=rel), way
    gaps = [abs(row[way] / e - 1.0) for way in ("louis", "supplemented") for row, e in zip(rows, own, strict=True)]
    assert decision.value == pytest.approx(max(gaps), abs=1e-6)
