"""The labels of a sampler's draws: how chains switch them, and draws that are relabelled.

In relabelled draws a label means the same component in every draw, so that parameters make sense.

The R-hat of a raw parameter is an illustration only: it is large for chains in different labellings, which is no
failure, and small for chains that cannot leave one labelling. Convergence is measured by label-invariant functionals,
and that of parameters after relabelling.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from workbench.diagnostics.convergence import column_names, functionals, rank_statistics
from workbench.display import as_html, short
from workbench.errors import InputError, checks_arguments
from workbench.frames import frame_of
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.posterior.relabelling import RELABELLINGS, apply
from workbench.problem import Problem

# The algorithm that is used by default.
DEFAULT = "stephens"

# The algorithm that keeps the numbers of components that are known from rows.
PIVOTAL = "pivotal"


class RelabelledDraws(NamedTuple):
    """Draws after relabelling, with the permutations that were applied."""

    mixtures: Mixture  # leaves [R, S, ...]
    permutations: np.ndarray  # [R, S, K]   component `permutations[r, s, k]` of the sampled draw is called k
    algorithm: str

    def __repr__(self) -> str:
        return short(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def to_dataframe(self) -> Any:
        """A row for each draw: its chain and place, and its parameters; pandas, polars or Arrow."""
        names, draws = parameters(self.mixtures)
        chain, draw = np.indices(draws.shape[:2]).reshape(2, -1)
        return frame_of({"chain": chain, "draw": draw} | dict(zip(names, draws.reshape(-1, len(names)).T, strict=True)))


@checks_arguments
def relabel(trace: Trace, problem: Problem, algorithm: str = DEFAULT) -> RelabelledDraws:
    """The draws of a sampler with their components in one order, chosen draw by draw.

    An algorithm determines the labels up to one order common to all draws. It is chosen so that the posterior means of
    the first coordinate of the means increase. Stephens' and the ECR algorithms hold R x S x K responsibilities of at
    most 1,000 rows in memory.

    Where components of rows are known, these keep their numbers, and `PIVOTAL` orders the others.

    Args:
        trace: of a sampler.
        problem: the problem of the trace.
        algorithm: a name in `RELABELLINGS`.

    Raises:
        InputError: the trace has no draws, or there is no such algorithm.
    """
    check_sampler(trace)
    if algorithm not in RELABELLINGS:
        raise InputError(f"relabelling: unknown algorithm {algorithm!r}; allowed: {', '.join(RELABELLINGS)}")
    scores, algorithm = trace.log_joint[:, -trace.draws :], algorithm_for(problem, algorithm)
    permutations = np.asarray(RELABELLINGS[algorithm](trace.answer, scores, problem))
    if not problem.is_partly_known:
        first = np.take_along_axis(np.asarray(trace.answer.means)[..., 0], permutations, axis=-1)
        permutations = permutations[..., np.argsort(np.mean(first, axis=(0, 1)), kind="stable")]
    return RelabelledDraws(apply(permutations, trace.answer), permutations, algorithm)


def algorithm_for(problem: Problem, algorithm: str = DEFAULT) -> str:
    """The algorithm that is used for a problem: the one that is asked for, unless components of rows are known."""
    return PIVOTAL if problem.is_partly_known else algorithm


def check_sampler(trace: Trace) -> None:
    """Refuse a trace without posterior draws.

    Raises:
        InputError: the trace holds point estimates.
    """
    if not trace.is_sampler:
        raise InputError("trace: holds point estimates and no posterior draws; give the trace of a sampler, as of nuts")


class Switching(NamedTuple):
    """The labellings that occur in the permutations of a relabelling: M of the K!, the most frequent first."""

    labellings: np.ndarray  # [M, K]
    shares: np.ndarray  # [R, M]   of each chain's draws
    switches: np.ndarray  # [R]   number of draws in another labelling than the draw before

    @property
    def modes_visited(self) -> np.ndarray:
        """Number of the K! modes that each chain visits. [R]"""
        return np.sum(self.shares > 0, axis=1)


@dataclass(frozen=True)
class Convergence:
    """Rank-normalised split R-hat and bulk effective sample size by name; NaN where all draws are equal."""

    names: tuple[str, ...]
    r_hat: np.ndarray  # [Q]
    ess: np.ndarray  # [Q]

    @property
    def r_hat_max(self) -> float:
        """The largest R-hat that is not NaN; minus infinity if there is none."""
        return float(np.max(self.r_hat, initial=-np.inf, where=~np.isnan(self.r_hat)))

    @property
    def ess_min(self) -> float:
        """The smallest effective sample size that is not NaN; infinite if there is none."""
        return float(np.min(self.ess, initial=np.inf, where=~np.isnan(self.ess)))


def label_switching(permutations: np.ndarray) -> Switching:
    """The labelling of each draw, from the permutations [R, S, K] of any relabelling.

    Where components overlap, labels are ambiguous, and a chain may seem to switch without leaving its mode.
    """
    chains, draws, k = permutations.shape
    met, place, counts = np.unique(permutations.reshape(-1, k), axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    mode = np.argsort(order)[place].reshape(chains, draws)  # [R, S]
    shares = np.stack([np.mean(mode == m, axis=1) for m in range(len(met))], axis=1)
    return Switching(met[order], shares, np.sum(np.diff(mode, axis=1) != 0, axis=1))


def invariant_convergence(trace: Trace, problem: Problem) -> Convergence:
    """Convergence of the label-invariant functionals of a sampler's draws."""
    invariant = functionals(trace, problem)
    return _convergence(invariant.names, invariant.ranked)


def parameter_convergence(mixtures: Mixture) -> Convergence:
    """Convergence of `parameters`: an illustration for raw draws, a diagnostic for relabelled ones."""
    return _convergence(*parameters(mixtures))


def parameters(mixtures: Mixture, columns: Sequence[str] = ()) -> tuple[tuple[str, ...], np.ndarray]:
    """Weights, means and standard deviations of draws with leaves [R, S, ...], and their names. [Q], [R, S, Q]

    The weight of a background comes last, if there is one. A family that shares its covariance between components, or
    its width between columns, has one of each.
    """
    family = mixtures.covariance
    each = [f"{k + 1}" for k in range(mixtures.num_components)]
    column = column_names(columns, mixtures.num_dimensions)
    # The family's shape for 2 components of 3 dimensions shows whether deviations vary with components and columns.
    varying = [labels for size, labels in ((2, each), (3, column)) if size in family.shape(2, 3)]
    blocks = (
        ("weights", [each], mixtures.weights),
        ("means", [each, column], mixtures.means),
        ("deviations", varying, family.deviations(jnp.asarray(mixtures.scales))),
    )
    names = [f"{name}[{', '.join(place)}]" for name, labels, _ in blocks for place in product(*labels)]
    draws = [np.reshape(block, (*np.shape(mixtures.weights)[:2], -1)) for _, _, block in blocks]
    if mixtures.background is not None:
        names.append("background")
        draws.append(np.asarray(mixtures.background.weight)[..., None])
    return tuple(names), np.concatenate(draws, axis=-1)


def _convergence(names: tuple[str, ...], columns: np.ndarray) -> Convergence:
    """Convergence of named columns [R, S, Q]."""
    r_hat, ess = rank_statistics(columns)
    still = np.ptp(columns, axis=(0, 1)) == 0
    return Convergence(names, np.where(still, np.nan, r_hat), np.where(still, np.nan, ess))
