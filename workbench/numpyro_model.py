"""The NumPyro model of a problem in two forms: written out for readers, and evaluated by the one pass."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import gammaln
from jax.typing import ArrayLike
from numpyro.distributions import constraints
from numpyro.infer.reparam import Reparam
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from workbench.data import by_name, finite_points
from workbench.data.weights import check_whole
from workbench.engine.known import known_observations, masked
from workbench.errors import InputError, checks_arguments
from workbench.mixture import Mixture
from workbench.mixture.converted import to_numpyro
from workbench.problem import Problem

# The smallest gap between ordered means at the start of a chain, in standard deviations of the first column. Starts at
# points with tied values are common, and the logarithm of a gap of zero is not finite.
LEAST_GAP = 1e-6

F = TypeVar("F", bound=Callable[..., Any])


@checks_arguments
def mixture_model(problem: Problem, x: ArrayLike | None = None) -> None:
    """The mixture as a NumPyro model; pass `x=problem.x` to condition on it, or omit x to predict N new points.

    The sites are those of the prior (`weights`, `means`, ...) and `x` [N, D]. With `x=problem.x` the log density equals
    `problem.log_joint`. If its rows have weights, these are the powers of their densities, and the N new points are the
    sum of the weights.

    With ordered labels, the sites `means_ascending` [K] and `means_rest` [K, D - 1] replace `means`, and the log
    density is larger by `ln K!`, so that the evidence is the same.

    Raises:
        InputError: parameters are held fixed; parameters are to be drawn, and the prior is improper or labels are
            ordered; or x are no points of the problem, or not as many.
    """
    _check_free(problem)
    mixture = mixture_sites(problem)
    density = to_numpyro(mixture)
    if problem.weights is None or x is None:
        size = round(problem.num_points)
        with numpyro.plate("points", size):
            numpyro.sample("x", density, obs=_observed(problem, x, size))
        return
    with numpyro.plate("points", problem.num_rows), numpyro.handlers.scale(scale=problem.weights):
        numpyro.sample("x", density, obs=_observed(problem, x, problem.num_rows))


def one_pass_model(problem: Problem) -> None:
    """The same joint density with the likelihood as one factor, evaluated by the one pass; NUTS uses this model."""
    mixture = mixture_sites(problem)
    numpyro.factor("log_likelihood", problem.log_likelihood(mixture))


def mixture_sites(problem: Problem) -> Mixture:
    """The sites of the prior for the problem's labels, with which each model begins."""
    ordered = {"means": _Ascending()} if problem.labels == "ordered" else {}
    try:
        with numpyro.handlers.reparam(config=ordered):
            mixture = problem.prior.sites(problem.components, problem.covariance, problem.hyperparameters)
    except NotImplementedError:
        raise _nothing_to_draw(problem) from None
    if problem.background is None:
        return mixture
    return replace(mixture, background=problem.background.weighing(numpyro.sample("background", dist.Uniform())))


class ImproperError(InputError, NotImplementedError):
    """Parameters are to be drawn from a density that is improper; NumPyro itself expects its second class."""


def _nothing_to_draw(problem: Problem) -> ImproperError:
    """The error of a model whose sites are improper and have no values yet."""
    changes = [] if problem.prior.proper else ["a prior that can be drawn from, as wb.ConjugatePrior()"]
    changes += ['labels = "free"'] if problem.labels == "ordered" else []
    return ImproperError(
        f"prior: {problem.prior!r} with {problem.labels} labels has improper sites, from which no parameters can be "
        f"drawn; give {' and '.join(changes)}, or their values by numpyro.handlers.substitute"
    )


def _check_free(problem: Problem) -> None:
    """Refuse parameters that are held fixed, for which the models that are written out have sites."""
    if problem.fixed:
        raise InputError(
            "fixed: the models that are written out hold no parameters fixed; condition their sites by "
            "numpyro.handlers.condition, or leave fixed out"
        )


