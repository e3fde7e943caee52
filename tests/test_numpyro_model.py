"""The NumPyro model: in both forms its density equals the workbench's own."""

from collections.abc import Callable
from dataclasses import replace
from math import factorial, log
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray
from numpyro import handlers
from numpyro.infer import Predictive
from numpyro.infer.util import constrain_fn, log_density

from workbench.errors import InputError
from workbench.mixture import COVARIANCES, PRIORS, ConjugatePrior, Fixed, Mixture
from workbench.mixture.prior.checks import Labels
from workbench.numpyro_model import (
    LEAST_GAP,
    latent_model,
    mixture_model,
    mixture_of_sites,
    one_pass_model,
    potential,
    site_units,
    unconstrained_sites,
)
from workbench.problem import Problem

K = 3
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
# Compiling takes most of the time: the everyday run tests each family with the conjugate prior and each proper prior
# with full covariances.
EVERY_PAIR = pytest.mark.parametrize(
    ("family", "prior"),
    [
        pytest.param(family, name, marks=pytest.mark.slow if name != "conjugate" and left_out else ())
        for family in COVARIANCES
        for name, prior in PRIORS.items()
        for left_out in [family != "full" or not prior.proper]
    ],
)
PROPER = [name for name, prior in PRIORS.items() if prior.proper]
Points = NDArray[np.float64]


def readable(problem: Problem, x: jax.Array, values: dict[str, jax.Array]) -> jax.Array:
    return log_density(mixture_model, (problem,), {"x": x}, values)[0]


def fast(problem: Problem, values: dict[str, jax.Array]) -> jax.Array:
    return log_density(one_pass_model, (problem,), {}, values)[0]


def ours(problem: Problem, u: dict[str, jax.Array]) -> jax.Array:
    return problem.log_joint(mixture_of_sites(problem, u))


@jax.jit
def three_ways(problem: Problem, x: jax.Array, u: dict[str, jax.Array]) -> Any:
    """The log joint at unconstrained sites u by both forms and by the problem, and the gradients of all three."""

    def values(u: dict[str, jax.Array]) -> jax.Array:
        sites = constrain_fn(one_pass_model, (problem,), {}, u)
        return jnp.stack([readable(problem, x, sites), fast(problem, sites), ours(problem, u)])  # [3]

    return values(u), jax.jacrev(values)(u)


@EVERY_PAIR
def test_log_density_and_its_gradient_are_those_of_log_joint(
    family: str,
    prior: str,
    points: Points,
    problem_of: Callable[..., Problem],
    random_mixture: Callable[..., Mixture],
) -> None:
    problem = problem_of(family, prior)
    for seed in range(3):
        u = unconstrained_sites(problem, random_mixture(points, K, family, seed=seed))
        values, slopes = three_ways(problem, problem.x, u)
        # Sums over the points in another order, and gradients by different formulas.
        np.testing.assert_allclose(values[:2], values[2], rtol=1e-10)
        for readable_slope, fast_slope, expected in (np.asarray(slope) for slope in slopes.values()):
            near = {"rtol": 1e-8, "atol": 1e-8 * (np.max(np.abs(expected)) + 1.0)}
            np.testing.assert_allclose(readable_slope, expected, **near)
            np.testing.assert_allclose(fast_slope, expected, **near)


@pytest.fixture(scope="module")
def ordered_of(points: Points) -> Callable[..., Problem]:
    """A problem on `points` whose labels are ordered."""
    return lambda family, prior: Problem(points, K, family, PRIORS[prior](), labels="ordered")


