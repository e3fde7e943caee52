"""The estimator is scikit-learn's in use and to rounding in its results; where it differs, it keeps its promises."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import sklearn.mixture
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import workbench as wb
from workbench.sklearn import GaussianMixture, fitting
from workbench.sklearn.starting import weighted_start

Points = NDArray[np.float64]

TYPES = ("full", "tied", "diag", "spherical")
EACH_TYPE = pytest.mark.parametrize("kind", TYPES)
ATTRIBUTES = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")


@pytest.fixture(scope="module")
def x() -> Points:
    random = np.random.default_rng(3)
    widths = np.repeat([[1, 1], [1, 0.3], [0.7, 1]], [30, 50, 40], axis=0)
    centres = np.repeat([[6, 0], [3, 4], [-4, 3]], [30, 50, 40], axis=0)
    return np.asarray(random.normal(size=(120, 2)) * widths + centres)


def both(x: Points, components: int = 3, **arguments: Any) -> tuple[Any, Any]:
    """Ours and scikit-learn's, fitted from the same start."""
    arguments = {"random_state": 0, "max_iter": 120} | arguments
    return (kind(components, **arguments).fit(x) for kind in (GaussianMixture, sklearn.mixture.GaussianMixture))  # type: ignore[return-value]


@pytest.mark.slow
@parametrize_with_checks([GaussianMixture(), GaussianMixture(missing="marginal")])
def test_scikit_learn_accepts_the_estimator(estimator: Any, check: Callable[[Any], None]) -> None:
    with warnings.catch_warnings():
        # Some checks fit groups that need more iterations, or none.
        warnings.simplefilter("ignore")
        check(estimator)


# What scikit-learn's own tests ask of its `GaussianMixture` that ours does not do.
PEERS_OWN = {
    "test_gaussian_mixture_setting_best_params": "it keeps a fit that has collapsed on one row; ours is an error",
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": "it counts calls of scikit-learn's M-step",
    "test_gaussian_mixture_raises_where_array_api_not_implemented": "ours starts by k-means, dispatched or not",
}
PLUGIN = """
from sklearn.mixture.tests import test_gaussian_mixture as suite
from workbench.sklearn import GaussianMixture
suite.GaussianMixture = GaussianMixture
"""


@pytest.mark.slow
def test_scikit_learns_own_tests_of_its_mixture_pass_for_ours(tmp_path: Path) -> None:
    pytest.importorskip("sklearn.mixture.tests.test_gaussian_mixture")
    (tmp_path / "ours_for_theirs.py").write_text(PLUGIN)
    path = Path(sklearn.mixture.__file__).parent / "tests" / "test_gaussian_mixture.py"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "ours_for_theirs",
        "-c",
        "/dev/null",
    ]
    command += ["--rootdir", str(tmp_path), str(path), "-k", " and ".join(f"not {name}" for name in PEERS_OWN)]
    environment = {"PYTHONPATH": f"{tmp_path}:{Path(wb.__file__).parents[1]}", "SKLEARN_TESTS_GLOBAL_RANDOM_SEED": "42"}
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout and " failed" not in done.stdout


