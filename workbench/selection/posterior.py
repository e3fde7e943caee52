"""The posterior of a candidate: by particles, which tell the evidence, and by chains where particles do not agree.

Under the conjugate prior particles are those of IBIS, which take in the points one by one and move by exact sweeps;
elsewhere those of tempered SMC. Both reach the modes while they are still joined. Chains, of Gibbs under the conjugate
prior and of NUTS elsewhere, agree where they find their way between the modes; where they do not, each stays in one.
The order is fixed: particles, which the evidence needs anyway; chains; four times as long chains of Gibbs, whose sweeps
are cheap; and ever more particles. Where the evidence is exact, chains come first. WAIC and PSIS-LOO read the first
whose draws agree, by the one rule for all samplers (`diagnostics.Mixing`). Where none do, what they say is not
eligible.

The evidence has a rule of its own. Each run of particles estimates it without bias, however they mix, and the spread of
the runs' estimates is its error; that error means nothing where one run outweighs all the others together. Particles
grow until none does.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from workbench.diagnostics import mixing_of, restart_statuses
from workbench.diagnostics.evidence import Evidence, pooled_evidence
from workbench.diagnostics.status import Status
from workbench.engine.keys import named_key
from workbench.errors import InputError
from workbench.experiment import Experiment
from workbench.loop.trace import Trace
from workbench.methods import IBIS, NUTS, Gibbs, Method, TemperedSMC
from workbench.methods.sampler import Sampler
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.selection.exact import has_exact_evidence
from workbench.selection.nesting import run_nested
from workbench.selection.score import Score
from workbench.soundness import Soundness

M = TypeVar("M", bound=Method)

# Sweeps of each chain of Gibbs at first, after the warm-up: where data are few they take less time than compiling one.
# A sweep knows much of the one before it and costs less than reading it, so that few are read: of four chains 4,000
# draws, whatever the number of sweeps. That is ten times the effective draws that chains which agree must have, and
# tells a mean to 1/60 of the posterior standard deviation.
SWEEPS, READ = 4000, 1000

# Particles of each run of tempered SMC at first, unless the experiment says otherwise.
PARTICLES = 500

# Chains that do not agree are run once more, this much longer; runs that do not, with this many times the particles,
# and again, unless these are more than so many, or so many times points, whose passes take minutes.
GROWTH = 4
MOST_PARTICLES = 8000
MOST_WORK = 2**22


class Missing(NamedTuple):
    """What there is not, and why."""

    why: str


class Posterior(NamedTuple):
    """The draws of all chains or runs of one sampler."""

    sampler: str
    draws: Mixture  # leaves [R, S, ...]
    efficiency: float  # effective draws for each draw, of the label-invariant functional that mixes worst
    evidence: Evidence | None  # where the sampler tells it
    agrees: bool  # whether chains or runs agree, by the rule of all samplers
    message: str  # how it shows

    @classmethod
    def of(cls, sampler: str, trace: Trace, problem: Problem, rule: Soundness) -> "Posterior":
        """Of a sampler's trace."""
        mixing = mixing_of(trace, problem)
        assert mixing is not None
        worst = max(restart_statuses(trace, problem, rule, mixing), key=lambda verdict: verdict.status)
        return cls(
            sampler,
            jax.tree.map(jnp.asarray, trace.answer),
            min(1.0, mixing.ess_min / (trace.num_restarts * trace.draws)),
            None if trace.log_evidence is None else pooled_evidence(trace.log_evidence),
            worst.status == Status.CONVERGED,
            worst.message,
        )

    @property
    def is_carried(self) -> bool:
        """Whether one run outweighs all the others in the mean that the evidence is."""
        return self.evidence is not None and self.evidence.is_carried

    def judge(self, score: Score) -> Score:
        """A score read from these draws: not eligible where they do not agree."""
        return score if self.agrees else score.reject("draws do not agree", f"{self.sampler}: {self.message}")


