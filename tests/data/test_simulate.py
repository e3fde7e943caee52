"""Simulated mixtures have exactly the requested separation, imbalance and anisotropy, and their points follow them."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.data import Dataset, Simulator, Truth, check_points
from workbench.errors import InputError

BASE = Simulator(components=3, dimensions=2, points=50, separation=2.0)

simulators = st.builds(
    lambda k, d, separation, imbalance, anisotropy: Simulator(
        k, d, 20, separation, imbalance if k > 1 else 1.0, anisotropy if d > 1 else 1.0
    ),
    *(st.integers(1, 8), st.integers(1, 6), st.floats(0.01, 100), st.floats(1, 50), st.floats(1, 50)),
)


def truth_of(data: Dataset) -> Truth:
    assert data.truth is not None
    return data.truth


@settings(deadline=None)
@given(simulators, st.integers(0, 1000))
def test_separation_imbalance_and_anisotropy_are_attained(simulator: Simulator, seed: int) -> None:
    weights, means, covariances = truth_of(simulator.draw(seed))
    unit = np.mean([np.sqrt(np.trace(covariance) / simulator.dimensions) for covariance in covariances])
    # Rounding of sums and square roots of at most 8 terms; means are up to 100 times the separation apart.
    for a, b in combinations(means, 2):
        assert np.linalg.norm(a - b) >= simulator.separation * unit * (1 - 1e-11)
    if simulator.components > 1:
        closest = min(np.linalg.norm(a - b) for a, b in combinations(means, 2))
        np.testing.assert_allclose(closest, simulator.separation * unit, rtol=1e-11)
    np.testing.assert_allclose(weights.max() / weights.min(), simulator.imbalance, rtol=1e-12)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-12)
    np.testing.assert_allclose(means.mean(axis=0), 0, atol=1e-13 * np.abs(means).max())
    # Eigenvalues have a relative error of eps times the condition number, which is at most 2500 here.
    spread = np.sqrt(np.linalg.eigvalsh(covariances))  # [K, D]
    np.testing.assert_allclose(spread[:, -1] / spread[:, 0], simulator.anisotropy, rtol=1e-11)


def test_weights_and_axes_form_geometric_sequences() -> None:
    simulator = Simulator(4, 3, 10, separation=1.0, imbalance=8.0, anisotropy=9.0)
    weights, _, covariances = truth_of(simulator.draw(0))
    np.testing.assert_allclose(weights[:-1] / weights[1:], 2.0, rtol=1e-12)
    np.testing.assert_allclose(np.diff(np.log(np.linalg.eigvalsh(covariances))), np.log(9.0), rtol=1e-11)


def test_components_are_turned_differently() -> None:
    simulator = dataclasses.replace(BASE, anisotropy=5.0)
    first, second, third = truth_of(simulator.draw(0)).covariances
    assert not np.allclose(first, second) and not np.allclose(second, third)


def test_no_separation_puts_all_means_in_one_place() -> None:
    means = truth_of(dataclasses.replace(BASE, separation=0.0).draw(0)).means
    np.testing.assert_array_equal(means, np.zeros((3, 2)))


@pytest.mark.parametrize("dimensions", [1, 4])
def test_one_component_is_a_gaussian_at_the_origin(dimensions: int) -> None:
    weights, means, covariances = truth_of(Simulator(1, dimensions, 10, separation=3.0).draw(0))
    np.testing.assert_array_equal(weights, [1.0])
    np.testing.assert_array_equal(means, np.zeros((1, dimensions)))
    np.testing.assert_allclose(covariances, [np.eye(dimensions)], atol=1e-14)


@pytest.mark.parametrize("simulator", [BASE, Simulator(8, 1, 30, 4.0, imbalance=5.0)])
def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(simulator: Simulator) -> None:
    first, again, other = simulator.draw(7), simulator.draw(7), simulator.draw(8)
    np.testing.assert_array_equal(first.x, again.x)
    for a, b in zip(truth_of(first), truth_of(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.x, other.x)


def test_points_of_each_component_have_its_mean_covariance_and_weight() -> None:
    simulator = Simulator(3, 3, 30_000, separation=3.0, imbalance=3.0, anisotropy=4.0)
    data = simulator.draw(0)
    weights, means, covariances = truth_of(data)
    for k in range(3):
        rows = data.x[data.labels == str(k)]
        count = len(rows)
        # The tolerances are five standard errors: of a binomial proportion, a mean and an entry of a covariance.
        assert abs(count / 30_000 - weights[k]) < 5 * np.sqrt(weights[k] * (1 - weights[k]) / 30_000)
        z = np.linalg.solve(np.linalg.cholesky(covariances[k]), (rows - means[k]).T)  # [D, count]
        assert np.abs(z.mean(axis=1)).max() < 5 / np.sqrt(count)
        assert np.abs(z @ z.T / count - np.eye(3)).max() < 5 * np.sqrt(2 / count)


def test_a_simulated_set_can_be_fitted_and_says_how_to_draw_it_again() -> None:
    data = BASE.draw(5)
    check_points(data.x, data.name, components=3, columns=data.columns)
    assert data.x.shape == (50, 2) and data.columns == ("x1", "x2")
    assert data.labels is not None and set(data.labels) <= {"0", "1", "2"}
    again = eval(data.source, {"Simulator": Simulator})  # the source is a Python expression
    np.testing.assert_array_equal(again.x, data.x)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("components", 0, "a whole number of at least 1"),
        ("components", 2.0, "a whole number of at least 1"),
        ("components", True, "a whole number of at least 1"),
        ("dimensions", 0, "a whole number of at least 1"),
        ("points", 2, "a whole number of at least 3"),
        ("separation", -0.5, "[0, 1e+06]"),
        ("separation", float("nan"), "[0, 1e+06]"),
        ("separation", float("inf"), "[0, 1e+06]"),
        ("imbalance", 0.5, "[1, 1e+06]"),
        ("imbalance", 1e7, "[1, 1e+06]"),
        ("anisotropy", 0.0, "[1, 1e+06]"),
        ("anisotropy", float("nan"), "[1, 1e+06]"),
    ],
)
def test_a_value_out_of_range_is_refused(field: str, value: float, allowed: str) -> None:
    with pytest.raises(InputError) as caught:
        dataclasses.replace(BASE, **{field: value})  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith(f"{field} must") and allowed in message and message.endswith(f"got {value!r}")


def test_a_single_component_has_no_imbalance_and_a_single_dimension_no_anisotropy() -> None:
    with pytest.raises(InputError, match=r"imbalance must be 1 when components = 1, got 2\.0"):
        Simulator(1, 2, 10, 1.0, imbalance=2.0)
    with pytest.raises(InputError, match=r"anisotropy must be 1 when dimensions = 1, got 2\.0"):
        Simulator(2, 1, 10, 1.0, anisotropy=2.0)


def test_one_point_is_too_few_even_for_one_component() -> None:
    with pytest.raises(InputError, match="points must be a whole number of at least 2, got 1"):
        Simulator(1, 1, 1, 0.0)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="seed must be a whole number of at least 0, got -3"):
        BASE.draw(-3)


def test_extreme_anisotropy_still_has_a_cholesky_factor() -> None:
    covariances = truth_of(Simulator(2, 2, 10, 1.0, anisotropy=1e6).draw(0)).covariances
    assert np.isfinite(np.linalg.cholesky(covariances)).all()
