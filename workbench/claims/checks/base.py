"""The interface of checks: a check is a named function that decides a claim from stored results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.claims.decision import Decision
from workbench.claims.evidence import Ran
from workbench.studies import Findings


@dataclass(frozen=True)
class Check:
    """A function of stored results, and the kind of results that it needs.

    Attributes:
        about: what is counted or compared, in one line.
        decide: maps results to a decision: the rows of a study, the runs of an experiment, or a list of the latter.
        study: the study whose rows it reads; None if it reads experiments.
        several: whether it reads any number of experiments, as a list.
    """

    about: str
    decide: Callable[[Any], Decision]
    study: str | None = None
    several: bool = False


def over_experiment(about: str, decide: Callable[[Ran], Decision]) -> Check:
    """A check that reads the stored runs of one experiment."""
    return Check(about, decide)


def over_experiments(about: str, decide: Callable[[Sequence[Ran]], Decision]) -> Check:
    """A check that reads the stored runs of any number of experiments together."""
    return Check(about, decide, several=True)


def over_study(study: str, about: str, decide: Callable[[Findings], Decision]) -> Check:
    """A check that reads the rows of one study."""
    return Check(about, decide, study)
