"""Choosing K: every candidate that is not stored yet is fitted, sampled and scored, and kept as soon as it is done."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from workbench.compare.comparison import Watch
from workbench.data import Dataset
from workbench.errors import InputError
from workbench.execution import FAILURES
from workbench.experiment import Experiment
from workbench.mixture import COVARIANCES
from workbench.mixture.rows import SHARED_AT
from workbench.precision import USUAL, dtype_name
from workbench.provenance import announce_stale
from workbench.selection.candidate import climber_of
from workbench.selection.choice import Choice
from workbench.selection.families import FamilySelection
from workbench.selection.posterior import chains_of, particles_of
from workbench.selection.scoring import scored
from workbench.selection.selection import Selection
from workbench.selection.stored import About, Place
from workbench.store import Points


def select(
    experiment: Experiment,
    components: Iterable[int] = range(1, 10),
    *,
    name: str = "experiment",
    out: Path | str = "results/experiment",
    folder: Path | str = ".",
    force: bool = False,
    keep_stale: bool = False,
    watch: Watch | None = None,
) -> Selection:
    """Score an experiment with each number of components by every criterion; what is stored is loaded.

    The points, the covariance family, the prior, the starts and the seed are the experiment's own; so are EM, Gibbs,
    NUTS and tempered SMC where it has them. A K that raises is reported in `failures` and the others are kept.

    Args:
        experiment: the config; its own number of components plays no part.
        components: the K to choose from.
        name: shown in tables and pages.
        out: the results folder.
        folder: what a relative `data.file` is relative to.
        force: score again what is stored.
        keep_stale: take stored scores that other code made as they are; the selection says so.
        watch: gives a progress callback, told how many K are done.

    Raises:
        InputError: K is no whole number of at least 1, or the data, the prior or the starts do not suit one of them.
            Nothing has run then.
    """
    wanted = checked(components)
    train, heldout = experiment.data.load(experiment.seed, Path(folder))
    candidates = [_with(experiment, k, train) for k in wanted]
    setting, digest = _setting(candidates[0], train), Points(train, heldout).digest
    about = About(name, setting, _prior_remark(experiment))
    place = Place.of(Path(out), candidates[0], digest, about)
    progress = None if watch is None else watch("components")
    there = [None if force else place.load(k) for k in wanted]
    announce_stale([each.stale for each in there if each is not None], "stored components", kept=keep_stale)
    choices: list[Choice] = []
    failures: dict[str, str] = {}
    for done, (k, candidate, stored) in enumerate(zip(wanted, candidates, there, strict=True)):
        if progress is not None:
            progress(done, len(wanted))
        usable = stored is not None and (keep_stale or stored.stale is None)
        try:
            choices.append(stored if stored and usable else place.keep(candidate, scored(candidate, train)))
        except FAILURES as error:
            failures[str(k)] = f"{type(error).__name__}: {error}".splitlines()[0]
    return Selection(name, setting, tuple(choices), about.prior_remark, failures)


def select_families(
    experiment: Experiment,
    covariances: Sequence[str],
    components: Iterable[int] = range(1, 10),
    **options: Any,
) -> FamilySelection:
    """Score an experiment with each covariance family and number of components; each family is stored by itself.

    Args:
        experiment: the config; its own family and number of components play no part.
        covariances: the families to choose from.
        components: the K to choose from.
        options: those of `select`, for every family.

    Raises:
        InputError: a family is unknown or given twice, and nothing has run then; or `select` refuses one.
    """
    unknown = [family for family in covariances if family not in COVARIANCES]
    if unknown or not covariances or len(set(covariances)) < len(covariances):
        raise InputError(
            f"covariance: {', '.join(unknown or covariances) or 'none'}: give different families of "
            f"{', '.join(COVARIANCES)}"
        )
    wanted = checked(components)
    found = {
        family: select(
            experiment.model_copy(update={"model": experiment.model.model_copy(update={"covariance": family})}),
            wanted,
            **options,
        )
        for family in covariances
    }
    return FamilySelection(next(iter(found.values())).name, found)


def checked(components: Iterable[int]) -> list[int]:
    """Different numbers of components, in order."""
    wanted = sorted(set(components))
    wrong = [k for k in wanted if isinstance(k, bool) or not isinstance(k, int) or k < 1]
    if wrong or not wanted:
        given = ", ".join(map(str, wrong)) or "none"
        raise InputError(f"components: must be whole numbers of at least 1, got {given}; give some, as range(1, 10)")
    return wanted


def _with(experiment: Experiment, components: int, train: Dataset) -> Experiment:
    """The experiment with K components, and no methods but those that candidates use.

    Labels are free: no criterion sees them, and the evidence is that of all K! labellings.

    Raises:
        InputError: K components suit neither the points, nor the prior, nor the starts.
    """
    model = experiment.model.model_copy(update={"components": components, "labels": "free"})
    changed = experiment.model_copy(update={"model": model})
    if train.x.size < SHARED_AT:
        # What climbs and what samples run beside each other, and would wait for each other on shared devices.
        changed = changed.model_copy(update={"run": changed.run.model_copy(update={"devices": 1})})
    problem = changed.problem(train)
    changed.starts.check(problem)
    used = [climber_of(changed, problem), chains_of(changed, problem), particles_of(changed, problem)]
    return changed.model_copy(update={"methods": {method.method: method for method in used if method is not None}})


def _setting(experiment: Experiment, train: Dataset) -> str:
    """What was asked, in words."""
    plain: dict[str, Any] = experiment.resolved()
    points = f"{len(train.x):,} points in {train.x.shape[1]} column{'s' if train.x.shape[1] > 1 else ''}"
    model = f"{experiment.model.covariance} covariance, {plain['prior']['family']} prior"
    setting = f"{points}; {model}; {_listed(list(experiment.methods))} from {experiment.restarts} starts"
    dtype = dtype_name()
    return setting if dtype == USUAL else f"{setting}; {dtype}"


def _prior_remark(experiment: Experiment) -> str:
    """Whether the evidence compares mixtures under one prior; empty where there is no evidence."""
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
