"""The vectorised logarithm agrees with NumPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench.mixture.arithmetic import log

LIMITS = np.finfo(float)


@pytest.mark.parametrize(
    "x",
    [
        np.linspace(1.0, 64.0, 20_001),
        1.0 + np.linspace(-1e-3, 1e-3, 20_001),
        np.exp(np.linspace(-708.0, 709.0, 20_001)),
        np.sqrt(0.5) * (1.0 + LIMITS.eps * np.arange(-4.0, 5.0)),
        np.array([LIMITS.tiny, 0.5, 1.0, np.nextafter(1.0, 2.0), np.sqrt(2.0), 2.0, LIMITS.max]),
    ],
    ids=["totals", "near one", "all exponents", "where fractions are split", "corners"],
)
def test_agrees_with_numpy_to_two_units_in_the_last_place(x: np.ndarray) -> None:
    # One unit in the last place for the rounding of each of the two results.
    np.testing.assert_array_max_ulp(np.asarray(log(jnp.asarray(x))), np.log(x), maxulp=2)


def test_is_minus_infinity_at_zero_and_not_a_number_where_there_is_none() -> None:
    x = jnp.asarray([0.0, -0.0, -1.0, -np.inf, np.nan])
    np.testing.assert_array_equal(log(x), [-np.inf, -np.inf, np.nan, np.nan, np.nan])


def test_float32_is_left_to_jax() -> None:
    x = jnp.linspace(1e-40, 64.0, 1_001, dtype=jnp.float32)
    assert log(x).dtype == jnp.float32
    np.testing.assert_array_equal(log(x), jnp.log(x))


def test_first_and_second_derivatives_are_those_of_a_logarithm() -> None:
    for x in (0.25, 1.0, 3.0):
        np.testing.assert_allclose(jax.grad(log)(x), 1.0 / x, rtol=LIMITS.eps)
        np.testing.assert_allclose(jax.jvp(jax.grad(log), (x,), (1.0,))[1], -1.0 / x**2, rtol=2 * LIMITS.eps)
