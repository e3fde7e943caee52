"""The estimator: scikit-learn's `GaussianMixture`, fitted by the methods and under the priors of the workbench."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from inspect import signature
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import sklearn.mixture
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, softmax
from sklearn import config_context  # type: ignore[attr-defined]
from sklearn.exceptions import ConvergenceWarning
from sklearn.externals import array_api_compat
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from workbench.compare.comparison import name_methods
from workbench.data import check_weights
from workbench.data.incomplete import has_missing
from workbench.data.observed import MissingCells
from workbench.data.table import unmasked
from workbench.errors import InputError
from workbench.methods import METHODS, Climber, Method
from workbench.methods.em import check_closed_form
from workbench.mixture import Mixture, Prior
from workbench.mixture.converted import FAMILIES, parameters_of, with_precisions
from workbench.problem import Problem
from workbench.sklearn.fitting import Climb, Points, Rule, check_squares, climb, climb_by, loaded_problem
from workbench.sklearn.starting import check_whole, weighted_responsibilities, weighted_start


class GaussianMixture(sklearn.mixture.GaussianMixture):  # type: ignore[misc]
    """A drop-in for `sklearn.mixture.GaussianMixture`, whose parameters, attributes and methods it has.

    It maximises `sum_n ln sum_k weights_k N(x_n | means_k, covariances_k) + log prior`. Without `prior` this prior is
    `DiagonalLoadingPrior(loading=reg_covar)`, that is `-(N reg_covar / 2 K) sum_k tr(covariances_k^-1)`, and for tied
    `-(N reg_covar / 2) tr(covariances^-1)`. Its M-step adds `reg_covar` to the variances of a component of N / K rows,
    `N / (K n_k)` times as much to those of one of n_k rows, and exactly `reg_covar` in the tied family. scikit-learn
    adds `reg_covar` whatever the size, by a step that climbs no known objective; at 1e-6 the two differ by about that.
    With `reg_covar=0` the objective is the likelihood.

    What else differs from scikit-learn:

    - `lower_bound_` is the objective per row at the *returned* parameters, and `lower_bounds_` at those after each
      iteration; scikit-learn's are those before it. With `reg_covar=0` and no prior it equals `score(X)`.
    - `n_init` keeps the fit of the highest objective. A fit that ends at a singular covariance is passed over; if all
      do, the error is a `ValueError`.
    - It computes in float64, whatever JAX is told otherwise; attributes have the dtype of X.
    - `predict`, `predict_proba`, `score_samples` and `fit_predict` return what they are given: arrays of JAX for arrays
      of JAX, tensors of PyTorch for tensors, and NumPy for the rest. Attributes and samples are NumPy, always.

    Args:
        n_components: K.
        covariance_type: "full", "tied", "diag" or "spherical".
        tol: EM stops when the objective per row changes by less in an iteration.
        reg_covar: see above.
        max_iter: the most iterations, of EM and of a method that is given by its name.
        n_init: starts; the best is kept.
        init_params: "kmeans", "k-means++", "random" or "random_from_data", as in scikit-learn, with its random numbers.
        weights_init: weights of the start [K].
        means_init: means of the start [K, D].
        precisions_init: precisions of the start, in the shape of the covariances.
        random_state: of the starts, of `sample`, and of methods that draw random numbers.
        warm_start: go on from the last fit; then `n_init` is ignored.
        verbose: 1 prints starts and iterations, 2 also times.
        verbose_interval: iterations between two lines.
        method: the name of a method that gives a point estimate, as "em", "ascent", "newton" or "squarem", or a method,
            as `workbench.GradientAscent()`. All but EM stop by their own rule and not by `tol`, and their `n_iter_` is
            the number of passes over the data.
        prior: a prior or its name, as "conjugate". It takes the place of `reg_covar`, which then only widens starts.
        missing: what becomes of NaN in X: "refuse" makes it scikit-learn's error. For "marginal" it is a missing cell,
            and a row counts by the density of its other cells, in `fit` and in `predict`, `predict_proba`,
            `score_samples`, `score`, `bic` and `aic`. Starts are drawn from rows that one Gaussian has completed. A
            method that cannot marginalise is an error, and so are a row without any value and a column of less than
            two different ones.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **sklearn.mixture.GaussianMixture._parameter_constraints,
        "method": [str, Method],
        "prior": [str, Prior, None],
        "missing": [StrOptions({"refuse", "marginal"})],
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        method: str | Method = "em",
        prior: str | Prior | None = None,
        missing: MissingCells = "refuse",
    ) -> None:
        super().__init__(
            n_components,
            covariance_type=covariance_type,
            tol=tol,
            reg_covar=reg_covar,
            max_iter=max_iter,
            n_init=n_init,
            init_params=init_params,
            weights_init=weights_init,
            means_init=means_init,
            precisions_init=precisions_init,
            random_state=random_state,
            warm_start=warm_start,
            verbose=verbose,
            verbose_interval=verbose_interval,
        )
        self.method = method
        self.prior = prior
        self.missing = missing

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> "GaussianMixture":
        """Fit the mixture; arguments and errors are those of `fit_predict`."""
        self.fit_predict(X, y, sample_weight)
        return self

    def fit_predict(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Any:
        """Fit the mixture and return the most probable component of each row, in an array of the kind of X. [N]

        Args:
            X: rows [N, D]; anything that NumPy reads, such as arrays of JAX and tensors of PyTorch on the CPU.
            y: ignored.
            sample_weight: how often each row occurs [N]; 2 is the row twice, and 0 leaves it out. The sum takes the
                place of N in the objective. Without `prior` the fit depends on ratios of weights only.

        Raises:
            ValueError: X or a parameter is not accepted by scikit-learn, the method cannot fit this problem, or every
                start ends at a singular covariance.
        """
        # All is NumPy's inside, so that what scikit-learn cannot do where it dispatches, as k-means, can be done.
        with config_context(array_api_dispatch=False):
            return _as_given(self._fitted_labels(X, sample_weight), X)

    def _fitted_labels(self, X: ArrayLike, sample_weight: ArrayLike | None) -> NDArray[np.int64]:
        """`fit_predict`, whose labels are NumPy's. [N]"""
        self._validate_params()
        rows = self._checked(X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        weights = None if sample_weight is None else _weights(sample_weight, len(rows))
        x = rows if weights is None else rows[weights > 0]
        if len(x) < self.n_components:
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = {self.n_components}, n_samples = {len(x)}"
            )
        check_whole(self)
        self._check_parameters(x, **_namespace(self._check_parameters))
        x = np.ascontiguousarray(x, dtype=np.float64)
        check_squares(x)
        # The precision of this thread alone, and only for as long as the fit lasts.
        with jax.enable_x64(True):
            best = self._best(x, None if weights is None else weights[weights > 0])
        self._keep(best, rows.dtype)
        return np.argmax(self._estimate_weighted_log_prob(rows), axis=1)

    def predict(self, X: ArrayLike) -> Any:
        """The most probable component of each row, in an array of the kind of X. [N]"""
        return _as_given(np.argmax(self._log_joint(X), axis=1), X)

    def predict_proba(self, X: ArrayLike) -> Any:
        """The probability of each component given the row, or the cells of it that are there; as `predict`. [N, K]"""
        return _as_given(softmax(self._log_joint(X), axis=1), X)

    def score_samples(self, X: ArrayLike) -> Any:
        """The log density of each row, or of the cells of it that are there; as `predict`. [N]"""
        return _as_given(logsumexp(self._log_joint(X), axis=1), X)

    def score(self, X: ArrayLike, y: object = None) -> float:
        """The mean log density of the rows, as a number whatever the kind of X: NumPy cannot average every tensor."""
        return float(np.mean(logsumexp(self._log_joint(X), axis=1)))

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may expect: NaN where missing cells are marginalised, and attributes that are NumPy's."""
        tags = super().__sklearn_tags__()
        tags.array_api_support = False
        tags.input_tags.allow_nan = self.missing == "marginal"
        return tags

    def _checked(self, X: ArrayLike, **how: Any) -> NDArray[Any]:
        """The rows after scikit-learn's check, whose message on NaN would send people to other estimators. [N, D]"""
        try:
            allowed = "allow-nan" if self.missing == "marginal" else True
            # Where the check dispatches, it would look for NumPy's dtypes in another library.
            with config_context(array_api_dispatch=False):
                return np.asarray(validate_data(self, unmasked(X), ensure_all_finite=allowed, **how))
        except ValueError as error:
            if not str(error).startswith("Input X contains NaN"):
                raise
            raise ValueError(
                'Input X contains NaN. missing="marginal" lets a row count by its other cells (method="em", "ascent" '
                'or "newton"); or leave such rows out.'
            ) from None

    def _log_joint(self, X: ArrayLike) -> Points:
        """`ln weights_k + ln N(x_n | k)` of rows that are to be checked. [N, K]"""
        check_is_fitted(self)
        return self._estimate_weighted_log_prob(self._checked(X, reset=False))

    def _estimate_weighted_log_prob(self, X: NDArray[Any], **namespace: Any) -> Points:
        """scikit-learn's own for rows without a missing cell. [N, K]"""
        if not has_missing(X):
            return np.asarray(super()._estimate_weighted_log_prob(X, **namespace))
        with jax.enable_x64(True):
            joint = Mixture.from_sklearn(self).component_log_joint(X, missing="marginal")
        return np.asarray(joint, X.dtype)

    def _best(self, x: Points, weights: Points | None) -> Climb:
        """The climb that ends highest, of those that do not end at a singular covariance."""
        method, warm = self._method(), self.warm_start and hasattr(self, "converged_")
        random = check_random_state(self.random_state)
        incomplete = self._problem(x, weights) if has_missing(x) else None
        points = x if incomplete is None else incomplete.sample
        # scikit-learn's own start refuses what has no covariance, and so comes before the problem of whole rows.
        starts = [self._start(points, weights, random, warm) for _ in range(1 if warm else self.n_init)]
        problem = self._problem(x, weights) if incomplete is None else incomplete
        climbs = []
        if method is None:
            check_closed_form(problem)
            for number, start in enumerate(starts):
                self._print_verbose_msg_init_beg(number)
                before = self._before if warm and hasattr(self, "_before") else -np.inf
                climbs.append(climb(problem, start, Rule(self.tol, self.max_iter), before))
                self._print(climbs[-1])
        else:
            climbs = climb_by(method, problem, starts, int(random.randint(2**31)))
        sound = [each for each in climbs if not each.collapsed and np.isfinite(each.height)]
        if not sound:
            raise ValueError(
                "Fitting the mixture model failed because some components have ill-defined empirical covariance "
                "(for instance caused by singleton or collapsed samples). Try to decrease the number of components, "
                f"increase reg_covar, scale the input data or give a prior that bounds the components, as "
                f'prior="conjugate"; {len(climbs)} of {len(climbs)} starts ended at a singular covariance.'
            )
        return max(sound, key=lambda each: each.height)

    def _method(self) -> Method | None:
        """The method; None for EM under the rule of `tol` and `max_iter`.

        Raises:
            InputError: the name is unknown, or the method samples.
        """
        if self.method == "em":
            return None
        (method,) = name_methods(self.method).values()
        if method.schedule().draws:
            names = ", ".join(name for name, kind in METHODS.items() if issubclass(kind, Climber))
            raise InputError(
                f"method: {method.method} draws samples, and one mixture is asked for; give one that climbs: {names}"
            )
        if isinstance(self.method, str) and "max_iterations" in type(method).model_fields:
            method = type(method).model_validate({"max_iterations": max(self.max_iter, 1)})
        return method

    def _family(self, dimensions: int) -> str:
        """The family's name. A 1 x 1 matrix is a variance, which needs no factorisation."""
        return "diagonal" if dimensions == 1 and self.covariance_type == "full" else FAMILIES[self.covariance_type]

    def _problem(self, x: Points, weights: Points | None) -> Problem:
        family = self._family(x.shape[1])
        if self.prior is None:
            return loaded_problem(x, weights, self.n_components, family, float(self.reg_covar))
        return Problem(x, self.n_components, family, self.prior, weights=weights, missing=self.missing)

    def _start(self, x: Points, weights: Points | None, random: np.random.RandomState, warm: bool) -> Mixture:
        """A start as scikit-learn draws it, or the last fit."""
        family = self._family(x.shape[1])
        given = self.weights_init is not None, self.means_init is not None, self.precisions_init is not None
        if warm or weights is None or all(given):
            if not warm:
                self._initialize_parameters(x, random, **_namespace(self._initialize_parameters))
            return with_precisions(self.weights_, self.means_, self.precisions_cholesky_, family)
        shares = weighted_responsibilities(x, weights, self.n_components, self.init_params, random)
        # What the user gives is taken as scikit-learn takes it; the other parts of its start count each row once.
        self._initialize(x, shares, **_namespace(self._initialize))
        start = with_precisions(self.weights_, self.means_, self.precisions_cholesky_, family)
        own = weighted_start(x, weights, shares, self.covariance_type, self.reg_covar)
        scales = start.scales if given[2] else Mixture.from_covariances(*own, family).scales
        return replace(
            start,
            weights=start.weights if given[0] else jnp.asarray(own[0]),
            means=start.means if given[1] else jnp.asarray(own[1]),
            scales=scales,
        )

    def _keep(self, best: Climb, dtype: Any) -> None:
        """Set the attributes of a fitted estimator."""
        self._set_parameters(tuple(leaf.astype(dtype) for leaf in parameters_of(best.mixture, self.covariance_type)))
        self.converged_, self.n_iter_ = best.converged, best.num_iterations
        self.lower_bound_, self.lower_bounds_ = best.height, best.heights[1:].tolist()
        # What `warm_start` compares the first iteration with.
        self._before = float(best.heights[-2]) if len(best.heights) > 1 else -np.inf
        if not best.converged and self.max_iter > 0:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, or increase max_iter, "
                "tol, or check for degenerate data.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _print(self, climb: Climb) -> None:
        """The lines of `verbose`, once a climb is over."""
        for number in range(1, len(climb.heights)):
            self._print_verbose_msg_iter_end(number, climb.heights[number] - climb.heights[number - 1])
        self._print_verbose_msg_init_end(climb.height, climb.converged)


def _weights(given: ArrayLike, rows: int) -> Points:
    """Weights of rows, checked. The message of weights that are all zero is worded as scikit-learn's checks ask."""
    array = np.asarray(unmasked(given))
    if array.ndim and array.dtype.kind in "biuf" and len(array) and not np.any(array):
        raise InputError("sample_weight: every weight is zero, so that no row counts; give at least one above 0")
    return check_weights(array, rows, "sample_weight")


def _as_given(values: NDArray[Any], given: Any) -> Any:
    """The values as an array of the library and on the device of what was given; NumPy's for lists and tables."""
    if array_api_compat.is_numpy_array(given) or not array_api_compat.is_array_api_obj(given):
        return values
    device = array_api_compat.device(given)
    # Rows that JAX spreads over devices have a sharding of two axes there, which labels do not fit.
    spread = isinstance(device, jax.sharding.Sharding)
    return array_api_compat.array_namespace(given).asarray(values, device=None if spread else device)


def _namespace(function: Callable[..., Any]) -> dict[str, Any]:
    """NumPy, as the argument `xp` of a function of scikit-learn that takes one, as not all versions do."""
    return {"xp": np} if _takes_namespace(function.__func__) else {}  # type: ignore[attr-defined]


@cache
def _takes_namespace(function: Callable[..., Any]) -> bool:
    return "xp" in signature(function).parameters
