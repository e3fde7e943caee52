"""Estimates against closed forms, a Hessian by differences of SciPy's likelihood, and quantiles by NumPy."""

import itertools
import re
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from workbench.compare import Comparison, compare
from workbench.compare.estimates import Estimate, estimates_at, estimates_of, numbers_of
from workbench.compare.remarks import words_on_mode
from workbench.errors import InputError
from workbench.loop.trace import Trace
from workbench.mixture import ChenTanPrior, ConjugatePrior, Mixture
from workbench.problem import Problem

Settled = Callable[..., Comparison]


def by_place(rows: tuple[Estimate, ...]) -> dict[tuple[str, int | None, str | None], Estimate]:
    return {(row.parameter, row.component, row.column): row for row in rows}


@pytest.fixture(scope="module")
def two(points: np.ndarray, settled: Settled) -> Comparison:
    """EM with two components of full covariances, run once."""
    return settled(Problem(points, 2))


def test_one_gaussian_has_the_textbook_errors(points: np.ndarray, settled: Settled) -> None:
    """Of N points: s / sqrt(N), s / sqrt(2 N) and (1 - r^2) / sqrt(N); every column apart."""
    problem = Problem(points, 1, columns=("a", "b"))
    comparison = settled(problem, columns=("a", "b"))
    rows = by_place(estimates_of(comparison, "em").rows)
    n, s = len(points), points.std(axis=0)
    r = float(np.corrcoef(points.T)[0, 1])
    wanted = {("mean", 1, "a"): s[0] / n**0.5, ("mean", 1, "b"): s[1] / n**0.5}
    wanted |= {("sd", 1, "a"): s[0] / (2 * n) ** 0.5, ("sd", 1, "b"): s[1] / (2 * n) ** 0.5}
    wanted |= {("correlation", 1, "a, b"): (1 - r**2) / n**0.5}
    assert {place: rows[place].standard_error for place in wanted} == pytest.approx(wanted, rel=1e-6)
    assert rows["correlation", 1, "a, b"].estimate == pytest.approx(r, rel=1e-9)
    z = norm.ppf(0.975)
    low, high = np.tanh(np.arctanh(r) + np.array([-z, z]) / n**0.5)
    assert (rows["correlation", 1, "a, b"].low, rows["correlation", 1, "a, b"].high) == pytest.approx((low, high))
    sd = rows["sd", 1, "a"]
    assert (sd.low, sd.high) == pytest.approx(tuple(s[0] * np.exp(np.array([-z, z]) / (2 * n) ** 0.5)))
    # The weight of one component is no parameter.
    assert rows["weight", 1, None] == Estimate("weight", 1, None, 1.0, None, None, None)


