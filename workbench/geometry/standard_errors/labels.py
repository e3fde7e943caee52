"""Labels of replicates and draws: every one is called by the components of the estimate that it is nearest to."""

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
    clear: np.ndarray  # [B]   whether there is no doubt about the labels

    @property
    def ambiguous(self) -> float:
        """The share whose labels are in doubt: about half way between two orders."""
        return float(np.mean(~self.clear))


def labelled_as(estimate: Mixture, mixtures: Mixture) -> Labelled:
    """Mixtures with leaves [B, ...] under the best order of their components, and whether it is clear.

    The best order is the one of least divergence from the estimate (`matching.match`), as pivotal relabelling has it
    with the estimate for a pivot (Marin, Mengersen & Robert 2005), in a length that has no units.
    """
    (pivot,) = Components.of_all(jax.tree.map(lambda leaf: leaf[None], estimate))
    matches = [match(pivot, other) for other in Components.of_all(mixtures)]
    orders = jnp.asarray(np.stack([each.order for each in matches]))
    return Labelled(np.asarray(_ordered(mixtures, orders)), np.asarray([each.clear for each in matches]))


@jax.jit
def _ordered(mixtures: Mixture, orders: Array) -> Array:
    return jax.vmap(lambda mixture, order: natural(mixture.permute(order)))(mixtures, orders)
