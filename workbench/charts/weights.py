"""Coordinates of the weights, found by name in `WEIGHTS`."""

import jax
import jax.numpy as jnp
from jax import Array

from workbench.charts.base import WeightCoordinates


class Softmax(WeightCoordinates):
    """`log w`, up to a constant: K coordinates with one redundant direction, along which the weights do not change.

    Permuting components permutes the coordinates.
    """

    name = "softmax"
    summary = "logits of all K weights, with one redundant direction"

    def unconstrain(self, weights: Array) -> Array:
        """Log weights. [K]"""
        return jnp.log(weights)

    def constrain(self, free: Array) -> Array:
        """Softmax. [K]"""
        return jax.nn.softmax(free)


class LogRatio(WeightCoordinates):
    """`log(w_k / w_K)` for all components but the last: no redundant direction, but the last component is special.

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
    """Logits of the fraction that each component but the last takes of the weight that its predecessors leave.

    They are shifted so that zeros give equal weights (Stan reference manual, "Unit simplex inverse transform"). The
    order of the components matters: permuting them does not permute the coordinates.
    """

    name = "stick_breaking"
    summary = "K - 1 logits of the fraction that each component takes of the remaining weight"

    def unconstrain(self, weights: Array) -> Array:
        """`log(w_k / sum_{j > k} w_j) + log(K - k)`. [K - 1]"""
        left = jnp.cumsum(weights[::-1])[::-1][1:]
        return jnp.log(weights[:-1]) - jnp.log(left) + self._shifts(left)

    def constrain(self, free: Array) -> Array:
        """Weights by breaking off one fraction after the other. [K]"""
        logits = free - self._shifts(free)
        left = jnp.append(0.0, jnp.cumsum(jax.nn.log_sigmoid(-logits)))  # log of the weight that is left before each
        return jnp.exp(jnp.append(jax.nn.log_sigmoid(logits), 0.0) + left)

    def _shifts(self, like: Array) -> Array:
        return jnp.log(jnp.arange(len(like), 0, -1, dtype=like.dtype))


class RawWeights(WeightCoordinates):
    """The weights themselves, shifted by a common amount so that they sum to one.

    A gradient step is therefore a step along the gradient projected on the plane where weights sum to one. It can leave
    the simplex, where weights become negative. Permuting components permutes the coordinates.
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
