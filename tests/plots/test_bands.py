"""The plots of a sampler show the posterior mean of its density, within the band of its draws."""

import math

import numpy as np
import pytest

from workbench.plots.estimates import MASSES, Gaussians, band, band_grid, mass_levels, mean_surface


@pytest.fixture(scope="module")
def draws() -> Gaussians:
    """Two hundred draws of two components in the plane, the labels of every other one exchanged."""
    rng = np.random.default_rng(5)
    means = np.array([[-1.0, 0.0], [2.0, 1.0]]) + 0.1 * rng.normal(size=(200, 2, 2))
    covariances = np.array([[1.0, 0.3], [0.3, 0.5]]) * rng.uniform(0.8, 1.2, size=(200, 2, 1, 1))
    weights = np.array([0.3, 0.7])[None].repeat(200, 0)
    order = np.where(np.arange(200)[:, None] % 2, [1, 0], [0, 1])
    rows = np.arange(200)[:, None]
    return Gaussians(weights[rows, order], means[rows, order], covariances[rows, order])


def test_a_band_holds_the_stated_share_of_draws_at_every_point_and_the_mean_integrates_to_one(draws: Gaussians) -> None:
    grid = np.linspace(-8, 10, 2001)
    densities = draws.densities(0, grid).sum(1)  # [S, G]
    found = band(densities)
    inside = np.mean((densities >= found.low) & (densities <= found.high), axis=0)
    # Quantiles of 200 numbers fall between two of them: five on either side are out.
    np.testing.assert_allclose(inside, 0.95, atol=1e-12)
    assert np.all((found.low <= found.mean) & (found.mean <= found.high))
    # The trapezium rule on a smooth function that vanishes at both ends.
    assert np.trapezoid(found.mean, grid) == pytest.approx(1.0, abs=1e-9)


def test_the_band_of_one_draw_is_its_density(draws: Gaussians) -> None:
    one = draws.at(np.arange(1))
    grid = band_grid(one, 0, -5.0, 5.0)
    found = band(one.densities(0, grid).sum(1))
    np.testing.assert_array_equal(found.low, found.high)
    np.testing.assert_array_equal(found.low, found.mean)


def test_a_surface_is_the_mean_density_and_its_sum_over_a_column_is_the_others_curve(draws: Gaussians) -> None:
    x, y = np.linspace(-8, 10, 181), np.linspace(-7, 8, 151)
    surface = mean_surface(draws, (0, 1), x, y)
    assert surface.shape == (151, 181)
    # Sums over a smooth function that vanishes at both ends.
    expected = draws.densities(0, x).sum(1).mean(0)
    np.testing.assert_allclose(surface.sum(0) * (y[1] - y[0]), expected, atol=1e-9)


def test_levels_are_the_ellipses_of_a_gaussian_at_one_and_two_standard_deviations() -> None:
    covariance = np.array([[1.0, 0.6], [0.6, 2.0]])
    one = Gaussians(np.ones((1, 1)), np.zeros((1, 1, 2)), covariance[None, None])
    side = np.linspace(-9, 9, 601)
    levels = mass_levels(mean_surface(one, (0, 1), side, side), float(side[1] - side[0]) ** 2)
    peak = 1 / (2 * math.pi * math.sqrt(np.linalg.det(covariance)))
    # Within the mass of one cell of the grid, .0009 of the square of a standard deviation.
    np.testing.assert_allclose(levels, [peak * math.exp(-2.0), peak * math.exp(-0.5)], rtol=2e-3)
    assert np.round(MASSES, 2).tolist() == [0.39, 0.86]


def test_a_mass_that_the_grid_does_not_reach_has_no_level() -> None:
    assert mass_levels(np.full((4, 4), 0.5 / 16), 1.0) == [0.5 / 16]
    assert mass_levels(np.zeros((4, 4)), 1.0) == []