@EACH_TYPE
def test_a_fit_without_regularisation_is_scikit_learns_to_rounding(kind: str, x: Points) -> None:
    ours, peer = both(x, covariance_type=kind, reg_covar=0.0)
    # The same iterations in other units; rounding grows with the iterations.
    for name in ATTRIBUTES:
        np.testing.assert_allclose(getattr(ours, name), getattr(peer, name), rtol=1e-8, atol=1e-10)
    assert (ours.n_iter_, ours.converged_) == (peer.n_iter_, peer.converged_)
    new = np.random.default_rng(0).normal(size=(7, 2)) * 4
    np.testing.assert_array_equal(ours.predict(new), peer.predict(new))
    for name in ("predict_proba", "score_samples", "score", "bic", "aic"):
        np.testing.assert_allclose(getattr(ours, name)(new), getattr(peer, name)(new), rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(ours.sample(5)[0], peer.sample(5)[0], rtol=1e-7, atol=1e-9)
    assert ours.get_params().keys() - peer.get_params().keys() == {"method", "prior", "missing"}


@EACH_TYPE
def test_a_fit_with_the_default_regularisation_is_scikit_learns_to_the_order_of_it(kind: str, x: Points) -> None:
    ours, peer = both(x, covariance_type=kind)
    # For tied the two M-steps are equal. Elsewhere they differ by reg_covar times |N / (K n_k) - 1|, below 1 here, and
    # EM's convergence multiplies that by a few.
    tolerance = 1e-9 if kind == "tied" else 1e-5
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(peer, name), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
def test_starts_are_scikit_learns(init_params: str, x: Points) -> None:
    ours, peer = both(x, covariance_type="diag", init_params=init_params, n_init=2, reg_covar=1e-6)
    # Components that overlap magnify the difference of the two objectives, 1e-6, some tenfold.
    np.testing.assert_allclose(ours.means_, peer.means_, atol=1e-4)
    given = {"weights_init": [0.2, 0.5, 0.3], "means_init": x[[0, 40, 90]], "precisions_init": np.ones((3, 2))}
    ours, peer = both(x, covariance_type="diag", init_params=init_params, max_iter=2, tol=0, **given)
    np.testing.assert_allclose(ours.means_, peer.means_, atol=1e-5)


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@EACH_TYPE
def test_the_objective_is_the_stated_one_and_belongs_to_the_returned_parameters(kind: str, x: Points) -> None:
    loading = 0.2
    fit = GaussianMixture(3, covariance_type=kind, reg_covar=loading, random_state=0, tol=1e-9).fit(x)
    dense = wb.Mixture.from_sklearn(fit)
    covariances = np.asarray(dense.covariances)
    joint = [
        np.log(w) + multivariate_normal(m, c).logpdf(x)
        for w, m, c in zip(fit.weights_, fit.means_, covariances, strict=True)
    ]
    expected = np.mean(logsumexp(joint, axis=0))
    assert fit.score(x) == pytest.approx(expected, rel=1e-10)
    expected -= loading / 6 * sum(np.trace(np.linalg.inv(c)) for c in covariances)
    assert fit.lower_bound_ == pytest.approx(expected, rel=1e-8)
    assert fit.lower_bounds_[-1] == fit.lower_bound_ and len(fit.lower_bounds_) == fit.n_iter_
    # EM never lowers its objective; the allowance is rounding.
    assert np.min(np.diff(fit.lower_bounds_)) > -1e-12


def test_a_component_of_average_size_has_reg_covar_added_to_its_variances() -> None:
    x = np.random.default_rng(0).normal(size=(60, 2)) + np.repeat([[0, 0], [100, 0]], 30, axis=0)
    ours, peer = both(x, 2, reg_covar=0.5)
    np.testing.assert_allclose(ours.covariances_, peer.covariances_, rtol=1e-9)


def test_warm_starts_go_on_where_the_last_fit_ended(x: Points) -> None:
    arguments = {"n_components": 3, "random_state": 0, "tol": 1e-6, "init_params": "random"}
    whole = GaussianMixture(max_iter=120, **arguments).fit(x)
    parts = GaussianMixture(max_iter=1, warm_start=True, **arguments)
    fits = 0
    while not (fits and parts.converged_) and fits < 120:
        parts.fit(x)
        fits += 1
    assert fits == whole.n_iter_
    np.testing.assert_allclose(parts.means_, whole.means_, rtol=1e-9)


def test_more_starts_find_no_worse_a_fit_and_the_last_warns(x: Points) -> None:
    scores = [
        GaussianMixture(6, n_init=n, init_params="random_from_data", random_state=4).fit(x).lower_bound_ for n in (1, 5)
    ]
    assert scores[1] >= scores[0]
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        GaussianMixture(3, max_iter=1, random_state=0).fit(x)


def test_constant_and_collinear_columns_are_fitted_as_by_scikit_learn(x: Points) -> None:
    degenerate = np.column_stack([x, x[:, 0] - x[:, 1], np.ones(len(x))])
    ours, peer = both(degenerate, reg_covar=1e-3)
    np.testing.assert_allclose(ours.means_, peer.means_, atol=0.05)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        GaussianMixture(3, reg_covar=0.0).fit(degenerate)


@pytest.mark.parametrize("dimensions", [1, 3])
@EACH_TYPE
def test_shapes_are_scikit_learns(kind: str, dimensions: int) -> None:
    x = np.random.default_rng(1).normal(size=(80, dimensions))
    ours, peer = both(x.astype(np.float32), 2, covariance_type=kind)
    for name in ATTRIBUTES:
        assert getattr(ours, name).shape == getattr(peer, name).shape
        assert getattr(ours, name).dtype == getattr(peer, name).dtype
    assert ours.means_.dtype == np.float32
    assert ours.predict(x.astype(np.float32)).shape == (80,)


def test_it_works_in_pipelines_clones_and_searches(x: Points) -> None:
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(random_state=0))
    search = GridSearchCV(pipeline, {"gaussianmixture__n_components": [1, 3]}, cv=2)
    random = np.random.default_rng(0).permutation(len(x))
    assert search.fit(x[random]).best_params_ == {"gaussianmixture__n_components": 3}
    copy = clone(GaussianMixture(2, prior=wb.ConjugatePrior(), method=wb.EM()))
    assert copy.prior == wb.ConjugatePrior() and copy.method == wb.EM() and copy.n_components == 2


