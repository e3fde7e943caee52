"""Data-based relabelling: the points of a component are close to the average place of the points with its label.

Rodriguez & Walker (2014), "Label switching in Bayesian mixture models: deterministic relabeling strategies", J. Comput.
Graph. Statist. 23, algorithms 5 and 6. Their running averages depend on the order of the draws. Here means and standard
deviations are averaged over all draws, again after each relabelling, until the labels no longer change.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.mixture import Mixture
from workbench.posterior.relabelling.assignment import settle
from workbench.posterior.relabelling.base import in_line, most_probable, relabelled, responsibilities
from workbench.problem import Problem

# Smallest standard deviation of a group, as a share of that of the data; groups of equal values would have none.
NARROWEST = 1e-6


class Groups(NamedTuple):
    """Statistics of the points in each component of each draw."""

    counts: Array  # [S, K]
    means: Array  # [S, D, K]
    scatters: Array  # [S, D, K]   sums of squares about the means


def data_based(mixtures: Mixture, log_joint: np.ndarray, problem: Problem) -> np.ndarray:
    """Orders of least `sum_n sum_d ((x_nd - m_kd) / s_kd)^2` over the points n in component k. [R, S, K]"""
    draws = in_line(mixtures, log_joint, problem)
    x = jnp.asarray(draws.x)
    groups = _groups(most_probable(responsibilities(draws.mixtures, x)), x)
    one = jax.tree.map(lambda leaf: leaf[draws.best][None], groups)
    orders = settle(lambda orders: _losses(groups, *_estimates(groups, orders, x)), _first(groups, one, x))
    return np.asarray(orders).reshape(draws.shape)


def _first(groups: Groups, one: Groups, x: Array) -> Array:
    """Losses about the groups of one draw, whose order is kept."""
    return _losses(groups, *_estimates(one, jnp.arange(groups.counts.shape[1])[None], x))


@jax.jit
def _groups(allocations: Array, x: Array) -> Groups:
    counts = jnp.sum(allocations, 1)
    filled = jnp.maximum(counts, 1.0)[:, None]
    means = jnp.einsum("snk,nd->sdk", allocations, x) / filled
    centre = jnp.mean(x, 0)
    about = jnp.einsum("snk,nd->sdk", allocations, (x - centre) ** 2)
    # Sums are taken about the data's mean, so that columns far from zero do not cancel.
    return Groups(counts, means, jnp.maximum(about - filled * (means - centre[:, None]) ** 2, 0.0))


@jax.jit
def _estimates(groups: Groups, orders: Array, x: Array) -> tuple[Array, Array]:
    """Mean over the draws of each component's mean and standard deviation, where it has points. [D, K], [D, K]

    A component without a point in any draw gets those of the data.
    """
    counts, means, scatters = (relabelled(leaf, orders) for leaf in groups)
    some, several = (counts > 0)[:, None], (counts > 1)[:, None]
    spread = jnp.std(x, 0)[:, None]
    deviations = jnp.sqrt(scatters / jnp.maximum(counts - 1.0, 1.0)[:, None])
    mean = jnp.sum(jnp.where(some, means, 0.0), 0) / jnp.maximum(jnp.sum(some, 0), 1)
    deviation = jnp.sum(jnp.where(several, deviations, 0.0), 0) / jnp.maximum(jnp.sum(several, 0), 1)
    mean = jnp.where(jnp.any(some, 0), mean, jnp.mean(x, 0)[:, None])
    deviation = jnp.where(jnp.any(several, 0), deviation, spread)
    return mean, jnp.maximum(deviation, NARROWEST * spread)


@jax.jit
def _losses(groups: Groups, mean: Array, deviation: Array) -> Array:
    """Loss of the points of component j about the estimates of place k. [S, K, K]"""
    counts, means, scatters = groups
    off = (means[:, :, None, :] - mean[:, :, None]) ** 2  # [S, D, K, K]
    return jnp.sum((counts[:, None, None] * off + scatters[:, :, None]) / deviation[:, :, None] ** 2, 1)