def chains_of(experiment: Experiment, problem: Problem) -> Sampler | None:
    """Gibbs under the conjugate prior, which is quicker to compile; else NUTS. The experiment's own come first."""
    own = list(experiment.methods.values())
    # Of one component every sweep is an independent draw.
    thinning = SWEEPS // READ if problem.components > 1 else 1
    gibbs = [
        *(method for method in own if isinstance(method, Gibbs)),
        Gibbs(num_warmup=SWEEPS // 4, num_samples=READ * thinning, thinning=thinning),
    ]
    nuts = [*(method for method in own if isinstance(method, NUTS)), NUTS()]
    return first_that_suits([*gibbs, *nuts], problem)


def particles_of(experiment: Experiment, problem: Problem) -> TemperedSMC | IBIS | None:
    """Tempered SMC or IBIS as the experiment has it; else IBIS under the conjugate prior; none without a proper one."""
    own = [method for method in experiment.methods.values() if isinstance(method, TemperedSMC | IBIS)]
    if not problem.rows.shared:
        own.append(IBIS())
    return first_that_suits([*own, TemperedSMC(num_samples=PARTICLES)], problem)


def sampled(
    experiment: Experiment, problem: Problem, starts: Mixture
) -> tuple[Posterior | Missing, Posterior | Missing]:
    """What WAIC and PSIS-LOO read, and what the evidence does: the same particles where they agree.

    Args:
        experiment: the candidate's.
        problem: of it.
        starts: of the chains, in order; more than these have no part. Leaves [R, ...].
    """
    chains, particles = chains_of(experiment, problem), particles_of(experiment, problem)
    if chains is None or particles is None:
        none = Missing("there is no posterior without a proper prior; give one, as --set prior.family=conjugate")
        return none, none

    def drawn(sampler: Sampler) -> Posterior:
        # Repeated, where runs are more: they do not see them.
        chosen = np.arange(sampler.num_chains) % len(starts.weights)
        own = jax.tree.map(lambda leaf: leaf[chosen], starts)
        trace = run_nested(sampler, problem, own, named_key(experiment.seed, sampler.method))
        return Posterior.of(sampler.method, trace, problem, experiment.soundness)

    found = drawn(chains) if has_exact_evidence(problem) else None
    if found is not None and found.agrees:
        return found, Missing("the evidence is exact")
    grown = _grown(particles, problem.num_points)
    told = _first(drawn, grown, lambda posterior: not posterior.is_carried)
    assert told is not None
    if told.agrees:
        return told, told
    found = drawn(chains) if found is None else found
    if not found.agrees and isinstance(chains, Gibbs):
        longer = {"num_samples": GROWTH * chains.num_samples, "thinning": GROWTH * chains.thinning}
        found = drawn(chains.model_copy(update=longer))
    if found.agrees:
        return found, told
    more = _first(drawn, grown, lambda posterior: posterior.agrees)
    told = told if more is None or more.is_carried else more
    return (told if told.agrees else found), told


def first_that_suits(methods: Iterable[M], problem: Problem) -> M | None:
    """The first of some methods that can solve the problem."""
    for method in methods:
        try:
            method.check(problem)
        except InputError:
            continue
        return method
    return None


def _first(
    drawn: Callable[[Sampler], Posterior], samplers: Iterator[Sampler], suits: Callable[[Posterior], bool]
) -> Posterior | None:
    """The draws of the first sampler that suit; of the last where none do, and None where there is no sampler."""
    found = None
    for sampler in samplers:
        found = drawn(sampler)
        if suits(found):
            break
    return found


def _grown(particles: TemperedSMC | IBIS, num_points: int) -> Iterator[TemperedSMC | IBIS]:
    """The same with ever more particles."""
    count = particles.num_samples
    yield particles
    while (count := GROWTH * count) <= MOST_PARTICLES and count * num_points <= MOST_WORK:
        yield particles.model_copy(update={"num_samples": count})
