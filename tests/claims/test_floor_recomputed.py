"""The falls of EM with a floor, counted again in extended precision, in which none of them is rounding."""

from pathlib import Path

import numpy as np
import pytest
from ledger_runs import decided
from plain_ends import FALL, each_of

from workbench.claims import Verdict
from workbench.data import Simulator
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts

Array = np.ndarray
LONG = np.longdouble
FLOOR = 1e-6  # scikit-learn's


def floored(weights: Array, means: Array, covariances: Array, x: Array, steps: int) -> tuple[Array, Array]:
    """Log-likelihoods and least variances [R, steps + 1] along EM with a floor from starts [R, K, ...].

    Variances are those in units in which x has unit covariance.

    For points of two columns, because NumPy solves and factors doubles only.
    """
    w, m, c, x = (each.astype(LONG) for each in (weights, means, covariances, x))
    units = np.linalg.inv(np.linalg.cholesky(np.cov(x.T.astype(float), bias=True)))
    heights, narrowest = [], []
    for _ in range(steps + 1):
        narrowest.append(np.linalg.eigvalsh(units @ c.astype(float) @ units.T).min(axis=(1, 2)))
        about = x[:, None] - m[:, None]  # [R, N, K, 2]
        a, b, d = (c[:, None, :, i, j] for i, j in ((0, 0), (0, 1), (1, 1)))
        det = a * d - b * b
        square = (d * about[..., 0] ** 2 - 2 * b * about[..., 0] * about[..., 1] + a * about[..., 1] ** 2) / det
        logs = np.log(w)[:, None] - np.log(det) / 2 - np.log(2 * LONG(np.pi)) - square / 2
        top = logs.max(axis=2, keepdims=True)
        sums = np.exp(logs - top).sum(axis=2, keepdims=True)
        r = np.exp(logs - top) / sums
        heights.append((top + np.log(sums)).sum(axis=(1, 2)))
        counts = r.sum(axis=1)
        w, m = counts / len(x), np.einsum("rnk,nd->rkd", r, x) / counts[..., None]
        about = x[:, None] - m[:, None]
        c = np.einsum("rnk,rnkd,rnke->rkde", r, about, about) / counts[..., None, None] + LONG(FLOOR) * np.eye(2)
    return np.stack(heights, axis=1), np.stack(narrowest, axis=1)


@pytest.mark.skipif(np.finfo(LONG).eps > 1e-18, reason="no precision beyond that of a double here")
def test_every_fall_that_is_counted_is_one_in_extended_precision(tmp_path: Path) -> None:
    decision, (findings,) = decided("floor_is_monotone_in_nothing", tmp_path)
    study, real, clear, steps = findings.study, 0, 0, 0
    for row in findings.where(remedy="floor").rows:
        axes = {name: row[name] for name in ("points", "dimensions", "components", "separation")}
        for seed in range(study.seed, study.seed + study.datasets):
            x = Simulator(**axes).draw(seed).x
            drawn = draw_starts(RandomPoints(), Problem(x, axes["components"], "full"), study.restarts, seed)
            starts = (np.stack(leaves) for leaves in zip(*each_of(drawn), strict=True))
            heights, narrowest = floored(*starts, x, study.steps)
            falls, size = -np.diff(heights, axis=1), np.maximum(np.abs(heights[:, 1:]), 1)
            # What the rounding of a double may hide beside a narrow component: N eps / width^2 nats.
            hidden = len(x) * np.finfo(float).eps / np.minimum(narrowest[:, 1:], narrowest[:, :-1])
            steps += falls.size
            real += int(np.sum(falls > FALL * size))
            clear += int(np.sum(falls > np.maximum(FALL * size, hidden)))
    assert decision.verdict == Verdict.HOLDS
    assert decision.unit == f"falls in {steps:,} steps"
    assert 0 < decision.value <= real
    # Heights in doubles are off by a twentieth of what may hide, so that a fall or two of a border are told otherwise.
    assert decision.value == pytest.approx(clear, abs=2)
