"""The one pass agrees with SciPy's likelihood, the E-step's sums and autodiff, to the accuracy that it states."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import summed
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray

from workbench.charts import SCALES
from workbench.engine.layout import MOST
from workbench.engine.one_pass import _plain_pass, log_likelihood, one_pass
from workbench.engine.rows import Rows
from workbench.mixture import COVARIANCES, Mixture

K = 3
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
# A mixture for which the expanded form is used, and one with a component so narrow that the whitened form is used.
WIDTHS = pytest.mark.parametrize("width", [1.0, 1e-3], ids=["wide", "narrow"])

Points = NDArray[np.float64]
Random = Callable[..., Mixture]
Reference = Callable[[Mixture, Points], float]

sweep = jax.jit(one_pass)
derivative = jax.jit(jax.grad(log_likelihood))


def rows_of(x: Points, family: str, components: int = K) -> Rows:
    return Rows.of(x, COVARIANCES[family], components)


def standardise(x: Points) -> Points:
    return np.asarray((x - x.mean(0)) / x.std(0))


def plain(mixture: Mixture, x: Points) -> jax.Array:
    """The same likelihood for plain autodiff: without a custom rule and without `Rows`."""
    return jnp.sum(mixture.log_density(x))


plain_derivative = jax.jit(jax.grad(plain))


@FAMILIES
def test_accuracy_on_standardised_data(
    family: str, points: Points, random_mixture: Random, reference_log_likelihood: Reference
) -> None:
    x = standardise(points)
    mixture = random_mixture(x, K, family, seed=0)
    # The stated 1e-12: a sum of 60 terms, each accurate to a few eps.
    assert sweep(mixture, rows_of(x, family))[0] == pytest.approx(reference_log_likelihood(mixture, x), rel=1e-12)


@FAMILIES
def test_accuracy_with_data_a_million_standard_deviations_from_zero(
    family: str, points: Points, random_mixture: Random, reference_log_likelihood: Reference
) -> None:
    x = standardise(points) + 1e6
    mixture = random_mixture(x, K, family, seed=0)
    # The stated 1e-9: a value of 1e6 standard deviations is rounded by 1e-10 of one.
    assert sweep(mixture, rows_of(x, family))[0] == pytest.approx(reference_log_likelihood(mixture, x), rel=1e-9)


@FAMILIES
def test_accuracy_with_a_component_a_millionth_as_wide_as_the_data(
    family: str, points: Points, random_mixture: Random, reference_log_likelihood: Reference
) -> None:
    x = standardise(points)
    x[:20] = x[0] + 1e-6 * np.random.default_rng(2).normal(size=(20, 2))
    wide = random_mixture(x, K, family, seed=0)
    scales = np.array(wide.scales)
    shared = COVARIANCES[family].is_shared
    narrow = scales if shared else scales[1]
    narrow *= 1e-6
    scales = scales.copy() if shared else np.concatenate([scales[:1], narrow[None], scales[2:]])
    means = np.array(wide.means)
    means[1] = x[0]
    mixture = Mixture(wide.weights, jnp.asarray(means), jnp.asarray(scales), wide.covariance)
    rows = rows_of(x, family)
    # The stated 1e-6: a row is rounded by 1e-16 of the data's width, so by 1e-10 of the component's, squared by 1e4.
    assert sweep(mixture, rows)[0] == pytest.approx(reference_log_likelihood(mixture, x), rel=1e-6)


@FAMILIES
def test_accuracy_in_float32_at_32_dimensions(
    family: str, random_mixture: Random, reference_log_likelihood: Reference
) -> None:
    x = np.random.default_rng(3).normal(size=(200, 32))
    mixture = random_mixture(x, K, family, seed=0)
    with jax.enable_x64(False):
        single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), mixture)
        value, statistics = sweep(single, rows_of(x, family))
    assert value.dtype == jnp.float32 and statistics.second.dtype == jnp.float32
    # The stated 1e-5: about a hundred rounding errors of 6e-8.
    assert float(value) == pytest.approx(reference_log_likelihood(mixture, x), rel=1e-5)


@FAMILIES
@WIDTHS
def test_statistics_are_the_weighted_moments_about_the_means(
    family: str,
    width: float,
    points: Points,
    random_mixture: Random,
    component_log_joint: Callable[[Mixture, Points], Points],
) -> None:
    mixture = random_mixture(points, K, family, seed=4, width=width)
    joint = component_log_joint(mixture, points)
    r = np.exp(joint - joint.max(1, keepdims=True))
    r /= r.sum(1, keepdims=True)
    difference = points[:, None] - np.asarray(mixture.means)  # [N, K, D]
    counts, first, second = sweep(mixture, rows_of(points, family))[1]
    # Log-joints reach 1e6 where a component is narrow, and responsibilities carry their absolute error, 1e-10.
    near = {"rtol": 1e-8, "atol": 1e-8}
    np.testing.assert_allclose(counts, r.sum(0), **near)
    np.testing.assert_allclose(first, np.einsum("nk,nkd->kd", r, difference), **near)
    dense = np.einsum("nk,nki,nkj->kij", r, difference, difference)
    np.testing.assert_allclose(second, summed(family, dense), **near)


@FAMILIES
@WIDTHS
def test_gradient_is_autodiffs(family: str, width: float, points: Points, random_mixture: Random) -> None:
    mixture = random_mixture(points, K, family, seed=5, width=width)
    got = derivative(mixture, rows_of(points, family))
    expected = plain_derivative(mixture, points)
    for g, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        # Sums of 60 terms that partly cancel: relative to the largest entry.
        np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-10 * np.max(np.abs(e)))


@jax.jit
def hessians(mixture: Mixture, rows: Rows, x: jax.Array) -> tuple[jax.Array, ...]:
    """Hessians in weights, means and free coordinates of the scales: ours in both nesting orders, then autodiff's."""
    family, free_scales = mixture.covariance, SCALES["log_cholesky"]
    free = (mixture.weights, mixture.means, free_scales.unconstrain(mixture.scales, family))
    flat, unravel = ravel_pytree(free)

    def built(v: jax.Array) -> Mixture:
        weights, means, scales = unravel(v)
        return Mixture(weights, means, free_scales.constrain(scales, family), family)

    def ours(v: jax.Array) -> jax.Array:
        return log_likelihood(built(v), rows)

    expected = jax.hessian(lambda v: plain(built(v), x))(flat)
    return jax.jacfwd(jax.grad(ours))(flat), jax.jacrev(jax.jacfwd(ours))(flat), expected


