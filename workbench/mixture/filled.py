"""Mixtures in the shape of a common program: filled up to more components, cut to fewer, one column by variances."""

from dataclasses import replace

import numpy as np

from workbench.mixture.covariance.diagonal import Diagonal
from workbench.mixture.mixture import Mixture

# Programs for few components are compiled for this many: the additional components cost less than another compilation.
COMPONENTS = 9


def filled(mixtures: Mixture, components: int = COMPONENTS) -> Mixture:
    """The same densities with at least `components` components, as `of_variances`; leaves [..., K, ...], on the host.

    The added components come last and repeat each mixture's heaviest component with the smallest normal weight. At
    every point their contribution is below the rounding error of the heaviest component's. A weight of zero would have
    an infinite logarithm.
    """
    mixtures = of_variances(mixtures)
    weights, means, scales = (np.asarray(leaf) for leaf in (mixtures.weights, mixtures.means, mixtures.scales))
    k, family = means.shape[-2], mixtures.covariance
    more, heaviest = components - k, np.argmax(weights, axis=-1)
    if more <= 0:
        return mixtures
    tiny = np.full((*weights.shape[:-1], more), np.finfo(weights.dtype).tiny)
    if not family.is_shared:
        scales = _repeated(scales, heaviest, more)
    leaves = (np.concatenate([weights, tiny], -1), _repeated(means, heaviest, more), scales)
    return Mixture(*leaves, family, mixtures.background)  # type: ignore[arg-type]


def has_variances(mixtures: Mixture) -> bool:
    """Whether the mixtures have a 1 x 1 covariance matrix for each component."""
    return mixtures.covariance.is_unrestricted and mixtures.means.shape[-1] == 1


def of_variances(mixtures: Mixture) -> Mixture:
    """The same mixtures, leaves [..., K, ...], converted to the diagonal family if `has_variances`; on the host."""
    if not has_variances(mixtures):
        return mixtures
    scales = np.asarray(mixtures.scales)[..., 0]
    return replace(mixtures, scales=scales, covariance=Diagonal())  # type: ignore[arg-type]


def first_components(mixtures: Mixture, components: int) -> Mixture:
    """The first K components of mixtures with leaves [..., K', ...], their weights renormalised, on the host."""
    weights, means, scales = (np.asarray(leaf) for leaf in (mixtures.weights, mixtures.means, mixtures.scales))
    family = mixtures.covariance
    if components == means.shape[-2]:
        return mixtures
    weights, means = weights[..., :components], means[..., :components, :]
    if not family.is_shared:
        batch = (slice(None),) * (weights.ndim - 1)
        scales = scales[(*batch, slice(components))]
    shares = weights / np.sum(weights, -1, keepdims=True)
    return Mixture(shares, means, scales, family, mixtures.background)  # type: ignore[arg-type]


def _repeated(leaf: np.ndarray, chosen: np.ndarray, more: int) -> np.ndarray:
    """Append `more` copies of one chosen component of each mixture to its components [..., K, ...]."""
    axis = chosen.ndim
    last = np.take_along_axis(leaf, chosen.reshape(*chosen.shape, *(1,) * (leaf.ndim - axis)), axis)
    return np.concatenate([leaf, np.repeat(last, more, axis)], axis)
