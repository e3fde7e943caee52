"""Whether chains agree, judged by functionals that do not depend on the labels of components.

A chain that swaps labels looks stuck to a parameter's R-hat and a chain that cannot swap looks converged; a functional
of the density itself is blind to labels, so it measures mixing and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp

from workbench.compilation import jit_by_size
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.trace import Trace

# Rows at which the log density is followed, and coordinates of the means: each functional costs some milliseconds.
FOLLOWED_ROWS = 8
FOLLOWED_COLUMNS = 4

# Draws looked at together.
BATCH = 256

# Log-odds are not let go further than this, so that a weight of zero leaves them finite.
FAR = 1e9

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


class Functionals(NamedTuple):
    """Functionals of every draw that no order of its components changes.

    A probability that rounds to one in a whole chain has no variance to compare; its log-odds have, and the same ranks.
    """

    names: tuple[str, ...]
    values: np.ndarray  # [R, S, Q]   as they are told
    ranked: np.ndarray  # [R, S, Q]   as chains are judged by them: probabilities as log-odds


def mixing_of(trace: Trace, problem: Problem) -> Mixing | None:
    """Mixing of a sampler's draws; None for point estimates and for approximations, whose draws cannot but mix."""
    if not trace.is_sampler or trace.is_approximation:
        return None
    r_hats, sizes = rank_statistics(functionals(trace, problem).ranked)
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


def functionals(trace: Trace, problem: Problem, columns: Sequence[str] = ()) -> Functionals:
    """Scores, density, co-clustering and sorted means of every draw of a sampler.

    `log_joint`, `log_likelihood`, the log density at `followed_rows`, the co-clustering of neighbours among those rows
    (the chance that one component made both), and each of the first coordinates of the means, sorted.

    Args:
        trace: of a sampler.
        problem: that the trace is of.
        columns: names of the data's columns; x1, x2, ... unless given.
    """
    shape = trace.answer.weights.shape[:2]
    rows = followed_rows(problem)
    flat = jax.tree.map(lambda leaf: np.reshape(leaf, (-1, *leaf.shape[2:])), trace.answer)
    densities, odds, means = (
        np.asarray(part).reshape(*shape, -1) for part in _of_draws(problem.rows.z.size, flat, rows)
    )
    scores = np.stack([trace.log_joint[:, -trace.draws :], trace.log_likelihood[:, -trace.draws :]], -1)
    pairs = list(pairwise(range(1, len(rows) + 1))) if problem.components > 1 else []
    odds = odds[..., : len(pairs)]
    # 1 / (1 + exp(-odds)), without overflow.
    together = np.exp(-np.logaddexp(0.0, -odds))
    coordinates = column_names(columns, problem.num_dimensions)[:FOLLOWED_COLUMNS]
    names = ["log_joint", "log_likelihood", *(f"log_density[{n}]" for n in range(1, len(rows) + 1))]
    names += [f"co_clustering[{a}, {b}]" for a, b in pairs]
    names += [f"sorted_means[{k}, {name}]" for k in range(1, problem.components + 1) for name in coordinates]
    values, ranked = (np.concatenate([scores, densities, part, means], -1) for part in (together, odds))
    return Functionals(tuple(names), values, ranked)


def followed_rows(problem: Problem) -> np.ndarray:
    """A few rows, spread evenly over the data sorted by its first column. [8, D]"""
    x = problem.sample
    order = np.argsort(x[:, 0], kind="stable")
    return x[order[np.linspace(0, len(order) - 1, min(FOLLOWED_ROWS, len(order))).astype(int)]]


def column_names(columns: Sequence[str], dimensions: int) -> list[str]:
    """The names given, with x1, x2, ... where there are none. [D]"""
    return [*columns[:dimensions], *(f"x{d + 1}" for d in range(len(columns), dimensions))]


def _of_each_draw(mixtures: Mixture, rows: Array) -> tuple[Array, Array, Array]:
    """Log density at the rows, log-odds of co-clustering of neighbours, sorted means. [S, 8], [S, 7], [S, K, 4]"""
    same = jnp.eye(mixtures.num_components, dtype=bool)

    def of_one(mixture: Mixture) -> tuple[Array, Array, Array]:
        joint = mixture.component_log_joint(rows)  # [8, K]
        density = logsumexp(joint, axis=-1)
        member = joint - density[:, None]
        pairs = member[:-1, :, None] + member[1:, None, :]  # [7, K, K]
        together, apart = (logsumexp(jnp.where(mask, pairs, -jnp.inf), axis=(1, 2)) for mask in (same, ~same))
        means = jnp.sort(mixture.means[:, :FOLLOWED_COLUMNS], axis=0)
        return density, jnp.clip(together - apart, -FAR, FAR), means

    return jax.lax.map(of_one, mixtures, batch_size=BATCH)


_of_draws = jit_by_size(_of_each_draw)