class _Ascending(Reparam):  # type: ignore[misc]
    """Means [K, D] whose first coordinates ascend, with K! times the density of unconstrained means.

    The prior is exchangeable, so this is the density of its ordered draws. Ordered means cannot be sampled site by
    site, because means may depend on covariances. The sites are therefore improper, and a factor adds the density.
    """

    def __call__(self, name: str, fn: Any, obs: Array | None) -> tuple[None, Array]:
        k, d = fn.shape()
        first = numpyro.sample(f"{name}_ascending", dist.ImproperUniform(constraints.ordered_vector, (), (k,)))
        rest = numpyro.sample(f"{name}_rest", dist.ImproperUniform(constraints.real, (), (k, d - 1)))
        means = jnp.concatenate([first[:, None], rest], axis=1)
        numpyro.factor(f"{name}_density", fn.log_prob(means) + gammaln(k + 1.0))
        return None, means


# NumPyro validates the parameters of each distribution that is constructed. It learns nothing from traced values, but
# each check is traced, and partly compiled, every time.
_unchecked: Callable[[F], F] = numpyro.validation_enabled(False)


@_unchecked
def potential(problem: Problem, unconstrained: dict[str, Array]) -> Array:
    """Minus the log joint density of the unconstrained sites; Jacobians appear here and nowhere else. []"""
    return potential_energy(one_pass_model, (problem,), {}, unconstrained)


@jax.custom_vjp
def sloped_potential(problem: Problem, unconstrained: dict[str, Array]) -> Array:
    """`potential` for samplers, which need its gradient in reverse mode and no second derivative. []

    Value and gradient are one jitted function, which JAX traces once. NumPyro's kernel calls it in four places, inside
    loops that are traced repeatedly; with compiled programs in the cache, tracing takes most of the startup time.
    """
    return potential(problem, unconstrained)


