"""Whether chains agree, judged by functionals that do not depend on the labels of components.

A chain that swaps labels looks stuck to a parameter's R-hat and a chain that cannot swap looks converged; a functional
of the density itself is blind to labels, so it measures mixing and nothing else.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.trace import Trace

# Rows at which the log density is followed.
FOLLOWED_ROWS = 8

# Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), "Rank-normalization, folding, and localization: an improved
# R-hat", Bayesian Analysis 16: chains agree when R-hat is below 1.01 and the effective sample size above 400.
R_HAT_LIMIT = 1.01
ESS_LIMIT = 400.0


@dataclass(frozen=True)
class Mixing:
    """Worst rank-normalised split R-hat and smallest bulk effective sample size over the functionals."""

    r_hat_max: float
    ess_min: float

    @property
    def converged(self) -> bool:
        """Whether both keep the limits of Vehtari et al. (2021)."""
        return self.r_hat_max < R_HAT_LIMIT and self.ess_min > ESS_LIMIT


def mixing_of(trace: Trace, problem: Problem) -> Mixing | None:
    """Mixing of a sampler's draws; None for point estimates."""
    if not trace.is_sampler:
        return None
    r_hats, sizes = rank_statistics(functionals(trace, problem))
    return Mixing(float(np.max(r_hats)), float(np.min(sizes)))


def rank_statistics(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank-normalised split R-hat and bulk effective sample size of each column of draws [R, S, Q]. [Q], [Q]

    Infinite and zero where a draw is not finite or a chain never moves, which leaves no variance to divide by.
    """
    # 0.8 s to import; the package promises to import in little more time than numpyro itself.
    from arviz_stats.base import array_stats  # type: ignore[attr-defined]

    if len(draws) == 1:
        # The halves of a lone chain stand in for two.
        half = draws.shape[1] // 2
        draws = np.concatenate([draws[:, :half], draws[:, half : 2 * half]])
    columns = np.moveaxis(draws, -1, 0)  # [Q, R, S]
    r_hats, sizes = np.full(len(columns), np.inf), np.zeros(len(columns))
    for q, column in enumerate(columns):
        if np.all(np.isfinite(column)) and np.all(np.ptp(column, axis=1) > 0):
            r_hats[q] = array_stats.rhat(column, chain_axis=0, draw_axis=1)
            sizes[q] = array_stats.ess(column, chain_axis=0, draw_axis=1, method="bulk")
    return r_hats, sizes


def functionals(trace: Trace, problem: Problem) -> np.ndarray:
    """log_joint, log_likelihood, and the log density at a few rows of the data, for every draw. [R, S, Q]"""
    shape = trace.answer.weights.shape[:2]
    flat = jax.tree.map(lambda leaf: np.reshape(leaf, (-1, *leaf.shape[2:])), trace.answer)
    densities = np.asarray(_log_densities(flat, followed_rows(problem))).reshape(*shape, -1)
    scores = np.stack([trace.log_joint[:, -trace.draws :], trace.log_likelihood[:, -trace.draws :]], -1)
    return np.concatenate([scores, densities], -1)


def followed_rows(problem: Problem) -> np.ndarray:
    """A few rows, spread evenly over the data sorted by its first column. [8, D]"""
    x = problem.sample
    order = np.argsort(x[:, 0], kind="stable")
    return x[order[np.linspace(0, len(order) - 1, min(FOLLOWED_ROWS, len(order))).astype(int)]]


@jax.jit
def _log_densities(mixtures: Mixture, x: Array) -> Array:
    """[S, N]"""
    return jnp.asarray(jax.vmap(lambda mixture: mixture.log_density(x))(mixtures))
