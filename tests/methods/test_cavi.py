"""Coordinate-ascent variational Bayes: Bishop's equations, a bound below the evidence, and draws without R-hat."""

import math
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import digamma, gammaln, logsumexp, multigammaln

from workbench.compare import Comparison, Reference
from workbench.compare.summary import statuses_and_mixing
from workbench.compare.table import table
from workbench.diagnostics import Status, heldout_log_density
from workbench.engine.keys import named_key
from workbench.errors import InputError
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import CAVI
from workbench.methods.base import geometric_marks
from workbench.methods.variational import Fit, coordinate_step, expected_mixture
from workbench.mixture import COVARIANCES, PRIORS, ConjugatePrior, Mixture
from workbench.mixture.prior.update import draw_mixture, not_updated
from workbench.posterior import exact_posterior, read_reference, reference_names, z_scores
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts

Points = NDArray[np.float64]
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
# What compiles a program of its own for every family or reference: one of them among the quick tests.
ONE_FAMILY = pytest.mark.parametrize(
    "family", [pytest.param(name, marks=() if name == "spherical" else pytest.mark.slow) for name in COVARIANCES]
)
ONE_REFERENCE = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "plane" else pytest.mark.slow) for name in reference_names()]
)
METHOD = CAVI(max_iterations=40, num_samples=300)
step = jax.jit(coordinate_step)

# Sums of a few dozen terms of a size of ten, and special functions to some units in the last place.
ROUNDING = 1e-11


def begun(problem: Problem, seed: int = 0) -> Fit:
    start = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), problem, 1, seed))
    nothing = not_updated(problem.hyperparameters, problem.components, problem.covariance)
    return Fit(nothing, start, jnp.asarray(jnp.inf))


def climbed(problem: Problem, iterations: int = 60, seed: int = 0) -> tuple[Fit, Points]:
    """The fit after so many iterations, and the bounds of those before it. [iterations - 1]"""
    fit, bounds = begun(problem, seed), []
    for _ in range(iterations):
        fit, bound = step(fit, problem)
        bounds.append(float(bound))
    assert bounds[0] == -np.inf
    return fit, np.asarray(bounds[1:])


