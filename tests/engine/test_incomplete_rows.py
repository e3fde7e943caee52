"""The one pass over rows with missing cells: SciPy's likelihood of the cells that are there, and its derivatives."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from workbench.data.incomplete import completed_by_gaussian
from workbench.data.observed import Observed
from workbench.engine.incomplete import FEWEST, IncompleteRows
from workbench.engine.one_pass import log_likelihood, one_pass
from workbench.engine.rows import Rows
from workbench.errors import InputError
from workbench.mixture import COVARIANCES, Mixture

N, D, K = 60, 3, 3
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)

Points = NDArray[np.float64]
Random = Callable[..., Mixture]

sweep = jax.jit(one_pass)
derivative = jax.jit(jax.grad(log_likelihood))


@pytest.fixture(scope="module")
def x() -> Points:
    """Correlated points, a fifth of whose cells are missing: all patterns but the empty one occur. [N, D]"""
    rng = np.random.default_rng(1)
    whole = rng.normal(size=(N, D)) @ rng.normal(size=(D, D)) + [0.0, 10.0, 5.0]
    lost = rng.random((N, D)) < 0.2
    lost[:6] = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]
    lost[np.all(lost, axis=1)] = False
    return np.where(lost, np.nan, whole)


@pytest.fixture(scope="module")
def whole(x: Points) -> Points:
    return completed_by_gaussian(x)[1]


def rows_of(x: Points, family: str) -> IncompleteRows:
    data = Observed.of(x, K, missing="marginal")
    return IncompleteRows.of_points(data, COVARIANCES[family], K)


def each_log_joint(mixture: Mixture, x: Points) -> Points:
    """By SciPy, from the dense covariances of the cells that are there. [N, K]"""
    weights, means, covariances = (np.asarray(a) for a in (mixture.weights, mixture.means, mixture.covariances))

    def of(row: Points, k: int) -> float:
        there = ~np.isnan(row)
        return float(
            np.log(weights[k])
            + multivariate_normal(means[k][there], covariances[k][np.ix_(there, there)]).logpdf(row[there])
        )

    return np.array([[of(row, k) for k in range(len(weights))] for row in x])


@FAMILIES
def test_the_likelihood_is_that_of_the_cells_that_are_there(
    family: str, x: Points, whole: Points, random_mixture: Random
) -> None:
    mixture = random_mixture(whole, K, family, seed=2)
    value, _ = sweep(mixture, rows_of(x, family))
    assert float(value) == pytest.approx(logsumexp(each_log_joint(mixture, x), axis=1).sum(), rel=1e-12)


@FAMILIES
def test_the_statistics_are_those_expected_of_whole_rows(
    family: str, x: Points, whole: Points, random_mixture: Random
) -> None:
    mixture = random_mixture(whole, K, family, seed=3)
    joint = each_log_joint(mixture, x)
    r = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    counts, first, second = np.zeros(K), np.zeros((K, D)), np.zeros((K, D, D))
    for n, row in enumerate(x):
        there, lost = np.flatnonzero(~np.isnan(row)), np.flatnonzero(np.isnan(row))
        for k in range(K):
            s, gap = np.asarray(mixture.covariances[k]), np.zeros(D)
            gap[there] = row[there] - np.asarray(mixture.means)[k, there]
            slope = np.linalg.solve(s[np.ix_(there, there)], s[np.ix_(there, lost)]).T
            gap[lost] = slope @ gap[there]
            spread = np.zeros((D, D))
            spread[np.ix_(lost, lost)] = s[np.ix_(lost, lost)] - slope @ s[np.ix_(there, lost)]
            counts[k] += r[n, k]
            first[k] += r[n, k] * gap
            second[k] += r[n, k] * (np.outer(gap, gap) + spread)
    _, found = sweep(mixture, rows_of(x, family))
    np.testing.assert_allclose(found.counts, counts, rtol=1e-10)
    np.testing.assert_allclose(found.first, first, rtol=1e-9, atol=1e-9)
    expected = COVARIANCES[family].moments(jnp.asarray(second))
    np.testing.assert_allclose(found.second, expected, rtol=1e-9, atol=1e-9)


@FAMILIES
def test_derivatives_are_those_of_the_likelihood(family: str, x: Points, whole: Points, random_mixture: Random) -> None:
    mixture, rows = random_mixture(whole, K, family, seed=4), rows_of(x, family)
    slope = derivative(mixture, rows)
    leaves, structure = jax.tree.flatten(mixture)
    rng = np.random.default_rng(0)
    ways = [jnp.asarray(rng.normal(size=leaf.shape)) * 0.1 for leaf in leaves]
    if COVARIANCES[family].has_correlations:
        ways[2] = jnp.tril(ways[2])

    @jax.jit
    def at(step: jax.Array) -> jax.Array:
        return log_likelihood(
            jax.tree.unflatten(structure, [a + step * way for a, way in zip(leaves, ways, strict=True)]), rows
        )

    predicted = sum(float(jnp.sum(a * way)) for a, way in zip(jax.tree.leaves(slope), ways, strict=True))
    step = 1e-6
    # Central differences: rounding of 1e-13 over the step, and a third derivative times its square.
    assert predicted == pytest.approx(float(at(step) - at(-step)) / (2 * step), rel=1e-6, abs=1e-5)
    slope_of = jax.jit(jax.grad(at))
    curvature = float(jax.jit(jax.grad(slope_of))(0.0))
    assert curvature == pytest.approx(float(slope_of(step) - slope_of(-step)) / (2 * step), rel=1e-6, abs=1e-4)


@FAMILIES
def test_rows_without_a_missing_cell_are_swept_as_ever(family: str, whole: Points, random_mixture: Random) -> None:
    mixture = random_mixture(whole, K, family, seed=5)
    value, statistics = sweep(mixture, rows_of(whole, family))
    expected, same = sweep(mixture, Rows.of(whole, COVARIANCES[family], K))
    assert float(value) == pytest.approx(float(expected), rel=1e-12)
    for one, other in zip(statistics, same, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_rows_are_found_at_their_numbers_completed_and_chunks_hold_one_pattern(x: Points, whole: Points) -> None:
    rows = rows_of(x, "full")
    np.testing.assert_allclose(rows.at(jnp.arange(N)), whole, rtol=1e-13)
    assert rows.observed is not None and rows.z.shape[-1] >= FEWEST
    assert int(jnp.sum(rows.counted)) == N
    assert len(np.unique(np.asarray(rows.observed), axis=0)) == 2**D - 1


def test_a_weight_of_two_counts_a_row_twice(x: Points, whole: Points, random_mixture: Random) -> None:
    mixture, rows = random_mixture(whole, K, "full", seed=6), rows_of(x, "full")
    weights = np.where(np.arange(N) < N // 2, 2.0, 0.0)  # a sum of N
    value, statistics = sweep(mixture, rows.weighted(jnp.asarray(weights)))
    joint = each_log_joint(mixture, x[: N // 2])
    assert float(value) == pytest.approx(2 * logsumexp(joint, axis=1).sum(), rel=1e-12)
    assert float(jnp.sum(statistics.counts)) == pytest.approx(N)


def test_what_cannot_marginalise_is_refused(x: Points) -> None:
    rows = rows_of(x, "full")
    for call in (lambda: rows.sum(lambda *_: 0.0, ()), lambda: rows.minibatch(jax.random.key(0), 5)):
        with pytest.raises(InputError, match=r'cells are missing.*missing = "drop"'):
            call()
