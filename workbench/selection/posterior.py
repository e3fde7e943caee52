"""The posterior of a candidate: by particles, which estimate the evidence, and by chains if the particles disagree.

Under the conjugate prior the particles are those of IBIS, which take in the points one by one and move by exact
sweeps; under other priors they are those of tempered SMC. Both reach the modes while these are still connected. Chains
are those of Gibbs under the conjugate prior and of NUTS elsewhere; they agree if they move between the modes, and
otherwise each stays in one. The order is fixed: particles, which the evidence needs anyway; chains; chains of Gibbs
four times as long, unless sweeps are so cheap that the first chains are that long; then ever more particles. If the
evidence is exact, chains come first. WAIC and PSIS-LOO read the first whose draws agree, by the one rule for all
samplers (`diagnostics.Mixing`). If none agree, their scores are not eligible.

The evidence has a rule of its own. Each run of particles estimates it without bias, however well the particles mix, and
the spread of the runs' estimates is its error. That error is meaningless if one run outweighs all the others together,
so the number of particles grows until none does.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.data.weights import are_whole
from workbench.diagnostics import mixing_of, restart_statuses
from workbench.diagnostics.predictive import Evidence, pooled_evidence
from workbench.diagnostics.status import Status
from workbench.engine.compat.compilation import jit_with
from workbench.engine.keys import named_key
from workbench.engine.one_pass import one_pass
from workbench.errors import InputError
from workbench.experiment import Experiment
from workbench.loop.trace import Trace
from workbench.methods import IBIS, NUTS, Gibbs, Method, TemperedSMC
from workbench.methods.parts import Sampler
from workbench.mixture import ConjugatePrior, Mixture
from workbench.mixture.prior.update import log_marginal_likelihood, update
from workbench.posterior import exact_posterior
from workbench.posterior.exact import MOST_ALLOCATIONS, num_allocations
from workbench.problem import Problem
from workbench.selection.nesting import is_small, run_nested
from workbench.selection.score import Score
from workbench.soundness import Soundness

M = TypeVar("M", bound=Method)

# The first number of sweeps of each chain of Gibbs after the warm-up; on few data they take less time than compiling
# one. Successive sweeps are correlated, and a sweep costs less than evaluating its draw, so few are read: 4,000 draws
# of four chains, whatever the number of sweeps. That is ten times the effective draws that chains need to agree, and
# gives a mean to 1/60 of the posterior standard deviation. Where the particles disagree, the chains mostly have to be
# LONG; they are so at once where a pass is `SMALL` work.
SWEEPS, READ = 4000, 1000

# The first number of particles of each run of tempered SMC, unless the experiment states one.
PARTICLES = 500

# Chains that disagree are run once more, GROWTH times as long. Runs that disagree are repeated with GROWTH times the
# particles, as long as these are at most MOST_PARTICLES, and particles times points at most MOST_WORK; larger runs take
# minutes.
GROWTH = 4
MOST_PARTICLES = 8000
MOST_WORK = 2**22
LONG = GROWTH * SWEEPS


class Missing(NamedTuple):
    """A missing value, and why it is missing."""

    why: str


class Posterior(NamedTuple):
    """The draws of all chains or runs of one sampler."""

    sampler: str
    draws: Mixture  # leaves [R, S, ...]
    efficiency: float  # effective draws for each draw, of the label-invariant functional that mixes worst
    evidence: Evidence | None  # if the sampler estimates it
    agrees: bool  # whether chains or runs agree, by the rule of all samplers
    message: str  # the diagnostics that show it

    @classmethod
    def of(cls, sampler: str, trace: Trace, problem: Problem, rule: Soundness) -> "Posterior":
        """The posterior of a sampler's trace."""
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
        """Whether one run outweighs all the others together in the mean that estimates the evidence."""
        return self.evidence is not None and self.evidence.is_carried

    def judge(self, score: Score) -> Score:
        """A score computed from these draws, which is rejected if they disagree."""
        return score if self.agrees else score.reject("draws do not agree", f"{self.sampler}: {self.message}")