class Bishop:
    """Pattern Recognition and Machine Learning, sec. 10.2, in NumPy alone, one component after the other."""

    def __init__(self, problem: Problem) -> None:
        h = {name: np.asarray(value) for name, value in problem.hyperparameters.items()}
        self.x, self.k = problem.x, problem.components
        self.alpha0, self.beta0, self.m0 = h["concentration"], h["mean_shrinkage"], h["mean_location"]
        self.nu0, self.w0 = h["degrees"], np.linalg.inv(h["scatter"])

    def m_step(self, r: Points) -> None:
        """Eq. 10.51-10.53 and 10.58-10.63, from responsibilities [N, K]."""
        d = self.x.shape[1]
        self.r, self.n = r, r.sum(0)
        self.alpha, self.beta, self.nu = self.alpha0 + self.n, self.beta0 + self.n, self.nu0 + self.n
        self.m, self.w, self.centre, self.spread = np.empty((self.k, d)), [], [], []
        for k in range(self.k):
            centre = r[:, k] @ self.x / self.n[k]
            spread = (r[:, k, None] * (self.x - centre)).T @ (self.x - centre) / self.n[k]
            pull = centre - self.m0
            inverse = np.linalg.inv(self.w0) + self.n[k] * spread
            inverse += self.beta0 * self.n[k] / (self.beta0 + self.n[k]) * np.outer(pull, pull)
            self.m[k] = (self.beta0 * self.m0 + self.n[k] * centre) / self.beta[k]
            self.w.append(np.linalg.inv(inverse))
            self.centre.append(centre)
            self.spread.append(spread)

    def expectations(self) -> None:
        """Eq. 10.65 and 10.66."""
        d = self.x.shape[1]
        self.log_pi = digamma(self.alpha) - digamma(self.alpha.sum())
        logs = [np.linalg.slogdet(w)[1] for w in self.w]
        self.log_lambda = digamma((self.nu[:, None] - np.arange(d)) / 2).sum(1) + d * np.log(2) + logs

    def e_step(self) -> Points:
        """Eq. 10.46, 10.49 and 10.64. [N, K]"""
        d = self.x.shape[1]
        self.expectations()
        log_rho = np.empty((len(self.x), self.k))
        for k in range(self.k):
            off = self.x - self.m[k]
            squares = d / self.beta[k] + self.nu[k] * np.einsum("ni,ij,nj->n", off, self.w[k], off)
            log_rho[:, k] = self.log_pi[k] + 0.5 * self.log_lambda[k] - 0.5 * d * np.log(2 * np.pi) - 0.5 * squares
        return np.asarray(np.exp(log_rho - logsumexp(log_rho, axis=1, keepdims=True)))

    def log_wishart(self, w: Points, nu: float) -> float:
        """Eq. B.79: the logarithm of the normaliser B(W, nu)."""
        d = len(w)
        return float(-nu / 2 * np.linalg.slogdet(w)[1] - nu * d / 2 * np.log(2) - multigammaln(nu / 2, d))

    def bound(self, r: Points) -> float:
        """Eq. 10.70-10.77, at responsibilities r and the parameters of the last M-step."""
        d, k, n = self.x.shape[1], self.k, r.sum(0)
        total = (r @ self.log_pi).sum() - np.sum(r * np.log(r))
        alphas = np.full(k, self.alpha0)
        for sign, a in ((1, alphas), (-1, self.alpha)):
            total += sign * (gammaln(a.sum()) - gammaln(a).sum() + (a - 1) @ self.log_pi)
        for j in range(k):
            centre = r[:, j] @ self.x / n[j]
            spread = (r[:, j, None] * (self.x - centre)).T @ (self.x - centre) / n[j]
            off, pull = centre - self.m[j], self.m[j] - self.m0
            inside = self.log_lambda[j] - d / self.beta[j] - self.nu[j] * np.trace(spread @ self.w[j])
            total += 0.5 * n[j] * (inside - self.nu[j] * off @ self.w[j] @ off - d * np.log(2 * np.pi))
            total += 0.5 * (d * np.log(self.beta0 / (2 * np.pi)) + self.log_lambda[j] - d * self.beta0 / self.beta[j])
            total -= 0.5 * self.beta0 * self.nu[j] * pull @ self.w[j] @ pull
            total += self.log_wishart(self.w0, self.nu0) + (self.nu0 - d - 1) / 2 * self.log_lambda[j]
            total -= 0.5 * self.nu[j] * np.trace(np.linalg.solve(self.w0, self.w[j]))
            total -= 0.5 * self.log_lambda[j] + 0.5 * d * np.log(self.beta[j] / (2 * np.pi)) - 0.5 * d
            entropy = -self.log_wishart(self.w[j], self.nu[j]) - (self.nu[j] - d - 1) / 2 * self.log_lambda[j]
            total += entropy + 0.5 * self.nu[j] * d
        return float(total)


def test_iterations_and_bounds_are_those_of_bishops_equations() -> None:
    problem = read_reference("plane").problem
    oracle, fit = Bishop(problem), begun(problem)
    r = np.asarray(fit.expected.responsibilities(problem.x))
    for _ in range(4):
        oracle.m_step(r)
        r = oracle.e_step()
        fit, _ = step(fit, problem)
        _, bound = step(fit, problem)
        assert float(bound) == pytest.approx(oracle.bound(r), rel=ROUNDING)
        np.testing.assert_allclose(fit.updated.counts + oracle.alpha0, oracle.alpha, rtol=ROUNDING)
        np.testing.assert_allclose(fit.updated.shrinkages, oracle.beta, rtol=ROUNDING)
        np.testing.assert_allclose(fit.updated.locations, oracle.m, rtol=ROUNDING)
        np.testing.assert_allclose(fit.updated.degrees.ravel(), oracle.nu, rtol=ROUNDING)
        # Matrices of condition below 1e2, inverted twice.
        np.testing.assert_allclose(fit.updated.scatter, np.linalg.inv(oracle.w), rtol=1e-9)


