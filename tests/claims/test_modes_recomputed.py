"""Claims on modes: spikes under a weak prior by a sum over all allocations, and the tutorial's stationary point."""

from pathlib import Path

import numpy as np
import pytest
from ledger_runs import decided
from plain_posterior import Conjugate, spikes_of
from scipy.optimize import minimize
from scipy.stats import norm


def climbed(x: np.ndarray, prior: Conjugate, weights: np.ndarray, means: np.ndarray, variances: np.ndarray) -> tuple:
    """EM to a posterior mode of one column (Fraley & Raftery 2007, eq. 13 to 18): variances [K] and the height.

    It stops as the package says that its own does: by a share of 1e-10 of the height, or 5000 steps.
    """
    k0, m0, psi, nu = prior.shrinkage, prior.location[0], prior.scatter[0, 0], prior.degrees
    height = -np.inf
    for _ in range(5000):
        logs = np.log(weights) - 0.5 * (x[:, None] - means) ** 2 / variances - 0.5 * np.log(2 * np.pi * variances)
        sums = np.logaddexp.reduce(logs, axis=1)
        now = sums.sum() + float(prior.log_density(weights, means[:, None], variances[:, None, None]))
        if now - height <= 1e-10 * max(abs(now), 1.0):
            break
        height, r = now, np.exp(logs - sums[:, None])
        counts = r.sum(axis=0)
        weights, means = counts / len(x), (x @ r + k0 * m0) / (counts + k0)
        about = np.sum(r * (x[:, None] - means) ** 2, axis=0) + k0 * (means - m0) ** 2
        variances = (psi + about) / (nu + counts + 3.0)
    return variances, now


def test_spikes_hold_the_share_that_plain_enumeration_gives_and_the_highest_of_plain_climbs(tmp_path: Path) -> None:
    decision, (weak, sensible) = decided("weak_prior_keeps_spikes", tmp_path)
    x = np.asarray(weak.problem.x)[:, 0]
    assert np.array_equal(x, np.asarray(sensible.problem.x)[:, 0])
    bounds = np.var(x) * np.array([1e-5, 1e-4])  # the claim's, and one that it tries
    barely = Conjugate(1.0, np.array([np.mean(x)]), 1e-6, 0.5, np.array([[1e-6]]))
    exact, other = spikes_of(x, barely, bounds)
    # Identity: sums of a million terms; scatters of close points lose half of the digits beside the prior's 1e-6.
    assert decision.value == pytest.approx(100 * exact.on_points, rel=1e-8)
    (tried,) = (row for row in decision.sensitivity if row.what == "narrow" and float(row.at) == 1e-4)
    assert tried.figure.startswith(f"{100 * other.on_points:.3g} ")
    assert f"{100 * exact.empty:.1f} % are narrow components" in decision.note
    usual = Conjugate.weak(x[:, None], 2)
    assert spikes_of(x, usual, bounds[:1])[0].on_points < 1e-12
    for ran, prior in ((weak, barely), (sensible, usual)):
        mixtures = ran.climbs["em"].at(np.arange(64), 0)
        weights, means, scales = (np.asarray(leaf) for leaf in (mixtures.weights, mixtures.means, mixtures.scales))
        starts = zip(weights, means[..., 0], scales.reshape(64, 2) ** 2, strict=True)
        ends = [climbed(x, prior, *start) for start in starts]
        spiked = np.array([np.min(variances) < bounds[0] for variances, _ in ends])
        heights = np.array([height for _, height in ends])
        if prior is usual:
            assert not np.any(spiked)
        else:
            # From the same starts by the same map. No end is near a border: spikes are a thousand times narrower.
            above = np.max(heights[spiked]) - np.max(heights[~spiked])
            assert f"{np.sum(spiked)} climbs end in a spike, up to {above:.3g} nats above the best" in decision.note


POINTS = np.array([0.0, 1.0, 10.0, 11.0, 12.0])
PRINTED = np.array([0.375, 0.625, 0.49894, 10.98446, 0.65143])  # weights, means and deviation
PRINTED_LOSS = 17.44325


def loss(log_weights: np.ndarray, means: np.ndarray, deviation: float) -> float:
    """Minus the log of likelihood and prior: Dirichlet(.5, .5), N(0, 10) means, a log-normal(0, 2) deviation."""
    logs = log_weights + norm.logpdf(POINTS[:, None], means, deviation)
    prior = -0.5 * np.sum(log_weights) - np.log(np.pi)  # B(1/2, 1/2) is pi
    prior += np.sum(norm.logpdf(means, 0.0, 10.0)) + norm.logpdf(np.log(deviation), 0.0, 2.0) - np.log(deviation)
    return float(-np.sum(np.logaddexp.reduce(logs, axis=1)) - prior)


def loss_at(u: np.ndarray) -> float:
    """At log-odds of the first weight, means and the logarithm of the deviation."""
    return loss(-np.logaddexp(0.0, [-u[0], u[0]]), u[1:3], float(np.exp(u[3])))


def test_scipy_finds_the_tutorials_point_from_the_same_starts_and_the_edge_below_it(tmp_path: Path) -> None:
    decision, (ran,) = decided("five_points", tmp_path)
    trace, ends = ran.climbs["lbfgs"], []
    for restart in range(trace.num_restarts):
        start = trace.at(restart, 0)
        weights, means, deviation = (np.ravel(leaf) for leaf in (start.weights, start.means, start.scales))
        u = np.array([np.log(weights[0] / weights[1]), *means, np.log(deviation[0])])
        # A simplex takes short steps. With long ones a climb may miss the point: SciPy's L-BFGS leaves for the edge
        # from starts with both means in one group, of which the package's own takes shorter steps.
        near = minimize(loss_at, u, method="Nelder-Mead", options={"maxiter": 5000}).x
        found = minimize(loss_at, near, jac="3-point", method="BFGS", options={"gtol": 1e-6})
        ends.append((float(found.fun), found.x))
    fun, u = min(ends, key=lambda end: abs(end[0] - PRINTED_LOSS))
    order, weights = np.argsort(u[1:3]), np.exp(-np.logaddexp(0.0, [-u[0], u[0]]))
    point = np.concatenate([weights[order], u[1:3][order], [np.exp(u[3])]])
    gap = max(np.max(np.abs(point - PRINTED)), abs(fun - PRINTED_LOSS))
    # Both searches stop where the slope is a millionth, and the loss is flat: it agrees to the square of that.
    assert decision.value == pytest.approx(gap, abs=1e-9)
    reached = sum(abs(end - fun) < 1e-5 for end, _ in ends)
    assert decision.note.startswith(f"{reached} of {len(ends)} starts end there, with a loss of {fun:.5f};")
    best = trace.at(int(np.argmin(np.abs(trace.log_joint[:, -1] + fun))), -1)
    found = np.concatenate([np.sort(np.ravel(best.weights)), np.sort(np.ravel(best.means)), np.ravel(best.scales)])
    assert found == pytest.approx(point, abs=1e-5)
    # Down to the edge: one component at the prior's mode, the other at the points' mean, as wide as they.
    edge = [
        loss(np.log([w, 1.0 - w]), np.array([0.0, POINTS.mean()]), float(POINTS.std())) for w in (1e-12, 1e-100, 1e-200)
    ]
    assert ", ".join(f"{e:.3g} at {w:g}" for e, w in zip(edge, (1e-12, 1e-100, 1e-200), strict=True)) in decision.note