def test_labels_of_the_fit_are_those_of_all_rows_named_or_not(x: Points) -> None:
    weights = np.arange(len(x)) % 3
    fit = GaussianMixture(3, random_state=0, max_iter=120)
    labels = fit.fit_predict(x, sample_weight=weights)
    np.testing.assert_array_equal(labels, fit.predict(x))
    table = pd.DataFrame(x, columns=["a", "b"])
    # scikit-learn would warn of names that X lacks, and warnings are errors here.
    np.testing.assert_array_equal(fit.fit_predict(table, sample_weight=weights), labels)
    assert list(fit.feature_names_in_) == ["a", "b"]


@pytest.mark.parametrize(
    "method", [wb.EM(), *(pytest.param(name, marks=pytest.mark.slow) for name in ("squarem", "ascent", "newton"))]
)
def test_every_method_that_climbs_comes_to_the_optimum(method: Any, x: Points) -> None:
    x = x[::2]  # the shape of other tests' programs
    optimum = GaussianMixture(3, reg_covar=0.0, random_state=0, tol=1e-10, max_iter=120).fit(x)
    fit = GaussianMixture(3, reg_covar=0.0, random_state=0, method=method).fit(x)
    assert fit.converged_ and fit.n_iter_ > 0
    # The optimum of one start; methods stop where the objective no longer changes.
    assert fit.lower_bound_ == pytest.approx(optimum.lower_bound_, abs=1e-6)
    np.testing.assert_allclose(fit.means_, optimum.means_, atol=1e-2)


def test_a_prior_takes_the_place_of_reg_covar(x: Points) -> None:
    fit = GaussianMixture(3, prior="conjugate", random_state=0, tol=1e-8, max_iter=120).fit(x)
    problem = wb.Problem(x, 3, "full", wb.ConjugatePrior())
    height = float(problem.log_joint(wb.Mixture.from_sklearn(fit))) / len(x)
    assert fit.lower_bound_ == pytest.approx(height, rel=1e-9)


class Tensor:
    """As a tensor of PyTorch: NumPy reads it, its dtype is none of NumPy's, and a namespace makes others like it."""

    def __init__(self, values: Any, device: str = "here") -> None:
        self.values, self.device, self.dtype = np.array(values), device, "torch.float64"
        self.shape, self.ndim = self.values.shape, self.values.ndim

    def __array__(self, dtype: Any = None, copy: Any = None) -> Points:
        return np.asarray(self.values, dtype)

    def __len__(self) -> int:
        return len(self.values)

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return SimpleNamespace(__name__="tensors", asarray=lambda values, device: Tensor(values, device))


