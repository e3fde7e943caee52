"""A candidate: an experiment with one of the K to choose from, climbed and sampled once for all criteria."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from workbench.compare.comparison import starts_of
from workbench.data import Dataset
from workbench.engine.keys import named_key
from workbench.experiment import Experiment
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import EM, Climber, GradientAscent
from workbench.methods.ends import EndsOnly
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.selection.nesting import is_nested, run_nested
from workbench.selection.posterior import Missing, Posterior, first_that_suits
from workbench.selection.side_by_side import climb_side_by_side


class Fit(NamedTuple):
    """The best sound end of an experiment's starts."""

    mixture: Mixture
    log_likelihood: float
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Candidate:
    """What the criteria read: the experiment with K components, its best fit and its posterior."""

    experiment: Experiment
    train: Dataset
    problem: Problem
    fit: Fit | Missing
    posterior: Posterior | Missing  # of the particles or chains that agree, for what predicts
    particles: Posterior | Missing  # of IBIS or tempered SMC, for the evidence

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
    return first_that_suits([*em, EM(), *ascents, GradientAscent(optimizer="lbfgs")], problem) or EM()


def climbed(experiment: Experiment, problem: Problem, starts: Mixture | None = None) -> Fit | Missing:
    """The best sound end of the experiment's starts on a problem, or of given ones with leaves [R, ...]."""
    method = climber_of(experiment, problem)
    if starts is None:
        starts = starts_of(method, problem, experiment.starts, experiment.restarts, experiment.seed)
    solve = run_nested if isinstance(method, EM) else run
    trace = solve(EndsOnly(inner=method), problem, starts, named_key(experiment.seed, method.method))
    return _best(experiment, problem, trace, method)


def all_climbed(experiment: Experiment, problems: Sequence[Problem]) -> list[Fit | Missing]:
    """The best sound end of the experiment's starts on each of several problems with equally many points."""
    method = climber_of(experiment, problems[0])
    if not (isinstance(method, EM) and all(is_nested(method, problem) for problem in problems)):
        return [climbed(experiment, problem) for problem in problems]
    starts = [
        starts_of(method, problem, experiment.starts, experiment.restarts, experiment.seed) for problem in problems
    ]
    traces = climb_side_by_side(method, problems, starts, named_key(experiment.seed, method.method))
    pairs = zip(problems, traces, strict=True)
    return [_best(experiment, problem, trace, method) for problem, trace in pairs]


def _best(experiment: Experiment, problem: Problem, trace: Trace, method: Climber) -> Fit | Missing:
    """The best sound end of a trace, and what to beware of."""
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
