"""Priors: their densities equal SciPy's, and their M-steps are maxima."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from families import blocks_of, projected
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.special import betaln
from scipy.stats import dirichlet, halfnorm, invgamma, invwishart, lognorm, multivariate_normal, norm

from workbench.charts import Chart
from workbench.errors import InputError
from workbench.mixture import (
    COVARIANCES,
    PRIORS,
    ChenTanPrior,
    ConjugatePrior,
    DiagonalLoadingPrior,
    FlatPrior,
    IndependentPrior,
    Mixture,
    Prior,
    Statistics,
    covariance_named,
)
from workbench.mixture.prior.independent import log_lkj_cholesky
from workbench.problem import Problem

K, D = 3, 2
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
Points = NDArray[np.float64]
Random = Callable[..., Mixture]

log_prior = jax.jit(Problem.log_prior)


@FAMILIES
@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_that_is_exchangeable_knows_no_labels(
    name: str, family: str, points: Points, random_mixture: Random
) -> None:
    problem, mixture = Problem(points, K, family, PRIORS[name]()), random_mixture(points, K, family, seed=0)
    value, moved = (float(log_prior(problem, m)) for m in (mixture, mixture.permute([2, 0, 1])))
    assert PRIORS[name].exchangeable
    # The sums over components are in another order.
    assert moved == pytest.approx(value, rel=1e-13)


@FAMILIES
def test_flat_prior_is_zero(family: str, points: Points, random_mixture: Random) -> None:
    assert float(log_prior(Problem(points, K, family), random_mixture(points, K, family, seed=0))) == 0.0


@FAMILIES
@pytest.mark.parametrize("given", [None, ((2.0, 3.0), (3.0, 90.0))], ids=["default scatter", "given scatter"])
def test_conjugate_density_is_scipys(family: str, given: Any, points: Points, random_mixture: Random) -> None:
    prior = ConjugatePrior(
        concentration=2.5,
        mean_location=(1.0, 50.0),
        mean_shrinkage=0.3,
        degrees_of_freedom=5.0,
        scatter=given,
    )
    mixture = random_mixture(points, K, family, seed=1)
    scatter = np.cov(points, rowvar=False) / K ** (2 / D) if given is None else np.asarray(given)
    covariances = np.asarray(mixture.covariances)
    expected = dirichlet(np.full(K, 2.5)).logpdf(np.asarray(mixture.weights))
    expected += sum(
        multivariate_normal([1.0, 50.0], c / 0.3).logpdf(m)
        for m, c in zip(np.asarray(mixture.means), covariances, strict=True)
    )
    blocks = blocks_of(COVARIANCES[family], covariances)
    if mixture.covariance.has_correlations:
        expected += sum(invwishart(5.0, scatter).logpdf(c) for c in blocks)
    else:
        parts = blocks_of(COVARIANCES[family], projected(family, np.stack([scatter] * K)))
        expected += invgamma(2.5, scale=parts / 2).logpdf(blocks).sum()
    got = log_prior(Problem(points, K, family, prior), mixture)
    assert float(got) == pytest.approx(expected, rel=1e-12)


@FAMILIES
@pytest.mark.parametrize("deviation", ["half_normal", "log_normal"])
def test_independent_density_is_scipys(family: str, deviation: Any, points: Points, random_mixture: Random) -> None:
    one = not COVARIANCES[family].has_correlations and COVARIANCES[family].blocks(D) == 1
    prior = IndependentPrior(
        concentration=0.7,
        mean_location=(1.0, 50.0),
        mean_scale=(3.0, 40.0),
        deviation=deviation,
        deviation_scale=(4.0,) if one else (2.0, 30.0),
        deviation_spread=0.6,
        correlation_concentration=1.7,
    )
    mixture = random_mixture(points, K, family, seed=2)
    covariances = np.asarray(mixture.covariances)[: 1 if mixture.covariance.is_shared else K]
    deviations = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    scale = np.array(4.0) if one else np.array([2.0, 30.0])
    deviations = deviations[:, 0] if one else deviations
    law = halfnorm(scale=scale) if deviation == "half_normal" else lognorm(0.6, scale=scale)
    expected = dirichlet(np.full(K, 0.7)).logpdf(np.asarray(mixture.weights))
    expected += norm([1.0, 50.0], [3.0, 40.0]).logpdf(np.asarray(mixture.means)).sum()
    expected += law.logpdf(deviations).sum()
    if mixture.covariance.has_correlations:
        rho = covariances[:, 0, 1] / (deviations[:, 0] * deviations[:, 1])
        # LKJ in two dimensions: rho is distributed as 2 Beta(eta, eta) - 1.
        expected += np.sum(0.7 * np.log1p(-(rho**2)) - betaln(1.7, 1.7) - 2.4 * np.log(2.0))
    got = log_prior(Problem(points, K, family, prior), mixture)
    assert float(got) == pytest.approx(expected, rel=1e-12)


@FAMILIES
@pytest.mark.parametrize("strength", [None, 0.3])
def test_chen_tan_density_is_the_sum_over_dense_covariances(
    family: str, strength: Any, points: Points, random_mixture: Random
) -> None:
    mixture = random_mixture(points, K, family, seed=5)
    spread = np.cov(points, rowvar=False, ddof=0)
    a = len(points) ** -0.5 if strength is None else strength
    expected = -a * sum(np.trace(np.linalg.solve(c, spread)) + np.linalg.slogdet(c)[1] for c in mixture.covariances)
    got = log_prior(Problem(points, K, family, ChenTanPrior(strength=strength)), mixture)
    assert float(got) == pytest.approx(expected, rel=1e-12)


@FAMILIES
def test_diagonal_loading_density_is_the_sum_over_dense_covariances(
    family: str, points: Points, random_mixture: Random
) -> None:
    mixture, problem = random_mixture(points, K, family, seed=5), Problem(points, K, family, DiagonalLoadingPrior())
    # For tied the shared covariance counts K times, so that the sum is the same for all families.
    expected = -0.5e-6 * len(points) / K * sum(np.trace(np.linalg.inv(c)) for c in mixture.covariances)
    assert float(log_prior(problem, mixture)) == pytest.approx(expected, rel=1e-12)


@FAMILIES
def test_diagonal_loading_adds_to_the_variances_of_a_component_of_average_size(
    family: str, points: Points, random_mixture: Random
) -> None:
    mixture, means = random_mixture(points, K, family, seed=5), jnp.zeros((K, D))
    scatter = mixture.covariance.moments(mixture.covariances)
    loaded = Problem(points, K, family, DiagonalLoadingPrior(loading=0.3))
    flat = Problem(points, K, family)
    statistics = Statistics(jnp.full(K, len(points) / K), means, scatter)
    got, plain = (np.asarray(p.maximise(statistics, mixture).covariances) for p in (loaded, flat))
    np.testing.assert_allclose(got, plain + 0.3 * np.eye(D), rtol=1e-12)


@jax.jit
def lkj_densities(tril: jax.Array, eta: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The package's, and NumPyro's."""
    theirs = dist.LKJCholesky(len(tril), eta, validate_args=False).log_prob(tril)
    return log_lkj_cholesky(tril, eta), theirs


