"""The native pass computes what the pass in JAX does, for all families, forms, sizes, weights, batches and dtypes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.engine import native
from workbench.engine.one_pass import _plain_pass, log_likelihood, one_pass
from workbench.engine.rows import Rows
from workbench.kernel import library
from workbench.mixture import COVARIANCES, Mixture, Statistics

# A family of a user's own takes the pass in JAX.
SERVED = sorted(name for name, family in COVARIANCES.items() if type(family) in native.FAMILIES)
FAMILIES = pytest.mark.parametrize("family", SERVED)
pytestmark = pytest.mark.skipif(library() is None, reason="the native pass is not built")

passed = jax.jit(native.statistics)
both_ways = jax.jit(lambda mixture, rows: (native.statistics(mixture, rows), _plain_pass(mixture, rows)))
with_rows = jax.jit(lambda mixture, rows: (native.statistics(mixture, rows), rows.at(jnp.arange(rows.num_rows))))
factored = jax.jit(lambda covariances, family: family.factor(covariances), static_argnums=1)
moments = jax.jit(lambda second, family: family.moments(second), static_argnums=1)


def problem(
    n: int, d: int, k: int, family: str, seed: int = 0, width: float = 1.0, **rows: Any
) -> tuple[Mixture, Rows]:
    """A mixture with means among the points, and components `width` times as wide as is plausible."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) + 2.0 * rng.integers(0, 3, size=(n, 1)) + 5.0
    covariance = COVARIANCES[family]
    roots = 0.3 * rng.normal(size=(k, d, d)) + np.eye(d)
    covariances = width**2 * (roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(d))
    scales = factored(covariance.nearest(covariances), covariance)
    weights, means = jnp.asarray(rng.dirichlet(np.ones(k))), jnp.asarray(x[rng.integers(0, n, k)])
    return Mixture(weights, means, scales, covariance), Rows.of(x, covariance, k, **rows)


def expected(mixture: Mixture, x: Any, counts: Any = 1.0) -> tuple[Any, ...]:
    """Log-likelihood, counts, first and second moments about the means, in plain NumPy with dense covariances."""
    family, (k, d) = mixture.covariance, mixture.means.shape
    trils = np.asarray(family.scale_trils(mixture.scales, k, d))
    gaps = np.asarray(x) - np.asarray(mixture.means)[:, None]  # [K, N, D]
    white = np.linalg.solve(trils, gaps.swapaxes(1, 2))
    log_joint = np.log(np.asarray(mixture.weights)) - np.log(np.diagonal(trils, axis1=1, axis2=2)).sum(1)
    log_joint = log_joint[:, None] - 0.5 * (d * np.log(2 * np.pi) + (white**2).sum(1))
    largest = log_joint.max(0)
    total = np.exp(log_joint - largest).sum(0)
    shares = np.exp(log_joint - largest) / total * counts
    second = np.einsum("kn,kni,knj->kij", shares, gaps, gaps)
    value = np.sum(counts * (largest + np.log(total)))
    return value, shares.sum(1), np.einsum("kn,kni->ki", shares, gaps), moments(second, family)


def distance(found: Any, expected: Any) -> float:
    """The largest difference of any array, relative to that array's largest number."""
    each = (map(np.asarray, jax.tree.leaves(side)) for side in (found, expected))
    return max(float(np.max(np.abs(a - b)) / (np.max(np.abs(b)) + 1e-300)) for a, b in zip(*each, strict=True))


def _nested(found: tuple[Any, ...]) -> tuple[Any, Statistics]:
    return found[0], Statistics(*found[1:])


@FAMILIES
@pytest.mark.parametrize("width", [1.0, 1e-3], ids=["wide", "narrow"])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 8, 9, 17])
def test_it_agrees_with_the_pass_in_jax(family: str, width: float, d: int) -> None:
    mixture, rows = problem(700, d, 3, family, width=width)
    # Narrow components take differences of numbers 1,000 times as large, of which three digits are lost.
    assert distance(*both_ways(mixture, rows)) < (1e-13 if width == 1 else 1e-10)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 40),
    d=st.integers(1, 6),
    k=st.integers(1, 14),
    family=st.sampled_from(SERVED),
    weighted=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_it_agrees_for_any_shape(n: int, d: int, k: int, family: str, weighted: bool, seed: int) -> None:
    weights = np.random.default_rng(seed).uniform(0.0, 2.0, n + d + 1) if weighted else None
    mixture, rows = problem(n + d + 1, d, k, family, seed=seed, weights=weights)
    found, x = with_rows(mixture, rows)
    assert distance(found, _nested(expected(mixture, x, 1.0 if weights is None else weights))) < 1e-11