def chains_of(experiment: Experiment, problem: Problem) -> Sampler | None:
    """Gibbs under the conjugate prior, where it compiles faster; otherwise NUTS. The experiment's own come first."""
    own = list(experiment.methods.values())
    sweeps = LONG if is_small(problem) else SWEEPS
    # With one component every sweep is an independent draw.
    thinning = sweeps // READ if problem.components > 1 else 1
    gibbs = [
        *(method for method in own if isinstance(method, Gibbs)),
        Gibbs(num_warmup=SWEEPS // 4, num_samples=READ * thinning, thinning=thinning),
    ]
    nuts = [*(method for method in own if isinstance(method, NUTS)), NUTS()]
    return first_that_suits([*gibbs, *nuts], problem)


def particles_of(experiment: Experiment, problem: Problem) -> TemperedSMC | IBIS | None:
    """The experiment's tempered SMC or IBIS; by default IBIS under the conjugate prior; None without a proper prior."""
    own = [method for method in experiment.methods.values() if isinstance(method, TemperedSMC | IBIS)]
    if not problem.rows.shared:
        own.append(IBIS())
    return first_that_suits([*own, TemperedSMC(num_samples=PARTICLES)], problem)


def sampled(
    experiment: Experiment, problem: Problem, starts: Mixture
) -> tuple[Posterior | Missing, Posterior | Missing]:
    """The posteriors that WAIC and PSIS-LOO read and that the evidence reads: the same particles if these agree.

    Args:
        experiment: the experiment of the candidate.
        problem: its problem.
        starts: the starts of the chains, in order; surplus ones are ignored. Leaves [R, ...].
    """
    chains, particles = chains_of(experiment, problem), particles_of(experiment, problem)
    if chains is None or particles is None:
        none = Missing("there is no posterior without a proper prior; give one, such as --set prior.family=conjugate")
        return none, none

    def drawn(sampler: Sampler) -> Posterior:
        # Starts are repeated if there are more runs, which do not use them.
        chosen = np.arange(sampler.num_chains) % len(starts.weights)
        own = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], starts)
        trace = run_nested(sampler, problem, own, named_key(experiment.seed, sampler.method))
        return Posterior.of(sampler.method, trace, problem, experiment.soundness)

    found = drawn(chains) if has_exact_evidence(problem) else None
    if found is not None and found.agrees:
        return found, Missing("the evidence is exact")
    grown = _grown(particles, problem.num_points)
    by_particles = _first(drawn, grown, lambda posterior: not posterior.is_carried)
    assert by_particles is not None
    if by_particles.agrees:
        return by_particles, by_particles
    found = drawn(chains) if found is None else found
    if not found.agrees and isinstance(chains, Gibbs) and chains.num_samples < LONG:
        longer = {"num_samples": GROWTH * chains.num_samples, "thinning": GROWTH * chains.thinning}
        found = drawn(chains.model_copy(update=longer))
    if found.agrees:
        return found, by_particles
    more = _first(drawn, grown, lambda posterior: posterior.agrees)
    by_particles = by_particles if more is None or more.is_carried else more
    return (by_particles if by_particles.agrees else found), by_particles


def can_sample_beside(experiment: Experiment, problem: Problem) -> bool:
    """Whether the samplers can run while those of another candidate do: without NumPyro, and on one device each."""
    return not problem.rows.shared and all(
        isinstance(sampler, Gibbs | IBIS | None)
        for sampler in (chains_of(experiment, problem), particles_of(experiment, problem))
    )


def first_that_suits(methods: Iterable[M], problem: Problem) -> M | None:
    """The first of some methods that can solve the problem; None if none can."""
    for method in methods:
        try:
            method.admit(problem)
        except InputError:
            continue
        return method
    return None


def _first(
    drawn: Callable[[Sampler], Posterior], samplers: Iterator[Sampler], suits: Callable[[Posterior], bool]
) -> Posterior | None:
    """The draws of the first sampler that suit; of the last if none do; None if there is no sampler."""
    found = None
    for sampler in samplers:
        found = drawn(sampler)
        if suits(found):
            break
    return found


def _grown(particles: TemperedSMC | IBIS, num_points: int) -> Iterator[TemperedSMC | IBIS]:
    """The sampler, and then the sampler with ever more particles."""
    count = particles.num_samples
    yield particles
    while (count := GROWTH * count) <= MOST_PARTICLES and count * num_points <= MOST_WORK:
        yield particles.model_copy(update={"num_samples": count})


def has_exact_evidence(problem: Problem) -> bool:
    """Whether the prior is conjugate, nothing is marginalised, and K is 1 or all allocations can be summed."""
    whole = problem.missing == "refuse" and problem.background is None
    if not (isinstance(problem.prior, ConjugatePrior) and whole):
        return False
    return problem.components == 1 or (are_whole(problem.weights) and num_allocations(problem) <= MOST_ALLOCATIONS)


def exact_evidence(problem: Problem) -> float:
    """`ln P(x | K)` of a problem for which `has_exact_evidence` holds."""
    return float(_of_one(problem)) if problem.components == 1 else exact_posterior(problem).log_evidence


@jit_with({})
def _of_one(problem: Problem) -> Array:
    """The evidence of a single Gaussian, to which all points belong, from the sums of one pass. []"""
    h, family, rows, d = problem.hyperparameters, problem.covariance, problem.rows, problem.num_dimensions
    standard = Mixture(jnp.ones(1), jnp.zeros((1, d)), family.broadcast(jnp.eye(d), 1), family)
    mixture = rows.from_working(standard)
    statistics = one_pass(mixture, rows)[1]
    return log_marginal_likelihood(update(statistics, mixture.means, h, family), h, family)