@pytest.mark.parametrize("dimensions", [2, 3, 5])
@pytest.mark.parametrize("eta", [0.5, 1.0, 3.0])
def test_lkj_density_is_numpyros(dimensions: int, eta: float) -> None:
    x = np.random.default_rng(0).normal(size=(20, dimensions))
    tril = jnp.asarray(np.linalg.cholesky(np.corrcoef(x, rowvar=False)))
    found, expected = lkj_densities(tril, eta)
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


@FAMILIES
@pytest.mark.parametrize(
    "prior",
    [
        pytest.param(FlatPrior(), marks=pytest.mark.slow),  # the other priors include this case
        ConjugatePrior(concentration=2.0, mean_shrinkage=0.5),
        ChenTanPrior(strength=0.7),
        DiagonalLoadingPrior(loading=0.4),
    ],
)
def test_closed_form_m_step_is_a_stationary_point_of_the_expected_log_joint(
    family: str, prior: Prior, points: Points, random_mixture: Random
) -> None:
    problem = Problem(points, K, family, prior)
    mixture = random_mixture(points, K, family, seed=3)
    r = mixture.responsibilities(points)
    new, _ = jax.jit(Problem.em_step)(problem, mixture)
    chart = Chart.of(problem)

    @jax.jit
    def slope(u: Any) -> Any:
        def expected_log_joint(u: Any) -> jax.Array:
            m = chart.constrain(u)
            return jnp.sum(r * m.component_log_joint(points)) + problem.log_prior(m)

        return jax.grad(expected_log_joint)(u)

    at_start, at_new = slope(chart.unconstrain(mixture)), slope(chart.unconstrain(new))
    # Relative to the gradient before the step: rounding of 60 terms at a condition number of 1e4.
    size = max(float(jnp.max(jnp.abs(g))) for g in jax.tree.leaves(at_start))
    for g in jax.tree.leaves(at_new):
        np.testing.assert_allclose(g, 0.0, atol=1e-10 * size)