def test_ordered_means_have_factorial_k_times_the_density(
    points: Points, ordered_of: Callable[..., Problem], random_mixture: Callable[..., Mixture]
) -> None:
    problem = ordered_of("diagonal", "independent")
    u = unconstrained_sites(problem, random_mixture(points, K, "diagonal", seed=0))

    @jax.jit
    def both(problem: Problem, x: jax.Array, u: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return readable(problem, x, constrain_fn(one_pass_model, (problem,), {}, u)), ours(problem, u)

    density, log_joint = both(problem, problem.x, u)
    # The tolerance is as for free labels; the other form is tested by the potential below.
    assert float(density) == pytest.approx(float(log_joint) + log(factorial(K)), rel=1e-10)


def test_ordered_sites_are_those_of_the_mixture_put_in_order(
    points: Points, ordered_of: Callable[..., Problem], random_mixture: Callable[..., Mixture]
) -> None:
    problem, mixture = ordered_of("full", "conjugate"), random_mixture(points, K, "full", seed=0)
    assert np.any(np.diff(mixture.means[:, 0]) < 0)
    back = mixture_of_sites(problem, unconstrained_sites(problem, mixture))
    for got, expected in zip(jax.tree.leaves(back), jax.tree.leaves(mixture.canonical()), strict=True):
        # The tolerance is as for free labels.
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


def test_ordered_means_that_tie_are_set_apart_by_next_to_nothing(
    points: Points, ordered_of: Callable[..., Problem], random_mixture: Callable[..., Mixture]
) -> None:
    problem, mixture = ordered_of("diagonal", "conjugate"), random_mixture(points, K, "diagonal", seed=0)
    tied = replace(mixture, means=mixture.means.at[1:, 0].set(mixture.means[0, 0]))
    u = unconstrained_sites(problem, tied)
    assert np.isfinite(potential(problem, u))
    first = np.asarray(mixture_of_sites(problem, u).means[:, 0])
    np.testing.assert_allclose(np.diff(first), LEAST_GAP * points[:, 0].std(), rtol=1e-6)


@FAMILIES
@pytest.mark.parametrize("prior", PRIORS)
def test_a_mixture_survives_the_way_to_the_sites_and_back(
    family: str,
    prior: str,
    points: Points,
    problem_of: Callable[..., Problem],
    random_mixture: Callable[..., Mixture],
) -> None:
    problem, mixture = problem_of(family, prior), random_mixture(points, K, family, seed=0)
    back = mixture_of_sites(problem, unconstrained_sites(problem, mixture))
    for got, expected in zip(jax.tree.leaves(back), jax.tree.leaves(mixture), strict=True):
        # Stick-breaking and a Cholesky factorisation in each direction, of condition number below 1e4.
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("family", "labels"), [("full", "free"), ("spherical", "free"), ("spherical", "ordered")])
def test_potential_adds_the_log_determinant_of_the_jacobian(
    family: str, labels: Labels, points: Points, random_mixture: Callable[..., Mixture]
) -> None:
    problem = Problem(points, K, family, ConjugatePrior(), labels=labels)
    mixture = random_mixture(points, K, family, seed=0)
    u = unconstrained_sites(problem, mixture)
    flat, unravel = ravel_pytree(u)

    def free_entries(v: jax.Array) -> jax.Array:
        """The free values of the sites: without the last weight and the upper triangles."""
        values = problem.prior.site_values(mixture_of_sites(problem, unravel(v)))
        covariances = values["covariances"]
        if family == "full":
            rows, columns = np.tril_indices(problem.num_dimensions)
            covariances = covariances[:, rows, columns]
        return jnp.concatenate([covariances.ravel(), values["means"].ravel(), values["weights"][:-1]])

    _, log_jacobian = jnp.linalg.slogdet(jax.jit(jax.jacfwd(free_entries))(flat))
    expected = -(float(problem.log_joint(mixture)) + float(log_jacobian))
    expected -= log(factorial(K)) if labels == "ordered" else 0.0
    assert float(potential(problem, u)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("prior", PROPER)
def test_predictive_draws_new_points_of_the_datas_shape(
    prior: str, points: Points, problem_of: Callable[..., Problem]
) -> None:
    problem = problem_of("diagonal", prior)
    draws = Predictive(mixture_model, num_samples=4)(jax.random.key(0), problem)
    assert draws["x"].shape == (4, *points.shape) and np.all(np.isfinite(draws["x"]))
    assert draws["means"].shape == (4, K, points.shape[1])


def test_predictive_draws_come_from_the_mixture_they_are_conditioned_on(
    points: Points, problem_of: Callable[..., Problem], random_mixture: Callable[..., Mixture]
) -> None:
    problem, mixture = problem_of("spherical", "conjugate"), random_mixture(points, K, "spherical", seed=0)
    repeats = 200
    values = {name: jnp.repeat(v[None], repeats, 0) for name, v in problem.prior.site_values(mixture).items()}
    x = np.asarray(Predictive(mixture_model, values)(jax.random.key(1), problem)["x"]).reshape(-1, 2)
    w, mu = np.asarray(mixture.weights), np.asarray(mixture.means)
    total = np.einsum("k,kij->ij", w, np.asarray(mixture.covariances)) + np.cov(mu.T, aweights=w, ddof=0)
    # The mean of 12 000 draws, within five standard errors.
    error = 5 * np.sqrt(np.diag(total) / len(x))
    np.testing.assert_array_less(np.abs(x.mean(0) - w @ mu), error)


def test_one_component_has_no_weights_to_sample(points: Points, random_mixture: Callable[..., Mixture]) -> None:
    problem = Problem(points, 1, "spherical", ConjugatePrior())
    u = unconstrained_sites(problem, random_mixture(points, 1, "spherical", seed=0))
    assert set(u) == {"covariances", "means"}
    values, _ = three_ways(problem, problem.x, u)
    np.testing.assert_allclose(values[:2], values[2], rtol=1e-10)


@FAMILIES
@pytest.mark.parametrize("prior", PROPER)
def test_in_its_units_a_mixture_looks_the_same_whatever_the_units_of_the_data(
    family: str, prior: str, points: Points, random_mixture: Callable[..., Mixture]
) -> None:
    factor = 1000.0
    mixture = random_mixture(points, K, family, seed=4)
    # The coordinates of ordered means are the first mean, in the data's units, and the logarithms of the gaps.
    labels: Labels = "ordered" if prior == "independent" else "free"
    pair = [Problem(x, K, family, PRIORS[prior](), labels=labels) for x in (points, factor * points)]
    (plain, units), (moved, moved_units) = (
        (u, site_units(problem, u))
        for problem, m in zip(pair, (mixture, mixture.affine(factor)), strict=True)
        for u in [unconstrained_sites(problem, m)]
    )
    for name in plain:
        gap = moved[name] / moved_units[name] - plain[name] / units[name]
        # Values in the data's units do not change; logarithms of scales change by the log of the factor, and those of
        # variances by twice that. Rounding: the condition number of a Cholesky factor times eps.
        logs = jnp.round(gap / jnp.log(factor))
        np.testing.assert_allclose(gap, logs * jnp.log(factor), rtol=0, atol=1e-9)
        assert set(np.unique(logs)) <= {0.0, 1.0, 2.0}
    for name in {"means", "means_rest"} & set(plain):
        np.testing.assert_allclose(moved[name] / moved_units[name], plain[name] / units[name], rtol=1e-12)


X = np.random.default_rng(3).normal(size=(12, 2))
SPECIAL: dict[str, tuple[dict[str, Any], str]] = {
    "flat": (
        {"prior": "flat"},
        r"prior: FlatPrior\(\) with free labels has improper .*wb.ConjugatePrior\(\), or",
    ),
    "ordered": (
        {"prior": "conjugate", "labels": "ordered"},
        r'prior: Conj.* ordered .*; give labels = "free", or',
    ),
    "both": ({"prior": "chen_tan", "labels": "ordered"}, r'give a prior .* and labels = "free", or their values by'),
    "fixed": ({"prior": "conjugate", "fixed": Fixed(component=0, mean=(0.0, 0.0))}, "fixed: .*leave fixed out"),
}


@pytest.mark.parametrize("model", [mixture_model, latent_model])
@pytest.mark.parametrize("kind", SPECIAL)
def test_a_model_that_cannot_be_drawn_from_is_one_line(model: Callable[..., None], kind: str) -> None:
    given, message = SPECIAL[kind]
    for x in (None, X):
        with pytest.raises(InputError, match=message):
            handlers.seed(model, 0)(Problem(X, 2, **given), x=x)


def test_points_of_another_number_and_what_has_no_allocations_are_refused() -> None:
    problem, doubled = Problem(X, 2, prior="conjugate"), Problem(X, 2, prior="conjugate", weights=np.full(12, 2.0))
    for model, each, x in (
        (mixture_model, problem, X[:5]),
        (latent_model, doubled, X),
        (mixture_model, doubled, X[:5]),
    ):
        with pytest.raises(InputError, match=r"x: has \d+ rows; give (12|24), as the problem has"):
            handlers.seed(model, 0)(each, x=x)
    handlers.seed(latent_model, 0)(doubled, x=doubled.observations("the latent model"))
    with pytest.raises(InputError, match=r"background: .* use wb\.mixture_model"):
        handlers.seed(latent_model, 0)(Problem(X, 2, prior="conjugate", background=True))
    with pytest.raises(InputError, match="the latent model needs whole observations"):
        handlers.seed(latent_model, 0)(Problem(X, 2, prior="conjugate", weights=np.full(12, 1.5)))