@jax.jit
def _value_and_slope(problem: Problem, unconstrained: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    return jax.value_and_grad(potential, argnums=1)(problem, unconstrained)


def _slope_times(slope: dict[str, Array], cotangent: Array) -> tuple[None, dict[str, Array]]:
    return None, {name: cotangent * value for name, value in slope.items()}


sloped_potential.defvjp(_value_and_slope, _slope_times)


@_unchecked
def prior_potential(problem: Problem, unconstrained: dict[str, Array]) -> Array:
    """`potential` without the likelihood; needs no pass over the data. []"""
    return potential_energy(_sites, (problem,), {}, unconstrained)


@_unchecked
def unconstrained_sites(problem: Problem, mixture: Mixture) -> dict[str, Array]:
    """The unconstrained values of the model's sites at a mixture with positive weights.

    With ordered labels the mixture is ordered first, and tied means are separated by `LEAST_GAP`.
    """
    values = problem.prior.site_values(problem.labelled(mixture))
    if mixture.background is not None:
        values["background"] = mixture.background.weight
    if problem.labels == "ordered":
        means = values.pop("means")
        gaps = jnp.maximum(jnp.diff(means[:, 0]), LEAST_GAP * _deviations(problem)[0])
        values["means_ascending"] = means[0, 0] + jnp.pad(jnp.cumsum(gaps), (1, 0))
        values["means_rest"] = means[:, 1:]
    return dict(unconstrain_fn(_sites, (problem,), {}, values))


def site_units(problem: Problem, unconstrained: dict[str, Array]) -> dict[str, Array]:
    """The unit of every unconstrained value: the columns' standard deviations for values with a unit, otherwise one.

    In these units the work of a sampler does not depend on the units of the data. Means have the units of their
    columns. An unconstrained matrix holds the strict lower triangle of its Cholesky factor, each row of which has the
    unit of its column, and logarithms, which have none. Of ordered means the first has the unit of its column, and the
    logarithms of the gaps have none.
    """
    deviations = _deviations(problem)
    units = {name: jnp.ones_like(value) for name, value in unconstrained.items()}
    if problem.labels == "ordered":
        units["means_ascending"] = units["means_ascending"].at[0].set(deviations[0])
        units["means_rest"] = units["means_rest"] * deviations[1:]
    else:
        units["means"] = units["means"] * deviations
    if "covariances" in units and problem.covariance.has_correlations:
        rows, _ = np.tril_indices(len(deviations), -1)
        units["covariances"] = units["covariances"].at[..., : len(rows)].set(deviations[rows])
    return units


def _deviations(problem: Problem) -> Array:
    """Standard deviations of the columns. [D]"""
    return jnp.sqrt(jnp.sum(problem.rows.matrix**2, axis=-1))


@_unchecked
def mixture_of_sites(problem: Problem, unconstrained: dict[str, Array]) -> Mixture:
    """The mixture at unconstrained site values; inverse of `unconstrained_sites`."""
    values = constrain_fn(_sites, (problem,), {}, unconstrained, return_deterministic=True)
    return Mixture(
        jnp.asarray(values["mixture_weights"]),
        values["mixture_means"],
        values["mixture_scales"],
        problem.covariance,
        None if problem.background is None else problem.background.weighing(values["background"]),
    )


def _sites(problem: Problem) -> None:
    """A model of the prior's sites only, so that changes of coordinates need no pass over the data."""
    mixture = mixture_sites(problem)
    numpyro.deterministic("mixture_weights", mixture.weights)
    numpyro.deterministic("mixture_means", mixture.means)
    numpyro.deterministic("mixture_scales", mixture.scales)


@checks_arguments
def latent_model(problem: Problem, x: ArrayLike | None = None) -> None:
    """The mixture with explicit allocations, as in textbooks: `z_n ~ Categorical(weights)`, then `x_n | z_n`.

    The sites are those of the prior, `z` [N] and `x` [N, D]. Its sum over `z` is `mixture_model`. If rows have weights,
    the points to condition on are `problem.observations("the latent model")`.

    Raises:
        InputError: as for `mixture_model`; or weights are not whole, or a background stands beside the components.
    """
    _check_free(problem)
    check_whole(problem.weights, "the latent model")
    if problem.background is not None:
        raise InputError(
            "background: the latent model is of components alone; use wb.mixture_model, or leave the background out"
        )
    mixture = mixture_sites(problem)
    trils = mixture.scale_trils
    size = round(problem.num_points)
    with numpyro.plate("points", size):
        z = numpyro.sample("z", dist.Categorical(probs=mixture.weights))
        numpyro.sample(
            "x", dist.MultivariateNormal(mixture.means[z], scale_tril=trils[z]), obs=_observed(problem, x, size)
        )


def _observed(problem: Problem, x: ArrayLike | None, size: int) -> ArrayLike | None:
    """The points to condition on, which are checked outside compiled programs, where they have values.

    Raises:
        InputError: they are no points of the problem's columns, or not of its size; or components of rows are known,
            which the models that are written out do not know.
    """
    if x is not None and problem.is_partly_known:
        raise InputError(
            "label_known: the models that are written out know no components of rows; use the methods, as wb.NUTS(), "
            "or leave label_known out"
        )
    if x is None:
        return x
    given = isinstance(x, jax.core.Tracer)
    points = x if given else finite_points(by_name(x, problem.columns), problem.num_dimensions)
    if np.shape(points)[0] != size:
        repeated = "" if problem.weights is None else ', those of problem.observations("the latent model") if repeated'
        raise InputError(f"x: has {np.shape(points)[0]:,} rows; give {size:,}, as the problem has{repeated}")
    return points


def swept_latent_model(problem: Problem) -> None:
    """The same joint density, with all points' component densities computed at once instead of by a solve for each."""
    mixture = mixture_sites(problem)
    points = jnp.arange(problem.num_points)
    log_densities = mixture_log_densities(mixture, problem.rows.at(problem.rows.every_observation()))
    known = known_observations(problem.rows)
    log_densities = log_densities if known is None else masked(log_densities, known)
    with numpyro.plate("points", problem.num_points):
        z = numpyro.sample("z", dist.Categorical(probs=mixture.weights))
        numpyro.factor("x", log_densities[z, points])


def mixture_log_densities(mixture: Mixture, x: Array) -> Array:
    """`log N(x_n | mu_k, Sigma_k)` for points x [N, D]. [K, N]"""
    family, (k, d) = mixture.covariance, mixture.means.shape
    squares = family.squared_distances(family.whitener(mixture.scales), mixture.means, x.T)
    return -family.half_log_determinants(mixture.scales, k, d)[:, None] - 0.5 * (squares + d * jnp.log(2.0 * jnp.pi))


def standard_mixture(problem: Problem) -> Mixture:
    """A mixture of the problem's shapes, with standard normal components of equal weight."""
    k, d, family = problem.components, problem.num_dimensions, problem.covariance
    scales = family.broadcast(jnp.eye(d, dtype=problem.dtype), k)
    weights, means = jnp.full(k, 1.0 / k, problem.dtype), jnp.zeros((k, d), problem.dtype)
    return Mixture(weights, means, scales, family, problem.background)