@pytest.mark.slow
@FAMILIES
def test_the_expected_log_density_is_the_mean_over_draws(family: str, points: Points) -> None:
    problem = Problem(points[:20], 2, family, ConjugatePrior(concentration=2.0, degrees_of_freedom=9.0))
    fit, _ = climbed(problem, 4)
    a, x = problem.hyperparameters["concentration"], points[:3]
    keys = jax.random.split(jax.random.key(5), 4000)
    log_joint = np.asarray(
        jax.jit(jax.vmap(lambda key: draw_mixture(key, fit.updated, a, problem.covariance).component_log_joint(x)))(
            keys
        )
    )
    expected = expected_mixture(fit.updated, a, problem.covariance).component_log_joint(x)
    error = log_joint.std(0) / math.sqrt(len(log_joint))
    # Six numbers, each within four standard errors; the errors are a few hundredths.
    np.testing.assert_array_less(np.abs(log_joint.mean(0) - expected), 4 * error)


@ONE_FAMILY
def test_of_one_component_the_bound_is_the_evidence(family: str, points: Points) -> None:
    problem = Problem(points, 1, family, ConjugatePrior())
    _, bounds = climbed(problem, 3)
    np.testing.assert_allclose(bounds, exact_posterior(problem).log_evidence, rtol=ROUNDING)


@pytest.mark.slow
@FAMILIES
def test_the_bound_never_falls_and_a_climb_ends_at_a_fixed_point(family: str, points: Points) -> None:
    problem = Problem(points[:20], 2, family, ConjugatePrior())
    # The slowest converges by half in each iteration.
    fit, bounds = climbed(problem, 150)
    assert_rises_to_a_fixed_point(fit, bounds, problem)


def assert_rises_to_a_fixed_point(fit: Fit, bounds: Points, problem: Problem) -> None:
    assert np.all(np.diff(bounds) >= -ROUNDING * np.abs(bounds[1:])) and bounds[-1] > bounds[0]
    again, _ = step(fit, problem)
    for before, after in zip(jax.tree.leaves(fit.updated), jax.tree.leaves(again.updated), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-9)


@ONE_REFERENCE
def test_the_bound_rises_to_below_the_evidence_by_what_the_other_labellings_hold(name: str) -> None:
    reference = read_reference(name)
    fit, bounds = climbed(reference.problem, 150)
    assert_rises_to_a_fixed_point(fit, bounds, reference.problem)
    k = reference.problem.components
    gap = reference.posterior.log_evidence - bounds[-1]
    # All components are occupied, so that q is one labelling of K! and its mirror images hold as much.
    assert np.all(fit.updated.counts > 0.5)
    assert math.log(math.factorial(k)) < gap < math.log(math.factorial(k)) + 2


@pytest.mark.slow
def test_a_concentration_near_zero_is_no_danger() -> None:
    x = np.random.default_rng(0).normal(size=(9, 2)) * [1, 20] + [5, -3]
    fit, bounds = climbed(Problem(x, 3, "full", ConjugatePrior(concentration=1e-4)), 40)
    assert np.all(np.isfinite(bounds)) and all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(fit))


@pytest.fixture(scope="module")
def plane() -> Problem:
    return read_reference("plane").problem


@pytest.fixture(scope="module")
def trace(plane: Problem) -> Trace:
    return run(METHOD, plane, draw_starts(RandomPoints(), plane, 2, seed=0), named_key(0, "cavi"))


@pytest.mark.slow
def test_an_iteration_costs_one_pass_and_draws_cost_nothing(trace: Trace) -> None:
    marks = geometric_marks(METHOD.max_iterations)
    for passes in trace.passes:
        np.testing.assert_array_equal(passes[1 : 1 + len(marks)], np.minimum(marks, passes[-1]))
        assert passes[-1] < METHOD.max_iterations and np.all(passes[-METHOD.num_samples :] == passes[-1])


