"""Weighted rows: a row of weight two acts as a row that occurs twice, for every family and in every pass."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.engine import rows
from workbench.engine.one_pass import allocate_counts, allocated_statistics, one_pass
from workbench.engine.rows import Rows
from workbench.errors import InputError
from workbench.mixture import COVARIANCES, Mixture
from workbench.problem import Problem

Points = NDArray[np.float64]

sweep = jax.jit(one_pass)
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
    expected = sweep(mixture, Rows.of(repeated, family, 3))
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
    value, statistics = sweep(mixture, held)
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


def test_points_that_take_the_place_of_weighted_rows_have_no_weights(points: Points) -> None:
    every = Rows.of(points, COVARIANCES["full"], 3).weighted(jnp.linspace(0.5, 2.0, len(points)))
    held = every.holding(jnp.asarray(points[:7]))
    assert held.weights is None and held.num_points == held.num_rows == 7


def test_rows_that_are_streamed_are_not_weighted(points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "RESIDENT_BYTES", 1)
    with pytest.raises(InputError, match="cannot be weighted"):
        Rows.of(points, COVARIANCES["full"]).weighted(jnp.ones(len(points)))


def counted(points: Points) -> tuple[Points, Points, Points]:
    """Rows, whole weights, and the rows repeated: N of them."""
    rows = points[: len(points) // 2]
    weights = 1.0 + np.bincount(np.random.default_rng(1).integers(0, len(rows), len(points) - len(rows)), minlength=30)
    return rows, weights, np.repeat(rows, weights.astype(int), axis=0)


def test_counts_are_not_scaled(points: Points, random_mixture: Callable[..., Mixture]) -> None:
    x, weights, repeated = counted(points)
    mixture, family = random_mixture(points, 3, "full", seed=2), COVARIANCES["full"]
    one, other = Rows.of(x, family, 3, weights=weights), Rows.of(repeated, family, 3)
    assert one.num_points == other.num_points == len(repeated) and one.num_rows == len(x)
    np.testing.assert_allclose(one.total, other.total, rtol=1e-12, atol=1e-12)
    found, expected = sweep(mixture, one), sweep(mixture, other)
    # Sums of the same terms in another order.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), found, expected)


def test_streamed_rows_keep_their_weights(
    points: Points, random_mixture: Callable[..., Mixture], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weights, repeated = counted(points)
    weights = 1.5 * weights
    mixture, family = random_mixture(points, 3, "full", seed=2), COVARIANCES["full"]
    resident = Rows.of(x, family, 3, weights=weights)
    monkeypatch.setattr(rows, "RESIDENT_BYTES", 1)
    streamed = Rows.of(x, family, 3, weights=weights)
    assert streamed.stream is not None and streamed.num_points == 1.5 * len(repeated)
    found, expected = sweep(mixture, streamed), sweep(mixture, resident)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), found, expected)
    # Every run of consecutive rows as often as any other: the mean of their estimates is the sum without its ends.
    size = 5
    starts = range(len(x) - size + 1)
    keys = jax.random.split(jax.random.key(0), 400)
    firsts = np.asarray(jax.vmap(lambda key: jax.random.randint(key, (), 0, len(starts)))(keys)).tolist()
    batches = [streamed.minibatch(keys[firsts.index(first)], size) for first in starts]
    scale = streamed.num_points / size
    mean = np.mean([scale * float(jnp.sum(jnp.asarray(batch.weights))) for batch in batches])
    runs = np.convolve(weights, np.ones(size), "valid")
    assert mean == pytest.approx(float(np.mean(runs)) * len(x) / size, rel=1e-12)
    assert all(batch.num_points == size for batch in batches)


def test_a_minibatch_draws_a_row_as_often_as_it_counts(points: Points) -> None:
    x, weights, repeated = counted(points)
    key = jax.random.key(7)
    one, other = (
        Rows.of(each, COVARIANCES["full"], weights=own).minibatch(key, 40)
        for each, own in ((x, weights), (repeated, None))
    )
    # The draws are the same rows, in working units that differ by rounding.
    np.testing.assert_allclose(one.z, other.z, rtol=0, atol=1e-12)


def test_the_observations_of_a_row_are_allocated_one_by_one(
    points: Points, random_mixture: Callable[..., Mixture]
) -> None:
    """Means and variances of the counts are those of the repeated rows, to four standard errors of 2,000 draws."""
    x, weights, repeated = counted(points)
    mixture, family = random_mixture(points, 3, "full", seed=2), COVARIANCES["full"]
    keys = jax.random.split(jax.random.key(0), 2000)

    @jax.jit
    def counts(own: Rows) -> jax.Array:
        return jax.lax.map(lambda key: allocated_statistics(key, mixture, own).counts, keys)

    found = np.asarray(counts(Rows.of(x, family, 3, weights=weights)))
    np.testing.assert_array_equal(found, np.round(found))
    np.testing.assert_array_equal(found.sum(axis=1), len(repeated))
    shares = np.asarray(mixture.responsibilities(repeated))
    mean, variance = shares.sum(axis=0), (shares * (1 - shares)).sum(axis=0)
    np.testing.assert_allclose(found.mean(axis=0), mean, atol=4 * np.sqrt(np.max(variance) / len(keys)))
    # The variance of a nearly normal count has a relative standard error of sqrt(2 / 2000).
    np.testing.assert_allclose(found.var(axis=0), variance, rtol=4 * np.sqrt(2 / len(keys)))


@pytest.mark.parametrize("shares", [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.2, 0.0, 0.8], [1e-12, 1.0, 1e-12]])
def test_multinomial_counts_of_sure_and_impossible_components(shares: list[float]) -> None:
    with np.errstate(divide="ignore"):
        log_joint = jnp.asarray(np.log(shares))[:, None] * jnp.ones(4)
    counted = jnp.asarray([0.0, 1.0, 7.0, 1000.0])
    drawn = np.asarray(allocate_counts(jax.random.key(1), log_joint, counted))
    np.testing.assert_array_equal(drawn.sum(axis=0), counted)
    assert np.all(drawn >= 0) and np.all(drawn[np.asarray(shares) == 0.0] == 0)