@pytest.mark.slow
@FAMILIES
@WIDTHS
def test_hessian_is_autodiffs_in_both_orders(family: str, width: float, points: Points, random_mixture: Random) -> None:
    mixture = random_mixture(points, 2, family, seed=6, width=width)
    first, second, expected = hessians(mixture, rows_of(points, family), points)
    # As for the gradient, but the squares of the narrow component's precisions cancel.
    near = {"rtol": 1e-7, "atol": 1e-9 * np.max(np.abs(expected))}
    np.testing.assert_allclose(first, expected, **near)
    np.testing.assert_allclose(second, expected, **near)


@FAMILIES
def test_a_batch_gives_what_a_loop_gives(family: str, points: Points, random_mixture: Random) -> None:
    # One of the batch is narrow, so that both forms of the sweep are taken in one call.
    each = [random_mixture(points, K, family, seed=s, width=w) for s, w in ((1, 1.0), (2, 1e-3), (3, 0.3))]
    rows = rows_of(points, family)
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    together = jax.jit(jax.vmap(one_pass, in_axes=(0, None)))(batch, rows)
    slopes = jax.jit(jax.vmap(jax.grad(log_likelihood), in_axes=(0, None)))(batch, rows)
    for r, mixture in enumerate(each):
        alone = (sweep(mixture, rows), derivative(mixture, rows))
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves((together, slopes)), strict=True):
            # A batched product may add in another order; the tolerance is relative to the largest entry.
            np.testing.assert_allclose(b[r], a, rtol=1e-9, atol=1e-10 * (1 + np.max(np.abs(a))))