def test_two_components_against_a_hessian_by_differences(settled: Settled) -> None:
    """In log-odds, means and log deviations, from SciPy's density: the chart here is another than the package's."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(-2, 1, 80), rng.normal(2, 0.7, 60)])
    problem = Problem(x, 2)
    found = by_place(estimates_of(settled(problem), "em", 0.9).rows)
    at = np.array(
        [
            np.log(found["weight", 1, None].estimate / found["weight", 2, None].estimate),
            *(found["mean", k, "x1"].estimate for k in (1, 2)),
            *(np.log(found["sd", k, "x1"].estimate) for k in (1, 2)),
        ]
    )

    def log_likelihood(v: np.ndarray) -> float:
        weight = 1 / (1 + np.exp(-v[0]))
        parts = np.log([weight, 1 - weight]) + norm.logpdf(x[:, None], v[1:3], np.exp(v[3:]))
        return float(logsumexp(parts, axis=1).sum())

    h, eye = 1e-3, np.eye(5)
    hessian = np.empty((5, 5))
    for i, j in itertools.product(range(5), repeat=2):
        signs = itertools.product((1, -1), repeat=2)
        hessian[i, j] = sum(a * b * log_likelihood(at + h * (a * eye[i] + b * eye[j])) for a, b in signs) / (4 * h * h)
    errors = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    z = norm.ppf(0.95)
    # Differences of the fourth order and rounding leave about five digits.
    for place, error, centre in (
        (("mean", 1, "x1"), errors[1], at[1]),
        (("mean", 2, "x1"), errors[2], at[2]),
    ):
        row = found[place]
        assert row.standard_error == pytest.approx(error, rel=1e-4)
        assert (row.low, row.high) == pytest.approx((centre - z * error, centre + z * error), rel=1e-4)
    weight, sd = found["weight", 1, None], found["sd", 2, "x1"]
    p = weight.estimate
    assert weight.standard_error == pytest.approx(p * (1 - p) * errors[0], rel=1e-4)
    assert (weight.low, weight.high) == pytest.approx(
        tuple(1 / (1 + np.exp(-at[0] + z * errors[0] * np.array([1, -1]))))
    )
    assert sd.standard_error == pytest.approx(sd.estimate * errors[4], rel=1e-4)


@pytest.mark.parametrize("family", ["full", "tied", "diagonal", "spherical"])
def test_every_family_names_its_own_parameters(
    points: np.ndarray, two: Comparison, settled: Settled, family: str
) -> None:
    comparison = two if family == "full" else settled(Problem(points, 2, family))
    found = estimates_of(comparison, "em")
    best = comparison["em"].best(comparison.problem)
    assert best is not None
    rows, mixture = by_place(found.rows), best.canonical()
    dense = np.asarray(mixture.covariances)
    assert found.why_none is None
    for k in range(2):
        assert rows["weight", k + 1, None].estimate == pytest.approx(float(mixture.weights[k]))
        owner = None if family == "tied" else k + 1
        column = None if family == "spherical" else "x2"
        assert rows["sd", owner, column].estimate == pytest.approx(dense[k, 1, 1] ** 0.5)
    assert sum(row.parameter == "correlation" for row in found.rows) == {"full": 2, "tied": 1}.get(family, 0)


def test_a_conjugate_prior_is_named_and_counts(points: np.ndarray, two: Comparison, settled: Settled) -> None:
    flat, prior = (estimates_of(each, "em") for each in (two, settled(Problem(points, 2, prior=ConjugatePrior()))))
    assert (flat.how, prior.how) == ("observed information", "curvature of the posterior at its mode")
    assert flat.rows != prior.rows
    assert flat.shown.note == "CSV and JSON hold the correlations too."
    assert prior.shown.note.startswith(
        "These are the mode under the conjugate prior, which draws standard deviations towards 0.25 of"
    )
    assert "not maximum likelihood: for that, fit without the prior (--set prior.family=flat --methods em)." in (
        prior.shown.note
    )
    # Which way it moves things is said where it is known.
    for other in (ConjugatePrior(scatter=((1.0, 0.0), (0.0, 1.0))), ChenTanPrior()):
        note = words_on_mode(Problem(points, 2, prior=other), "em")
        assert note.startswith(f"These are the mode under the {other.family} prior, not maximum likelihood")


@pytest.mark.parametrize("family", ["full", "tied", "spherical"])
def test_the_default_conjugate_prior_draws_deviations_to_the_share_of_the_datas_that_is_said(family: str) -> None:
    """Of clear groups, whose memberships the prior does not change."""
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0, 0.02, (60, 2)), rng.normal(30, 3, (60, 2)), rng.normal(150, 4, (60, 2))])
    problems = [Problem(x, 3, family, prior=prior) for prior in (None, "conjugate")]
    found = [estimates_of(compare(problem, "em", restarts=2), "em").rows for problem in problems]
    flat, mode = (np.array([row.estimate for row in rows if row.parameter == "sd"]) for rows in found)
    said = re.search(r"towards (\S+) of the data's", words_on_mode(problems[1], "em"))
    assert said is not None
    # The mean of the squares has the weight of the prior's degrees of freedom, about ten of 60 or more.
    target = float(said[1]) ** 2 * np.mean(np.var(x, axis=0, ddof=1))
    shares = (flat**2 - mode**2) / (flat**2 - target)
    assert np.all((shares > 0.01) & (shares < 0.25))


def test_a_climb_that_stopped_short_has_no_intervals(points: np.ndarray) -> None:
    problem = Problem(points, 2)
    start = Mixture.from_covariances([0.5, 0.5], points[:2], np.stack([np.cov(points.T)] * 2))
    found = estimates_at(problem, start)
    assert found.why_none is not None
    assert "short of the maximum" in found.why_none or "not positive definite" in found.why_none
    assert all(row.standard_error is None and row.low is None for row in found.rows)


def test_no_sound_end_has_no_estimate(
    two_groups: Problem, shapes: dict[str, Mixture], trace_of: Callable[..., Trace]
) -> None:
    trace = trace_of(two_groups, [[shapes["start"], shapes["spike"]]])
    found = estimates_of(Comparison(two_groups, {"em": trace}), "em")
    assert (found.rows, found.why_none) == ((), "no end of the method is sound")
    assert found.said == "no estimates: no end of the method is sound"


def draws_near(mixture: Mixture, seed: int, chains: int, spread: float) -> Mixture:
    """Independent draws about a mixture of two components. Leaves [R, S, ...]"""
    rng = np.random.default_rng(seed)
    many = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (chains, 500, *np.shape(leaf))).copy(), mixture)
    means = many.means + spread * rng.normal(size=many.means.shape)
    scales = many.scales * np.exp(0.1 * spread * rng.normal(size=(chains, 500, 2, 1, 1)))
    weight = many.weights[..., :1] + 0.1 * spread * rng.uniform(-1, 1, size=(chains, 500, 1))
    weights = np.concatenate([weight, 1 - weight], axis=-1)
    return Mixture(weights, means, scales, mixture.covariance)  # type: ignore[arg-type]  # leaves are NumPy's, as a trace's


def test_draws_give_their_mean_deviation_and_quantiles(
    two_groups: Problem, shapes: dict[str, Mixture], trace_of: Callable[..., Trace]
) -> None:
    draws = draws_near(shapes["good"], 0, 2, 0.1)
    swapped = jax.tree.map(lambda leaf: leaf.copy(), draws)
    for name in ("weights", "means", "scales"):
        getattr(swapped, name)[:, ::2] = getattr(draws, name)[:, ::2, ::-1]  # every second draw has its labels swapped
    found = estimates_of(Comparison(two_groups, {"nuts": trace_of(two_groups, swapped, draws=500)}), "nuts", 0.8)
    rows = by_place(found.rows)
    assert found.why_none is None
    values = draws.means[..., 0, 1]  # the first component is on the left
    row = rows["mean", 1, "x2"]
    assert (row.estimate, row.standard_error) == pytest.approx((values.mean(), values.std(ddof=1)))
    assert (row.low, row.high) == pytest.approx(tuple(np.quantile(values, [0.1, 0.9])))
    # Scaled as a whole, a component keeps its correlation: what never moves has no interval.
    assert rows["correlation", 1, "x1, x2"].low is None


def test_chains_that_do_not_agree_give_no_estimates(
    two_groups: Problem, shapes: dict[str, Mixture], trace_of: Callable[..., Trace]
) -> None:
    draws = draws_near(shapes["good"], 0, 2, 0.1)
    draws.means[1] += 1.0
    found = estimates_of(Comparison(two_groups, {"nuts": trace_of(two_groups, draws, draws=500)}), "nuts")
    assert found.rows == ()
    assert found.why_none is not None
    assert found.why_none.startswith("its chains do not agree (R-hat ")


def test_what_readers_see_keeps_two_digits_of_the_error(two: Comparison) -> None:
    found = estimates_of(two, "em")
    lines = found.shown.rows
    for line, row in zip(lines, (row for row in found.rows if row.parameter != "correlation"), strict=True):
        error = line["standard error"]
        assert float(error) == pytest.approx(row.standard_error, rel=0.05)
        digits = error.lstrip("0.").replace(".", "")
        assert len(digits) >= 2
    whole = numbers_of([found]).rows
    assert [row["estimate"] for row in whole] == [row.estimate for row in found.rows]


def test_wrong_arguments_are_told(two: Comparison) -> None:
    with pytest.raises(InputError, match=r"method: 'nuts' is not in the comparison; it has em"):
        estimates_of(two, "nuts")
    with pytest.raises(InputError, match="level: must lie between 0 and 1, got 95"):
        estimates_of(two, "em", 95)


def test_too_many_parameters_are_told(monkeypatch: pytest.MonkeyPatch, two: Comparison) -> None:
    monkeypatch.setattr(sys.modules[estimates_of.__module__], "MOST_PARAMETERS", 3)
    found = estimates_of(two, "em")
    assert found.why_none == "11 parameters are more than the 3 that it is computed for"
    assert jnp.isfinite(jnp.asarray([row.estimate for row in found.rows])).all()
