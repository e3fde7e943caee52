"""Claims on chains, whose figures plain NumPy computes again from the draws, and where it can without them."""

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledger_limits import limits_of
from ledger_runs import decided
from plain_posterior import Conjugate, effective_size, log_likelihood, r_hat, scores_of
from scipy.optimize import minimize
from scipy.stats import beta, halfnorm, multivariate_t, norm

from workbench.claims.checks import CHECKS

Array = np.ndarray


def draws_of(trace: Any) -> tuple[Array, Array, Array]:
    """Weights [R, S, K], means [R, S, K, D] and scales in the family's shape."""
    answer = trace.answer
    return tuple(np.asarray(leaf) for leaf in (answer.weights, answer.means, answer.scales))


def figure(check: str, evidence: Any, **limits: float) -> Any:
    """The decision on short chains, which need not agree as well as those of the ledger."""
    return CHECKS[check].decide(evidence, limits_of(check, agree=1.2, **limits))


def highest(x: Array, prior: Conjugate, weights: Array, means: Array, covariances: Array) -> float:
    """The height of the posterior mode to which EM leads (Fraley & Raftery 2007, eq. 13 to 18)."""
    d, height = x.shape[1], -np.inf
    for _ in range(5000):
        about = x[:, None] - means
        squares = np.einsum("nki,kij,nkj->nk", about, np.linalg.inv(covariances), about)
        logs = np.log(weights) - 0.5 * np.linalg.slogdet(2 * np.pi * covariances)[1] - 0.5 * squares
        sums = np.logaddexp.reduce(logs, axis=1)
        now = float(sums.sum() + prior.log_density(weights, means, covariances))
        if now - height < 1e-11:
            break
        height, r = now, np.exp(logs - sums[:, None])
        counts = r.sum(axis=0)
        weights = counts / len(x)
        means = (r.T @ x + prior.shrinkage * prior.location) / (counts + prior.shrinkage)[:, None]
        about, pull = x[:, None] - means, prior.location - means
        scatter = prior.scatter + np.einsum("nk,nki,nkj->kij", r, about, about)
        scatter = scatter + prior.shrinkage * np.einsum("ki,kj->kij", pull, pull)
        covariances = scatter / (prior.degrees + counts + d + 2)[:, None, None]
    return now


def test_draws_lie_below_the_mode_by_as_much_as_plain_densities_and_climbs_say(tmp_path: Path) -> None:
    _, (ran,) = decided("draws_stay_below", tmp_path, "methods.gibbs.num_samples=250", "methods.gibbs.num_chains=2")
    found = figure("draws_stay_below_best", ran)
    x = np.asarray(ran.problem.x)
    prior, heights, tops = Conjugate.weak(x, 2), [], []
    for trace in ran.samplers.values():
        weights, means, factors = draws_of(trace)
        covariances = factors @ factors.swapaxes(-1, -2)
        own = log_likelihood(weights, means, covariances, x) + prior.log_density(weights, means, covariances)
        # Identity: one density in two codes.
        assert trace.log_joint[:, -trace.draws :] == pytest.approx(own, rel=1e-10)
        heights.append(own.ravel())
        top = np.unravel_index(np.argmax(own), own.shape)
        tops.append(highest(x, prior, weights[top], means[top], covariances[top]))
    draws, best = np.concatenate(heights), max(tops)
    assert found.value == np.sum(draws > best + 1e-9 * abs(best)) == 0
    assert f"of {len(draws):,} draws" in found.unit
    # The package's EM climbs to this mode, until a step gains a share of 1e-10: the three digits of the note are these.
    gaps = best - draws.max(), best - np.median(draws)
    assert found.note.startswith(
        "The highest draw lies {:.3g} nats below the best optimum, the median draw {:.3g}.".format(*gaps)
    )


def brute_orders(costs: Array) -> Array:
    """The order of least cost of each draw, from costs [S, K, K] of component j in place k at [k, j]. [S, K]"""
    orders = np.asarray(list(permutations(range(costs.shape[1]))))
    totals = np.stack([costs[:, np.arange(len(o)), o].sum(axis=1) for o in orders], axis=1)
    return orders[np.argmin(totals, axis=1)]


