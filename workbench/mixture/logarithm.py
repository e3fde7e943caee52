"""A vectorised logarithm."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.lax import bitcast_convert_type

# ln 2 in two parts. The first has 24 bits, so its product with an exponent is exact.
LN_2_HIGH = float(np.float32(np.log(2.0)))
LN_2_LOW = -1.904654299957768e-9

# The number of fraction bits of a float64, which lie below the exponent bits.
FRACTION_BITS = 52

# The bit pattern of sqrt(1/2): fractions lie between sqrt(1/2) and sqrt(2) instead of between 1 and 2.
ROOT_HALF = int(np.asarray(np.sqrt(0.5)).view(np.int64))

# Number of terms of the series: the next is below 2^-57 of the first for the fractions furthest from 1.
TERMS = 10


@jax.custom_jvp
def log(x: Array) -> Array:
    """ln x, elementwise, to 1 unit in the last place of the larger of 1 and the result; -inf at 0, NaN below.

    On a CPU, XLA computes `jnp.log` of float64 by a function call for every number, which takes as long as seven
    exponentials. This function uses plain arithmetic, which XLA vectorises. With `x = 2^e (1 + s) / (1 - s)` and the
    fraction `(1 + s) / (1 - s)` between sqrt(1/2) and sqrt(2), `ln x = e ln 2 + 2 (s + s^3 / 3 + s^5 / 5 + ...)`,
    |s| < 0.172.

    Args:
        x: any shape; float64 numbers must be finite, and zero or normal. Other dtypes are passed to `jnp.log`.
    """
    if x.dtype != jnp.float64:
        return jnp.log(x)
    bits = bitcast_convert_type(x, jnp.int64)
    exponent = (bits - ROOT_HALF) >> FRACTION_BITS
    fraction = bitcast_convert_type(bits - (exponent << FRACTION_BITS), x.dtype)
    s = (fraction - 1.0) / (fraction + 1.0)
    square = s * s
    series = jnp.full_like(s, 2.0 / (2 * TERMS + 1))
    for power in range(2 * TERMS - 1, 1, -2):
        series = series * square + 2.0 / power
    e = exponent.astype(x.dtype)
    value = e * LN_2_HIGH + (2.0 * s + (series * square * s + e * LN_2_LOW))
    # NaN stays NaN.
    return jnp.where(x > 0.0, value, jnp.where(x == 0.0, -jnp.inf, jnp.nan))


log.defjvps(lambda tangent, _, x: tangent / x)
