"""The claims on climbs from the same starts: their figures again by EM and SciPy's L-BFGS in plain NumPy.

The points, the starts and the settings of the methods are those of the experiments.
"""

from pathlib import Path

import numpy as np
import pytest
from plain_mixture import Array, Plain, Units, component_log_joint, em_step, lbfgs_passes, log_density, plain_of
from scipy.special import entr
from scipy.stats import binomtest

from workbench.claims import read_ledger
from workbench.claims.decision import Decision, Interval
from workbench.claims.evidence import Ran
from workbench.experiment import Experiment
from workbench.jobs.experiment import run_experiment
from workbench.methods import EM

LEDGER = Path(__file__).parents[2] / "experiments" / "claims.toml"

# An end is the best if it is within so many nats of it.
WITHIN = 1e-3


def decided(name: str, out: Path) -> tuple[Ran, Decision]:
    """The runs of a claim's experiment in its quick variant, and the ledger's decision."""
    (entry,) = (entry for entry in read_ledger(LEDGER, quick=True) if entry.name == name)
    ((file, experiment),) = entry.own
    assert isinstance(experiment, Experiment)
    ran = Ran(experiment, run_experiment(experiment, name=file.stem, out=out, folder=file.parent))
    return ran, entry.decide([ran])


def starts_of(ran: Ran) -> tuple[Array, list[Plain], EM]:
    """The points, the starts and EM's settings."""
    trace, method = ran.comparison["em"], ran.experiment.methods["em"]
    assert isinstance(method, EM)
    return np.asarray(ran.problem.x), [plain_of(trace.at(r, 0)) for r in range(trace.num_restarts)], method


def climb(start: Plain, x: Array, family: str, method: EM) -> tuple[Plain, Array]:
    """EM until a step raises the log-likelihood by too small a share of it: the end, and all heights. [T]"""
    heights = list[float]()
    for _ in range(method.max_iterations):
        start, height = em_step(start, x, family)
        heights.append(height)
        if len(heights) > 1 and height - heights[-2] <= method.tolerance * abs(height):
            break
    return start, np.append(heights, np.sum(log_density(start, x)))


def test_log_exceeds_the_weighted_sum_of_logs_by_the_entropy(tmp_path: Path) -> None:
    ran, decision = decided("log_of_sum", tmp_path)
    x, starts, method = starts_of(ran)
    ends = [climb(start, x, "tied", method) for start in starts]
    best, _ = max(ends, key=lambda end: end[1][-1])
    # Bayes' rule and the entropy by SciPy; the difference of the two sides by the densities themselves.
    joint = np.exp(component_log_joint(best, x))
    r = joint / joint.sum(axis=1, keepdims=True)
    entropy = float(np.mean(np.sum(entr(r), axis=1)))
    gap = float(np.mean(np.log(joint.sum(axis=1)) - np.sum(r * np.log(joint), axis=1)))
    # The sums of 272 logarithms of order ten are rounded.
    assert gap == pytest.approx(entropy, rel=1e-11)
    # Both climbs stop by the same rule, at the same step; the next would change the entropy by 5e-7 of itself.
    assert decision.value == pytest.approx(entropy, rel=1e-6)
    most = float(np.max(np.sum(entr(r), axis=1)))
    assert f"of {len(x)} points the most blurred has an entropy of {most:.3g}" in decision.note


def test_ascent_needs_fewer_passes_by_the_ratio_of_the_counts(tmp_path: Path) -> None:
    ran, decision = decided("ascent_is_cheaper_on_overlap", tmp_path)
    x, starts, method = starts_of(ran)
    ends = [climb(start, x, "full", method) for start in starts]
    top = max(heights[-1] for _, heights in ends)
    ascent = ran.comparison["ascent"]
    # A score is taken after 1, 2, 3, ... passes, a tenth apart from the eleventh on.
    marks = [1]
    while marks[-1] < method.max_iterations:
        marks.append(max(marks[-1] + 1, round(1.1 * marks[-1])))
    ratios, by_scipy, counts = list[float](), list[float](), list[int]()
    for r, (start, (_, heights)) in enumerate(zip(starts, ends, strict=True)):
        near = np.abs(ascent.log_joint[r] - top) <= WITHIN
        if not (near[-1] and top - heights[-1] <= WITHIN):
            continue
        passes = int(np.argmax(heights >= top - WITHIN))
        counts.append(min(len(heights) - 1, next(mark for mark in marks if mark >= passes)))
        ratios.append(float(ascent.passes[r, np.argmax(near)]) / counts[-1])
        units = Units.of(x)
        height = top + len(x) * np.log(units.matrix[0, 0])
        by_scipy.append(lbfgs_passes(units.mixture(start), units.points(x), np.array([height - WITHIN]))[0] / passes)
    assert isinstance(decision.error, Interval)
    assert decision.value == pytest.approx(np.median(ratios), rel=1e-9)
    # Of seven starts the innermost pair that holds the median with 95 % is the range: 1 - 2 / 2^7 is 98.4 %.
    assert len(ratios) == 7
    assert (decision.error.low, decision.error.high) == pytest.approx((min(ratios), max(ratios)), rel=1e-9)
    assert decision.error.level == pytest.approx(1 - 2 / 2**7)
    assert decision.p_value == pytest.approx(binomtest(sum(ratio > 1 for ratio in ratios), 7).pvalue)
    assert f"EM {np.median(counts):.0f}, L-BFGS" in decision.note
    # Other coordinates of the weights and another line search, and marks that round up by a tenth.
    assert np.median(by_scipy) == pytest.approx(np.median(ratios), rel=0.3)