def torch_tensor(x: Points) -> Any:
    return pytest.importorskip("torch").asarray(x)


KINDS = {"jax": jnp.asarray, "namespace": lambda x: Tensor(x, "there"), "torch": torch_tensor}
PLAIN = {"list": lambda x: x.tolist(), "table": pd.DataFrame, "numpy": np.asarray}
RETURNING = ("predict", "predict_proba", "score_samples", "fit_predict")


@pytest.mark.parametrize("kind", [*KINDS, *PLAIN])
def test_arrays_and_tensors_are_rows_and_come_back_as_their_kind(kind: str, x: Points) -> None:
    plain, given = GaussianMixture(3, random_state=0).fit(x), (KINDS | PLAIN)[kind](x)
    fit = GaussianMixture(3, random_state=0).fit(given)
    np.testing.assert_array_equal(fit.means_, plain.means_)
    for name in RETURNING:
        found, expected = getattr(fit, name)(given), getattr(plain, name)(x)
        assert isinstance(found, type(given) if kind in KINDS else np.ndarray)
        np.testing.assert_array_equal(np.asarray(found), expected)
        assert kind not in KINDS or found.device == given.device
    for name in (*ATTRIBUTES, "lower_bound_"):
        assert type(getattr(fit, name)) is type(getattr(plain, name))
    for name in ("score", "bic", "aic") if hasattr(given, "shape") else ():  # scikit-learn's read the shape of X
        assert getattr(fit, name)(given) == getattr(plain, name)(x) and isinstance(getattr(fit, name)(given), float)


def test_rows_spread_over_devices_come_back(x: Points) -> None:
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:2]), "rows")
    given = jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows", None)))
    fit = GaussianMixture(3, random_state=0).fit(x)
    for name in RETURNING:
        np.testing.assert_array_equal(getattr(fit, name)(given), getattr(fit, name)(x))
        assert isinstance(getattr(fit, name)(given), jax.Array)


DISPATCHED = """
import jax, jax.numpy as jnp, numpy as np, sklearn
from test_estimator import Tensor
from workbench.sklearn import GaussianMixture
jax.config.update("jax_enable_x64", True)
x = np.random.default_rng(3).normal(size=(120, 2)) + 4 * (np.arange(120) % 2)[:, None]
plain = GaussianMixture(2, random_state=0, max_iter=120).fit(x)
with sklearn.config_context(array_api_dispatch=True):
    for given in (x, jnp.asarray(x), Tensor(x)):
        fit = sklearn.clone(plain).fit(given)
        assert type(fit.means_) is np.ndarray and np.array_equal(fit.means_, plain.means_)
        for name in ("predict", "predict_proba", "score_samples", "fit_predict"):
            found = getattr(fit, name)(given)
            assert isinstance(found, type(given)), name
            assert np.array_equal(np.asarray(found), getattr(plain, name)(x)), name
        if not isinstance(given, Tensor):  # scikit-learn's means need a namespace that has one
            # The sum over rows in another order.
            assert np.isclose(fit.score(given), plain.score(x), rtol=1e-12, atol=0)
            assert np.isclose(fit.bic(given), plain.bic(x), rtol=1e-12, atol=0)
        assert np.array_equal(fit.sample(5)[0], plain.sample(5)[0])
"""


def test_what_scikit_learn_dispatches_itself_is_the_same() -> None:
    # SciPy reads the variable when it is imported.
    environment = {"SCIPY_ARRAY_API": "1", "PYTHONPATH": f"{Path(__file__).parent}:{Path(wb.__file__).parents[1]}"}
    command = [sys.executable, "-W", "ignore", "-c", DISPATCHED]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "nuts"}, "method: nuts draws samples"),
        ({"method": "emm"}, "unknown method 'emm'. Did you mean 'em'"),
        ({"prior": "normal"}, "prior: unknown prior 'normal'"),
        ({"prior": 3}, "The 'prior' parameter of GaussianMixture must be"),
        ({"prior": "independent"}, "no closed-form M-step under the IndependentPrior"),
        ({"n_components": 500}, "Expected n_samples >= n_components"),
        ({"reg_covar": -1.0}, "The 'reg_covar' parameter of GaussianMixture must be"),
    ],
)
def test_wrong_parameters_are_one_message(arguments: dict[str, Any], message: str, x: Points) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**({"n_components": 2} | arguments)).fit(x)


