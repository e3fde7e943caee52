"""A subject: a named problem of a study, whose data, model and prior are given as in an experiment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from workbench.config import Config, Listed
from workbench.data import Dataset
from workbench.errors import InputError
from workbench.experiment.config import AnyPrior, DataConfig, ModelConfig
from workbench.mixture import FlatPrior
from workbench.problem import Problem


class Subject(Config):
    """One problem of a study."""

    name: Annotated[str, Field(min_length=1)] = Field(description="shown in tables and figures")
    data: DataConfig
    model: ModelConfig
    prior: AnyPrior = FlatPrior()

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
        try:
            return self.model.problem(points.x, self.prior, columns=points.columns)
        except InputError as error:
            raise InputError(f"subjects.{self.name}: {error}") from None


MaybeSubjects = Annotated[tuple[Subject, ...], Listed]
Subjects = Annotated[MaybeSubjects, Field(min_length=1, description="the problems to look at")]


def subject_named(subjects: Sequence[Subject], name: str) -> Subject:
    """The subject with this name."""
    return next(subject for subject in subjects if subject.name == name)
