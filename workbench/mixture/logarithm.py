"""A logarithm for many numbers at a time."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.lax import bitcast_convert_type

# ln 2 in two parts: an exponent times the first, of 24 bits, is exact.
LN_2_HIGH = float(np.float32(np.log(2.0)))
LN_2_LOW = -1.904654299957768e-9

# A float64's bits: so many of the fraction lie below the exponent's.
FRACTION_BITS = 52

# The bits of sqrt(1/2), so that fractions are split at it and not at 1.
ROOT_HALF = int(np.asarray(np.sqrt(0.5)).view(np.int64))

# Terms of the series: the next is below 2^-57 of the first where a fraction is furthest from 1.
TERMS = 10


@jax.custom_jvp
def log(x: Array) -> Array:
    """ln x, elementwise, to 1 unit in the last place of the larger of 1 and the result; -inf at 0, NaN below.

    XLA on a CPU computes `jnp.log` of float64 by a call for every number, for as long as seven exponentials take. This
    is plain arithmetic, which fills the units of a core: with `x = 2^e (1 + s) / (1 - s)` and a fraction between
    sqrt(1/2) and sqrt(2), `ln x = e ln 2 + 2 (s + s^3 / 3 + s^5 / 5 + ...)`, |s| < 0.172.

    Args:
        x: any shape; float64 numbers must be zero or normal, and finite. Of another type, `jnp.log` takes them.
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
    # NaN stays one.
    return jnp.where(x > 0.0, value, jnp.where(x == 0.0, -jnp.inf, jnp.nan))


log.defjvps(lambda tangent, _, x: tangent / x)
