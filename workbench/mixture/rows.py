"""The data as the one pass reads them: standardised, cut into chunks, with what never changes worked out once."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.mixture.covariance import Covariance, Statistics
from workbench.mixture.mixture import Mixture

# Rows per chunk: the features and responsibilities of a chunk stay in a core's cache (512 to 1024 measured best).
CHUNK = 512


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Rows:
    """Points `z = matrix^-1 (x - shift)` in working units, in which the data have mean zero and unit covariance.

    The matrix is the one its covariance family admits, so that a mixture of the family stays one of the family.
    Working units keep the expanded form of the one pass accurate and optimisers' coordinates well scaled; everything
    outside the pass and the charts is in the data's own units.
    """

    z: Array  # [C, B, D]   chunks of rows, the last padded with zeros
    counted: Array  # [C, B]   1 for a point, 0 for padding
    shift: Array  # [D]
    matrix: Array  # [D, D]   lower triangular
    inverse: Array  # [D, D]
    total: Array  # [D, D]   sum_n z_n z_n^T
    num_points: int = field(metadata={"static": True})

    @classmethod
    def of(cls, x: np.ndarray, covariance: Covariance) -> "Rows":
        """Rows of points x [N, D] for a covariance family."""
        n, d = x.shape
        shift = np.mean(x, axis=0)
        centred = x - shift
        spread = centred.T @ centred / n
        matrix = covariance.units(spread)
        inverse = np.linalg.inv(matrix) if d > 1 else 1.0 / matrix
        z = centred @ inverse.T
        size = min(CHUNK, n)
        chunks = -(-n // size)
        padded = np.zeros((chunks * size, d))
        padded[:n] = z
        counted = (np.arange(chunks * size) < n).astype(float)
        return cls(
            z=jnp.asarray(padded.reshape(chunks, size, d)),
            counted=jnp.asarray(counted.reshape(chunks, size)),
            shift=jnp.asarray(shift),
            matrix=jnp.asarray(matrix),
            inverse=jnp.asarray(inverse),
            total=jnp.asarray(z.T @ z),
            num_points=n,
        )

    @property
    def log_determinant(self) -> Array:
        """Log-determinant of `matrix`: what a log density gains per point when it changes to working units."""
        return jnp.sum(jnp.log(jnp.diagonal(self.matrix)))

    def to_working(self, mixture: Mixture) -> Mixture:
        """The mixture of `z`."""
        means = (mixture.means - self.shift) @ self.inverse.T
        scales = mixture.covariance.transform(mixture.scales, self.inverse)
        return Mixture(mixture.weights, means, scales, mixture.covariance)

    def from_working(self, mixture: Mixture) -> Mixture:
        """Inverse of `to_working`."""
        means = self.shift + mixture.means @ self.matrix.T
        scales = mixture.covariance.transform(mixture.scales, self.matrix)
        return Mixture(mixture.weights, means, scales, mixture.covariance)

    def statistics_from_working(self, statistics: Statistics, covariance: Covariance) -> Statistics:
        """Statistics about the origins `c` from those of `z` about the working origins."""
        second = covariance.transform_second(statistics.second, self.matrix)
        return Statistics(statistics.counts, statistics.first @ self.matrix.T, second)