@pytest.mark.parametrize("name", [n for n, p in PRIORS.items() if not p.closed_form])
def test_a_prior_without_closed_form_has_no_m_step(name: str, points: Points, random_mixture: Random) -> None:
    problem = Problem(points, K, "full", PRIORS[name]())
    with pytest.raises(TypeError, match="no closed-form M-step"):
        problem.em_step(random_mixture(points, K, "full", seed=0))


@pytest.mark.parametrize("name", PRIORS)
def test_priors_are_frozen_and_round_trip_through_plain_values(name: str) -> None:
    prior = PRIORS[name]()
    assert PRIORS[name](**prior.model_dump()) == prior and hash(prior) == hash(PRIORS[name]())
    with pytest.raises(ValidationError, match="frozen"):
        prior.family = "other"  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="unknown key"):
        PRIORS[name](vigour=1.0)  # type: ignore[call-arg]


@FAMILIES
@pytest.mark.parametrize("name", ["conjugate", "independent", "chen_tan", "bounded_ratio"])
def test_defaults_scale_with_the_data(name: str, family: str, points: Points, random_mixture: Random) -> None:
    # A change of units by a factor then changes the log prior density by its Jacobian, the same for all mixtures.
    matrix, shift = 4.0, np.array([1.0, -2.0])
    plain = Problem(points, K, family, PRIORS[name]())
    moved = Problem(matrix * points + shift, K, family, PRIORS[name]())
    mixtures = [random_mixture(points, K, family, seed=s) for s in (0, 1)]
    gaps = [float(log_prior(moved, m.affine(matrix, shift)) - log_prior(plain, m)) for m in mixtures]
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-10)


@pytest.mark.parametrize(
    ("prior", "says"),
    [
        (ConjugatePrior(mean_location=(1.0,)), "mean_location: needs 2 numbers"),
        (ConjugatePrior(degrees_of_freedom=1.0), "degrees_of_freedom: must exceed 1"),
        (ConjugatePrior(scatter=((1.0,),)), "scatter: needs 2 rows of 2 numbers"),
        (ConjugatePrior(scatter=((1.0, 0.0), (0.0, -1.0))), "scatter: must be symmetric and positive definite"),
        (ConjugatePrior(scatter=((1.0, "a"), (0.0, 1.0))), "scatter: must be a table of numbers"),
        (IndependentPrior(mean_location=(1.0, 2.0, 3.0)), "mean_location: needs 2 numbers, got 3"),
        (IndependentPrior(mean_scale=(1.0, -2.0)), "mean_scale: must be positive"),
        (IndependentPrior(deviation_scale=(1.0,)), "deviation_scale: needs 2 numbers, got 1"),
    ],
)
def test_hyperparameters_that_do_not_fit_the_data_are_refused(prior: Prior, says: str, points: Points) -> None:
    with pytest.raises(InputError, match=says):
        Problem(points, K, "full", prior)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "1"])
@pytest.mark.parametrize("field", ["concentration", "mean_shrinkage", "degrees_of_freedom", "scatter"])
def test_hyperparameters_out_of_range_are_refused(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=field):
        ConjugatePrior(**{field: value})


def test_every_variance_block_has_its_own_bound_on_degrees(points: Points) -> None:
    # The prior of a diagonal covariance has blocks of side 1, which allow any positive number of degrees of freedom.
    prior = ConjugatePrior(degrees_of_freedom=0.5)
    assert covariance_named("diagonal").block_dimension(D) == 1
    assert float(Problem(points, K, "diagonal", prior).hyperparameters["degrees"]) == 0.5


@pytest.mark.parametrize(
    ("name", "family"),
    [
        pytest.param(name, family, marks=() if name == "conjugate" or family == "full" else pytest.mark.slow)
        for name in ("conjugate", "chen_tan", "bounded_ratio")
        for family in COVARIANCES
    ],
)
def test_em_steps_from_a_component_that_holds_no_point_under_a_prior_that_bounds_it(
    name: str, family: str, points: Points, problem_of: Callable[..., Problem], em_step: Any
) -> None:
    """A component whose responsibilities underflow to zero is no singularity, and log_joint does not decrease."""
    problem = problem_of(family, name)
    scales = problem.covariance.broadcast(jnp.asarray(np.cov(points.T)), 3)
    means = np.array([points[0], points[-1], points[0] + 1e4])
    mixture = Mixture(jnp.full(3, 1 / 3), jnp.asarray(means), scales, problem.covariance)
    values = []
    for _ in range(3):
        mixture, log_joint = em_step(problem, mixture)
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(mixture))
        values.append(float(log_joint))
    assert values[0] < values[1] < values[2]