@EACH_TYPE
@pytest.mark.parametrize("prior", [None, pytest.param("conjugate", marks=pytest.mark.slow)])
def test_a_row_of_weight_two_is_the_row_twice(kind: str, prior: str | None, x: Points) -> None:
    weights = np.random.default_rng(0).integers(0, 4, len(x))
    start = {"means_init": x[[0, 40, 90]], "weights_init": [0.3, 0.3, 0.4], "random_state": 0, "prior": prior}
    arguments = {"n_components": 3, "covariance_type": kind, "tol": 1e-6, "init_params": "kmeans"} | start
    ones = np.ones((3, 2, 2)) * np.eye(2)
    precisions = {"full": ones, "tied": ones[0], "diag": np.ones((3, 2)), "spherical": np.ones(3)}[kind]
    weighted = GaussianMixture(precisions_init=precisions, **arguments).fit(x, sample_weight=weights)
    repeated = GaussianMixture(precisions_init=precisions, **arguments).fit(np.repeat(x, weights, axis=0))
    assert weighted.n_iter_ == repeated.n_iter_
    for name in (*ATTRIBUTES, "lower_bounds_"):
        # Sums over rows in another order.
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-9, atol=1e-11)
    assert len(weighted.predict(x)) == len(x)


@EACH_TYPE
@pytest.mark.parametrize("rule", ["kmeans", "random"])
def test_a_start_of_weights_one_is_scikit_learns(rule: str, kind: str, x: Points) -> None:
    plain, ones = (
        GaussianMixture(3, covariance_type=kind, init_params=rule, max_iter=0, random_state=0).fit(x, sample_weight=w)
        for w in (None, np.ones(len(x)))
    )
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(ones, name), getattr(plain, name), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", ["k-means++", "random_from_data"])
def test_a_start_at_rows_is_at_rows_that_count(rule: str, x: Points) -> None:
    weights = (np.arange(len(x)) % 5 == 0) * 2.0
    start = GaussianMixture(3, init_params=rule, max_iter=0, random_state=0).fit(x, sample_weight=weights)
    apart = np.linalg.norm(start.means_[:, None] - x[weights > 0], axis=2)
    np.testing.assert_allclose(np.min(apart, axis=1), 0.0, atol=1e-12)


def test_a_start_of_weighted_rows_is_one_of_repeated_rows(x: Points) -> None:
    weights = np.random.default_rng(1).integers(1, 4, len(x))
    shares = np.random.default_rng(2).dirichlet(np.ones(3), len(x))
    for kind in TYPES:
        one = weighted_start(x, weights.astype(float), shares, kind, 1e-3)
        repeated = (np.repeat(each, weights, axis=0) for each in (x, shares))
        other = weighted_start(next(repeated), np.ones(weights.sum()), next(repeated), kind, 1e-3)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_only_ratios_of_weights_matter_without_a_prior(x: Points) -> None:
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(x))
    few, many = (
        GaussianMixture(3, random_state=0, reg_covar=0.1).fit(x, sample_weight=c * weights) for c in (1e-3, 50.0)
    )
    np.testing.assert_allclose(few.covariances_, many.covariances_, rtol=1e-9)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(120), "sample_weight: every weight is zero"),
        (-np.ones(120), "sample_weight: "),
        (np.ones(7), "sample_weight: shape is .* give one weight for each of 120 rows"),
        (np.arange(120) < 2, "Expected n_samples >= n_components"),
    ],
)
def test_wrong_weights_are_one_message(weights: Any, message: str, x: Points) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianMixture(3).fit(x, sample_weight=weights)


