"""A mixture in the terms of other packages: scikit-learn's fitted `GaussianMixture`, and NumPyro's distribution."""

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpy.typing import ArrayLike, NDArray
from numpyro.distributions import constraints
from scipy.linalg import solve_triangular

from workbench.errors import InputError, one_line, shown
from workbench.mixture.background import Background, components_alone
from workbench.mixture.covariance import covariance_named
from workbench.mixture.mixture import Mixture

# scikit-learn's names of the covariance families, and ours.
FAMILIES = {"full": "full", "tied": "tied", "diag": "diagonal", "spherical": "spherical"}
TYPES = {ours: theirs for theirs, ours in FAMILIES.items()}

Numbers = NDArray[np.float64]


def to_sklearn(mixture: Mixture) -> Any:
    """A fitted `sklearn.mixture.GaussianMixture` with these parameters; see `Mixture.to_sklearn`.

    A family that scikit-learn does not know becomes full.
    """
    if find_spec("sklearn") is None:
        raise InputError("to_sklearn: needs scikit-learn; pip install 'workbench[sklearn]'")
    components_alone(mixture, "to_sklearn")
    if np.ndim(mixture.weights) != 1:
        raise InputError(f"to_sklearn: {mixture!r} is several mixtures; give one")
    kind = TYPES.get(mixture.covariance.name, "full")
    # Imported late: an extra that takes a second to import.
    fitted = import_module("sklearn.mixture").GaussianMixture(mixture.num_components, covariance_type=kind)
    fitted.weights_, fitted.means_, fitted.covariances_, root = parameters_of(mixture, kind)
    fitted.precisions_cholesky_ = root
    fitted.precisions_ = root @ np.swapaxes(root, -1, -2) if kind in ("full", "tied") else root**2
    fitted.n_features_in_, fitted.converged_, fitted.n_iter_ = mixture.num_dimensions, True, 0
    return fitted


def from_sklearn(fitted: Any) -> Mixture:
    """The mixture of a fitted estimator of scikit-learn; see `Mixture.from_sklearn`."""
    names = ("covariance_type", "weights_", "means_", "precisions_cholesky_")
    missing = [name for name in names if not hasattr(fitted, name)]
    if missing:
        raise InputError(
            f"fitted: {type(fitted).__name__} has no {' and no '.join(missing)}; give a GaussianMixture after its fit"
        )
    kind = fitted.covariance_type
    if kind not in TYPES.values():
        raise InputError(f"fitted: covariance_type is {shown(kind)}; allowed: {', '.join(FAMILIES)}")
    weights, means, roots = (_finite(name, getattr(fitted, name)) for name in names[1:])
    if means.ndim != 2 or weights.shape != means.shape[:1]:
        raise InputError(f"fitted: weights_ {weights.shape} and means_ {means.shape} are not [K] and [K, D]")
    k, d = means.shape
    expected = {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}[kind]
    if roots.shape != expected:
        raise InputError(f"fitted: precisions_cholesky_ has shape {roots.shape}; a {kind} mixture has {expected}")
    if np.any(weights < 0) or not np.isclose(np.sum(weights), 1.0, rtol=0, atol=1e-3):
        raise InputError(f"fitted: weights_ must be non-negative and sum to 1, got {shown(weights.tolist())}")
    if np.any((np.diagonal(roots, axis1=-2, axis2=-1) if kind in ("full", "tied") else roots) <= 0):
        raise InputError(f"fitted: precisions_cholesky_ must be positive on its diagonal, got {shown(roots.tolist())}")
    return with_precisions(weights, means, roots, FAMILIES[kind])


def _finite(name: str, given: Any) -> Numbers:
    """An array of a fitted estimator."""
    try:
        array = np.asarray(given, float)
    except (TypeError, ValueError):
        array = np.asarray(np.nan)
    if not np.all(np.isfinite(array)):
        raise InputError(f"fitted: {name} must be finite numbers, got {one_line(shown(given))}; fit it first")
    return array


