"""The claims on rates: their figures again by EM, Anderson's extrapolation and SciPy's L-BFGS in plain NumPy.

The points and the seeds are those of the study, and the directions of the starts are JAX's draws for these seeds. The
optimum, the information there, the starts, every step and every count are computed anew.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from plain_mixture import (
    Array,
    Information,
    Plain,
    Units,
    coordinates_of,
    em_step,
    lbfgs_passes,
    log_density,
    mixture_at,
    optimum_near,
    plain_of,
)
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, t

from workbench.claims import read_ledger
from workbench.claims.decision import Decision, Interval
from workbench.data import Simulator
from workbench.engine.keys import named_key, restart_keys
from workbench.jobs.study import run_study
from workbench.studies import Row
from workbench.studies.rate import Rate
from workbench.studies.subjects import best_optimum, subject_named

LEDGER = Path(__file__).parents[2] / "experiments" / "claims.toml"
CLAIMS = ("slows_with_overlap", "ascent_overtakes", "acceleration", "ascent_is_cheaper_on_clear_groups")

# Nats below the optimum at which passes are counted; the claims are on the last.
GAPS = np.array([1e-2, 1e-3, 1e-4, 1e-6, 1e-8])

# SciPy's line search is another, and tries up to three points more or less on a climb of 11 to 29.
TRIALS, OTHER_SEARCH = 5, 0.25


class Again(NamedTuple):
    """One problem of the study, computed anew."""

    height: float  # log-likelihood at the optimum
    missing: float  # largest fraction of missing information
    passes: dict[str, Array]  # median over the starts, by method; at each gap [5]


class Ledger(NamedTuple):
    """What the ledger says: the rows of the study and the decisions, and the same problems anew."""

    rows: list[Row]
    decisions: dict[str, Decision]
    again: list[Again]

    def ratios(self, separation: float, count: Callable[[Row, Again], float]) -> Array:
        """A number for each simulated data set of a separation, in the order of the replications."""
        pairs = zip(self.rows, self.again, strict=True)
        own = [(row["replication"], count(row, new)) for row, new in pairs if row["separation"] == separation]
        return np.asarray([value for _, value in sorted(own)])


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    entries = {entry.name: entry for entry in read_ledger(LEDGER, quick=True) if entry.name in CLAIMS}
    ((file, study),) = entries[CLAIMS[0]].own
    assert isinstance(study, Rate)
    assert all(entry.own == entries[CLAIMS[0]].own for entry in entries.values())
    findings = run_study(study, out=tmp_path_factory.mktemp("rate"), folder=file.parent)
    decisions = {name: entry.decide([findings]) for name, entry in entries.items()}
    return Ledger(findings.rows, decisions, [anew(study, row, file.parent) for row in findings.rows])


def anew(study: Rate, row: Row, folder: Path) -> Again:
    """The row's problem: from the truth, or from the workbench's best where there is none, up to the optimum."""
    separation, replication = row["separation"], row["replication"]
    assert isinstance(replication, int)
    seed = study.seed + replication
    if separation is None:
        problem = subject_named(study.subjects, str(row["subject"])).problem(seed, folder)
        x, begin = np.asarray(problem.x), plain_of(best_optimum(problem, seed).mixture)
    else:
        assert isinstance(separation, float)
        data = Simulator(2, 1, study.points, separation).draw(seed)
        x, begin = data.x, plain_of(data.truth)
    units, shape = Units.of(x), begin.means.shape
    z = units.points(x)
    best = optimum_near(units.mixture(begin), z)
    u, top = coordinates_of(best), float(np.sum(log_density(best, z)))
    known = Information.at(u, z, shape[0])
    draws = [jax.random.normal(key, u.shape) for key in restart_keys(named_key(seed, "near"), study.restarts)]
    starts = [mixture_at(u + known.away(np.asarray(drawn)), *shape) for drawn in draws]
    methods = {"em": em_passes, "anderson": anderson_passes, "lbfgs": lbfgs_passes}
    passes = {n: np.median([count(start, z, top - GAPS) for start in starts], axis=0) for n, count in methods.items()}
    volume = np.linalg.slogdet(units.matrix)[1]
    return Again(float(top - len(x) * volume), float(known.missing[0]), passes)


def em_passes(start: Plain, x: Array, levels: Array) -> Array:
    """Steps of EM until the log-likelihood is at each level. [L]"""
    counts, steps = np.full(len(levels), np.nan), 0
    while np.isnan(counts).any():
        after, height = em_step(start, x)
        counts[np.isnan(counts) & (height >= levels)] = steps
        start, steps = after, steps + 1
    return counts


def anderson_passes(start: Plain, x: Array, levels: Array) -> Array:
    """Evaluations of EM's map by Anderson's extrapolation until the log-likelihood is at each level. [L]

    Henderson & Varadhan (2019), "Damped Anderson acceleration with restarts and monotonicity control": differences of
    the last points and residuals, dropped when there are ten or as many as coordinates; damping by how many leaps were
    kept. A leap that lands lower is followed by a step of EM, and refused if that is lower as well.
    """
    k, d = start.means.shape
    counts, spent, trust = np.full(len(levels), np.nan), 0, 0

    def coordinates(mixture: Plain) -> Array:
        return np.concatenate([np.log(mixture.weights), coordinates_of(mixture)[k - 1 :]])

    def visit(mixture: Plain) -> tuple[Array, Array, Plain, float]:
        nonlocal spent
        spent += 1
        image, height = em_step(mixture, x)
        return coordinates(mixture), coordinates(image) - coordinates(mixture), image, height

    u, residual, image, height = visit(start)
    trial, leapt, points, residuals = image, False, list[Array](), list[Array]()
    while np.isnan(counts).any() and spent < 3000:
        found = visit(trial)
        if leapt and not found[3] >= height:
            found = visit(found[2])
            if not found[3] >= height:
                trust, leapt, found = trust - 1, False, visit(image)
        points.append(found[0] - u)
        residuals.append(found[1] - residual)
        u, residual, image, height = found
        counts[np.isnan(counts) & (height >= levels)] = spent
        trust += leapt
        combined = damped(np.asarray(residuals), residual, 1 / (1 + 1.2 ** (5 - trust)))
        leap = residual - combined @ (np.asarray(points) + np.asarray(residuals))
        target = u + leap * np.sign(leap @ residual)
        if len(points) == min(10, len(u)):
            points, residuals = [], []
        trial, leapt = mixture_at(np.concatenate([target[: k - 1] - target[k - 1], target[k:]]), k, d), True
    return counts


def damped(differences: Array, residual: Array, share: float) -> Array:
    """The ridge regression of a residual [P] on differences [m, P] whose squared norm is a share of least squares'."""
    left, values, right = np.linalg.svd(differences.T, full_matrices=False)
    kept = values > 1e-15 * len(residual) * values[0]
    values, onto = values[kept], (left.T @ residual)[kept]

    def excess(log_ridge: float) -> float:
        squares = (values * onto / (values**2 + math.exp(log_ridge))) ** 2
        return float(np.log(np.sum(squares) / np.sum((onto / values) ** 2) / share))

    ridge = math.exp(brentq(excess, 2 * np.log(values[-1]) - 80, 2 * np.log(values[0]) + 40, xtol=1e-13))
    return np.asarray((values * onto / (values**2 + ridge)) @ right[kept])


