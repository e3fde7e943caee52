"""Labels of replicates and draws: their components are matched to the nearest components of the estimate."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.geometry.standard_errors.natural import natural
from workbench.mixture import Mixture
from workbench.mixture.matching import Components, match


class Labelled(NamedTuple):
    """Natural parameters in the order of the estimate's components."""

    values: np.ndarray  # [B, Q]
    clear: np.ndarray  # [B]   whether the order is unambiguous

    @property
    def ambiguous(self) -> float:
        """The share of ambiguous mixtures, for which two orders fit about equally well."""
        return float(np.mean(~self.clear))


def labelled_as(estimate: Mixture, mixtures: Mixture) -> Labelled:
    """Mixtures with leaves [B, ...], with their components in the best order, and whether that order is clear.

    The best order has the least divergence from the estimate (`matching.match`). This is pivotal relabelling with the
    estimate as the pivot (Marin, Mengersen & Robert 2005), with a distance that does not depend on units.
    """
    (pivot,) = Components.of_all(jax.tree.map(lambda leaf: leaf[None], estimate))
    matches = [match(pivot, other) for other in Components.of_all(mixtures)]
    orders = jnp.asarray(np.stack([each.order for each in matches]))
    return Labelled(np.asarray(_ordered(mixtures, orders)), np.asarray([each.clear for each in matches]))


@jax.jit
def _ordered(mixtures: Mixture, orders: Array) -> Array:
    return jax.vmap(lambda mixture, order: natural(mixture.permute(order)))(mixtures, orders)
