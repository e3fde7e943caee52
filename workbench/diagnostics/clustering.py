"""Co-clustering: the chance that two points come from one component, one matrix for a point estimate and for draws.

It knows nothing of labels, so chains in different labellings give one answer that a point estimate can be held against.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.data import finite_points
from workbench.diagnostics.thinning import thinned
from workbench.mixture import Mixture

# Draws used, spread evenly over all chains: a matrix of more looks the same.
DRAWS_USED = 1000


def co_clustering(mixtures: Mixture, x: np.ndarray) -> np.ndarray:
    """`1/S sum_s sum_k r_snk r_smk` for two points n and m of x [N, D], and one on the diagonal. [N, N]

    Given a mixture, points come from their components independently of each other, so the chance that two come from one
    is the product of responsibilities. Memory is N^2.

    Args:
        mixtures: leaves [S, ...]; one mixture, a point estimate, is a sample of size one.
        x: points; rows of the data, or a few of them.

    Raises:
        InputError: the points are not such as a mixture can be asked about (`finite_points`).
    """
    points = finite_points(x, mixtures.num_dimensions)
    return np.asarray(_mean(jax.tree.map(jnp.asarray, thinned(mixtures, DRAWS_USED)), jnp.asarray(points)))


def together(responsibilities: Array) -> Array:
    """The chance that two points come from one component, from responsibilities [N, K]. [N, N]"""
    product = responsibilities @ responsibilities.T
    return jnp.where(jnp.eye(len(product), dtype=bool), 1.0, product)


def hierarchical_order(chances: np.ndarray) -> np.ndarray:
    """An order of the points in which those that cluster together [N, N] stand side by side. [N]

    Average linkage, its leaves ordered so that neighbours are as close as the tree allows (Bar-Joseph, Gifford &
    Jaakkola 2001, Bioinformatics 17).
    """
    # Slow to import; the package promises to import in little more time than numpyro itself.
    from scipy.cluster.hierarchy import average, leaves_list, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    if len(chances) < 3:
        return np.arange(len(chances))
    apart = squareform(np.clip(1.0 - chances, 0.0, 1.0), checks=False)
    return np.asarray(leaves_list(optimal_leaf_ordering(average(apart), apart)))


@jax.jit
def _mean(mixtures: Mixture, x: Array) -> Array:
    """Draw by draw, so that no more than one matrix is added at a time."""

    def add(total: Array, mixture: Mixture) -> tuple[Array, None]:
        return total + together(mixture.responsibilities(x)), None

    total, _ = jax.lax.scan(add, jnp.zeros((len(x), len(x)), x.dtype), mixtures)
    return total / len(mixtures.weights)
