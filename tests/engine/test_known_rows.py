"""The one pass over rows of known components: a plain formula's likelihood, statistics, gradient and Hessian."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import summed
from jax.scipy.special import logsumexp
from numpy.typing import NDArray
from plain_density import component_terms

from workbench.data.known import UNKNOWN
from workbench.data.observed import Observed
from workbench.engine.incomplete import IncompleteRows
from workbench.engine.known import KnownRows
from workbench.engine.one_pass import allocated_statistics, log_likelihood, one_pass
from workbench.errors import InputError
from workbench.mixture import COVARIANCES, Mixture

N, D, K = 60, 3, 3
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
HOLES = pytest.mark.parametrize("holes", [False, True], ids=["whole", "missing cells"])

Points = NDArray[np.float64]
Random = Callable[..., Mixture]

sweep = jax.jit(one_pass)


@pytest.fixture(scope="module")
def x() -> Points:
    """Correlated points. [N, D]"""
    rng = np.random.default_rng(1)
    return rng.normal(size=(N, D)) @ rng.normal(size=(D, D)) + [0.0, 10.0, 5.0]


@pytest.fixture(scope="module")
def known() -> NDArray[np.int64]:
    """Two rows in five are known; no row of the last component is. [N]"""
    return np.random.default_rng(2).choice([UNKNOWN, 0, 1], N, p=[0.6, 0.3, 0.1])


def with_holes(x: Points, holes: bool) -> Points:
    lost = np.random.default_rng(3).random(x.shape) < 0.2 * holes
    lost[np.all(lost, axis=1)] = False
    return np.where(lost, np.nan, x)


def rows_of(x: Points, known: NDArray[np.int64], family: str) -> IncompleteRows | KnownRows:
    data = Observed.of(x, K, missing="marginal", label_known=known)
    kind = KnownRows if data.completed is None else IncompleteRows
    rows = kind.of_points(data, COVARIANCES[family], K)
    assert isinstance(rows, IncompleteRows | KnownRows)
    return rows


def formula(mixture: Mixture, x: Points, known: NDArray[np.int64], weights: Points | None = None) -> jax.Array:
    """The log-likelihood of labelled and other rows, as it stands in books. []"""
    joint = component_terms(mixture, x)
    own = jnp.where(known == UNKNOWN, logsumexp(joint, axis=1), joint[np.arange(len(x)), np.maximum(known, 0)])
    return jnp.sum(own if weights is None else own * weights)


@HOLES
@FAMILIES
def test_value_and_slope_are_those_of_the_plain_formula(
    family: str, holes: bool, x: Points, known: NDArray[np.int64], random_mixture: Random
) -> None:
    mixture, held = random_mixture(x, K, family, seed=2), with_holes(x, holes)
    value, slope = jax.jit(jax.value_and_grad(log_likelihood))(mixture, rows_of(held, known, family))
    expected, steep = jax.jit(jax.value_and_grad(lambda own: formula(own, held, known)))(mixture)
    assert float(value) == pytest.approx(float(expected), rel=1e-12)
    for one, other in zip(jax.tree.leaves(slope), jax.tree.leaves(steep), strict=True):
        own, theirs = np.asarray(one), np.asarray(other)
        if own.ndim == 3 or own.shape == (D, D):
            # A factor has no entries above its diagonal.
            own, theirs = np.tril(own), np.tril(theirs)
        # Sums of N terms, each of 1e-13 of the largest.
        np.testing.assert_allclose(own, theirs, rtol=1e-9, atol=1e-9 * np.max(np.abs(theirs)))


@FAMILIES
def test_the_hessian_is_that_of_the_plain_formula(
    family: str, x: Points, known: NDArray[np.int64], random_mixture: Random
) -> None:
    mixture, rows = random_mixture(x, K, family, seed=3), rows_of(x, known, family)

    def moved(means: jax.Array, weights: jax.Array) -> Mixture:
        return Mixture(weights, means, mixture.scales, mixture.covariance)

    given = (mixture.means, mixture.weights)
    found = jax.jit(jax.hessian(lambda *leaves: log_likelihood(moved(*leaves), rows), argnums=(0, 1)))(*given)
    expected = jax.jit(jax.hessian(lambda *leaves: formula(moved(*leaves), x, known), argnums=(0, 1)))(*given)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-8 * np.max(np.abs(other)))


@FAMILIES
def test_statistics_have_responsibilities_of_0_and_1_where_components_are_known(
    family: str, x: Points, known: NDArray[np.int64], random_mixture: Random
) -> None:
    mixture = random_mixture(x, K, family, seed=4)
    joint = np.asarray(component_terms(mixture, x))
    r = np.exp(joint - np.log(np.exp(joint).sum(axis=1, keepdims=True)))
    r = np.where(known[:, None] == UNKNOWN, r, np.arange(K) == known[:, None])
    gaps = x[:, None] - np.asarray(mixture.means)  # [N, K, D]
    _, found = sweep(mixture, rows_of(x, known, family))
    np.testing.assert_allclose(found.counts, r.sum(axis=0), rtol=1e-10)
    np.testing.assert_allclose(found.first, np.einsum("nk,nki->ki", r, gaps), rtol=1e-9, atol=1e-9)
    second = summed(family, np.einsum("nk,nki,nkj->kij", r, gaps, gaps))
    np.testing.assert_allclose(found.second, second, rtol=1e-9, atol=1e-9)


@HOLES
def test_a_weight_of_two_counts_a_known_row_twice(
    holes: bool, x: Points, known: NDArray[np.int64], random_mixture: Random
) -> None:
    mixture, held = random_mixture(x, K, "full", seed=5), with_holes(x, holes)
    weights = np.where(np.arange(N) < N // 2, 2.0, 0.0)  # a sum of N
    rows = rows_of(held, known, "full")
    value, statistics = sweep(mixture, rows.weighted(jnp.asarray(weights)))
    assert float(value) == pytest.approx(float(formula(mixture, held, known, weights)), rel=1e-12)
    assert float(jnp.sum(statistics.counts)) == pytest.approx(N)


def test_rows_are_found_at_their_numbers_and_keep_what_is_known(x: Points, known: NDArray[np.int64]) -> None:
    rows = rows_of(x, known, "full")
    assert isinstance(rows, KnownRows)
    np.testing.assert_allclose(rows.at(jnp.arange(N)), x, rtol=1e-12)
    np.testing.assert_array_equal(rows.each_known[:N], known)
    np.testing.assert_array_equal(rows.each_known[N:], UNKNOWN)
    np.testing.assert_array_equal(rows.anchored(K), [True, True, False])
    np.testing.assert_allclose(rows.total, N * np.eye(D), rtol=1e-9, atol=1e-9)


def test_with_missing_cells_a_chunk_has_one_component(x: Points, known: NDArray[np.int64]) -> None:
    rows = rows_of(with_holes(x, True), known, "full")
    assert isinstance(rows, IncompleteRows) and rows.known is not None and rows.place is not None
    np.testing.assert_array_equal(np.asarray(rows.known)[np.asarray(rows.place) // rows.z.shape[-1]], known)


def test_a_minibatch_keeps_what_is_known_of_its_rows(
    x: Points, known: NDArray[np.int64], random_mixture: Random
) -> None:
    rows, mixture = rows_of(x, known, "full"), random_mixture(x, K, "full", seed=6)
    batch = jax.jit(lambda key: rows.minibatch(key, 20))(jax.random.key(3))
    drawn = np.asarray(batch.at(jnp.arange(20)))
    places = np.argmin(np.sum((drawn[:, None] - x) ** 2, axis=-1), axis=1)
    assert isinstance(batch, KnownRows)
    np.testing.assert_array_equal(batch.each_known, known[places])
    assert float(sweep(mixture, batch)[0]) == pytest.approx(
        float(formula(mixture, x[places], known[places])), rel=1e-12
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_a_known_row_is_allocated_to_its_component(
    weighted: bool, x: Points, known: NDArray[np.int64], random_mixture: Random
) -> None:
    mixture = random_mixture(x, K, "full", seed=7)
    weights = np.where(np.arange(N) % 3 == 0, 3.0, 1.0)
    every = np.where(known == UNKNOWN, np.arange(N) % K, known)
    data = Observed.of(x, K, label_known=every, weights=weights if weighted else None)
    rows = KnownRows.of_points(data, COVARIANCES["full"], K)
    # All are known: every draw has the same statistics, those of the pass.
    drawn = jax.jit(allocated_statistics)(jax.random.key(0), mixture, rows)
    for one, other in zip(drawn, sweep(mixture, rows)[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(drawn.counts, np.bincount(every, weights if weighted else None), rtol=1e-12)


def test_random_statistics_have_the_expectation_of_the_pass(
    x: Points, known: NDArray[np.int64], random_mixture: Random
) -> None:
    rows, mixture = rows_of(x, known, "full"), random_mixture(x, K, "full", seed=8)
    keys = jax.random.split(jax.random.key(1), 2000)
    drawn = jax.jit(lambda: jax.lax.map(lambda key: allocated_statistics(key, mixture, rows).counts, keys))()
    expected = sweep(mixture, rows)[1].counts
    errors = np.std(drawn, axis=0) / np.sqrt(len(keys))
    # Four standard errors of independent draws.
    assert np.all(np.abs(np.mean(drawn, axis=0) - expected) < 4 * errors)
    assert np.min(drawn[:, 0]) >= np.sum(known == 0) and np.max(drawn[:, 2]) <= np.sum(known == UNKNOWN)


def test_other_sums_over_known_rows_are_refused(x: Points, known: NDArray[np.int64]) -> None:
    rows = rows_of(x, known, "full")
    key = jax.random.key(0)
    for call in (
        lambda: rows.sum(lambda *_: 0.0, ()),
        lambda: rows.random_sum(lambda *_: 0.0, (), key),
        lambda: rows.holding(jnp.asarray(x[:5])),
    ):
        with pytest.raises(InputError, match=r"label_known: .* leave label_known out"):
            call()
