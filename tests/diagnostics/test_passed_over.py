"""Optima above the best that do not count as sound: a tight group is told, and spikes, ties and pairs are not."""

import jax
import numpy as np
import pytest

import workbench as wb
from workbench.compare.trust import whom_to_trust
from workbench.diagnostics.passed_over import passed_over
from workbench.loop.trace import Trace
from workbench.mixture import Mixture


def climbed(x: np.ndarray, group: np.ndarray, deviation: float) -> tuple[wb.Problem, Trace]:
    """EM from two wide components, and from a wide one and one on the group."""
    problem = wb.Problem(x, 2)
    wide = Mixture.from_covariances([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], [np.eye(2)] * 2, "full")
    tight = Mixture.from_covariances(
        [0.95, 0.05], [[0.0, 0.0], np.mean(group, axis=0)], [np.eye(2), np.eye(2) * deviation**2], "full"
    )
    traces = [wb.compare(problem, "em", restarts=1, starts=start)["em"] for start in (wide, tight)]
    return problem, traces[1] if traces[1].log_joint[0, -1] > traces[0].log_joint[0, -1] else traces[0]


@pytest.mark.parametrize("points", [8, 12])
def test_a_group_of_replicates_is_told(points: int) -> None:
    """Eight and twelve different points within .002 of a place: few by the rule, and too many for an accident."""
    rng = np.random.default_rng(3)
    group = [1.0, 1.0] + 0.002 * rng.normal(size=(points, 2))
    problem, trace = climbed(np.concatenate([rng.normal(size=(200, 2)), group]), group, 0.002)
    rule = wb.Soundness()
    assert not rule.check(problem, jax.tree.map(lambda leaf: leaf[0], trace.ends)).sound
    found = passed_over(problem, trace, rule, best=-600.0)
    assert found is not None
    assert (found.starts, round(found.points)) == (1, points)
    assert found.higher == pytest.approx(float(trace.log_joint[0, -1]) + 600.0, abs=1e-3)
    assert "soundness.min_relative_eigenvalue" in found.words
    # By the remedy it counts, and there is nothing to tell.
    lower = wb.Soundness(min_relative_eigenvalue=1e-7)
    assert lower.check(problem, jax.tree.map(lambda leaf: leaf[0], trace.ends)).sound
    assert passed_over(problem, trace, lower, best=-600.0) is None
    assert passed_over(problem, trace, rule, best=float(trace.log_joint[0, -1])) is None


def test_the_sentence_on_whom_to_trust_tells_it() -> None:
    rng = np.random.default_rng(3)
    group = [1.0, 1.0] + 0.002 * rng.normal(size=(8, 2))
    problem = wb.Problem(np.concatenate([rng.normal(size=(200, 2)), group]), 2)
    comparison = wb.compare(problem, "em", restarts=8)
    (summary,) = wb.summarise(comparison)
    assert summary.passed_over is not None
    text = whom_to_trust([summary], problem)
    assert text.startswith("Do not trust the best yet: ")
    assert "8 points' worth that is narrower than soundness allows but narrows no further" in text


def test_pairs_and_ties_are_not_told() -> None:
    rng = np.random.default_rng(4)
    wide = rng.normal(size=(200, 2))
    pair = [1.0, 1.0] + 0.002 * rng.normal(size=(4, 2))
    problem, trace = climbed(np.concatenate([wide, pair]), pair, 0.002)
    assert passed_over(problem, trace, wb.Soundness(), best=-1e6) is None
    tied = np.tile([[1.0, 1.0]], (12, 1))
    problem, trace = climbed(np.concatenate([wide, tied]), tied, 0.01)
    assert passed_over(problem, trace, wb.Soundness(), best=-1e6) is None