@FAMILIES
def test_every_remainder_of_a_vector_is_counted(family: str) -> None:
    # Rows that are drawn, or given to units that are known, are not padded: the last vector is filled to any degree.
    mixture, rows = problem(64, 2, 2, family)
    x = np.asarray(rows.at(jnp.arange(17)))

    @jax.jit
    def of_every_size(mixture: Mixture, rows: Rows) -> list[Any]:
        return [native.statistics(mixture, rows.holding(x[:size])) for size in range(1, 18)]

    for size, found in enumerate(of_every_size(mixture, rows), start=1):
        assert distance(found, _nested(expected(mixture, x[:size]))) < 1e-12, size
    part = rows.minibatch(jax.random.key(0), 13)
    assert distance(passed(mixture, part), _nested(expected(mixture, part.at(jnp.arange(13))))) < 1e-12


@FAMILIES
@pytest.mark.parametrize("width", [1.0, 1e-3], ids=["wide", "narrow"])
def test_a_batch_gives_each_mixture_the_bits_that_it_has_alone(family: str, width: float) -> None:
    first, rows = problem(300, 3, 4, family, seed=1)
    second, _ = problem(300, 3, 4, family, seed=2, width=width)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), first, second)
    together = jax.jit(jax.vmap(native.statistics, in_axes=(0, None)))(both, rows)
    for place, alone in enumerate((first, second)):
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(passed(alone, rows)), strict=True):
            np.testing.assert_array_equal(a[place], b)


def test_nested_batches_and_rows_of_their_own_are_told_apart() -> None:
    mixture, _ = problem(50, 2, 3, "full")
    rows = [problem(50, 2, 3, "full", seed=seed)[1].of_any_size() for seed in (3, 4)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)
    grid = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf, leaf]), mixture)
    inner = jax.vmap(native.log_likelihood, in_axes=(0, None))
    values = jax.vmap(inner, in_axes=(None, 0))(grid, stacked)
    for row, own in zip(values, rows, strict=True):
        np.testing.assert_array_equal(row, np.full(3, native.log_likelihood(mixture, own)))


@FAMILIES
def test_float32_agrees_to_its_rounding(family: str) -> None:
    with jax.enable_x64(False):
        mixture, rows = problem(900, 4, 3, family)
        mixture = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), mixture)
        assert native.serves(mixture, rows)
        # Sums of 900 terms, each off by a few units of 1.2e-7, and covariances about means ten deviations away.
        assert distance(*both_ways(mixture, rows)) < 2e-5


@FAMILIES
def test_the_value_alone_is_that_of_the_pass(family: str) -> None:
    mixture, rows = problem(300, 3, 4, family)
    assert float(jax.jit(native.log_likelihood)(mixture, rows)) == float(passed(mixture, rows)[0])


@FAMILIES
def test_a_component_of_weight_zero_takes_nothing(family: str) -> None:
    mixture, rows = problem(100, 2, 3, family)
    weights = jnp.asarray([0.5, 0.0, 0.5])
    empty = Mixture(weights, mixture.means, mixture.scales, mixture.covariance)
    (value, statistics), plain = both_ways(empty, rows)
    assert np.isfinite(value)
    assert statistics.counts[1] == 0.0
    assert distance((value, statistics), plain) < 1e-13


@FAMILIES
@pytest.mark.parametrize("leaf", ["weights", "means", "scales"])
def test_what_is_not_a_number_stays_one(family: str, leaf: str) -> None:
    mixture, rows = problem(100, 2, 3, family)
    broken = {name: np.array(getattr(mixture, name)) for name in ("weights", "means", "scales")}
    broken[leaf][(0,) * broken[leaf].ndim] = np.nan
    value, _ = passed(Mixture(**broken, covariance=mixture.covariance), rows)
    assert np.isnan(value)


def test_rows_far_from_all_components_keep_a_finite_likelihood() -> None:
    mixture, _ = problem(100, 2, 3, "full")
    x = np.random.default_rng(0).normal(size=(100, 2))
    x[0] = 1e6
    rows = Rows.of(x, mixture.covariance, 3)
    assert distance(passed(mixture, rows), _nested(expected(mixture, x))) < 1e-12


def test_the_pass_and_its_gradient_use_it_and_second_derivatives_do_not() -> None:
    mixture, rows = problem(100, 2, 2, "full")
    for function in (one_pass, log_likelihood, jax.grad(log_likelihood)):
        assert "workbench_pass" in str(jax.make_jaxpr(function)(mixture, rows))

    def change(mixture: Mixture) -> Any:
        return jax.jvp(lambda given: one_pass(given, rows), (mixture,), (mixture,))

    assert "workbench_pass" not in str(jax.make_jaxpr(change)(mixture))


def test_the_switch_and_other_processors_leave_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture, rows = problem(100, 2, 2, "full")
    assert native.serves(mixture, rows)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not native.serves(mixture, rows)