def counted(row: Row, name: str, place: int = -1) -> float:
    """Passes in a row of the study."""
    values = row[f"{name}_to"]
    assert isinstance(values, list)
    return float(values[place])


def is_median_of(decision: Decision, values: Array, bound: float) -> None:
    """Figure, interval and p-value are those of the median of independent values, without any distribution."""
    assert isinstance(decision.error, Interval)
    assert decision.value == pytest.approx(np.median(values), rel=1e-9)
    # The innermost pair of order statistics that holds the median with at least 95 %.
    n, ordered = len(values), np.sort(values)
    rank = max(r for r in range(1, n // 2 + 1) if 1 - 2 * binom.cdf(r - 1, n, 0.5) >= 0.95)
    assert (decision.error.low, decision.error.high) == pytest.approx((ordered[rank - 1], ordered[-rank]), rel=1e-9)
    assert decision.error.level == pytest.approx(1 - 2 * binom.cdf(rank - 1, n, 0.5))
    p = binomtest(int(np.sum(values > bound)), int(np.sum(values != bound))).pvalue
    assert decision.p_value == pytest.approx(p)


def test_optimum_and_missing_information_are_those_of_differences(ledger: Ledger) -> None:
    for row, new in zip(ledger.rows, ledger.again, strict=True):
        # Ten digits of the differences are left after two matrices were divided.
        assert row["rate"] == pytest.approx(new.missing, abs=1e-8)
        assert row["log_joint"] == pytest.approx(new.height, abs=1e-8)


def test_passes_are_those_of_steps_in_numpy(ledger: Ledger) -> None:
    for row, new in zip(ledger.rows, ledger.again, strict=True):
        # The heights of two steps differ by far more than rounding, which is 1e-12 nats.
        np.testing.assert_array_equal(row["em_to"], new.passes["em"])
        # Rounding grows in least squares of nearly dependent differences, and may cost a pass or two on the way.
        np.testing.assert_allclose(row["anderson_to"], new.passes["anderson"], atol=2)
        np.testing.assert_allclose(row["lbfgs_to"], new.passes["lbfgs"], atol=TRIALS)


def test_em_slows_by_the_ratio_of_its_passes(ledger: Ledger) -> None:
    near, far = (ledger.ratios(s, lambda row, new: new.passes["em"][-1]) for s in (2.0, 6.0))
    is_median_of(ledger.decisions["slows_with_overlap"], near / far, 1.0)


def crossings(ledger: Ledger, ratio: Callable[[Row, Again], float]) -> tuple[Array, float]:
    """The separation at which the line through the logarithms of a ratio of passes is zero, in each data set of which
    the line rises, and the mean of the missing information there.
    """
    logs = [np.log(ledger.ratios(separation, ratio)) for separation in (2.0, 6.0)]
    rates = [ledger.ratios(separation, lambda row, new: new.missing) for separation in (2.0, 6.0)]
    crosses = (logs[0] < 0) & (logs[1] >= 0)
    share = -logs[0] / (logs[1] - logs[0])
    missing = rates[0] + share * (rates[1] - rates[0])
    return 2 + 4 * share[crosses], float(np.mean(missing[crosses]))


@pytest.mark.parametrize("place", range(len(GAPS)))
def test_ascent_overtakes_where_the_curves_of_passes_cross(ledger: Ledger, place: int) -> None:
    decision = ledger.decisions["ascent_overtakes"]
    found, missing = crossings(ledger, lambda row, new: counted(row, "lbfgs", place) / new.passes["em"][place])
    by_scipy, _ = crossings(ledger, lambda row, new: new.passes["lbfgs"][place] / new.passes["em"][place])
    # A quarter more or fewer passes move the crossing by ln(1.25) over the slope, which is about 1 in a deviation.
    assert np.mean(by_scipy) == pytest.approx(np.mean(found), abs=OTHER_SEARCH)
    if GAPS[place] != 1e-8:
        shown = {row.at: row.figure for row in decision.sensitivity if row.what == "tolerance"}
        assert shown[f"{GAPS[place]:g}"] == f"{np.mean(found):.3g} standard deviations apart"
        return
    assert isinstance(decision.error, Interval)
    assert decision.value == pytest.approx(np.mean(found), rel=1e-9)
    interval = t.interval(0.95, len(found) - 1, np.mean(found), np.std(found, ddof=1) / math.sqrt(len(found)))
    assert (decision.error.low, decision.error.high) == pytest.approx(interval, rel=1e-9)
    assert f"cross in {len(found)} of 12 data sets, where EM's rate is {missing:.2f};" in decision.note
    near = ledger.ratios(2.0, lambda row, new: new.passes["em"][place] / counted(row, "lbfgs", place))
    assert decision.p_value == pytest.approx(binomtest(int(np.sum(near > 1)), len(near)).pvalue)


def test_acceleration_is_the_ratio_of_passes_at_either_separation(ledger: Ledger) -> None:
    decision = ledger.decisions["acceleration"]
    near, far = (
        ledger.ratios(s, lambda row, new: new.passes["anderson"][-1] / counted(row, "lbfgs")) for s in (2.0, 6.0)
    )
    # A pass more or less of Anderson's fifteen to fifty, in either of the two data sets in the middle.
    assert decision.value == pytest.approx(np.median(near), rel=0.02)
    (shown,) = (row.figure for row in decision.sensitivity if row.at == "6")
    assert shown == f"{np.median(far):.3g} passes for each of L-BFGS"
    for separation, ratios in ((2.0, near), (6.0, far)):
        by_scipy = ledger.ratios(separation, lambda row, new: new.passes["anderson"][-1] / new.passes["lbfgs"][-1])
        assert np.median(by_scipy) == pytest.approx(np.median(ratios), rel=OTHER_SEARCH)


def of_sets(ratios: list[tuple[Row, float]]) -> Array:
    """The median ratio of each data set, which has the same noise at every separation and so counts once."""
    sets: dict[tuple[object, object], list[float]] = {}
    for row, ratio in ratios:
        sets.setdefault((row["subject"], row["replication"]), []).append(ratio)
    return np.asarray([np.median(each) for each in sets.values()])


def test_ascent_on_clear_groups_is_the_ratio_of_passes_where_little_is_missing(ledger: Ledger) -> None:
    clear = [(row, new) for row, new in zip(ledger.rows, ledger.again, strict=True) if new.missing < 0.5]
    ratios = of_sets([(row, counted(row, "lbfgs") / new.passes["em"][-1]) for row, new in clear])
    by_scipy = of_sets([(row, new.passes["lbfgs"][-1] / new.passes["em"][-1]) for row, new in clear])
    assert 0 < len(clear) < len(ledger.rows)
    is_median_of(ledger.decisions["ascent_is_cheaper_on_clear_groups"], ratios, 1.0)
    assert np.median(by_scipy) == pytest.approx(np.median(ratios), rel=OTHER_SEARCH)
