"""The request of a choice of K: its candidates, their identity, and both in words."""

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from workbench.data import Dataset, points_text
from workbench.data.known import fewest_components
from workbench.data.names import unknown_name
from workbench.engine.devices import USUAL, dtype_name
from workbench.engine.rows import SHARED_AT
from workbench.errors import InputError, one_line, shown, typed
from workbench.experiment import Experiment
from workbench.mixture import COVARIANCES
from workbench.selection.candidate import climber_of
from workbench.selection.criteria import CRITERIA
from workbench.selection.posterior import chains_of, particles_of

T = TypeVar("T")


class Scope(NamedTuple):
    """The request: the K and covariance families to choose from, and the criteria that choose."""

    components: Sequence[int]
    covariances: Sequence[str] | None = None  # None for the experiment's own
    criteria: Sequence[str] | None = None  # None for all

    def checked(self) -> "Scope":
        """The same, in order, with the criteria named.

        Raises:
            InputError: K is not a whole number of at least 1, or a criterion is unknown, or there is none.
        """
        return Scope(checked_components(self.components), self.covariances, checked_criteria(self.criteria))


def checked_criteria(criteria: Sequence[str] | str | None) -> list[str]:
    """Distinct names of criteria in the order of `CRITERIA`; all if None is given. Text has commas between names."""
    if criteria is None:
        return list(CRITERIA)
    criteria = criteria.split(",") if isinstance(criteria, str) else criteria
    unknown = [name for name in criteria if name not in CRITERIA]
    if unknown:
        raise InputError(f"criteria: {unknown_name('criterion', unknown[0], tuple(CRITERIA))}")
    if not criteria:
        raise InputError(f"criteria: none is given; name some of {', '.join(CRITERIA)}")
    return [name for name in CRITERIA if name in criteria]


def checked_components(components: Any) -> list[int]:
    """Distinct numbers of components, in order."""
    if isinstance(components, str) or not isinstance(components, Iterable):
        raise InputError(f"components: give numbers of components, as range(1, 10), got {shown(components)}")
    given = list(components)
    wrong = [k for k in given if isinstance(k, bool) or not hasattr(k, "__index__") or k < 1]
    if wrong or not given:
        named = ", ".join(map(shown, wrong)) or "none"
        raise InputError(f"components: must be whole numbers of at least 1, got {named}; give some, as range(1, 10)")
    return sorted({operator.index(k) for k in given})


def with_components(experiment: Experiment, components: int, train: Dataset) -> Experiment:
    """The experiment with K components and only the methods that candidates use.

    Labels are free: no criterion depends on them, and the evidence is that of all K! labellings.

    Raises:
        InputError: K components do not suit the points, the prior or the starts.
    """
    fewest = 0 if train.known is None else fewest_components(train.known)
    if components < fewest:
        raise InputError(
            f"components: {components} is fewer than the {fewest} components from which rows are known (label_known); "
            f"ask for at least {fewest}"
        )
    model = experiment.model.model_copy(update={"components": components, "labels": "free"})
    changed = experiment.model_copy(update={"model": model})
    if train.x.size < SHARED_AT:
        # The climber and the sampler run at the same time, and would wait for each other on shared devices.
        changed = changed.model_copy(update={"run": changed.run.model_copy(update={"devices": 1})})
    problem = changed.problem(train)
    changed.starts.check(problem)
    used = [climber_of(changed, problem), chains_of(changed, problem), particles_of(changed, problem)]
    return changed.model_copy(update={"methods": {method.method: method for method in used if method is not None}})


def setting_of(experiment: Experiment, train: Dataset) -> str:
    """A description of the request."""
    plain: dict[str, Any] = experiment.resolved()
    number, columns = len(train.counted.x), train.x.shape[1]
    points = f"{points_text(number, train.weights)} in {columns} column{'s' if columns > 1 else ''}"
    known = 0 if train.counted.known is None else int(np.sum(train.counted.known != ""))
    points += f", {known:,} rows of known component" if known else ""
    model = f"{experiment.model.covariance} covariance, {plain['prior']['family']} prior"
    model += ", beside a background" if experiment.model.background else ""
    setting = f"{points}; {model}; {_listed(list(experiment.methods))} from {experiment.restarts} starts"
    dtype = dtype_name()
    return setting if dtype == USUAL else f"{setting}; {dtype}"


def prior_remark_of(experiment: Experiment) -> str:
    """A remark on whether the evidence compares all K under one prior; empty if there is no evidence."""
    if not experiment.prior.proper:
        return ""
    if experiment.prior.varies_with_components:
        return (
            "The prior differs with K: its default scatter is the data's covariance over K^(2/D), so that the evidence "
            "compares K under different priors; --set prior.scatter_components=3 takes that of K = 3 for all."
        )
    return "All K have the same prior."


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def identity_of(candidate: Experiment, digest: str, criteria: Sequence[str]) -> dict[str, Any]:
    """Everything that the scores depend on, except the number of components and the code."""
    resolved = {key: value for key, value in candidate.resolved().items() if key != "data"}
    resolved["model"] = {key: value for key, value in resolved["model"].items() if key != "components"}
    return resolved | {"data": digest, "dtype": dtype_name(), "criteria": list(criteria)}


def families_of(experiment: Experiment, covariances: Sequence[str] | None) -> list[str]:
    """The requested covariance families; by default the experiment's own.

    Raises:
        InputError: one is unknown or given twice, or there is none.
    """
    if covariances is None:
        return [experiment.model.covariance]
    unknown = [family for family in covariances if family not in COVARIANCES]
    if unknown or not covariances or len(set(covariances)) < len(covariances):
        raise InputError(
            f"covariance: {typed(unknown or covariances)}: give different families of {', '.join(COVARIANCES)}"
        )
    return list(covariances)


def suited(families: Sequence[str], of: Callable[[str], T]) -> tuple[dict[str, T], dict[str, str]]:
    """What a function makes of each covariance family, and why it refuses the others.

    Raises:
        InputError: it refuses all; the error is that of the first.
    """
    made: dict[str, T] = {}
    refused: dict[str, InputError] = {}
    for family in families:
        try:
            made[family] = of(family)
        except InputError as error:
            refused[family] = error
    if not made:
        raise next(iter(refused.values()))
    return made, {family: one_line(str(error)) for family, error in refused.items()}