@pytest.mark.slow
def test_draws_are_independent_ones_of_what_is_fitted(trace: Trace, plane: Problem) -> None:
    fit, bounds = climbed(plane)
    np.testing.assert_allclose(trace.evidence_bound, bounds[-1], rtol=1e-9)
    weights = np.sort(trace.answer.weights.reshape(-1, 2), -1)
    alpha = np.sort(np.asarray(fit.updated.counts + plane.hyperparameters["concentration"]))
    # 600 draws; four standard errors.
    sd = np.sqrt(alpha[0] * alpha[1] / alpha.sum() ** 2 / (alpha.sum() + 1))
    free = trace.answer.weights[0, :, 0]
    assert abs(free.mean() - 0.5) < 4 * sd / np.sqrt(300) + np.ptp(alpha) / alpha.sum()
    assert abs(np.corrcoef(free[1:], free[:-1])[0, 1]) < 4 / np.sqrt(300)
    assert len(np.unique(weights[:, 0])) == len(weights)


@pytest.mark.slow
def test_it_does_not_pass_for_a_sampler(trace: Trace, plane: Problem) -> None:
    scores = z_scores(read_reference("plane").posterior, trace.answer, plane)
    assert max(float(np.max(np.abs(score))) for score in scores.values()) > 4


@pytest.fixture
def drawn(two_groups: Problem, shapes: dict[str, Mixture], trace_of: Callable[..., Trace]) -> Trace:
    """Four draws from each of two starts, and the bound of each."""
    rows = [[shapes["start"], *[shapes[name]] * 4] for name in ("better", "good")]
    return trace_of(two_groups, rows, draws=4, converged=np.ones(2, bool), evidence_bound=np.array([-300.0, -200.0]))


def test_nobody_takes_its_draws_for_chains_that_agree(drawn: Trace, two_groups: Problem) -> None:
    comparison = Comparison(two_groups, {"cavi": drawn})
    statuses, mixing = statuses_and_mixing(comparison, "cavi")
    assert mixing is None and drawn.is_approximation
    assert [v.status for v in statuses] == [Status.CONVERGED] * 2
    assert all("does not say" in v.message for v in statuses) and "-200.000" in statuses[1].message
    told = table(comparison)
    (summary,) = told.summaries
    assert (summary.r_hat_max, summary.ess_min, summary.evidence_bound, summary.reached_best) == (None, None, -200.0, 0)
    assert "cavi approximates the posterior" in told.reading and "agree" not in told.reading


def test_a_bound_that_fell_or_is_no_number_is_found_out(drawn: Trace, two_groups: Problem) -> None:
    broken = replace(drawn, ok=np.zeros_like(drawn.ok), evidence_bound=np.array([-300.0, np.nan]))
    statuses, _ = statuses_and_mixing(Comparison(two_groups, {"cavi": broken}), "cavi")
    assert [v.status for v in statuses] == [Status.DIVERGENT, Status.NONFINITE]
    late = replace(drawn, converged=np.zeros(2, bool))
    assert {v.status for v in statuses_and_mixing(Comparison(two_groups, {"cavi": late}), "cavi")[0]} == {Status.BUDGET}


def test_only_the_draws_of_the_highest_bound_predict(drawn: Trace, two_groups: Problem) -> None:
    heldout = np.asarray(two_groups.x[:5])
    first, other = (
        table(Comparison(two_groups, {"cavi": trace}, Reference(heldout=heldout))).summaries[0].heldout_log_density
        for trace in (drawn, replace(drawn, evidence_bound=np.array([-200.0, -300.0])))
    )
    good = heldout_log_density(jax.tree.map(lambda leaf: leaf[1], drawn.answer), heldout)
    assert first == pytest.approx(good.log_density) and other != pytest.approx(good.log_density)


@pytest.mark.parametrize("name", [n for n, prior in PRIORS.items() if not issubclass(prior, ConjugatePrior)])
def test_every_prior_but_the_conjugate_one_is_refused(name: str, problem_of: Callable[..., Problem]) -> None:
    with pytest.raises(InputError, match=r'cavi needs the conjugate prior.*use family = "conjugate"'):
        CAVI().check(problem_of("full", name))