def parameters_of(mixture: Mixture, kind: str) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Weights, means, covariances and Cholesky factors of precisions in the shapes of scikit-learn's `kind`.

    A mixture of one dimension may be of the diagonal family where `kind` is "full".
    """
    weights, means, scales = (np.asarray(leaf, float) for leaf in (mixture.weights, mixture.means, mixture.scales))
    if kind not in ("full", "tied"):
        return weights, means, scales**2, 1.0 / scales
    d = mixture.num_dimensions
    factors = np.asarray(mixture.scale_trils, float) if kind == "full" else scales.reshape(d, d)
    return weights, means, factors @ np.swapaxes(factors, -1, -2), _inverse_transpose(factors, lower=True)


def with_precisions(weights: ArrayLike, means: ArrayLike, precisions_cholesky: ArrayLike, family: str) -> Mixture:
    """The mixture of a family from weights, means and scikit-learn's `precisions_cholesky_`, on the host.

    Weights are scaled to sum to one: those of scikit-learn's starts need not. Matrices of one dimension may be given
    for the diagonal family.
    """
    w, root = np.asarray(weights, float), np.asarray(precisions_cholesky, float)
    kind = covariance_named(family)
    mu = np.asarray(means, float)
    scales = _inverse_transpose(root, lower=False) if kind.has_correlations else 1.0 / root
    scales = scales.reshape(kind.shape(*mu.shape))
    return Mixture(w / np.sum(w), mu, scales, kind)  # type: ignore[arg-type]


def _inverse_transpose(factors: Numbers, *, lower: bool) -> Numbers:
    """`L^-T` of triangular matrices [..., D, D]."""
    d = factors.shape[-1]
    inverses = [solve_triangular(one, np.eye(d), lower=lower).T for one in factors.reshape(-1, d, d)]
    return np.stack(inverses).reshape(factors.shape)


def to_numpyro(mixture: Mixture) -> Any:
    """The mixture as a NumPyro distribution over points [..., D], of one column as well.

    It is a `MixtureSameFamily` of `MultivariateNormal`. A background is the first part of a `MixtureGeneral`, whose
    second part are the components.
    """
    components = dist.MultivariateNormal(mixture.means, scale_tril=mixture.scale_trils)
    density = dist.MixtureSameFamily(dist.Categorical(probs=mixture.weights), components)
    back = mixture.background
    if back is None:
        return density
    box = dist.Uniform(back.low, back.high, validate_args=False).to_event(1)
    either = dist.Categorical(probs=jnp.stack([back.weight, 1.0 - back.weight]))
    return dist.MixtureGeneral(either, [box, density], support=constraints.real_vector)


def from_numpyro(distribution: Any) -> Mixture:
    """The mixture of a NumPyro distribution: full for multivariate normals, otherwise diagonal.

    Args:
        distribution: a `MixtureSameFamily` of `MultivariateNormal`, of `Normal(...).to_event(1)` or, for one column, of
            `Normal`; or such a mixture beside a uniform density, as `to_numpyro` gives it.

    Raises:
        InputError: it is none of these, or a batch of several.
    """
    if isinstance(distribution, dist.MixtureGeneral) and not distribution.batch_shape:
        return _beside_background(distribution)
    if not isinstance(distribution, dist.MixtureSameFamily) or distribution.batch_shape:
        raise InputError(f"distribution: {type(distribution).__name__} is no mixture of Gaussians; {_REMEDY}")
    weights = np.asarray(distribution.mixing_distribution.probs, float)
    component = distribution.component_distribution
    if isinstance(component, dist.MultivariateNormal):
        # NumPyro keeps means or covariances that components share once.
        k, d = len(weights), component.event_shape[0]
        trils = np.broadcast_to(np.asarray(component.scale_tril, float), (k, d, d))
        means = np.broadcast_to(np.asarray(component.loc, float), (k, d))
        return Mixture.from_covariances(weights, means, trils @ np.swapaxes(trils, -1, -2), "full")
    normal = component.base_dist if isinstance(component, dist.Independent) else component
    if not isinstance(normal, dist.Normal) or len(component.event_shape) > 1:
        raise InputError(f"distribution: its components are {type(component).__name__}; {_REMEDY}")
    shape = (*component.batch_shape, *component.event_shape)
    means, deviations = (
        np.broadcast_to(np.asarray(a, float), shape).reshape(len(weights), -1) for a in (normal.loc, normal.scale)
    )
    return Mixture.from_covariances(weights, means, deviations**2, "diagonal")


_REMEDY = (
    "give a MixtureSameFamily of MultivariateNormal, of Normal(...).to_event(1), or of Normal, or a MixtureGeneral of "
    "a Uniform(...).to_event(1) and such a mixture"
)


def _beside_background(distribution: dist.MixtureGeneral) -> Mixture:
    """The mixture of a `MixtureGeneral` of a uniform density over a box and a mixture of Gaussians."""
    box, *others = distribution.component_distributions
    uniform = getattr(box, "base_dist", None)
    if not isinstance(uniform, dist.Uniform) or len(others) != 1 or not isinstance(others[0], dist.MixtureSameFamily):
        kinds = ", ".join(type(part).__name__ for part in (box, *others))
        raise InputError(f"distribution: a MixtureGeneral of {kinds} is no mixture of Gaussians; {_REMEDY}")
    components = from_numpyro(others[0])
    low, high = (np.broadcast_to(np.asarray(end, float), box.event_shape) for end in (uniform.low, uniform.high))
    weight = np.asarray(distribution.mixing_distribution.probs, float)[0]
    return replace(components, background=Background.checked(weight, low, high, components.num_dimensions))