def relabelled(member: Array, best: int, by: str) -> Array:
    """Orders by Stephens (2000) or by iterated ECR, from responsibilities [S, N, K] and the draw of the first pivot."""
    rows = np.arange(member.shape[0])[:, None]
    if by == "ecr":
        member = np.eye(member.shape[2])[np.argmax(member, axis=2)]
    reference, orders = np.maximum(member[best], 1e-6), None
    for _ in range(100):
        if by == "stephens":
            costs = -np.einsum("nk,snj->skj", np.log(np.maximum(reference, 1e-300)), member)
        else:
            costs = -np.einsum("nk,snj->skj", reference, member)
        new = brute_orders(costs)
        if orders is not None and np.array_equal(new, orders):
            break
        orders = new
        reference = np.mean(member[rows, :, orders].swapaxes(1, 2), axis=0)
        if by == "ecr":
            reference = np.eye(member.shape[2])[np.argmax(reference, axis=1)]
    return orders


@pytest.mark.parametrize("separation", [6.0, 2.0])
def test_chains_keep_one_labelling_where_plain_relabellings_do(separation: float, tmp_path: Path) -> None:
    _, (ran,) = decided(
        "one_mode_per_chain", tmp_path, f"data.simulate.separation={separation}", "methods.nuts.num_chains=6"
    )
    found = figure("chain_keeps_one_labelling", ran)
    x, trace = np.asarray(ran.problem.x), ran.samplers["nuts"]
    weights, means, deviations = draws_of(trace)
    r, s, k = weights.shape
    squares = np.sum((x[:, None] - means[:, :, None]) ** 2, axis=-1) / deviations[:, :, None] ** 2  # [R, S, N, K]
    logs = np.log(weights / deviations ** x.shape[1])[:, :, None] - 0.5 * squares
    member = np.exp(logs - np.logaddexp.reduce(logs, axis=-1, keepdims=True)).reshape(r * s, len(x), k)
    best = int(np.argmax(trace.log_joint[:, -trace.draws :]))
    changes = []
    for by in ("stephens", "ecr"):
        orders = relabelled(member, best, by).reshape(r, s, k)
        changes.append(np.sum(np.any(np.diff(orders, axis=1) != 0, axis=2), axis=1))
    left = np.max(changes, axis=0)
    # Counts, by the definitions of the two algorithms.
    assert found.value == 100 * np.mean(left == 0)
    assert found.note.startswith(f"{left.sum()} changes of labels in {r * s:,} draws")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Betancourt's (2017) clear groups and overlapping ones, two chains each."""
    return decided("overlap_makes_a_ridge", tmp_path_factory.mktemp("ridge"))[1]


def one_column(ran: Any) -> tuple[Array, Array, Array, Array]:
    """Points [N], and of the draws weights, means and deviations [R, S, 2]."""
    weights, means, deviations = draws_of(ran.samplers["nuts"])
    return np.asarray(ran.problem.x)[:, 0], weights, means[..., 0], deviations


def component_logs(x: Array, weights: Array, means: Array, deviations: Array) -> Array:
    """Log of weight times density of each component. [..., N, 2]"""
    return np.log(weights)[..., None, :] + norm.logpdf(x[:, None], means[..., None, :], deviations[..., None, :])


def invariants(x: Array, weights: Array, means: Array, deviations: Array) -> Array:
    """The functionals that labels do not change, as the package's documentation lists them. [Q, R, S]"""
    logs = component_logs(x, weights, means, deviations)
    likelihood = np.logaddexp(logs[..., 0], logs[..., 1]).sum(axis=-1)
    prior = (
        beta.logpdf(weights[..., 0], 5, 5)
        + norm.logpdf(means, 0, 2).sum(-1)
        + halfnorm.logpdf(deviations, 0, 2).sum(-1)
    )
    rows = np.sort(x)[np.linspace(0, len(x) - 1, 8).astype(int)]
    logs = component_logs(rows, weights, means, deviations)
    density = np.logaddexp(logs[..., 0], logs[..., 1])
    odds = logs[..., 0] - logs[..., 1]  # of the first component at each row
    a, b = odds[..., :-1], odds[..., 1:]
    together = np.logaddexp(a + b, 0.0) - np.logaddexp(a, b)
    parts = [density, together, np.sort(weights), np.sort(2 * np.log(deviations)), np.sort(means)]
    columns = np.concatenate([np.stack([likelihood + prior, likelihood], axis=-1), *parts], axis=-1)
    return np.moveaxis(columns, -1, 0)