@pytest.mark.parametrize("n", [2, MOST - 1, MOST, MOST + 1, 2 * MOST + 276])
@pytest.mark.parametrize("family", ["full", "tied"])
def test_chunks_change_nothing(
    n: int, family: str, points: Points, random_mixture: Random, reference_log_likelihood: Reference
) -> None:
    x = np.random.default_rng(n).normal(size=(n, 2))
    mixture = random_mixture(standardise(points), K, family, seed=0)
    rows = rows_of(x, family)
    value, statistics = sweep(mixture, rows)
    # Sums of up to 2300 terms have more rounding errors than those of 60, but still less than 1e-12 of the total.
    assert value == pytest.approx(reference_log_likelihood(mixture, x), rel=1e-12)
    assert float(jnp.sum(statistics.counts)) == pytest.approx(len(x), rel=1e-13)


def test_a_batch_does_not_compute_the_form_that_none_of_it_needs(points: Points, random_mixture: Random) -> None:
    x = standardise(points)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), random_mixture(x, 6, "full", seed=0))
    program = jax.jit(jax.vmap(_plain_pass, in_axes=(0, None))).lower(batch, rows_of(x, "full", 6)).compile().as_text()
    whitened = re.compile(r'op_name="[^"]*/while/body/(exp|dot_general)"')
    assert whitened.search(program)
    # Count the operations outside the loop, whose body runs only if a mixture is narrow.
    assert not whitened.search(program[program.index("\nENTRY") :])


def test_derivatives_with_respect_to_the_data_are_refused(points: Points, random_mixture: Random) -> None:
    mixture, rows = random_mixture(points, K, "full", seed=0), rows_of(points, "full")
    with pytest.raises(TypeError, match="derivatives with respect to the data are not defined"):
        jax.grad(lambda z: log_likelihood(mixture, replace(rows, z=z)))(rows.z)


def test_far_rows_keep_a_finite_likelihood_and_gradient(points: Points, random_mixture: Random) -> None:
    # At 1e4 standard deviations every component's density underflows; its logarithm does not.
    x = points.copy()
    x[0] = 1e6
    mixture, rows = random_mixture(points, K, "full", seed=0), rows_of(x, "full")
    leaves = jax.tree.leaves((sweep(mixture, rows), derivative(mixture, rows)))
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves)


@FAMILIES
@pytest.mark.parametrize("one", [one_pass, _plain_pass], ids=["native", "jax"])
def test_padding_does_not_hide_a_density_of_zero(
    family: str, one: Callable[..., Any], points: Points, random_mixture: Random
) -> None:
    # 30 rows are padded to 32, and every density underflows.
    x = points[:30]
    mixture = random_mixture(x, K, family, seed=0)
    value, _ = jax.jit(one)(replace(mixture, means=mixture.means + 1e200), rows_of(x, family))
    assert float(value) == -np.inf


@FAMILIES
@pytest.mark.parametrize("width", [0.3, 1.0])
def test_the_derivative_by_a_weight_of_zero_is_the_sum_of_density_ratios(
    family: str, width: float, points: Points, random_mixture: Random
) -> None:
    mixture = random_mixture(points, K, family, seed=4, width=width)
    mixture = replace(mixture, weights=jnp.array([0.4, 0.0, 0.6]))
    densities = np.exp(np.asarray(replace(mixture, weights=jnp.ones(K)).component_log_joint(points)))  # [N, K]
    density = densities @ np.asarray(mixture.weights)
    expected = np.sum(densities / density[:, None], axis=0)
    # Quotients of sums of 60 terms, whose exponents are some hundreds with a relative error of eps each.
    pass_rule = jax.jit(jax.grad(log_likelihood))(mixture, rows_of(points, family))
    np.testing.assert_allclose(pass_rule.weights, expected, rtol=1e-11)
    np.testing.assert_allclose(plain_derivative(mixture, points).weights, expected, rtol=1e-11)
    # The derivatives with respect to the other parameters are those of the mixture without the component.
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(pass_rule))
    assert log_likelihood(mixture, rows_of(points, family)) == pytest.approx(np.sum(np.log(density)), rel=1e-12)
