"""Coordinates of the weights, found by name in `WEIGHTS`."""

import jax
import jax.numpy as jnp
from jax import Array

from workbench.charts.base import WeightCoordinates


class Softmax(WeightCoordinates):
    """`log w`, up to a constant: K coordinates with one direction too many, along which the weights do not change.

    Permuting components permutes the coordinates.
    """

    name = "softmax"
    summary = "logits of all K weights, one direction too many"

    def unconstrain(self, weights: Array) -> Array:
        """Log weights. [K]"""
        return jnp.log(weights)

    def constrain(self, free: Array) -> Array:
        """Softmax. [K]"""
        return jax.nn.softmax(free)


class LogRatio(WeightCoordinates):
    """`log w_k / w_K` for all but the last: no direction too many, and the last component is set apart.

    Aitchison (1986), "The statistical analysis of compositional data", the additive log-ratio.
    """

    name = "log_ratio"
    summary = "logits of K - 1 weights relative to the last"

    def unconstrain(self, weights: Array) -> Array:
        """Logits relative to the last. [K - 1]"""
        return jnp.log(weights[:-1]) - jnp.log(weights[-1])

    def constrain(self, free: Array) -> Array:
        """Softmax with a last logit of zero. [K]"""
        return jax.nn.softmax(jnp.append(free, 0.0))


class StickBreaking(WeightCoordinates):
    """The logit of the share that each component but the last takes of what its predecessors left.

    Shifted so that zeros are equal weights (Stan reference manual, "Unit simplex inverse transform"). The order of the
    components matters: permuting them is no permutation of the coordinates.
    """

    name = "stick_breaking"
    summary = "logits of the share each component takes of what is left, K - 1 of them"

    def unconstrain(self, weights: Array) -> Array:
        """`log(w_k / sum_{j > k} w_j) + log(K - k)`. [K - 1]"""
        left = jnp.cumsum(weights[::-1])[::-1][1:]
        return jnp.log(weights[:-1]) - jnp.log(left) + self._shifts(left)

    def constrain(self, free: Array) -> Array:
        """Shares broken off one after the other. [K]"""
        logits = free - self._shifts(free)
        left = jnp.append(0.0, jnp.cumsum(jax.nn.log_sigmoid(-logits)))  # log of what is left before each
        return jnp.exp(jnp.append(jax.nn.log_sigmoid(logits), 0.0) + left)

    def _shifts(self, like: Array) -> Array:
        return jnp.log(jnp.arange(len(like), 0, -1, dtype=like.dtype))


class RawWeights(WeightCoordinates):
    """The weights as they are. What they lack of a sum of one is shared out equally, so that the sum is kept.

    A gradient step is then a step along the gradient projected on the plane where weights sum to one. It can leave the
    simplex: weights can become negative. Permuting components permutes the coordinates.
    """

    name = "raw"
    summary = "the K weights as they are, their sum kept by projection; they can become negative"
    covers = False

    def unconstrain(self, weights: Array) -> Array:
        """The weights. [K]"""
        return weights

    def constrain(self, free: Array) -> Array:
        """The nearest point of the plane where weights sum to one. [K]"""
        return free + (1.0 - jnp.sum(free)) / len(free)


WEIGHTS: dict[str, WeightCoordinates] = {
    part.name: part for part in (Softmax(), LogRatio(), StickBreaking(), RawWeights())
}
