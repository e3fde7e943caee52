"""What the library returns, it takes: a mixture and its arrays, of every covariance family."""

import tomllib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tomli_w
from numpy.typing import NDArray

import workbench as wb
from workbench.diagnostics import heldout_log_density
from workbench.diagnostics.clustering import co_clustering
from workbench.experiment import parse_experiment
from workbench.mixture import COVARIANCES
from workbench.starts import Start

FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
K = 3
Random = Callable[..., wb.Mixture]
Points = NDArray[np.float64]


def close(one: wb.Mixture, other: wb.Mixture) -> None:
    assert one.covariance == other.covariance
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        # A Cholesky factor of the square of itself.
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@FAMILIES
def test_a_mixtures_own_arrays_make_it_again(family: str, points: Points, random_mixture: Random) -> None:
    mixture = random_mixture(points, K, family, seed=3)
    close(wb.Mixture.from_covariances(mixture.weights, mixture.means, mixture.covariances, family), mixture)
    inner = mixture.covariance.square(mixture.scales)
    close(wb.Mixture.from_covariances(mixture.weights, mixture.means, inner, family), mixture)


@FAMILIES
@pytest.mark.parametrize("rule", [wb.Given, wb.Labellings])
def test_a_start_takes_arrays_and_whole_mixtures(
    family: str, rule: type[wb.Given], points: Points, random_mixture: Random
) -> None:
    mixture = random_mixture(points, K, family, seed=3)
    problem = wb.Problem(points, K, family)
    stated = rule(weights=mixture.weights, means=np.asarray(mixture.means), covariances=mixture.covariances)
    assert stated == rule.of(mixture)
    begun: Start = stated
    drawn = begun.draw(problem, 1, 0)
    close(jax.tree.map(lambda leaf: leaf[0], drawn), mixture)


def test_a_start_at_an_answer_is_a_config_like_any_other(points: Points, random_mixture: Random) -> None:
    start = wb.Given.of(random_mixture(points, K, "tied", seed=3))
    values = {"data": {"dataset": "faithful"}, "model": {"components": K, "covariance": "tied"}, "methods": {"em": {}}}
    text = tomli_w.dumps(values | {"starts": start.model_dump(mode="json")})
    assert parse_experiment(tomllib.loads(text), "x.toml").starts == start


def test_compare_begins_at_a_mixture(points: Points, random_mixture: Random) -> None:
    problem = wb.Problem(points, K, "diagonal")
    mixture = random_mixture(points, K, "diagonal", seed=3)
    traces = wb.compare(problem, [wb.EM(max_iterations=1)], restarts=1, starts=mixture)
    close(jax.tree.map(lambda leaf: jnp.asarray(leaf[0, 0]), traces["em"].mixtures), mixture)


def test_judges_take_one_mixture_as_a_sample_of_one(points: Points, random_mixture: Random) -> None:
    mixture = random_mixture(points, K, "full", seed=3)
    sample = jax.tree.map(lambda leaf: leaf[None], mixture)
    chains = jax.tree.map(lambda leaf: leaf[None], sample)
    for score in (heldout_log_density, co_clustering):
        one, many, all_chains = (np.asarray(score(given, points)) for given in (mixture, sample, chains))
        np.testing.assert_array_equal(one, many)
        np.testing.assert_array_equal(one, all_chains)


@pytest.mark.parametrize("family", ["tied", "diagonal", "spherical"])
def test_dense_covariances_outside_the_family_are_refused(family: str) -> None:
    dense = np.stack([np.array([[2.0, 0.5], [0.5, 1.0]]), np.eye(2)])
    with pytest.raises(wb.InputError, match=f"covariances: must be of the {family} family, and are off by 0.5"):
        wb.Mixture.from_covariances([0.5, 0.5], np.eye(2), dense, family)


def test_a_covariance_that_is_not_symmetric_is_refused() -> None:
    with pytest.raises(wb.InputError, match="covariances: must be symmetric"):
        wb.Mixture.from_covariances([1.0], [[0.0, 0.0]], [[[1.0, 0.25], [0.0, 1.0]]])
