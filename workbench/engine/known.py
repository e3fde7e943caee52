"""Rows of which some have a known component, as the one pass reads them: each chunk holds rows of one component.

A row of known component k counts by `pi_k N(x_n | mu_k, Sigma_k)`, and any other by the sum over all components. In a
chunk of known rows the log-weights of other components are minus infinity. Responsibilities there are 0 and 1, and
statistics, Fisher's identity, gradients and Hessians all follow.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np
from jax import Array

from workbench.data.known import divided
from workbench.data.observed import Observed
from workbench.engine.grouped import GroupedRows
from workbench.engine.rows import RESIDENT_BYTES, Chunk, Sums
from workbench.errors import InputError
from workbench.mixture.covariance import Covariance


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class KnownRows(GroupedRows):
    """Rows without a missing cell, of which some have a known component."""

    why: ClassVar[str] = (
        "label_known: components of rows are known, which this computation cannot use; leave label_known out"
    )

    @classmethod
    def of_points(cls, data: Observed, covariance: Covariance, components: int) -> "KnownRows":
        """Rows of points [N, D] for a covariance family, in memory on one device.

        Args:
            data: the points, with the known components.
            covariance: the covariance family.
            components: K, for which the chunk size is tuned.

        Raises:
            InputError: the points are so many that they would be streamed.
        """
        if 8 * data.x.size > RESIDENT_BYTES:
            raise InputError(f"label_known: needs points of at most {RESIDENT_BYTES} bytes; use a sample of them")
        groups = divided(np.arange(len(data.x)), data.known)
        return cls.of_groups(data, groups, covariance, components, covariance.units(data.moments.covariance))[0]

    def component_sum(self, chunk: Chunk, log_weights: Array, parameters: tuple[Any, ...]) -> Sums:
        """`sum_c chunk((log_weights_c, *parameters), z_c, counted_c)` with the log-weights of each chunk (`masked`)."""

        def of_component(given: Any, number: Array, z: Array, counted: Array) -> Sums:
            (log_weights, *others), rows = given
            return chunk((rows.masked(log_weights, number), *others), z, counted)

        return self._sum(of_component, ((log_weights, *parameters), self))
