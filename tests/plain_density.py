"""The density of components at points of which cells may be missing, by JAX's normal density: an oracle of the pass."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import multivariate_normal
from numpy.typing import NDArray

from workbench.mixture import Mixture


@jax.jit
def component_terms(mixture: Mixture, x: NDArray[np.float64]) -> jax.Array:
    """`ln pi_k N(x_n | mu_k, Sigma_k)` of the cells that are there, by JAX's own density. [N, K]

    A missing cell stands as an independent standard normal at its mean, whose density is taken off again.
    """
    there = jnp.asarray(~jnp.isnan(x), float)  # [N, D]
    filled = jnp.where(there > 0, jnp.nan_to_num(x), 0.0)

    def of(row: jax.Array, seen: jax.Array) -> jax.Array:
        means, covariances = mixture.means * seen, mixture.covariances * seen[:, None] * seen
        density = multivariate_normal.logpdf(row, means, covariances + jnp.diag(1.0 - seen))
        return jnp.log(mixture.weights) + density + 0.5 * jnp.sum(1.0 - seen) * jnp.log(2 * jnp.pi)

    return jnp.asarray(jax.vmap(of)(filled, there))
