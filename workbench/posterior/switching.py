"""Label switching in chains: which of the K! labellings each chain visits, and what that does to R-hat.

The R-hat of a raw parameter is an exhibit: it tells chains in different labellings apart, which is no failure, and
calls a chain that cannot leave one of them converged. Label-invariant functionals judge; parameters are judged after
relabelling.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.diagnostics.convergence import followed_rows, functionals, rank_statistics
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.trace import Trace


class Switching(NamedTuple):
    """The labellings of a relabelling's permutations: M of the K! are met, the most frequent first."""

    labellings: np.ndarray  # [M, K]
    shares: np.ndarray  # [R, M]   of each chain's draws
    switches: np.ndarray  # [R]   draws in another labelling than the draw before

    @property
    def modes_visited(self) -> np.ndarray:
        """How many of the K! modes each chain visits. [R]"""
        return np.sum(self.shares > 0, axis=1)


@dataclass(frozen=True)
class Convergence:
    """Rank-normalised split R-hat and bulk effective sample size by name; NaN where all draws are one number."""

    names: tuple[str, ...]
    r_hat: np.ndarray  # [Q]
    ess: np.ndarray  # [Q]

    @property
    def r_hat_max(self) -> float:
        """The worst of those that are numbers; NaN if none is."""
        return float(np.max(self.r_hat, initial=-np.inf, where=~np.isnan(self.r_hat)))

    @property
    def ess_min(self) -> float:
        """The smallest of those that are numbers."""
        return float(np.min(self.ess, initial=np.inf, where=~np.isnan(self.ess)))


def label_switching(permutations: np.ndarray) -> Switching:
    """Which labelling each draw is in, from the permutations [R, S, K] of any relabelling.

    Where components overlap, labels are a matter of opinion, and a chain may seem to switch without leaving its mode.
    """
    chains, draws, k = permutations.shape
    met, place, counts = np.unique(permutations.reshape(-1, k), axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    mode = np.argsort(order)[place].reshape(chains, draws)  # [R, S]
    shares = np.stack([np.mean(mode == m, axis=1) for m in range(len(met))], axis=1)
    return Switching(met[order], shares, np.sum(np.diff(mode, axis=1) != 0, axis=1))


def invariant_convergence(trace: Trace, problem: Problem) -> Convergence:
    """Of functionals that are blind to labels.

    `log_joint`, `log_likelihood`, the log density at a few rows, the co-clustering of neighbours among those rows
    (the chance that one component made both), and the means sorted coordinate by coordinate.
    """
    rows = followed_rows(problem)
    more = _more_functionals(jax.tree.map(jnp.asarray, trace.answer), rows)
    columns = np.concatenate([functionals(trace, problem), *map(np.asarray, more)], axis=-1)
    names = ["log_joint", "log_likelihood", *(f"log_density[{n}]" for n in range(len(rows)))]
    names += [f"co_clustering[{a},{b}]" for a, b in pairwise(range(len(rows)))]
    names += [f"sorted_means[{k},{d}]" for k, d in np.ndindex(trace.answer.means.shape[2:])]
    return _convergence(names, columns)


def parameter_convergence(mixtures: Mixture) -> Convergence:
    """Of weights, means and standard deviations, component by component, for draws with leaves [R, S, ...].

    Raw draws make the exhibit; relabelled ones (`relabelling.apply`) the diagnostic.
    """
    deviations = mixtures.covariance.deviations(jnp.asarray(mixtures.scales))
    blocks = {"weights": mixtures.weights, "means": mixtures.means, "deviations": deviations}
    names, columns = [], []
    for name, block in blocks.items():
        values = np.asarray(block)
        names += [f"{name}[{','.join(map(str, place))}]" for place in np.ndindex(values.shape[2:])]
        columns.append(values.reshape(*values.shape[:2], -1))
    return _convergence(names, np.concatenate(columns, axis=-1))


def _convergence(names: list[str], columns: np.ndarray) -> Convergence:
    """Of named columns [R, S, Q]."""
    r_hat, ess = rank_statistics(columns)
    still = np.ptp(columns, axis=(0, 1)) == 0
    return Convergence(tuple(names), np.where(still, np.nan, r_hat), np.where(still, np.nan, ess))


@jax.jit
def _more_functionals(mixtures: Mixture, rows: Array) -> tuple[Array, Array]:
    """Co-clustering of neighbouring rows, and sorted means. [R, S, 7], [R, S, K D]"""
    member = jax.vmap(jax.vmap(lambda mixture: mixture.responsibilities(rows)))(mixtures)  # [R, S, 8, K]
    together = jnp.sum(member[:, :, :-1] * member[:, :, 1:], -1)
    return together, jnp.sort(mixtures.means, axis=2).reshape(*together.shape[:2], -1)
