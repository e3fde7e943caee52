"""The divergence of mixtures: Monte Carlo and bounds against quadrature, closed forms and each other."""

from collections.abc import Callable

import jax
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import norm

from workbench.errors import InputError
from workbench.mixture import COVARIANCES, Mixture
from workbench.mixture.relative_entropy import matched_bound

Points = NDArray[np.float64]
Random = Callable[..., Mixture]


def line(weights: list[float], means: list[float], deviations: list[float]) -> Mixture:
    """A mixture of one column."""
    return Mixture.from_covariances(weights, np.array(means)[:, None], np.square(deviations)[:, None, None])


PAIRS = [
    (line([0.4, 0.6], [-1.0, 2.0], [0.7, 1.4]), line([0.5, 0.3, 0.2], [-1.2, 1.0, 3.0], [1.0, 1.0, 2.0])),
    (line([0.9, 0.1], [0.0, 8.0], [1.0, 0.5]), line([0.2, 0.8], [0.5, 7.0], [1.5, 1.0])),
    (line([1.0], [0.0], [1.0]), line([0.5, 0.5], [-3.0, 3.0], [1.0, 2.0])),
]


def by_quadrature(one: Mixture, other: Mixture) -> float:
    """E ln p / q by SciPy's quadrature of SciPy's densities."""

    def log_density(mixture: Mixture, x: float) -> float:
        means, deviations = np.asarray(mixture.means)[:, 0], np.sqrt(np.asarray(mixture.covariances)[:, 0, 0])
        return float(logsumexp(norm.logpdf(x, means, deviations), b=np.asarray(mixture.weights)))

    def at(x: float) -> float:
        height = log_density(one, x)
        return float(np.exp(height) * (height - log_density(other, x)))

    # Beyond 12 standard deviations the density is below rounding.
    return float(quad(at, -20.0, 20.0, limit=500, epsabs=1e-10)[0])


@pytest.mark.parametrize("place", range(len(PAIRS)))
def test_bounds_hold_the_divergence_and_monte_carlo_finds_it(place: int) -> None:
    one, other = PAIRS[place]
    exact = by_quadrature(one, other)
    lower, upper = one.kl_bounds(other)
    assert 0 <= lower < exact < upper
    value, error = one.kl_divergence(other, jax.random.key(3), 4000)
    # A mean lies beyond four standard errors once in 16,000 times; the error itself is exact to a few per cent.
    assert abs(value - exact) < 4 * error and error < 0.1


@pytest.mark.parametrize("family", COVARIANCES)
def test_the_upper_bound_is_exact_for_one_component_and_zero_for_equal_mixtures(
    family: str, points: Points, random_mixture: Random
) -> None:
    mixture = random_mixture(points, 3, family, seed=1)
    alone, apart = (random_mixture(points, 1, family, seed=s) for s in (1, 2))
    (m, n), (a, b) = (
        [np.asarray(leaf)[0] for leaf in leaves]
        for leaves in ((alone.means, apart.means), (alone.covariances, apart.covariances))
    )
    step = np.linalg.solve(b, n - m)
    closed = 0.5 * (np.trace(np.linalg.solve(b, a)) + (n - m) @ step - 2 + np.log(np.linalg.det(b) / np.linalg.det(a)))
    assert alone.kl_bounds(apart).upper == pytest.approx(closed, rel=1e-9)
    # A stopping rule of 1e-12 leaves more where components overlap: steps shrink slowly there.
    assert mixture.kl_bounds(mixture.permute([2, 0, 1])).upper == pytest.approx(0.0, abs=1e-6)


def test_matching_many_to_many_is_never_worse_than_one_to_one(points: Points, random_mixture: Random) -> None:
    for seed in range(6):
        one, other = (random_mixture(points, 3, "full", seed=2 * seed + s) for s in (0, 1))
        assert one.kl_bounds(other).upper <= matched_bound(one, other) + 1e-9
    assert matched_bound(one, random_mixture(points, 2, "full", seed=0)) == float("inf")


def test_components_without_weight_or_far_away_change_no_bound() -> None:
    one, other = PAIRS[0]
    wider = line([0.4, 0.0, 0.6], [-1.0, 50.0, 2.0], [0.7, 1.0, 1.4])
    assert wider.kl_bounds(other) == pytest.approx(one.kl_bounds(other), rel=1e-9)
    far = line([0.5, 0.5], [0.0, 1e155], [1.0, 1e-150])
    lower, upper = one.kl_bounds(far)
    assert np.isfinite(lower) and lower < upper < np.inf


def test_mixtures_of_other_columns_are_refused(points: Points, random_mixture: Random) -> None:
    one = random_mixture(points, 3, "full", seed=1)
    for ask in (one.kl_bounds, lambda q: one.kl_divergence(q, jax.random.key(0))):
        with pytest.raises(InputError, match="other: has 1 columns and this mixture 2"):
            ask(PAIRS[0][0])
        with pytest.raises(InputError, match=r"other: its columns are \['b', 'a'\] and this mixture's \['a', 'b'\]"):
            one.named(["a", "b"]).kl_bounds(one.named(["b", "a"]))
        assert one.named(["a", "b"]).kl_bounds(one).lower == 0.0
    with pytest.raises(InputError, match="num_samples: must be a whole number of at least 2"):
        one.kl_divergence(one, jax.random.key(0), 1)
