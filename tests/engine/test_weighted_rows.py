"""Weighted rows: a row of weight two acts as a row that occurs twice, for every family and in every pass."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.engine import rows
from workbench.engine.one_pass import one_pass
from workbench.engine.rows import Rows
from workbench.errors import InputError
from workbench.mixture import COVARIANCES, Mixture
from workbench.problem import Problem

Points = NDArray[np.float64]

_pass_over_weighted = jax.jit(lambda mixture, of, weights: one_pass(mixture, of.weighted(weights)))


def resampled(points: Points) -> tuple[Points, Points]:
    """Integer weights [N] that sum to N, some of them zero, and the rows repeated accordingly."""
    index = np.random.default_rng(1).integers(0, len(points), len(points))
    return np.bincount(index, minlength=len(points)).astype(float), points[np.sort(index)]


# The other methods compile programs of their own and use rows in the same way.
FAMILIES = ["full", "tied", *(pytest.param(name, marks=pytest.mark.slow) for name in ("diagonal", "spherical"))]


@pytest.mark.parametrize("covariance", FAMILIES)
def test_a_row_of_weight_w_is_a_row_that_occurs_w_times(
    covariance: str, points: Points, random_mixture: Callable[..., Mixture]
) -> None:
    weights, repeated = resampled(points)
    mixture = random_mixture(points, 3, covariance, seed=2)
    family = COVARIANCES[covariance]
    found = _pass_over_weighted(mixture, Rows.of(points, family, 3), weights)
    # The repeated rows have other working units; both passes are accurate to 1e-12 of the terms of their sums.
    expected = one_pass(mixture, Rows.of(repeated, family, 3))
    for got, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-11 * np.max(np.abs(wanted)) + 1e-9)


def test_weights_are_scaled_to_the_number_of_points(
    points: Points, random_mixture: Callable[..., Mixture], em_step: Callable[[Problem, Mixture], Any]
) -> None:
    problem = Problem(points, 3, "tied")
    mixture, weights = random_mixture(points, 3, "tied", seed=2), jnp.linspace(0.5, 2.0, len(points))
    plain, equal = em_step(problem, mixture), em_step(problem.over(problem.rows.weighted(jnp.full(60, 7.0))), mixture)
    # Multiplying by the (equal) weights adds one rounding error.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), plain, equal)
    counts = _pass_over_weighted(mixture, problem.rows, weights)[1].counts
    assert float(jnp.sum(counts)) == pytest.approx(len(points), rel=1e-13)


def test_other_points_are_held_in_the_same_units(points: Points, random_mixture: Callable[..., Mixture]) -> None:
    mixture, other = random_mixture(points, 3, "full", seed=2), points[:7] * 1.5
    held = Rows.of(points, COVARIANCES["full"], 3).holding(jnp.asarray(other))
    value, statistics = one_pass(mixture, held)
    assert float(value) == pytest.approx(float(jnp.sum(mixture.log_density(other))), rel=1e-12)
    assert held.num_points == 7
    assert float(jnp.sum(statistics.counts)) == pytest.approx(7, rel=1e-13)


def test_a_minibatch_of_weighted_rows_keeps_their_weights(
    points: Points, random_mixture: Callable[..., Mixture]
) -> None:
    """The mean over many minibatches is the weighted sum to four standard errors, and far from the unweighted sum."""
    mixture, weights = random_mixture(points, 3, "full", seed=2), jnp.linspace(0.1, 2.0, len(points)) ** 3
    scaled = weights * (len(points) / jnp.sum(weights))
    every = Rows.of(points, COVARIANCES["full"], 3).weighted(weights)
    densities = mixture.log_density(points)
    keys = jax.random.split(jax.random.key(0), 400)
    found = jax.lax.map(lambda key: one_pass(mixture, every.minibatch(key, 20))[0], keys) / 20
    error = float(jnp.std(found, ddof=1)) / np.sqrt(len(keys))
    assert float(jnp.mean(found)) == pytest.approx(float(jnp.mean(scaled * densities)), abs=4 * error)
    assert abs(float(jnp.mean(densities) - jnp.mean(found))) > 8 * error


def test_weighted_rows_are_not_replaced_by_points_without_weights(points: Points) -> None:
    every = Rows.of(points, COVARIANCES["full"], 3).weighted(jnp.ones(len(points)))
    with pytest.raises(InputError, match="weighted rows are not replaced"):
        every.holding(jnp.asarray(points[:7]))


def test_rows_that_are_streamed_are_not_weighted(points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "RESIDENT_BYTES", 1)
    with pytest.raises(InputError, match="cannot be weighted"):
        Rows.of(points, COVARIANCES["full"]).weighted(jnp.ones(len(points)))
