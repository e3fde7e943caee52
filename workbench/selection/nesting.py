"""Solving small problems of every K by one compiled program, each nested in a larger problem of one of a few sizes.

On few data, compiling a method takes longer than running it, and a compiled program serves one number of components. A
problem is therefore solved for mixtures of more components, of which only the first K can have points
(`Problem.nested_in`), and the answers are cut to these. The size depends on the problem alone, and so do the answers,
whichever other K are requested.
"""

from dataclasses import replace

import numpy as np
from jax import Array

from workbench.loop.pool import work_of
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import Method
from workbench.methods.sampler import Sampler
from workbench.mixture import ConjugatePrior, FlatPrior, Mixture
from workbench.mixture.covariance import Diagonal
from workbench.mixture.filled import COMPONENTS, first_components, of_variances
from workbench.problem import Problem

# A problem is nested in the largest size if a pass there is at most SMALL work, because the added work then costs less
# than compiling. Up to MODERATE work, it is nested in the smallest size that holds its components.
SMALL, MODERATE = 2**15, 2**18
SIZES = (6, COMPONENTS)


def run_nested(method: Method, problem: Problem, starts: Mixture, key: Array) -> Trace:
    """`run` of EM or of a sampler, nested where that is quicker; the trace is that of the given problem.

    If it is nested, its log-joints are those of the given problem up to a constant.
    """
    if not is_nested(method, problem):
        return run(method, problem, starts, key)
    trace = run(method, nested(problem), padded(starts, problem), key)
    return replace(trace, mixtures=restored(trace.mixtures, problem))


def nested(problem: Problem) -> Problem:
    """The larger problem that a problem is nested in; for one column, with variances instead of 1 x 1 covariances.

    In one column the two families are the same, and so are their conjugate priors: a 1 x 1 inverse-Wishart matrix is an
    inverse-gamma number.
    """
    (rows, h, _), (k, family, prior, labels) = problem.tree_flatten()
    if family.is_unrestricted and problem.num_dimensions == 1 and isinstance(prior, FlatPrior | ConjugatePrior):
        h = h | {"scatter": h["scatter"][..., 0]} if "scatter" in h else h
        problem = Problem.tree_unflatten((k, Diagonal(), prior, labels), (rows, h, None))
    return problem.nested_in(size_of(problem))


def size_of(problem: Problem) -> int:
    """The number of components of the larger problem, which depends on the problem alone.

    It is smaller than the problem's own number if there is no larger problem.
    """
    if _work(problem, COMPONENTS) <= SMALL:
        return COMPONENTS
    return next((size for size in SIZES if size >= problem.components and _work(problem, size) <= MODERATE), 0)


def _work(problem: Problem, components: int) -> int:
    """The work of a pass with `components` components."""
    return work_of(problem) // problem.components * components


def restored(mixtures: Mixture, problem: Problem) -> Mixture:
    """The first K components of mixtures of the larger problem, leaves [..., K, ...]: the inverse of `padded`."""
    own = first_components(mixtures, problem.components)
    if own.covariance == problem.covariance:
        return own
    return Mixture(own.weights, own.means, own.scales[..., None], problem.covariance)


def is_nested(method: Method, problem: Problem) -> bool:
    """Whether a problem is solved in a larger one. It needs few points, few components, and a flat prior on weights.

    A component without points does not affect a mode, unless it shares its covariance with the others: then the prior
    of its mean does. A sampler integrates over such a component.
    """
    prior = problem.prior
    flat = float(problem.hyperparameters.get("concentration", 1.0)) == 1.0
    alone = isinstance(prior, FlatPrior) or (isinstance(prior, ConjugatePrior) and not problem.covariance.is_shared)
    suits = prior.proper if isinstance(method, Sampler) else alone
    return flat and suits and problem.components <= size_of(problem)


def padded(mixtures: Mixture, problem: Problem) -> Mixture:
    """Mixtures with leaves [R, ...] and with added components, which have the mean and the covariance of the data."""
    family, size = nested(problem).covariance, size_of(problem)
    mixtures = mixtures if family == mixtures.covariance else of_variances(mixtures)
    k, d, rows = problem.components, problem.num_dimensions, problem.rows
    weights, means, scales = (np.asarray(leaf) for leaf in (mixtures.weights, mixtures.means, mixtures.scales))
    restarts, more = len(weights), size - k
    added = np.full((restarts, more), 1 / size)
    weights = np.concatenate([weights * k / size, added], 1)
    means = np.concatenate([means, np.broadcast_to(rows.shift, (restarts, more, d))], 1)
    if not family.is_shared:
        wide = np.asarray(family.broadcast(rows.matrix @ rows.matrix.T, more))
        scales = np.concatenate([scales, np.broadcast_to(wide, (restarts, *wide.shape))], 1)
    return Mixture(weights, means, scales, family)  # type: ignore[arg-type]
