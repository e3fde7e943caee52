"""With `missing="marginal"` the estimator takes NaN for a missing cell, and a row counts by its other cells."""

from typing import Any

import numpy as np
import pytest
import sklearn.mixture
from common_shape import D, K, N
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import workbench as wb
from workbench.data.incomplete import completed_by_gaussian
from workbench.errors import InputError
from workbench.mixture import ConjugatePrior, Mixture
from workbench.problem import Problem
from workbench.sklearn import GaussianMixture

Points = NDArray[np.float64]

LOADING = 0.05
FULL_AND_SLOW = [pytest.param(kind, marks=() if kind == "full" else pytest.mark.slow)
                 for kind in ("full", "tied", "diag", "spherical")]  # fmt: skip


@pytest.fixture(scope="module")
def x() -> Points:
    """Three groups of points, of which a sixth of the cells is missing. [N, D]"""
    centres = np.tile([[5.0, 0.0], [-4.0, 2.0], [0.0, -6.0]], (N // K, 1))
    whole = centres + np.random.default_rng(5).normal(size=(N, D)) @ [[1.0, 0.6], [0.0, 0.8]]
    return np.where((np.arange(N * D) % 7 == 3).reshape(N, D), np.nan, whole)


def marginal(components: int = K, **arguments: Any) -> Any:
    """The estimator for rows with missing cells, of one regularisation, so that tests share programs."""
    common = {"missing": "marginal", "random_state": 0, "max_iter": 120, "reg_covar": LOADING}
    return GaussianMixture(components, **common | arguments)


def log_joint(mixture: Mixture, x: Points) -> Points:
    """Row by row and component by component of the cells that are there, by SciPy. [N, K]"""
    weights, means, covariances = (np.asarray(a) for a in (mixture.weights, mixture.means, mixture.covariances))
    joint = np.zeros((len(x), len(weights)))
    for n, row in enumerate(x):
        there = np.flatnonzero(~np.isnan(row))
        for k, (w, m, c) in enumerate(zip(weights, means, covariances, strict=True)):
            joint[n, k] = np.log(w) + multivariate_normal(m[there], c[np.ix_(there, there)]).logpdf(row[there])
    return joint


@pytest.mark.parametrize("kind", FULL_AND_SLOW)
def test_the_objective_is_scipys_of_the_cells_that_are_there_and_flat_at_the_fit(kind: str, x: Points) -> None:
    fit = marginal(covariance_type=kind, tol=1e-12).fit(x)
    mixture = Mixture.from_sklearn(fit)

    def height(means: Points) -> float:
        moved = Mixture(mixture.weights, means, mixture.scales, mixture.covariance)  # type: ignore[arg-type]
        return float(np.mean(logsumexp(log_joint(moved, x), axis=1)))

    means = np.asarray(mixture.means)
    assert fit.converged_
    assert fit.score(x) == pytest.approx(height(means), rel=1e-12)
    penalty = LOADING / (2 * K) * sum(np.trace(np.linalg.inv(c)) for c in np.asarray(mixture.covariances))
    assert fit.lower_bound_ == pytest.approx(height(means) - penalty, rel=1e-9)
    # EM never lowers its objective; the allowance is rounding.
    assert np.min(np.diff(fit.lower_bounds_)) > -1e-12
    step = 1e-4
    for move in step * np.eye(K * D).reshape(-1, K, D):
        # The last gain was below 1e-12 with a curvature of the order of one: a slope of 1e-6; differences add step^2.
        assert abs(height(means + move) - height(means - move)) / (2 * step) < 1e-5


@pytest.mark.parametrize("kind", FULL_AND_SLOW)
def test_rows_with_missing_cells_are_judged_by_the_others(kind: str, x: Points) -> None:
    fit = marginal(covariance_type=kind).fit(x)
    joint = log_joint(Mixture.from_sklearn(fit), x)
    np.testing.assert_allclose(fit.predict_proba(x), softmax(joint, axis=1), atol=1e-11)
    np.testing.assert_allclose(fit.score_samples(x), logsumexp(joint, axis=1), rtol=1e-11)
    np.testing.assert_array_equal(fit.predict(x), np.argmax(joint, axis=1))
    np.testing.assert_array_equal(fit.fit_predict(x), np.argmax(joint, axis=1))
    total = N * fit.score(x)
    assert fit.score(x) == pytest.approx(np.mean(logsumexp(joint, axis=1)), rel=1e-12)
    parameters = {"full": 17, "tied": 11, "diag": 14, "spherical": 11}[kind]
    assert fit.bic(x) == pytest.approx(-2 * total + np.log(N) * parameters)
    assert fit.aic(x) == pytest.approx(-2 * total + 2 * parameters)


@pytest.mark.slow
def test_the_fit_under_a_prior_is_that_of_the_problem(x: Points) -> None:
    fit = marginal(prior="conjugate", tol=1e-9).fit(x)
    problem = Problem(x, K, prior=ConjugatePrior(), missing="marginal")
    assert fit.lower_bound_ == pytest.approx(float(problem.log_joint(Mixture.from_sklearn(fit))) / N, rel=1e-10)
    flat = marginal(reg_covar=0.0).fit(x)
    assert flat.lower_bound_ == pytest.approx(flat.score(x), rel=1e-10)


@pytest.mark.parametrize("rule", ["kmeans", "k-means++", "random", "random_from_data"])
def test_starts_are_scikit_learns_on_completed_rows(rule: str, x: Points) -> None:
    start = marginal(init_params=rule, max_iter=0).fit(x)
    _, completed = completed_by_gaussian(x)
    peer = sklearn.mixture.GaussianMixture(K, init_params=rule, max_iter=0, random_state=0, reg_covar=LOADING)
    peer.fit(completed)
    for name in ("means_", "covariances_"):
        np.testing.assert_allclose(getattr(start, name), getattr(peer, name), rtol=1e-9, atol=1e-12)


def test_rows_without_a_missing_cell_are_fitted_as_ever(x: Points) -> None:
    whole = completed_by_gaussian(x)[1]
    one, other = marginal().fit(whole), marginal(missing="refuse").fit(whole)
    np.testing.assert_array_equal(one.means_, other.means_)
    np.testing.assert_array_equal(one.predict_proba(whole), other.predict_proba(whole))


@pytest.mark.parametrize("kind", FULL_AND_SLOW)
def test_a_constant_column_with_missing_cells_ends_as_one_without(kind: str) -> None:
    rng = np.random.default_rng(3)
    spread = np.concatenate([rng.normal(centre, 1.0, (30, 2)) for centre in (0.0, 9.0)])
    whole = np.column_stack([spread, np.full(60, 0.1)])
    holes = whole.copy()
    holes[::4, 2], holes[1::6, 0] = np.nan, np.nan
    one, other = (marginal(2, covariance_type=kind, tol=1e-12).fit(each) for each in (whole, holes))
    np.testing.assert_array_equal(one.predict(whole), other.predict(holes))
    np.testing.assert_allclose(other.means_[:, 2], 0.1, rtol=1e-9)
    np.testing.assert_allclose(one.means_, other.means_, atol=0.2)
    assert np.isfinite(other.score(holes))
    if kind == "diag":
        # Of the penalised objective in closed form: the loading, a component's share, and the share of cells there.
        proba = other.predict_proba(holes)
        there = np.sum(proba[~np.isnan(holes[:, 2])], axis=0)
        np.testing.assert_allclose(other.covariances_[:, 2], LOADING * (60 / 2) / there, rtol=1e-4)
    for each in (whole, holes):
        with pytest.raises(ValueError, match=r"ill-defined empirical covariance|constant|two different values"):
            marginal(2, covariance_type=kind, reg_covar=0.0).fit(each)
    holes[:, 2] = np.nan
    with pytest.raises(ValueError, match="column 'x3' has no value; drop it"):
        marginal(2, covariance_type=kind).fit(holes)


@pytest.mark.slow
def test_a_row_of_weight_two_is_the_row_twice(x: Points) -> None:
    weights = np.arange(N) % 3
    start = {
        "means_init": [[5, 0], [-4, 2], [0, -6]],
        "weights_init": [0.3, 0.3, 0.4],
        "precisions_init": [np.eye(2)] * 3,
    }
    weighted = marginal(**start).fit(x, sample_weight=0.01 * weights)
    repeated = marginal(**start).fit(np.repeat(x, weights, axis=0))
    assert weighted.n_iter_ == repeated.n_iter_
    for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-8, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["squarem", "ascent", "newton"])
def test_other_methods_come_to_the_same_optimum(method: str, x: Points) -> None:
    optimum, fit = marginal(tol=1e-12).fit(x), marginal(method=method).fit(x)
    # Each stops by its own rule, where a relative rise of 1e-10 or a gradient of that order is left.
    assert fit.lower_bound_ == pytest.approx(optimum.lower_bound_, abs=1e-8)


@pytest.mark.slow
def test_it_works_in_pipelines_and_searches_and_in_single_precision(x: Points) -> None:
    pipeline = make_pipeline(StandardScaler(), marginal())
    search = GridSearchCV(pipeline, {"gaussianmixture__n_components": [1, 3]}, cv=2, error_score="raise")
    assert search.fit(x).best_params_ == {"gaussianmixture__n_components": 3}
    single = x.astype(np.float32)
    fit = marginal().fit(single)
    assert fit.means_.dtype == np.float32 and fit.score_samples(single).dtype == np.float32
    np.testing.assert_allclose(fit.means_, marginal().fit(x).means_, rtol=1e-4, atol=1e-4)


def test_the_tag_says_whether_missing_cells_are_allowed() -> None:
    assert marginal().__sklearn_tags__().input_tags.allow_nan
    assert not GaussianMixture().__sklearn_tags__().input_tags.allow_nan


@pytest.mark.parametrize(
    ("arguments", "change", "message"),
    [
        ({"missing": "refuse"}, None, "Input X contains NaN"),
        ({"missing": "drop"}, None, "The 'missing' parameter of GaussianMixture must be a str among"),
        ({"method": "natural_gradient"}, None, "missing: natural_gradient cannot marginalise missing cells"),
        ({"method": "nuts"}, None, "method: nuts draws samples"),
        ({}, (slice(3, 5), slice(None), np.nan), "data row 4 and 1 more: no cell has a value"),
        ({"reg_covar": 0.0}, (slice(1, None), 0, 2.0), None),
        ({}, (slice(None), 0, np.inf), "Input X contains infinity"),
    ],
)
def test_what_cannot_be_marginalised_is_one_message(
    arguments: dict[str, Any], change: tuple[Any, Any, float] | None, message: str | None, x: Points
) -> None:
    given = x.copy()
    if change is not None:
        given[change[:2]] = change[2]
    if message is None:
        given[0, 0], message = np.nan, "column 'x1' has fewer than two different values"
    with pytest.raises(ValueError, match=message):
        marginal(**arguments).fit(given)


def test_a_new_row_without_any_value_has_no_label(x: Points) -> None:
    fit = marginal().fit(x)
    with pytest.raises(wb.InputError, match="data row 2: no cell has a value"):
        fit.predict([[1.0, np.nan], [np.nan, np.nan]])


BELOW = 1e6  # what lies below a mask, where no cell is


@pytest.fixture(scope="module")
def masked(x: Points) -> np.ma.MaskedArray[Any, Any]:
    """The same points with a mask in place of NaN."""
    return np.ma.masked_array(np.where(np.isnan(x), BELOW, x), np.isnan(x))


@pytest.mark.parametrize("listed", [False, True])
def test_a_masked_cell_is_a_missing_one(x: Points, masked: Any, listed: bool) -> None:
    given = list(masked) if listed else masked
    fit, same = marginal().fit(x), marginal().fit(given)
    np.testing.assert_array_equal(same.means_, fit.means_)
    for ask in (fit.predict, fit.predict_proba, fit.score_samples, fit.score, *(() if listed else (fit.bic, fit.aic))):
        np.testing.assert_array_equal(ask(given), ask(x))


def test_a_masked_array_keeps_its_precision(masked: Any) -> None:
    assert marginal().fit(masked.astype(np.float32)).means_.dtype == np.float32


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score", "bic", "aic", "fit"])
def test_a_masked_cell_is_refused_unless_it_is_marginalised(method: str, x: Points, masked: Any) -> None:
    fit = marginal(missing="refuse").fit(x[~np.isnan(x).any(axis=1)])
    with pytest.raises(ValueError, match=r'X contains NaN\. missing="marginal" lets a row count'):
        getattr(fit, method)(masked)


@pytest.mark.parametrize("name", ["sample_weight", "weights_init", "means_init", "precisions_init"])
def test_what_else_the_fit_is_given_is_not_read_below_a_mask(name: str, x: Points) -> None:
    whole = {
        "sample_weight": np.ones(len(x)),
        "weights_init": np.full(K, 1 / K),
        "means_init": np.eye(K, D),
        "precisions_init": np.stack([np.eye(D)] * K),
    }[name]
    given = np.ma.masked_array(whole, np.arange(whole.size).reshape(whole.shape) == 1)
    own = {} if name == "sample_weight" else {name: given}
    weight = {"sample_weight": given} if name == "sample_weight" else {}
    with pytest.raises(InputError, match=f"{name}: (is a masked array with masked cells|data row 2 is nan)"):
        marginal(**own).fit(x, **weight)
