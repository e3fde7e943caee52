"""A candidate: an experiment with one of the K to choose from, climbed and sampled once for all criteria."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from workbench.compare.comparison import starts_of
from workbench.data import Dataset
from workbench.diagnostics import mixing_of, verdicts
from workbench.diagnostics.evidence import Evidence, pooled_evidence
from workbench.diagnostics.status import Status
from workbench.errors import InputError
from workbench.experiment import Experiment
from workbench.keys import named_key
from workbench.methods import EM, Climber, GradientAscent, Method, TemperedSMC
from workbench.methods.ends import EndsOnly
from workbench.methods.sampler import Sampler
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.run import run
from workbench.soundness import Soundness
from workbench.trace import Trace

M = TypeVar("M", bound=Method)

# Of each run, unless the experiment says otherwise: four runs tell the evidence of galaxies within some 0.2 nats.
PARTICLES = 500


class Missing(NamedTuple):
    """What there is not, and why."""

    why: str


class Fit(NamedTuple):
    """The best sound end of an experiment's starts."""

    mixture: Mixture
    log_likelihood: float
    notes: tuple[str, ...]


class Posterior(NamedTuple):
    """The draws of all chains or runs."""

    draws: Mixture  # leaves [R, S, ...]
    efficiency: float  # effective draws for each draw, of the label-invariant functional that mixes worst
    evidence: Evidence | None  # where the sampler tells it
    notes: tuple[str, ...]

    @classmethod
    def of(cls, trace: Trace, problem: Problem, rule: Soundness) -> "Posterior":
        """Of a sampler's trace."""
        mixing = mixing_of(trace, problem)
        assert mixing is not None
        worst = max(verdicts(trace, problem, rule, mixing), key=lambda verdict: verdict.status)
        return cls(
            jax.tree.map(jnp.asarray, trace.answer),
            min(1.0, mixing.ess_min / (trace.num_restarts * trace.draws)),
            None if trace.log_evidence is None else pooled_evidence(trace.log_evidence),
            () if worst.status == Status.CONVERGED else (worst.message,),
        )


@dataclass(frozen=True, eq=False)
class Candidate:
    """What the criteria read: the experiment with K components, its best fit and its posterior."""

    experiment: Experiment
    train: Dataset
    problem: Problem
    fit: Fit | Missing
    posterior: Posterior | Missing

    @property
    def num_parameters(self) -> int:
        """p, the free parameters of a mixture of the problem."""
        k, d = self.problem.components, self.problem.num_dimensions
        return k - 1 + k * d + self.problem.covariance.num_parameters(k, d)


def climber_of(experiment: Experiment, problem: Problem) -> Climber:
    """EM as the experiment has it; L-BFGS where the prior has no closed-form M-step."""
    own = experiment.methods.values()
    ascents = (method for method in own if isinstance(method, GradientAscent))
    em = (method for method in own if isinstance(method, EM))
    return _first_that_suits([*em, EM(), *ascents, GradientAscent(optimizer="lbfgs")], problem) or EM()


def sampler_of(experiment: Experiment, problem: Problem) -> Sampler | None:
    """Tempered SMC as the experiment has it; none without a proper prior.

    One method serves WAIC, PSIS-LOO and the evidence, and with more components than groups its runs agree where chains
    stay in one of many modes.
    """
    own = (method for method in experiment.methods.values() if isinstance(method, TemperedSMC))
    return _first_that_suits([*own, TemperedSMC(num_samples=PARTICLES)], problem)


def climbed(experiment: Experiment, problem: Problem) -> Fit | Missing:
    """The best sound end of the experiment's starts on a problem."""
    method = climber_of(experiment, problem)
    starts = starts_of(method, problem, experiment.starts, experiment.restarts, experiment.seed)
    trace = run(EndsOnly(inner=method), problem, starts, named_key(experiment.seed, method.method))
    place = trace.best_place(problem, experiment.soundness)
    if place is None:
        return Missing(f"none of {trace.num_restarts} starts of {method.method} ends in a sound mixture")
    mixture = jax.tree.map(jnp.asarray, trace.at(*place))
    health = experiment.soundness.check(problem, mixture)
    warnings = {
        "the best fit had not converged": not trace.converged[place[0]],
        "two components of the best fit have merged": health.merged,
        "the best fit has a component both tight and small": health.suspicious,
    }
    return Fit(mixture, float(trace.log_likelihood[place]), tuple(text for text, holds in warnings.items() if holds))


def sampled(experiment: Experiment, problem: Problem) -> Posterior | Missing:
    """The posterior of a problem, where it has one."""
    sampler = sampler_of(experiment, problem)
    if sampler is None:
        return Missing("there is no posterior without a proper prior; give one, as --set prior.family=conjugate")
    starts = starts_of(sampler, problem, experiment.starts, experiment.restarts, experiment.seed)
    trace = run(sampler, problem, starts, named_key(experiment.seed, sampler.method))
    return Posterior.of(trace, problem, experiment.soundness)


def _first_that_suits(methods: Iterable[M], problem: Problem) -> M | None:
    """The first of some methods that can solve the problem."""
    for method in methods:
        try:
            method.check(problem)
        except InputError:
            continue
        return method
    return None
