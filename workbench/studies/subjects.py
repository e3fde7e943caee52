"""The problems of studies: named subjects, and the optimum whose neighbourhood a study examines."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field

from workbench.charts import Chart
from workbench.config import Config, Listed
from workbench.data import Dataset, Simulator
from workbench.engine.compat.compilation import jit_by_size
from workbench.engine.keys import named_key, restart_keys
from workbench.errors import InputError
from workbench.experiment.config import AnyPrior, DataConfig, ModelConfig
from workbench.geometry.curvature import Information, curvature, information, raveled
from workbench.geometry.rate import displaced
from workbench.geometry.stationary import Kind, Nature, classify
from workbench.loop.run import run
from workbench.methods import GradientAscent
from workbench.mixture import FlatPrior, Mixture
from workbench.problem import Problem
from workbench.starts import KMeansPlusPlus, draw_starts


class Subject(Config):
    """One problem of a study."""

    name: Annotated[str, Field(min_length=1)] = Field(description="shown in tables and figures")
    data: DataConfig = Field(description="where the points come from")
    model: ModelConfig = Field(description="the mixture that is fitted")
    prior: AnyPrior = Field(FlatPrior(), description="prior of the parameters; flat for maximum likelihood")

    def dataset(self, seed: int, folder: Path) -> Dataset:
        """The points to fit, with their labels or truth if known.

        Raises:
            InputError: the data cannot be read.
        """
        try:
            return self.data.load(seed, folder)[0]
        except InputError as error:
            raise InputError(f"subjects.{self.name}.{error}") from None

    def problem(self, seed: int, folder: Path) -> Problem:
        """The problem of the points to fit.

        Raises:
            InputError: the data cannot be read, or do not suit the model or the prior.
        """
        points = self.dataset(seed, folder)
        if points.known is not None:
            raise InputError(f"subjects.{self.name}.data.label_known: a study takes no known components; leave it out")
        if self.model.fixed is not None:
            raise InputError(f"subjects.{self.name}.model.fixed: a study fits every parameter; leave it out")
        if self.model.background:
            raise InputError(f"subjects.{self.name}.model.background: a study fits components alone; leave it out")
        try:
            return self.model.problem(points, self.prior)
        except InputError as error:
            raise InputError(f"subjects.{self.name}: {error}") from None


MaybeSubjects = Annotated[tuple[Subject, ...], Listed]
Subjects = Annotated[MaybeSubjects, Field(min_length=1, description="the problems to look at")]


def subject_named(subjects: Sequence[Subject], name: str) -> Subject:
    """The subject with this name."""
    return next(subject for subject in subjects if subject.name == name)


# For real data the truth is unknown, and the best of this many climbs from k-means++ is used instead.
CLIMBS = 16

# The method is L-BFGS, because overlap of the components does not slow it.
CLIMB = GradientAscent(optimizer="lbfgs", weights="log_ratio", max_iterations=1000)


def best_optimum(problem: Problem, seed: int) -> Nature:
    """The best sound end of climbs from k-means++, polished and classified.

    Raises:
        InputError: no climb ended in a sound mixture.
    """
    return _climbed(problem, draw_starts(KMeansPlusPlus(), problem, CLIMBS, seed))


def optimum_at_truth(problem: Problem, data: Dataset) -> Nature:
    """The end of a climb from the truth of simulated data, or the member nearest to it, polished and classified.

    Raises:
        InputError: the climb did not end in a sound mixture.
    """
    assert data.truth is not None
    family, truth = problem.covariance, data.truth
    scales = family.factor(family.nearest(jnp.asarray(truth.covariances)))
    start = Mixture(jnp.asarray(truth.weights), jnp.asarray(truth.means), scales, family)
    return _climbed(problem, jax.tree.map(lambda leaf: leaf[None], start))


def optimum_of_subject(subject: Subject, seed: int, folder: Path) -> tuple[Problem, Nature]:
    """The problem of a subject, and the best optimum of its climbs.

    Raises:
        InputError: its data cannot be read, or no climb ended in a sound mixture.
    """
    problem = subject.problem(seed, folder)
    return problem, best_optimum(problem, seed)


def optimum_of_simulated(simulator: Simulator, seed: int, covariance: str = "full") -> tuple[Problem, Nature]:
    """A problem of simulated data, and the end of a climb from the truth.

    Raises:
        InputError: the climb did not end in a sound mixture.
    """
    data = simulator.draw(seed)
    problem = Problem(data.x, simulator.components, covariance)
    return problem, optimum_at_truth(problem, data)


def is_strict(nature: Nature) -> bool:
    """Whether the point is a strict maximum, whose information is positive definite, so that rates exist."""
    return nature.kind == Kind.MAXIMUM


def information_at(problem: Problem, mixture: Mixture) -> Information:
    """The information matrices in the chart without redundant directions."""
    return _information(problem.rows.z.size, problem, mixture)


@jit_by_size
def _information(problem: Problem, mixture: Mixture) -> Information:
    return information(problem, mixture, Chart.of(problem, weights="log_ratio"))


def starts_near(problem: Problem, optimum: Mixture, known: Information, restarts: int, seed: int) -> Mixture:
    """Mixtures one nat below the optimum, to second order, in random directions: leaves [R, ...]."""
    return _starts_near(problem.rows.z.size, problem, optimum, known, restart_keys(named_key(seed, "near"), restarts))


@jit_by_size
def _starts_near(problem: Problem, optimum: Mixture, known: Information, keys: Array) -> Mixture:
    chart = Chart.of(problem, weights="log_ratio")
    return jax.vmap(lambda key: displaced(problem, optimum, known, chart, key))(keys)


def _climbed(problem: Problem, starts: Mixture) -> Nature:
    best = run(CLIMB, problem, starts, named_key(0, "climb")).best(problem)
    if best is None:
        raise InputError("model: no climb ended in a sound mixture; use fewer components, or a prior")
    nature = classify(problem, best)
    if not is_strict(nature):
        return nature
    return replace(nature, mixture=_refined(problem.rows.z.size, problem, nature.mixture))


@jit_by_size
def _refined(problem: Problem, optimum: Mixture) -> Mixture:
    """One more Newton step, down to rounding, because errors are measured from here and identities hold only here."""
    chart = Chart.of(problem, weights="log_ratio")
    u, constrain = raveled(optimum, chart)
    here = curvature(problem, optimum, chart)
    return constrain(u - jnp.linalg.solve(here.hessian, here.gradient))


def number(value: float | Array | np.ndarray) -> float | None:
    """A number that JSON can hold: None if it is not finite."""
    return float(value) if np.isfinite(value) else None
