"""The NumPyro model of a problem, written twice: as a person reads it, and through the one pass."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from workbench.mixture import Mixture
from workbench.problem import Problem


def mixture_model(problem: Problem, x: Array | None = None) -> None:
    """The mixture in NumPyro's own words; condition on `x=problem.x`, or leave x out to predict N new points.

    Sites are those of the prior (`weights`, `means`, ...) and `x` [N, D]. With `x=problem.x` its log density equals
    `problem.log_joint`.
    """
    mixture = problem.prior.sites(problem.components, problem.covariance, problem.hyperparameters)
    components = dist.MultivariateNormal(mixture.means, scale_tril=mixture.scale_trils)
    density = dist.MixtureSameFamily(dist.Categorical(probs=mixture.weights), components)
    with numpyro.plate("points", problem.num_points):
        numpyro.sample("x", density, obs=x)


def one_pass_model(problem: Problem) -> None:
    """The same joint density with the likelihood as one factor, evaluated by the one pass: what NUTS runs on."""
    mixture = problem.prior.sites(problem.components, problem.covariance, problem.hyperparameters)
    numpyro.factor("log_likelihood", problem.log_likelihood(mixture))


def potential(problem: Problem, unconstrained: dict[str, Array]) -> Array:
    """Minus the log joint density of the unconstrained sites: the one place where Jacobians appear. []"""
    return potential_energy(one_pass_model, (problem,), {}, unconstrained)


def unconstrained_sites(problem: Problem, mixture: Mixture) -> dict[str, Array]:
    """The unconstrained values of the prior's sites at a mixture with positive weights."""
    return dict(unconstrain_fn(_sites, (problem,), {}, problem.prior.site_values(mixture)))


def site_units(problem: Problem, unconstrained: dict[str, Array]) -> dict[str, Array]:
    """The unit of every unconstrained value: that of the data for what is measured in it, else one.

    A sampler that moves in these units does the same work whatever the units of the data. Means are measured in the
    standard deviations of their columns; an unconstrained matrix holds the strict lower triangle of its Cholesky
    factor, measured row by row in the same, and logarithms.
    """
    deviations = jnp.sqrt(jnp.sum(problem.rows.matrix**2, axis=-1))  # [D]
    units = {name: jnp.ones_like(value) for name, value in unconstrained.items()}
    units["means"] = units["means"] * deviations
    if "covariances" in units and problem.covariance.has_correlations:
        rows, _ = np.tril_indices(len(deviations), -1)
        units["covariances"] = units["covariances"].at[..., : len(rows)].set(deviations[rows])
    return units


def mixture_of_sites(problem: Problem, unconstrained: dict[str, Array]) -> Mixture:
    """The mixture at unconstrained site values; inverse of `unconstrained_sites`."""
    values = constrain_fn(_sites, (problem,), {}, unconstrained, return_deterministic=True)
    return Mixture(
        jnp.asarray(values["mixture_weights"]),
        values["mixture_means"],
        values["mixture_scales"],
        problem.covariance,
    )


def _sites(problem: Problem) -> None:
    """The prior's sites alone, so that changing coordinates costs no pass over the data."""
    mixture = problem.prior.sites(problem.components, problem.covariance, problem.hyperparameters)
    numpyro.deterministic("mixture_weights", mixture.weights)
    numpyro.deterministic("mixture_means", mixture.means)
    numpyro.deterministic("mixture_scales", mixture.scales)


def latent_model(problem: Problem, x: Array | None = None) -> None:
    """The mixture with its allocations told, as a textbook draws it: `z_n ~ Categorical(weights)`, then `x_n | z_n`.

    Sites are those of the prior, `z` [N] and `x` [N, D]. Summed over `z` it is `mixture_model`.
    """
    mixture = problem.prior.sites(problem.components, problem.covariance, problem.hyperparameters)
    trils = mixture.scale_trils
    with numpyro.plate("points", problem.num_points):
        z = numpyro.sample("z", dist.Categorical(probs=mixture.weights))
        numpyro.sample("x", dist.MultivariateNormal(mixture.means[z], scale_tril=trils[z]), obs=x)


def swept_latent_model(problem: Problem) -> None:
    """The same joint density, the points' densities under every component swept at once: no solve for each point."""
    mixture = problem.prior.sites(problem.components, problem.covariance, problem.hyperparameters)
    points = jnp.arange(problem.num_points)
    log_densities = mixture_log_densities(mixture, problem.rows.at(points))
    with numpyro.plate("points", problem.num_points):
        z = numpyro.sample("z", dist.Categorical(probs=mixture.weights))
        numpyro.factor("x", log_densities[z, points])


def mixture_log_densities(mixture: Mixture, x: Array) -> Array:
    """`log N(x_n | mu_k, Sigma_k)` for points x [N, D], whatever the weights. [K, N]"""
    family, (k, d) = mixture.covariance, mixture.means.shape
    squares = family.squared_distances(family.whitener(mixture.scales), mixture.means, x.T)
    return -family.log_determinants(mixture.scales, k, d)[:, None] - 0.5 * (squares + d * jnp.log(2.0 * jnp.pi))
