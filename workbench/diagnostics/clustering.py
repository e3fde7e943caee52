"""Co-clustering: the probability that two points come from one component, as a matrix for a point estimate or draws.

It does not depend on labels, so chains in different labellings give one matrix, which a point estimate can be compared
with.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.data import by_name, finite_points
from workbench.diagnostics.predictive import thinned
from workbench.mixture import Mixture

# Draws used, spread evenly over all chains. More draws give nearly the same matrix.
DRAWS_USED = 1000


def co_clustering(mixtures: Mixture, x: np.ndarray) -> np.ndarray:
    """`1/S sum_s sum_k r_snk r_smk` for points n and m of x [N, D], and one on the diagonal. [N, N]

    Given a mixture, the components of two points are independent, so the probability that they are equal is the sum of
    products of responsibilities. Memory grows as N^2.

    Args:
        mixtures: leaves [S, ...]; one mixture, a point estimate, is a sample of size one.
        x: points; all rows of the data or some of them. [N, D]

    Raises:
        InputError: the points are not finite or have the wrong number of columns (`finite_points`).
    """
    points = finite_points(by_name(x, mixtures.columns), mixtures.num_dimensions)
    return np.asarray(_mean(jax.tree.map(jnp.asarray, thinned(mixtures, DRAWS_USED)), jnp.asarray(points)))


def together(responsibilities: Array) -> Array:
    """The probability that two points come from one component, from responsibilities [N, K]. [N, N]"""
    product = responsibilities @ responsibilities.T
    return jnp.where(jnp.eye(len(product), dtype=bool), 1.0, product)


def hierarchical_order(chances: np.ndarray) -> np.ndarray:
    """An order of the points that puts those with a high probability [N, N] of one component side by side. [N]

    It is the order of the leaves of average linkage in which neighbours are as close as the tree allows (Bar-Joseph,
    Gifford & Jaakkola 2001, Bioinformatics 17).
    """
    # This import is slow; the package promises to import in little more time than numpyro itself.
    from scipy.cluster.hierarchy import average, leaves_list, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    if len(chances) < 3:
        return np.arange(len(chances))
    apart = squareform(np.clip(1.0 - chances, 0.0, 1.0), checks=False)
    return np.asarray(leaves_list(optimal_leaf_ordering(average(apart), apart)))


@jax.jit
def _mean(mixtures: Mixture, x: Array) -> Array:
    """The mean of the matrices, added draw by draw so that memory holds two at a time."""

    def add(total: Array, mixture: Mixture) -> tuple[Array, None]:
        return total + together(mixture.responsibilities(x)), None

    total, _ = jax.lax.scan(add, jnp.zeros((len(x), len(x)), x.dtype), mixtures)
    return total / len(mixtures.weights)
