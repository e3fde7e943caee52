"""A candidate: an experiment with one of the K to choose from, climbed and sampled once for all criteria."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from workbench.compare.comparison import starts_of
from workbench.data import Dataset
from workbench.diagnostics.passed_over import passed_over
from workbench.engine.keys import named_key
from workbench.experiment import Experiment
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import EM, Climber, GradientAscent
from workbench.methods.parts import EndsOnly
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.selection.nesting import WIDTH, climb_side_by_side, is_nested
from workbench.selection.posterior import Missing, Posterior, first_that_suits

# Ends that differ by more than this in log-joint are different; an end is determined to about six digits.
APART = 1e-3

# A climb on the points of a fold begins at the experiment's starts and at as many ends of the climb on all points; at
# most this many of each, because drawing starts takes longer than climbing from them. Fewer of its own starts can end
# .74 nats lower on the fold and 11 nats higher on the points left out (three groups, N = 120, D = 2, K = 3).
MOST_ENDS = 16


class Fit(NamedTuple):
    """The best sound end of an experiment's starts."""

    mixture: Mixture
    log_likelihood: float
    notes: tuple[str, ...]
    ends: Mixture  # leaves [M, ...]   the distinct ends of the starts, the highest first


@dataclass(frozen=True, eq=False)
class Candidate:
    """The input of the criteria: the experiment with K components, its best fit and its posterior."""

    experiment: Experiment
    train: Dataset
    problem: Problem
    fit: Fit | Missing
    posterior: Posterior | Missing  # of the particles or chains that agree, for predictive criteria
    particles: Posterior | Missing  # of IBIS or tempered SMC, for the evidence

    @property
    def num_parameters(self) -> int:
        """p, the free parameters of a mixture of the problem."""
        return self.problem.num_parameters


def climber_of(experiment: Experiment, problem: Problem) -> Climber:
    """The experiment's EM; L-BFGS if the prior has no closed-form M-step."""
    own = experiment.methods.values()
    ascents = (method for method in own if isinstance(method, GradientAscent))
    em = (method for method in own if isinstance(method, EM))
    return first_that_suits([*em, EM(), *ascents, GradientAscent(optimizer="lbfgs")], problem) or EM()


def climbed(experiment: Experiment, problem: Problem, starts: Mixture | None = None) -> Fit | Missing:
    """The best sound end of climbs from the experiment's starts, or from given starts with leaves [R, ...]."""
    method = climber_of(experiment, problem)
    if starts is None:
        starts = starts_of(method, problem, experiment.starts, experiment.restarts, experiment.seed)
    key = named_key(experiment.seed, method.method)
    if isinstance(method, EM) and is_nested(method, problem):
        problem = problem.padded(WIDTH)
        trace = climb_side_by_side(method, [problem], [starts], key)[0]
    else:
        trace = run(EndsOnly(inner=method), problem, starts, key)
    return _best(experiment, problem, trace, method)


def all_climbed(experiment: Experiment, problems: Sequence[Problem], fit: Fit | Missing) -> list[Fit | Missing]:
    """The best sound fits to several problems of equally many points, which are parts of the points of `fit`.

    The climbs begin at the ends of that fit and at the experiment's starts, drawn from the part. The points
    left out thus affect where some of the climbs begin, but not the objective that they climb.
    """
    method = climber_of(experiment, problems[0])
    starts = [_starts_of_part(experiment, method, problem, fit) for problem in problems]
    alike = problems[0].missing == "refuse"  # the chunks of incomplete rows depend on their patterns
    if not (alike and isinstance(method, EM) and all(is_nested(method, problem) for problem in problems)):
        return [climbed(experiment, *pair) for pair in zip(problems, starts, strict=True)]
    padded = [problem.padded(WIDTH) for problem in problems]
    if len({problem.rows.z.shape for problem in padded}) > 1:
        # Folds of weighted rows have different numbers of rows, which may be cut into different chunks.
        return [climbed(experiment, *pair) for pair in zip(problems, starts, strict=True)]
    problems = padded
    traces = climb_side_by_side(method, problems, starts, named_key(experiment.seed, method.method))
    pairs = zip(problems, traces, strict=True)
    return [_best(experiment, problem, trace, method) for problem, trace in pairs]


def _starts_of_part(experiment: Experiment, method: Climber, problem: Problem, fit: Fit | Missing) -> Mixture:
    """Starts on a part of the points, leaves [R, ...]; equally many for all parts and K, so that one program serves."""
    restarts, seed = experiment.restarts, experiment.seed
    if isinstance(fit, Missing):
        return starts_of(method, problem, experiment.starts, restarts, seed)
    own = starts_of(method, problem, experiment.starts, min(restarts, MOST_ENDS), seed)
    again = np.resize(np.arange(len(fit.ends.weights)), min(restarts, MOST_ENDS))
    return jax.tree.map(lambda drawn, ends: np.concatenate([drawn, ends[again]]), own, fit.ends)


def _distinct_ends(trace: Trace) -> Mixture:
    """The distinct ends of a climb's restarts, leaves [M, ...], the highest first."""
    scores = np.where(trace.collapsed, -np.inf, trace.log_joint[:, -1])
    order = np.argsort(-scores, kind="stable")
    order = order[np.isfinite(scores[order])]
    apart = np.insert(-np.diff(scores[order]) > APART, 0, True)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[order[apart][:MOST_ENDS]], trace.ends)


def _best(experiment: Experiment, problem: Problem, trace: Trace, method: Climber) -> Fit | Missing:
    """The best sound end of a trace, with warnings."""
    found = trace.best_found(problem, experiment.soundness)
    if found is None:
        return Missing(f"none of {trace.num_restarts} starts of {method.method} ends in a sound mixture")
    place, health = found
    mixture = jax.tree.map(jnp.asarray, trace.at(*place))
    over = passed_over(problem, trace, experiment.soundness, float(trace.log_joint[place]))
    warnings = {
        "" if over is None else over.words: over is not None,
        "the best fit had not converged": not trace.converged[place[0]],
        "two components of the best fit have merged": health.merged,
        "the best fit has a component both tight and small": health.suspicious,
    }
    notes = tuple(text for text, holds in warnings.items() if holds)
    return Fit(mixture, float(trace.log_likelihood[place]), notes, _distinct_ends(trace))
