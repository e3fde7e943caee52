"""The trace: the record of a run, in one row format for every method."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from workbench.errors import InputError, checks_arguments
from workbench.frames import frame_of
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import FEW_TOGETHER, Health, Soundness
from workbench.table import Table


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class Trace:
    """The record of R restarts or chains with T rows each; row 0 is the start.

    The scores of a row are those of exactly its mixture. The harness computes them after the run; the method never
    does. `seconds` are those of all restarts together, divided among the rows in proportion to their passes. Equal runs
    on one machine give bit-identical traces, except for `seconds`.
    """

    mixtures: Mixture  # leaves [R, T, ...]
    log_joint: np.ndarray  # [R, T]
    log_likelihood: np.ndarray  # [R, T]
    passes: np.ndarray  # [R, T]   passes over the data so far; a step on some of the rows costs a fraction of a pass
    ok: np.ndarray  # [R, T]   False from the first step that broke the method's promise
    converged: np.ndarray  # [R]   the method's own stopping rule was met
    collapsed: np.ndarray  # [R]   stopped because the next mixture was singular
    seconds: np.ndarray  # [T]   stepping only
    compile_seconds: float = field(metadata={"static": True})
    score_seconds: float = field(metadata={"static": True})
    draws: int = field(metadata={"static": True})  # number of last rows that are posterior draws; 0: point estimates
    dropped: np.ndarray | None = None  # [R]   lost the race; None where there was none
    log_evidence: np.ndarray | None = None  # [R]   ln P(x), estimated by each run; None where the method has none
    energy: np.ndarray | None = None  # [R, T]   Hamiltonian of each draw; None where the sampler has none
    evidence_bound: np.ndarray | None = None  # [R]   a lower bound of ln P(x); None where the method climbs none

    def __repr__(self) -> str:
        """The sizes and the highest score; the arrays are a page long."""
        try:
            restarts, rows = np.shape(self.log_joint)
            kept = f", the last {self.draws} are draws" if self.draws else ""
            best = float(np.max(np.asarray(self.log_joint)[:, -max(self.draws, 1) :]))
            return f"Trace({restarts} restarts of {rows} rows{kept}; highest log_joint {best:.3f})"
        except (TypeError, ValueError, jax.errors.TracerArrayConversionError):
            # Inside a transformation the leaves are no numbers.
            return f"Trace({self.log_joint})"

    def _repr_html_(self) -> str:
        """A row for each restart, in a notebook."""
        heads = ("restart", "rows", "passes", "highest log_joint", "converged", "collapsed")
        kept = slice(-max(self.draws, 1), None)
        lines = [
            (r, self.num_rows, float(self.passes[r, -1]), float(np.max(self.log_joint[r, kept])), *ended)
            for r, ended in enumerate(zip(self.converged.tolist(), self.collapsed.tolist(), strict=True))
        ]
        return Table.of_lines(heads, lines).to_html()

    def to_dataframe(self) -> Any:
        """A row for each restart and recorded row: its price and its scores; pandas, polars or Arrow."""
        restart, row = np.indices(self.log_joint.shape).reshape(2, -1)
        seconds = np.broadcast_to(self.seconds, self.log_joint.shape)
        arrays = {"passes": self.passes, "seconds": seconds, "log_joint": self.log_joint}
        arrays |= {"log_likelihood": self.log_likelihood, "ok": self.ok}
        columns = {name: np.asarray(array).ravel() for name, array in arrays.items()}
        return frame_of({"restart": restart, "row": row, **columns})

    @property
    def num_restarts(self) -> int:
        """Number of restarts, R."""
        return int(self.log_joint.shape[0])

    @property
    def num_rows(self) -> int:
        """Number of rows, T."""
        return int(self.log_joint.shape[1])

    @property
    def is_sampler(self) -> bool:
        """Whether the last rows are draws, from the posterior or from an approximation to it."""
        return self.draws > 0

    @property
    def is_approximation(self) -> bool:
        """Whether the draws are independent draws from a density that was fitted to the posterior.

        Such draws agree with each other whatever the posterior is, so their R-hat says nothing about it.
        """
        return self.evidence_bound is not None

    @property
    def ends(self) -> Mixture:
        """The last mixture of every restart: leaves [R, ...]."""
        return self.at(np.arange(self.num_restarts), np.full(self.num_restarts, -1))

    @property
    def answer(self) -> Mixture:
        """The method's result, leaves [R, S, ...]: S = 1 for a point estimate, the draws for a sampler."""
        kept = max(self.draws, 1)
        return jax.tree.map(lambda leaf: leaf[:, -kept:], self.mixtures)

    def at(self, restart: np.ndarray | int, row: np.ndarray | int) -> Mixture:
        """The mixture of a restart and row, or of several: leaves [..., ...]."""
        return jax.tree.map(lambda leaf: leaf[restart, row], self.mixtures)

    @property
    def highest_bound(self) -> int:
        """The restart of an approximation with the highest bound of the evidence that is not NaN."""
        return int(np.argmax(np.nan_to_num(np.asarray(self.evidence_bound), nan=-np.inf)))

    @checks_arguments
    def best(self, problem: Problem, rule: Soundness | None = None) -> Mixture | None:
        """The best *sound* result: the highest `log_joint` among those that pass the rule; None if none does.

        The likelihood is unbounded, so the best of many starts is often a spike; therefore the rule. A restart that
        stopped because its next mixture was singular has no sound result, even if its last mixture passes the rule. For
        a sampler the result is the draw of highest log_joint.

        A sound mixture can still have defects: two of its components may have merged, on a plateau where the starts
        found no more groups, or a component may hold no point under a prior that bounds components.
        `rule.check(problem, best)` reports both (`Health.merged`, `Health.distinct`), and so does the table of a
        comparison.
        """
        place = self.best_place(problem, rule)
        return None if place is None else jax.tree.map(jnp.asarray, self.at(*place)).named(problem.columns)

    @checks_arguments
    def best_place(self, problem: Problem, rule: Soundness | None = None) -> tuple[int, int] | None:
        """Restart and row of `best`.

        Raises:
            InputError: the problem has other dimensions, another number of components or another family.
        """
        found = self.best_found(problem, rule)
        return None if found is None else found[0]

    @checks_arguments
    def best_found(self, problem: Problem, rule: Soundness | None = None) -> tuple[tuple[int, int], Health] | None:
        """Restart and row of `best`, and its health.

        Raises:
            InputError: as for `best_place`.
        """
        self._check(problem)
        rule = Soundness() if rule is None else rule
        kept = max(self.draws, 1)
        scores = np.where(self.collapsed[:, None], -np.inf, self.log_joint[:, -kept:])
        order = np.argsort(-scores, axis=None, kind="stable")
        order = order[np.isfinite(scores.ravel()[order])]
        restarts, rows = np.unravel_index(order, scores.shape)
        for first in range(0, len(order), FEW_TOGETHER):
            some = slice(first, first + FEW_TOGETHER)
            places = restarts[some], rows[some] + self.num_rows - kept
            healths = rule.check_in_turn(problem, self.at(*places))
            for restart, row, health in zip(*places, healths, strict=True):
                if health.sound:
                    return (int(restart), int(row)), health
        return None

    def _check(self, problem: Problem) -> None:
        k, d = self.mixtures.means.shape[-2:]
        own = f"{k} {self.mixtures.covariance.name} components in {d} columns"
        wanted = f"{problem.components} {problem.covariance.name} components in {problem.num_dimensions} columns"
        if own != wanted:
            raise InputError(f"problem: has {wanted}, and the trace is of {own}")


def passes_text(passes: float) -> str:
    """A number of passes as text: whole numbers in full, fractions to three digits."""
    return f"{passes:,.0f}" if passes >= 100 or float(passes).is_integer() else f"{passes:.3g}"