def test_missing_values_are_refused_as_by_scikit_learn(x: Points) -> None:
    holed = np.where(np.arange(len(x))[:, None] == 3, np.nan, x)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        GaussianMixture(2).fit(holed)


def test_verbose_prints_what_scikit_learn_prints(x: Points, capsys: pytest.CaptureFixture[str]) -> None:
    GaussianMixture(3, random_state=0, verbose=1, verbose_interval=1).fit(x)
    printed = capsys.readouterr().out
    assert "Initialization 0" in printed and "Iteration 1" in printed and "converged" in printed


def test_the_parameters_of_no_iteration_are_the_start(x: Points) -> None:
    ours, peer = both(x, max_iter=0)
    np.testing.assert_allclose(ours.means_, peer.means_, rtol=1e-12)
    assert ours.lower_bound_ == pytest.approx(peer.score(x), abs=1e-3)


@pytest.mark.parametrize("rows", [3_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_rows_of_several_chunks_are_all_counted(rows: int) -> None:
    # Three chunks are padded to four; 20,000 rows are not padded.
    x = np.random.default_rng(0).normal(size=(rows, 2)) + np.arange(rows)[:, None] % 3 * 4.0
    start = {"reg_covar": 0.0, "init_params": "random_from_data", "tol": 1e-4}
    ours, peer = both(x, covariance_type="diag", **start)
    weighted = GaussianMixture(
        3,
        covariance_type="diag",
        random_state=0,
        max_iter=120,
        **start | {"weights_init": peer.weights_, "means_init": peer.means_, "precisions_init": peer.precisions_},
    ).fit(x, sample_weight=np.where(np.arange(rows) < rows - 50, 1.0, 3.0))
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(peer, name), rtol=1e-8, atol=1e-10)
    repeated = sklearn.mixture.GaussianMixture(
        3, covariance_type="diag", random_state=0, weights_init=peer.weights_, means_init=peer.means_,
        precisions_init=peer.precisions_, reg_covar=0.0, tol=1e-4,
    ).fit(np.concatenate([x, x[-50:], x[-50:]]))  # fmt: skip
    np.testing.assert_allclose(weighted.means_, repeated.means_, rtol=1e-8, atol=1e-10)


@pytest.mark.usefixtures("room")
def test_one_program_serves_small_fits_of_any_number_of_rows_and_components() -> None:
    random = np.random.default_rng(0)
    traced = []
    inner = fitting.is_usable

    def counted(*arguments: Any) -> Any:
        # Called once whenever a program is traced.
        traced.append(arguments)
        return inner(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "is_usable", counted)
        for points, components in ((100, 1), (237, 4), (500, 6)):
            # Five columns, which no other test here has.
            GaussianMixture(components, covariance_type="diag", random_state=0).fit(random.normal(size=(points, 5)))
    assert len(traced) == 1


def test_the_first_heights_are_kept_and_later_iterations_count(monkeypatch: pytest.MonkeyPatch, x: Points) -> None:
    arguments = {"n_components": 3, "random_state": 0, "tol": 0.0, "max_iter": 20, "init_params": "random"}
    whole = GaussianMixture(**arguments).fit(x)
    monkeypatch.setattr(fitting, "FEWEST_HEIGHTS", 4)
    monkeypatch.setattr(fitting, "MOST_HEIGHTS", 8)
    short = GaussianMixture(**arguments).fit(x)
    assert short.n_iter_ == whole.n_iter_ == 20
    assert short.lower_bounds_ == whole.lower_bounds_[:7]  # the first height is that of the start
    assert short.lower_bound_ == whole.lower_bound_
    np.testing.assert_array_equal(short.means_, whole.means_)


@pytest.mark.parametrize(("weight", "message"), [(2, r"shape is \(\)"), ("a", "dtype is <U1")])
def test_a_weight_that_is_no_array_of_numbers_is_refused(weight: Any, message: str) -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match=f"sample_weight: {message}"):
        GaussianMixture(2).fit(x, sample_weight=weight)
