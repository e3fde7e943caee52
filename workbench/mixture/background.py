"""A uniform background beside the components: for points that belong to no group, noise or outliers.

    P(x) = b / V [x in the box] + (1 - b) sum_k pi_k N(x | mu_k, Sigma_k)

The box is the smallest that holds all points, and V its volume. This is the noise component of Banfield
& Raftery (1993), "Model-based Gaussian and non-Gaussian clustering", Biometrics 49. Its density is bounded, so that the
few points far from all groups need no component of their own, and pull at none. The weights pi of the components sum to
one, so that priors, charts and M-steps of the mixture of Gaussians are those without a background.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from workbench.data.dataset import extent_of
from workbench.data.observed import Observed
from workbench.display import as_html, short
from workbench.errors import InputError, checks_arguments, shown

if TYPE_CHECKING:
    from workbench.mixture.mixture import Mixture

# The number of the background among the components, in labels and draws.
BACKGROUND = -1

# The weight of the background where a start does not state one.
START = 0.05


@jax.tree_util.register_dataclass
@checks_arguments
@dataclass(frozen=True)
class Background:
    """A uniform density over a box and its weight, b above; batches have leading axes."""

    weight: Array  # []
    low: Array  # [D]
    high: Array  # [D]

    __repr__ = short
    _repr_html_ = as_html

    @classmethod
    def of(cls, data: Observed, given: "bool | Background") -> "Background":
        """The background of a problem: as given, or over the box of its points, or of the data set they are part of.

        Raises:
            InputError: what is given is no background, or its box does not hold the points.
        """
        if isinstance(given, bool | np.bool_):
            low, high = extent_of(data.x) if data.box is None else data.box
            return cls(jnp.asarray(START, float), jnp.asarray(low, float), jnp.asarray(high, float))
        if not isinstance(given, Background):
            raise InputError(f"background: must be True, False or a wb.Background, got {shown(given)}")
        lowest, highest = extent_of(data.x)
        checked = cls.checked(given.weight, given.low, given.high, len(lowest))
        if not np.all((np.asarray(checked.low) <= lowest) & (np.asarray(checked.high) >= highest)):
            raise InputError("background: the box must hold all points; lower low or raise high, or give True")
        return checked

    @classmethod
    def checked(cls, weight: Any, low: Any, high: Any, columns: int) -> "Background":
        """The background of these numbers, for so many columns.

        Raises:
            InputError: names the part that is no number, of another shape, or out of its range.
        """
        parts = []
        for name, given, shape in (("weight", weight, ()), ("low", low, (columns,)), ("high", high, (columns,))):
            try:
                number = np.asarray(given)
            except ValueError:
                number = np.empty(0, object)
            wanted = "a number" if shape == () else f"{columns} finite numbers, one for each column"
            if number.dtype.kind not in "iuf" or number.shape != shape or not np.all(np.isfinite(number)):
                raise InputError(f"background: {name}: give {wanted}, got {shown(given)}")
            parts.append(number.astype(float))
        if not 0 < parts[0] < 1:
            raise InputError(f"background: weight: must lie between 0 and 1, got {parts[0]:.6g}")
        with np.errstate(over="ignore"):
            lengths = parts[2] - parts[1]
        if not np.all((lengths > 0) & np.isfinite(lengths)):
            column = int(np.argmin((lengths > 0) & np.isfinite(lengths)))
            raise InputError(
                f"background: low and high: column {column + 1} reaches from {parts[1][column]:.6g} to "
                f"{parts[2][column]:.6g}; low must be below high, by a finite number"
            )
        return cls(*map(jnp.asarray, parts))

    def weighing(self, weight: Array) -> "Background":
        """The background over the same box with another weight; boxes are repeated for a batch of weights [...]."""
        low, high = (jnp.broadcast_to(edge, (*jnp.shape(weight), edge.shape[-1])) for edge in (self.low, self.high))
        return replace(self, weight=weight, low=low, high=high)

    @property
    def log_rest(self) -> Array:
        """The logarithm of what the background leaves for the components. []"""
        return jnp.log1p(-self.weight)

    @property
    def log_thinness(self) -> Array:
        """Minus the logarithm of the box's length in each column; their sum is the log-density in the box. [D]"""
        return -jnp.log(jax.lax.stop_gradient(self.high - self.low))

    def log_joint(self, points: Array) -> Array:
        """`log b - log V` of points [N, D] in the box, else -inf; missing cells (NaN) are marginalised. [N]"""
        there = ~jnp.isnan(points)
        inside = jnp.all(~there | ((points >= self.low) & (points <= self.high)), axis=-1)
        density = jnp.log(self.weight) + jnp.sum(jnp.where(there, self.log_thinness, 0.0), axis=-1)
        return jnp.where(inside, density, -jnp.inf)

    def between(self, other: "Background") -> "Background":
        """The background half way to another one over the same box."""
        return self.weighing(jnp.asarray(0.5 * (self.weight + other.weight)))

    def affine(self, scale: ArrayLike, shift: ArrayLike) -> "Background":
        """The background of `scale x + shift`, both [D]; no scale is zero."""
        ends = [end * jnp.asarray(scale) + jnp.asarray(shift) for end in (self.low, self.high)]
        return replace(self, low=jnp.minimum(*ends), high=jnp.maximum(*ends))

    def of_columns(self, index: ArrayLike) -> "Background":
        """The background of some columns; batches have leading axes."""
        return replace(self, low=self.low[..., index], high=self.high[..., index])

    def sample(self, key: Array, size: int, others: Callable[[Array, int], tuple[Array, Array]]) -> tuple[Array, Array]:
        """Draws, and the components they came from: each from the background by its weight, else from `others`."""
        own, kind, rest = jax.random.split(key, 3)
        x, components = others(rest, size)
        even = jax.random.uniform(own, x.shape, x.dtype, self.low, self.high)
        outside = jax.random.uniform(kind, (size,), x.dtype) < self.weight
        return jnp.where(outside[:, None], even, x), jnp.where(outside, BACKGROUND, components)


def of_all_points(mixture: "Mixture") -> Array:
    """The weights of a mixture's components among all points, of which a background takes its share first. [..., K]"""
    back = mixture.background
    return mixture.weights if back is None else mixture.weights * (1.0 - back.weight)[..., None]


def check_beside(*, is_streamed: bool, has_fixed: bool) -> None:
    """Check that a background can stand beside what else a problem has.

    Raises:
        InputError: the points are read in blocks, or parameters are fixed.
    """
    for is_so, what, remedy in (
        (is_streamed, "a background needs points in memory", "use a sample of them"),
        (has_fixed, "parameters cannot be held fixed beside a background", "leave fixed out"),
    ):
        if is_so:
            raise InputError(f"background: {what}; {remedy}, or set background = false")


def components_alone(mixture: "Mixture", what: str) -> None:
    """Refuse a mixture with a background, for which a function is not defined.

    Raises:
        InputError: there is one; says how to leave it out.
    """
    if mixture.background is not None:
        raise InputError(
            f"{what}: not defined for a mixture with a uniform background; "
            "dataclasses.replace(mixture, background=None) has the components alone"
        )
