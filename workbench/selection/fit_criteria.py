"""The criteria that read fits: AIC, BIC and ICL of the best fit, and the score of points held out of fits."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.data.dataset import Dataset, generator
from workbench.data.known import UNKNOWN
from workbench.data.moments import weighted_blocks
from workbench.data.observed import MissingCells
from workbench.engine.compat.compilation import jit_with
from workbench.errors import InputError
from workbench.mixture import Mixture
from workbench.mixture.filled import filled
from workbench.problem import Problem
from workbench.selection.candidate import Candidate, Fit, all_climbed, climbed
from workbench.selection.posterior import Missing
from workbench.selection.score import Score


def aic(candidate: Candidate) -> Score:
    """`log L - p` (Akaike 1974, IEEE Trans. Automatic Control 19), -1/2 of the textbook's AIC."""
    fit = candidate.fit
    if isinstance(fit, Missing):
        return Score.missing(fit.why)
    return Score.of(fit.log_likelihood - candidate.num_parameters, notes=fit.notes)


def bic(candidate: Candidate) -> Score:
    """`log L - (p / 2) ln N` (Schwarz 1978, Annals of Statistics 6).

    It is -1/2 of the textbook's BIC, and half of mclust's.
    """
    fit = candidate.fit
    if isinstance(fit, Missing):
        return Score.missing(fit.why)
    price = 0.5 * math.log(candidate.problem.num_points)
    return Score.of(fit.log_likelihood - price * candidate.num_parameters, notes=fit.notes)


def icl(candidate: Candidate) -> Score:
    """`BIC + sum_n ln max_k r_nk`, in which every point belongs to its most probable component.

    Biernacki, Celeux & Govaert 2000, IEEE Trans. PAMI 22, on half their scale and with mclust's sign. The
    soft form, which adds `sum_nk r_nk ln r_nk` instead, is lower or equal. A row of known component belongs to it
    without doubt.
    """
    score, fit = bic(candidate), candidate.fit
    if isinstance(fit, Missing) or score.value is None:
        return score
    mixture, problem = filled(fit.mixture), candidate.problem
    unsure, first = 0.0, 0
    for block, weights in weighted_blocks(problem.x, problem.weights):
        terms = np.asarray(_log_largest(mixture, block, problem.missing))
        if problem.known is not None:
            terms = np.where(problem.known.components[first : first + len(block)] == UNKNOWN, terms, 0.0)
        first += len(block)
        unsure += float(np.sum(terms if weights is None else terms * weights[:, 0]))
    return replace(score, value=score.value + unsure)


@jit_with({}, static_argnums=2)
def _log_largest(mixture: Mixture, x: Array, missing: MissingCells) -> Array:
    """ln max_k r_nk. [N]"""
    joint = mixture.component_log_joint(x, missing=missing)
    largest = joint.max(axis=-1)
    if mixture.background is not None:
        largest = jnp.maximum(largest, mixture.background.log_joint(x))
    return largest - mixture.log_density(x, missing=missing)


# The number of folds; Kohavi (1995, IJCAI) recommends ten.
FOLDS = 10


# If no start of a fold ends in a sound mixture, this many times as many starts are tried.
MORE = 4


def heldout(candidate: Candidate) -> Score:
    """The ten-fold cross-validated log predictive density of the best fit, with a term for each point.

    Smyth (2000), "Model selection for probabilistic clustering using cross-validated likelihood", Statistics and
    Computing 10. The folds depend on the seed alone, so that they are the same for all K. Either all points are
    scored or none, because sums over different points cannot be compared between K. Rows with whole weights are left
    out observation by observation, as the rows repeated would be; other weights go with their rows. Rows that are
    fitted keep their known components, and those left out are scored by their density alone.
    """
    experiment, train = candidate.experiment, candidate.train.counted
    total, problems = train.num_separable, []
    parts = folds(total, experiment.seed)
    for number, (fitted, _) in enumerate(parts, 1):
        try:
            problems.append(_part_of(candidate, train.part(np.isin(np.arange(total), fitted))))
        except InputError as error:
            return Score.missing(f"without fold {number}: {error}")
    fits = all_climbed(experiment, problems, candidate.fit)
    scored = [train.part(np.isin(np.arange(total), left_out)) for _, left_out in parts]
    most, terms, notes = max(len(part.x) for part in scored), [], []
    for number, (first, problem, part) in enumerate(zip(fits, problems, scored, strict=True), 1):
        fit, note = _fitted(candidate, problem, first)
        if isinstance(fit, Missing):
            return Score.missing(f"without fold {number}, {fit.why}")
        notes += [f"fold {number}: {note}"] if note else []
        # Points are repeated, so that one program serves folds of several sizes.
        padded = np.resize(part.x, (most, part.x.shape[1]))
        terms.append(np.asarray(_log_densities(filled(fit.mixture), padded, train.missing))[: len(part.x)])
    if train.weights is not None:
        return Score.of_terms(np.concatenate(terms), notes, np.concatenate([part.weights for part in scored]))
    order = np.argsort(np.concatenate([left_out for _, left_out in parts]))
    return Score.of_terms(np.concatenate(terms)[order], notes)


def _part_of(candidate: Candidate, part: Dataset) -> Problem:
    """The problem of a part of the points, with the numbers of components that known classes have among all."""
    known = candidate.problem.known
    own = None if known is None or part.known is None else known.numbered(part.known)
    return candidate.experiment.problem(part, own)


def _fitted(candidate: Candidate, problem: Problem, fit: Fit | Missing) -> tuple[Fit | Missing, str]:
    """The best sound fit to the points of a fold, and a note if it took more starts than usual.

    The additional starts are drawn by the experiment's rule; the last resort is the best fit to all points.
    """
    experiment = candidate.experiment
    if isinstance(fit, Fit):
        return fit, ""
    more = experiment.model_copy(update={"restarts": MORE * experiment.restarts})
    again = climbed(more, problem)
    if isinstance(again, Fit):
        return again, f"{fit.why}; fitted from {more.restarts}"
    if isinstance(candidate.fit, Missing):
        return again, ""
    last = climbed(experiment, problem, jax.tree.map(lambda leaf: np.asarray(leaf)[None], candidate.fit.mixture))
    return (last, f"{again.why}; fitted from the fit to all points") if isinstance(last, Fit) else (again, "")


def folds(num_points: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The indices of the points to fit and of those left out, for each of at most ten folds.

    All fits have equally many points, so that one compiled program serves them. If ten does not divide N, the fit of
    a smaller fold leaves out one further point, which is not scored there.
    """
    count = min(FOLDS, num_points)
    order = generator(seed, "folds").permutation(num_points)
    fitted = num_points - -(-num_points // count)
    parts = [order[fold::count] for fold in range(count)]
    return [(np.sort(np.setdiff1d(order, part, assume_unique=True)[:fitted]), np.sort(part)) for part in parts]


@jit_with({}, static_argnums=2)
def _log_densities(mixture: Mixture, x: Array, missing: MissingCells) -> Array:
    """ln P(x_n). [N]"""
    return mixture.log_density(x, missing=missing)
