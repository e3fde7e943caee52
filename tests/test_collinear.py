"""Collinear data are refused, naming the columns, unless the prior bounds covariances; then they are fitted."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import invwishart, multivariate_normal

from workbench.data.moments import COLLINEAR
from workbench.errors import InputError
from workbench.mixture import (
    BoundedRatioPrior,
    ChenTanPrior,
    ConjugatePrior,
    FlatPrior,
    IndependentPrior,
    Mixture,
    Prior,
)
from workbench.problem import Problem
from workbench.soundness import Soundness
from workbench.starts import RandomPoints, draw_starts

Points = NDArray[np.float64]
NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def free() -> Points:
    """Two groups of twenty points in two columns with different units."""
    rng = np.random.default_rng(4)
    return (rng.normal(size=(40, 2)) + np.repeat([[-4.0], [4.0]], 20, axis=0)) * [1.0, 30.0] + [5.0, 0.0]


def beside(free: Points, third: Points) -> Points:
    return np.column_stack([free, third])


UNBOUNDED: list[Prior] = [FlatPrior(), ConjugatePrior(), ChenTanPrior(), IndependentPrior(deviation="log_normal")]


@pytest.mark.parametrize("family", ["full", "tied"])
@pytest.mark.parametrize("prior", UNBOUNDED, ids=lambda prior: prior.family)
def test_collinear_columns_are_refused_by_name_where_a_covariance_is_unbounded(family: str, prior: Prior, free: Points):
    with pytest.raises(InputError) as caught:
        Problem(beside(free, free[:, 0]), 2, family, prior, columns=NAMES)
    message = str(caught.value)
    assert message.startswith("x: c equals a, up to a constant: all points lie on a hyperplane")
    for words in (family, type(prior).__name__, '"diagonal" or "spherical"', "conjugate prior whose scatter is given"):
        assert words in message


def test_a_row_that_makes_columns_seem_collinear_is_named(free: Points) -> None:
    far = free.copy()
    far[7] = 1e9 * free.std(axis=0)
    with pytest.raises(InputError) as caught:
        Problem(far, 2, columns=NAMES[:2])
    assert str(caught.value).startswith("x: b is 30") and "only because data row 8 lies so far" in str(caught.value)
    with pytest.raises(InputError, match="data row 8 lies so far"):
        Problem(far, 2, weights=np.full(len(far), 2.0))
    # Columns that are collinear without it are collinear.
    with pytest.raises(InputError, match="all points lie on a hyperplane"):
        Problem(beside(far, far[:, 0]), 2)
    assert Problem(far, 2, "diagonal").num_rows == len(far)


@pytest.mark.parametrize(
    ("third", "words"),
    [
        (lambda x: x[:, 1] + 7.0, "c equals b, up to a constant"),
        (lambda x: -2.5 * x[:, 0], "c is -2.5 times a, up to a constant"),
        (lambda x: x[:, 0] + x[:, 1], "c is the sum of a and b, up to a constant"),
        (lambda x: x[:, 0] - 2 * x[:, 1], "c is a linear combination of a and b, up to a constant"),
    ],
)
def test_the_relation_between_the_columns_is_told(third: Callable[[Points], Points], words: str, free: Points):
    with pytest.raises(InputError, match=words):
        Problem(beside(free, third(free)), 2, columns=NAMES)


def test_rows_that_are_too_few_are_refused_without_eigenvalues(monkeypatch: pytest.MonkeyPatch):
    """Those of 10,000 columns take minutes."""
    monkeypatch.setattr(np.linalg, "eigvalsh", None)
    with pytest.raises(InputError, match="300 rows span at most 299 of 300 dimensions"):
        Problem(np.random.default_rng(0).normal(size=(300, 300)), 2)


def test_no_more_rows_than_columns_are_refused_for_that():
    x = np.random.default_rng(0).normal(size=(20, 25))
    with pytest.raises(InputError, match="20 rows span at most 19 of 25 dimensions"):
        Problem(x, 2)
    for family in ("diagonal", "spherical"):
        assert Problem(x, 2, family).num_dimensions == 25


@pytest.mark.parametrize(("noise", "refused"), [(0.5, True), (2.0, False)])
def test_near_collinear_columns_are_refused_up_to_the_tolerance(noise: float, refused: bool, free: Points):
    """A third column equal to the first plus noise: after standardising, the smallest eigenvalue is noise^2 / 2."""
    white = np.random.default_rng(1).normal(size=40)
    x = beside(free, free[:, 0] + noise * np.sqrt(2 * COLLINEAR) * np.std(free[:, 0]) * white / np.std(white))
    if refused:
        with pytest.raises(InputError, match="c equals a"):
            Problem(x, 2, columns=NAMES)
    else:
        assert Problem(x, 2, columns=NAMES).num_dimensions == 3


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_whether_columns_are_collinear_does_not_depend_on_units(scale: float, free: Points):
    x = beside(free, free[:, 0])
    with pytest.raises(InputError, match="hyperplane"):
        Problem(x * [1.0, scale, 1.0 / scale], 2)
    assert Problem(free * [1.0, scale], 2).num_dimensions == 2


@pytest.mark.parametrize("family", ["full", "tied"])
def test_under_a_stated_scatter_one_component_is_the_closed_form(family: str, free: Points, em_step):
    """Gelman et al. (2013), sec. 3.6: the mode of mean and covariance of a normal-inverse-Wishart posterior."""
    x, kappa, nu, psi = beside(free, free.sum(1)), 0.01, 5.0, np.eye(3)
    n, mean, location = len(x), x.mean(0), np.ones(3)
    prior = ConjugatePrior(
        scatter=tuple(map(tuple, psi)), mean_shrinkage=kappa, degrees_of_freedom=nu, mean_location=(1.0, 1.0, 1.0)
    )
    problem = Problem(x, 1, family, prior)
    start = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), problem, 1, 0))
    assert np.all(np.isfinite(start.scales))
    found, _ = em_step(problem, em_step(problem, start)[0])
    pulled = mean - location
    scatter = psi + (x - mean).T @ (x - mean) + kappa * n / (kappa + n) * np.outer(pulled, pulled)
    np.testing.assert_allclose(found.means[0], (n * mean + kappa * location) / (n + kappa), rtol=1e-12)
    # The scatter along the hyperplane is 4e5 times that across it, and rounding errors are larger by that factor.
    np.testing.assert_allclose(found.covariances[0], scatter / (nu + 3 + 1 + n + 1), rtol=1e-9)


@pytest.mark.parametrize("family", ["full", "tied"])
def test_under_a_stated_scatter_two_components_are_a_mode_by_scipy(family: str, free: Points, em_step: Any):
    """`log_joint` by SciPy's densities equals that of the problem, and is no higher at any mixture nearby."""
    x = beside(free / [1.0, 30.0], free[:, 0])
    prior = ConjugatePrior(scatter=tuple(map(tuple, np.eye(3))))
    problem = Problem(x, 2, family, prior)
    mixture = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), problem, 1, 0))
    for _ in range(200):
        mixture, log_joint = em_step(problem, mixture)
    assert Soundness().check(problem, mixture).sound

    def by_scipy(weights: Points, means: Points, covariances: Points) -> float:
        parts = [np.log(w) + multivariate_normal(m, c).logpdf(x) for w, m, c in zip(weights, means, covariances)]  # noqa: B905
        value = float(logsumexp(parts, axis=0).sum())  # the Dirichlet is flat with density one
        value += sum(
            invwishart(5.0, np.eye(3)).logpdf(c) for c in (covariances[:1] if family == "tied" else covariances)
        )
        return value + sum(
            multivariate_normal(x.mean(0), c / 0.01).logpdf(m) for m, c in zip(means, covariances, strict=True)
        )

    weights, means, covariances = (np.asarray(a) for a in (mixture.weights, mixture.means, mixture.covariances))
    top = by_scipy(weights, means, covariances)
    assert float(log_joint) == pytest.approx(top, rel=1e-10)
    rng = np.random.default_rng(0)
    for _ in range(20):
        noise = rng.normal(size=(2, 3, 3))
        bend = np.eye(3) + 1e-3 * (noise[:1] if family == "tied" else noise)
        near = bend @ covariances @ np.swapaxes(bend, 1, 2)
        tilt = 1e-3 * rng.normal()
        other = by_scipy(weights + np.array([tilt, -tilt]), means + 1e-3 * rng.normal(size=means.shape), near)
        # The first-order change is zero; a second-order decrease of about 1e-3 squared times 40 points remains.
        assert -1.0 < other - top < 1e-9


def test_under_hathaways_bound_em_ends_on_finite_numbers_within_it(free: Points, em_step: Any):
    problem = Problem(beside(free, free[:, 0]), 2, "full", BoundedRatioPrior())
    mixture = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), problem, 1, 0))
    values = []
    for _ in range(50):
        mixture, log_joint = em_step(problem, mixture)
        values.append(float(log_joint))
    assert np.all(np.isfinite(values[1:])) and np.all(np.diff(values[1:]) > -1e-9 * abs(values[-1]))
    widths = np.asarray(jnp.linalg.svd(problem.rows.to_working(mixture).scale_trils, compute_uv=False)) ** 2
    assert widths.max() / widths.min() <= 100.0 * (1 + 1e-9)


def test_a_mixture_of_diagonal_or_spherical_covariances_takes_collinear_data(free: Points, em_step: Any):
    for family in ("diagonal", "spherical"):
        problem = Problem(beside(free, free[:, 0]), 2, family)
        mixture: Mixture = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), problem, 1, 0))
        for _ in range(30):
            mixture, _ = em_step(problem, mixture)
        assert Soundness().check(problem, mixture).sound
