"""Mixtures filled up with components of next to no weight, so that one compiled program serves many numbers of them.

Those of one column have variances in these programs, and no covariances of side one: a factor of a matrix is a call of
LAPACK for each component, which takes longer than all the rest of a small pass.
"""

import numpy as np

from workbench.mixture.covariance import Diagonal, Full
from workbench.mixture.mixture import Mixture

# Where components are few, programs are made for so many: compiling takes longer than what the others cost.
COMPONENTS = 9


def filled(mixtures: Mixture, components: int = COMPONENTS) -> Mixture:
    """The same densities with leaves [..., K, ...] for K components at least, as `of_variances`, on the host.

    What comes last repeats each mixture's heaviest component at the smallest normal weight: beside that component it
    is less than rounding in every sum, at every point. A weight of zero would have no logarithm.
    """
    mixtures = of_variances(mixtures)
    weights, means, scales = (np.asarray(leaf) for leaf in (mixtures.weights, mixtures.means, mixtures.scales))
    (k, d), family = means.shape[-2:], mixtures.covariance
    more, heaviest = components - k, np.argmax(weights, axis=-1)
    if more <= 0:
        return mixtures
    none = np.full((*weights.shape[:-1], more), np.finfo(weights.dtype).tiny)
    if family.shape(1, d) != family.shape(2, d):
        scales = _repeated(scales, heaviest, more)
    leaves = (np.concatenate([weights, none], -1), _repeated(means, heaviest, more), scales)
    return Mixture(*leaves, family)  # type: ignore[arg-type]


def has_variances(mixtures: Mixture) -> bool:
    """Whether each component's own covariance is a matrix of side one."""
    return isinstance(mixtures.covariance, Full) and mixtures.means.shape[-1] == 1


def of_variances(mixtures: Mixture) -> Mixture:
    """The same mixtures, leaves [..., K, ...], of the diagonal family if `has_variances`."""
    if not has_variances(mixtures):
        return mixtures
    return Mixture(mixtures.weights, mixtures.means, mixtures.scales[..., 0], Diagonal())


def first_components(mixtures: Mixture, components: int) -> Mixture:
    """The first K components of mixtures with leaves [..., K', ...], their weights in proportion, on the host."""
    weights, means, scales = (np.asarray(leaf) for leaf in (mixtures.weights, mixtures.means, mixtures.scales))
    (before, d), family = means.shape[-2:], mixtures.covariance
    if components == before:
        return mixtures
    weights, means = weights[..., :components], means[..., :components, :]
    if family.shape(1, d) != family.shape(2, d):
        batch = (slice(None),) * (weights.ndim - 1)
        scales = scales[(*batch, slice(components))]
    return Mixture(weights / np.sum(weights, -1, keepdims=True), means, scales, family)  # type: ignore[arg-type]


def _repeated(leaf: np.ndarray, chosen: np.ndarray, more: int) -> np.ndarray:
    """One of the components [..., K, ...] of each mixture, so often again behind the others."""
    axis = chosen.ndim
    last = np.take_along_axis(leaf, chosen.reshape(*chosen.shape, *(1,) * (leaf.ndim - axis)), axis)
    return np.concatenate([leaf, np.repeat(last, more, axis)], axis)