def largest_r_hat(columns: Array) -> float:
    """Rank-normalised split R-hat, the worse of bulk and folded draws (Vehtari et al. 2021, sec. 3.1)."""
    folded = [np.abs(column - np.median(column)) for column in columns]
    return max(r_hat(scores_of(column)) for column in (*columns, *folded))


def test_an_effective_draw_costs_more_on_the_ridge_by_the_ratio_of_plain_sample_sizes(two: list[Any]) -> None:
    found = figure("overlap_joins_the_labellings", two)
    prices, changes = [], []
    for ran in two:
        x, weights, means, deviations = one_column(ran)
        sizes = [effective_size(column) for column in invariants(x, weights, means, deviations)]
        trace = ran.samplers["nuts"]
        after_warmup = trace.passes[:, -1] - trace.passes[:, -trace.draws - 1]
        prices.append(after_warmup.sum() / min(sizes))
        changes.append(np.sum(np.diff(means[..., 0] > means[..., 1], axis=1), axis=1))
    # Identity: one estimator in two codes, by lags and by a Fourier transform.
    assert found.value == pytest.approx(prices[1] / prices[0], rel=1e-8)
    assert not np.any(changes[0])
    assert found.note.startswith(f"Its chains change labels {changes[1].min()} to {changes[1].max()} times;")


def log_posterior(u: Array, x: Array) -> Array:
    """In log-odds, means and logarithms of deviations, with their Jacobians; u [..., 5]. [...]"""
    first = -np.logaddexp(0.0, -u[..., 0])
    weights = np.exp(np.stack([first, first - u[..., 0]], axis=-1))
    means, deviations = u[..., 1:3], np.exp(u[..., 3:5])
    prior = (
        beta.logpdf(weights[..., 0], 5, 5)
        + norm.logpdf(means, 0, 2).sum(-1)
        + halfnorm.logpdf(deviations, 0, 2).sum(-1)
    )
    jacobian = np.log(weights).sum(axis=-1) + u[..., 3] + u[..., 4]
    logs = component_logs(x, weights, means, deviations)
    return prior + jacobian + np.logaddexp(logs[..., 0], logs[..., 1]).sum(axis=-1)


def means_by_importance(x: Array, draws: int = 4000) -> tuple[Array, Array, float]:
    """Posterior means and deviations of the two means within one labelling, without a chain, and the sample's worth."""
    start = np.array([0.0, np.quantile(x, 0.25), np.quantile(x, 0.75), 0.0, 0.0])
    mode = minimize(lambda u: -log_posterior(u, x), start, method="BFGS")
    proposal = multivariate_t(mode.x, mode.hess_inv, df=8, seed=1)
    u = proposal.rvs(draws)
    logs = log_posterior(u, x) - proposal.logpdf(u)
    weights = np.exp(logs - logs.max())
    weights = weights / weights.sum()
    centre = weights @ u[:, 1:3]
    return centre, np.sqrt(weights @ (u[:, 1:3] - centre) ** 2), 1.0 / np.sum(weights**2)


def test_labels_part_chains_as_far_as_posterior_moments_without_chains_say(two: list[Any]) -> None:
    (clear, _) = two
    found = figure("labels_alone_part_the_chains", clear)
    x, weights, means, deviations = one_column(clear)
    # Identities: R-hat of the raw means, and the largest of functionals that are blind to labels.
    assert found.value == pytest.approx(min(r_hat(means[..., k]) for k in (0, 1)), rel=1e-10)
    blind = largest_r_hat(invariants(x, weights, means, deviations))
    assert f"of label-invariant functionals it is {blind:.3f}," in found.note
    # Four half-chains at two places a distance apart, each as wide as the posterior about its place: the variance of
    # their means is a third of the squared distance.
    centre, spread, worth = means_by_importance(x)
    expected = np.sqrt(1.0 + np.diff(centre)[0] ** 2 / 3.0 / np.mean(spread**2))
    # Four standard errors of a spread, from so many independent draws in chains and sample; the figure is the
    # smaller of two means'.
    size = min(effective_size(means[r : r + 1, :, k]) for r in (0, 1) for k in (0, 1))
    assert size > 50 and worth > 1000
    assert found.value == pytest.approx(expected, rel=4.0 * np.sqrt(0.5 / size + 0.5 / worth))
