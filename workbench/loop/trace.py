"""The trace: what happened in a run, in one row format for every method."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from workbench.errors import InputError
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import Soundness


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trace:
    """R restarts or chains, T rows; row 0 is the start.

    A row's scores are those of exactly its mixture, evaluated after the run by the harness, never by the method.
    `seconds` are those of all restarts together, shared out among the rows by the passes paid for them. Traces are
    bit-identical between equal runs on one machine, `seconds` apart.
    """

    mixtures: Mixture  # leaves [R, T, ...]
    log_joint: np.ndarray  # [R, T]
    log_likelihood: np.ndarray  # [R, T]
    passes: np.ndarray  # [R, T]   passes over the data so far; a step on some of the rows costs a fraction of one
    ok: np.ndarray  # [R, T]   False from the step on that broke the method's promise
    converged: np.ndarray  # [R]   the method's own stopping rule was met
    collapsed: np.ndarray  # [R]   stopped because the next mixture was singular
    seconds: np.ndarray  # [T]   stepping only
    compile_seconds: float = field(metadata={"static": True})
    score_seconds: float = field(metadata={"static": True})
    draws: int = field(metadata={"static": True})  # the last so many rows are posterior draws; 0: point estimates
    dropped: np.ndarray | None = None  # [R]   lost the race; None where there was none
    log_evidence: np.ndarray | None = None  # [R]   ln P(x), estimated by each run; None where the method has none
    energy: np.ndarray | None = None  # [R, T]   Hamiltonian of each draw; None where the sampler has none
    evidence_bound: np.ndarray | None = None  # [R]   a lower bound of ln P(x); None where the method climbs none

    @property
    def num_restarts(self) -> int:
        """R."""
        return int(self.log_joint.shape[0])

    @property
    def num_rows(self) -> int:
        """T."""
        return int(self.log_joint.shape[1])

    @property
    def is_sampler(self) -> bool:
        """Whether the last rows are draws: of the posterior, or of an approximation to it."""
        return self.draws > 0

    @property
    def is_approximation(self) -> bool:
        """Whether the draws are independent ones of a density that was fitted to the posterior.

        Such draws agree with each other whatever the posterior is, so that nothing is to be read off their R-hat.
        """
        return self.evidence_bound is not None

    @property
    def ends(self) -> Mixture:
        """The last mixture of every restart: leaves [R, ...]."""
        return self.at(np.arange(self.num_restarts), np.full(self.num_restarts, -1))

    @property
    def answer(self) -> Mixture:
        """What the method answers: leaves [R, S, ...]. S = 1 for a point estimate, the kept draws for a sampler."""
        kept = max(self.draws, 1)
        return jax.tree.map(lambda leaf: leaf[:, -kept:], self.mixtures)

    def at(self, restart: np.ndarray | int, row: np.ndarray | int) -> Mixture:
        """The mixture of a restart and row, or of several: leaves [..., ...]."""
        return jax.tree.map(lambda leaf: leaf[restart, row], self.mixtures)

    def best(self, problem: Problem, rule: Soundness | None = None) -> Mixture | None:
        """The best *sound* answer: highest `log_joint` among those that pass the rule; None if none does.

        A restart that stopped on the brink of a singular covariance has no sound answer, however sound its last
        mixture looks. The likelihood is unbounded, so the best of many starts is often a spike; hence the rule. For a
        sampler it is the draw of highest log_joint.

        Sound is not all that one can ask: two of its components may have merged, on a plateau where the starts found no
        more groups, and under a prior that bounds components one may hold no point. `rule.check(problem, best)` tells
        (`Health.merged`, `Health.distinct`), and so does the table of a comparison.
        """
        place = self.best_place(problem, rule)
        return None if place is None else jax.tree.map(jnp.asarray, self.at(*place))

    def best_place(self, problem: Problem, rule: Soundness | None = None) -> tuple[int, int] | None:
        """Restart and row of `best`.

        Raises:
            InputError: the problem is of other dimensions, or of another number of components or family.
        """
        self._check(problem)
        rule = Soundness() if rule is None else rule
        kept = max(self.draws, 1)
        scores = np.where(self.collapsed[:, None], -np.inf, self.log_joint[:, -kept:])
        order = np.argsort(-scores, axis=None, kind="stable")
        for flat in order[np.isfinite(scores.ravel()[order])]:
            restart, row = np.unravel_index(flat, scores.shape)
            place = int(restart), int(row) + self.num_rows - kept
            if rule.check(problem, self.at(*place)).sound:
                return place
        return None

    def _check(self, problem: Problem) -> None:
        k, d = self.mixtures.means.shape[-2:]
        own = f"{k} {self.mixtures.covariance.name} components in {d} columns"
        asked = f"{problem.components} {problem.covariance.name} components in {problem.num_dimensions} columns"
        if own != asked:
            raise InputError(f"problem: has {asked}, and the trace is of {own}")


def passes_text(passes: float) -> str:
    """A price for people to read: whole numbers in full, fractions to three digits."""
    return f"{passes:,.0f}" if passes >= 100 or float(passes).is_integer() else f"{passes:.3g}"
