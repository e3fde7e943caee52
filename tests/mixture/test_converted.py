"""A mixture is the same density after a journey to scikit-learn or NumPyro and back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import sklearn.mixture
from numpy.typing import NDArray

from workbench.errors import InputError
from workbench.mixture import COVARIANCES, Mixture
from workbench.mixture.background import Background

K = 3
MEANS, SHARED = np.array([[0.0, 1.0], [4.0, -2.0]]), np.array([[2.0, 0.5], [0.5, 1.0]])
Points = NDArray[np.float64]
Random = Callable[..., Mixture]


def same(a: Mixture, b: Mixture) -> None:
    for name in ("weights", "means", "covariances"):
        # Two factorisations at a condition number of 1e4.
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("family", COVARIANCES)
def test_a_mixture_goes_to_scikit_learn_and_back(family: str, points: Points, random_mixture: Random) -> None:
    mixture = random_mixture(points, K, family, seed=0)
    fitted = mixture.to_sklearn()
    assert isinstance(fitted, sklearn.mixture.GaussianMixture)
    np.testing.assert_allclose(fitted.score_samples(points), mixture.log_density(points), rtol=1e-10)
    np.testing.assert_array_equal(fitted.predict(points), mixture.predict(points))
    same(Mixture.from_sklearn(fitted), mixture)
    known = family in ("full", "tied", "diagonal", "spherical")
    assert Mixture.from_sklearn(fitted).covariance.name == (family if known else "full")


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_a_fit_of_scikit_learn_is_a_mixture(kind: Any, points: Points) -> None:
    for estimator in (sklearn.mixture.GaussianMixture, sklearn.mixture.BayesianGaussianMixture):
        fitted = estimator(n_components=2, covariance_type=kind, random_state=0, max_iter=500).fit(points)
        mixture = Mixture.from_sklearn(fitted)
        np.testing.assert_allclose(np.sum(mixture.weights), 1.0, rtol=1e-12)
        if estimator is sklearn.mixture.GaussianMixture:
            np.testing.assert_allclose(mixture.log_density(points), fitted.score_samples(points), rtol=1e-9)


@pytest.mark.parametrize("family", COVARIANCES)
def test_a_mixture_goes_to_numpyro_and_back(family: str, points: Points, random_mixture: Random) -> None:
    mixture = random_mixture(points, K, family, seed=0)
    distribution = mixture.to_numpyro()
    np.testing.assert_allclose(jax.jit(distribution.log_prob)(points), mixture.log_density(points), rtol=1e-10)
    same(Mixture.from_numpyro(distribution), mixture)


def test_numpyros_normals_are_diagonal_mixtures() -> None:
    mixing = dist.Categorical(probs=np.array([0.3, 0.7]))
    line = dist.MixtureSameFamily(mixing, dist.Normal(np.array([0.0, 4.0]), np.array([1.0, 2.0])))
    plane = dist.MixtureSameFamily(mixing, dist.Normal(np.zeros((2, 3)), np.ones((2, 3)) * [[1.0], [2.0]]).to_event(1))
    for distribution, x in ((line, np.array([0.5, 3.0])), (plane, np.ones((2, 3)))):
        mixture = Mixture.from_numpyro(distribution)
        assert mixture.covariance.name == "diagonal"
        np.testing.assert_allclose(mixture.log_density(x), distribution.log_prob(x), rtol=1e-12)


@pytest.mark.parametrize(
    ("component", "means", "covariances"),
    [
        (dist.MultivariateNormal(MEANS, covariance_matrix=SHARED), MEANS, [SHARED, SHARED]),
        (dist.MultivariateNormal(MEANS, scale_tril=np.eye(2)), MEANS, [np.eye(2), np.eye(2)]),
        (dist.MultivariateNormal(MEANS[0], np.stack([SHARED, 3 * SHARED])), MEANS[[0, 0]], [SHARED, 3 * SHARED]),
        (dist.Normal(MEANS, np.array([1.0, 2.0])).to_event(1), MEANS, [np.diag([1.0, 4.0])] * 2),
        (dist.Normal(MEANS[:, 0], 2.0), MEANS[:, :1], [[[4.0]], [[4.0]]]),
    ],
)
def test_what_components_share_is_that_of_each(component: Any, means: Points, covariances: Any) -> None:
    found = Mixture.from_numpyro(dist.MixtureSameFamily(dist.Categorical(probs=np.array([0.3, 0.7])), component))
    np.testing.assert_array_equal(found.means, means)
    np.testing.assert_allclose(found.covariances, covariances, rtol=1e-12, atol=1e-15)


def test_a_background_goes_to_numpyro_and_back(points: Points, random_mixture: Random) -> None:
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    background = Background.checked(0.2, low, high, points.shape[1])
    mixture = replace(random_mixture(points, K, "full", seed=0), background=background)
    back = Mixture.from_numpyro(mixture.to_numpyro())
    same(back, mixture)
    assert back.background is not None
    np.testing.assert_allclose(back.background.weight, 0.2, rtol=1e-15)
    np.testing.assert_array_equal(back.background.low, low)
    np.testing.assert_allclose(back.log_density(points), mixture.log_density(points), rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Mixture.from_numpyro(
                dist.MixtureGeneral(dist.Categorical(probs=np.ones(2) / 2), [dist.Normal(0, 1), dist.Normal(2, 1)])
            ),
            "a MixtureGeneral of Normal, Normal is no mixture of Gaussians",
        ),
        (lambda: Mixture.from_sklearn(sklearn.mixture.GaussianMixture()), "has no weights_ .* after its fit"),
        (lambda: Mixture.from_numpyro(dist.Normal(0, 1)), "Normal is no mixture of Gaussians"),
        (
            lambda: Mixture.from_numpyro(
                dist.MixtureSameFamily(dist.Categorical(probs=np.ones(2) / 2), dist.Gamma(np.ones(2), 1.0))
            ),
            "its components are Gamma",
        ),
    ],
)
def test_what_is_no_mixture_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_scikit_learn_is_asked_for_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, points: Points, random_mixture: Random
) -> None:
    monkeypatch.setattr("workbench.mixture.converted.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs scikit-learn; pip install 'workbench\[sklearn\]'"):
        random_mixture(points, K, "full", seed=0).to_sklearn()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("covariance_type", "zz", "covariance_type is 'zz'; allowed: full, tied, diag, spherical"),
        ("means_", np.ones((3, 2)), r"weights_ \(2,\) and means_ \(3, 2\) are not \[K\] and \[K, D\]"),
        ("means_", np.full((2, 2), np.nan), r"means_ must be finite numbers, got array\(\[\[nan, nan\], \["),
        ("weights_", np.array([0.5, 0.9]), r"weights_ must be non-negative and sum to 1, got \[0.5, 0.9\]"),
        ("weights_", None, "weights_ must be finite numbers, got None; fit it first"),
        ("precisions_cholesky_", np.eye(2), r"has shape \(2, 2\); a full mixture has \(2, 2, 2\)"),
        ("precisions_cholesky_", np.zeros((2, 2, 2)), "must be positive on its diagonal"),
    ],
)
def test_a_spoilt_estimator_is_refused(name: str, value: Any, message: str) -> None:
    fitted = Mixture.from_covariances([0.5, 0.5], [[0.0, 0], [1, 1]], np.stack([np.eye(2)] * 2)).to_sklearn()
    assert Mixture.from_sklearn(fitted).num_components == 2
    setattr(fitted, name, value)
    with pytest.raises(InputError, match=f"fitted: .*{message}"):
        Mixture.from_sklearn(fitted)
