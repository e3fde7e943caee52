"""The choice of K as a job: a cell is one number of components, fitted, sampled and scored by every criterion."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from workbench.data import fate_of_missing
from workbench.errors import InputError, checks_arguments
from workbench.experiment import Experiment
from workbench.files import DAMAGED
from workbench.jobs.base import Cell, DamagedCellError, Job, Progress, Record, Value, digest_of_values
from workbench.jobs.formats import Points
from workbench.jobs.running import Outcome, Reuse, Watch, record_of, run_job
from workbench.jobs.setting import Setting, named_data
from workbench.jobs.store import Store
from workbench.loop.pool import Checkpoint
from workbench.provenance import Provenance, why_stale
from workbench.selection.asked import (
    Scope,
    checked_components,
    families_of,
    identity_of,
    prior_remark_of,
    setting_of,
    suited,
    with_components,
)
from workbench.selection.criteria import Begun, Choice, Sampling, scored
from workbench.selection.families import FamilySelection
from workbench.selection.selection import Selection

# The cells ahead whose sampling begins: two threads sample, and one of them may take as long over the cell before as
# the other over all of these. More would hold more draws in memory, and lose more work to an interruption.
AHEAD = 4

# Modules that hand the settings of the config to the code that computes.
GLUE = ("jobs.selection", "selection.asked", "experiment.config")


class About(NamedTuple):
    """A description of what all candidates of one covariance family have in common."""

    name: str
    setting: str
    prior_remark: str
    missing_remark: str = ""  # what became of rows with missing cells


class Family(NamedTuple):
    """The candidates of one covariance family."""

    about: About
    group: dict[str, Any]  # everything that their scores depend on, except the number of components and the code
    candidates: tuple[Experiment, ...]


class SelectionJob(Job):
    """The candidates of one experiment: every number of components, of one covariance family or of several.

    Args:
        name: shown in tables and pages.
        experiment: the config; its own number of components is ignored.
        scope: the K, the families and the criteria.
        points: the points of the experiment; by default they are read from its data.

    Raises:
        InputError: K is not a whole number of at least 1, a family or a criterion is unknown, a family is given twice,
            the data cannot be read, or the data, the prior or the starts do not suit one of the K in any family.
    """

    kind: ClassVar[str] = "select"
    plural: ClassVar[str] = "components"
    counted: ClassVar[bool] = True

    def __init__(self, name: str, experiment: Experiment, scope: Scope, points: Points | None = None) -> None:
        wanted, covariances, criteria = scope.checked()
        families = families_of(experiment, covariances)
        self.name = name
        self.is_grid = covariances is not None
        self.criteria = list(criteria or ())
        self.experiment = experiment
        self.points = Points(*experiment.data.load(experiment.seed, Path())) if points is None else points
        self.families, self.refused = suited(families, lambda of: self._family(of, wanted))
        self._announced: Sequence[Cell] = ()

    def _family(self, covariance: str, components: Sequence[int]) -> Family:
        model = self.experiment.model.model_copy(update={"covariance": covariance})
        own, train = self.experiment.model_copy(update={"model": model}), self.points.train
        candidates = tuple(with_components(own, k, train) for k in components)
        setting, remark = setting_of(candidates[0], train), prior_remark_of(own)
        about = About(self.name, setting, remark, fate_of_missing(train))
        # The default sampler of one component is not that of several.
        return Family(about, identity_of(candidates[-1], self.points.digest, self.criteria), candidates)

    @classmethod
    def stored(cls, folder: Path, record: Mapping[str, Any], where: str) -> "SelectionJob":
        """The selection that a folder keeps, with its points."""
        setting, name = Setting.stored(folder, record, where), str(record["name"])
        families = list(_stored_families(Path(where), record))
        try:
            components = [int(k) for k in record["config"]["components"]]
            criteria = [str(name) for name in record["config"]["criteria"]]
        except DAMAGED as error:
            raise InputError(f"{where}: is damaged ({error}); delete it and run `workbench select` again") from None
        covariances = [*families, *record["config"].get("refused", {})] if record["config"].get("grid") else None
        return cls(name, setting.experiment, Scope(components, covariances, criteria), setting.points)

    @cached_property
    def _cells(self) -> dict[str, tuple[Cell, Experiment]]:
        found = {}
        for of, family in self.families.items():
            for candidate in family.candidates:
                parts = (candidate.methods, candidate.starts, candidate.prior, candidate.soundness)
                made_by = Provenance.of(scored, *parts, alone=GLUE)
                k = candidate.model.components
                about: dict[str, Value] = {"data": named_data(candidate), "model_components": k, "model_covariance": of}
                identity = family.group | {"components": k, "methods": candidate.resolved()["methods"]}
                cell = Cell(f"components-{k}", identity, made_by, about, candidate.resolved())
                found[cell.key] = (cell, candidate)
        return found

    def cells(self) -> Sequence[Cell]:
        """One for each family and number of components."""
        return [cell for cell, _ in self._cells.values()]

    def run(self, cell: Cell, checkpoint: Checkpoint, progress: Progress | None) -> Record:
        """Score one number of components by every criterion, and begin to sample the announced ones.

        Sampling takes longer than the rest, so its threads should never wait.
        """
        try:
            begun = self._begin(cell)
            for cell_ahead in self._announced:
                self._begin(cell_ahead)
            made = scored(self._cells[cell.key][1], self.points.train, begun, self.criteria)
        except BaseException:
            self._sampling.stop()
            raise
        self._sampling.end(cell.key)
        row = {name: score.value for name, score in made.scores.items()}
        return Record({"choice": made.to_dict()}, row={"log_likelihood": made.log_likelihood, **row})

    def announce(self, following: Sequence[Cell]) -> None:
        """Have the samplers take on the cells after the next one, as many as keep them busy."""
        self._announced = following[:AHEAD]

    @cached_property
    def _sampling(self) -> Sampling:
        return Sampling(self.criteria)

    def _begin(self, cell: Cell) -> Begun:
        return self._sampling.begin(cell.key, self._cells[cell.key][1], self.points.train)

    def config(self) -> dict[str, Any]:
        """The experiment, a digest of its points, and for each family what its candidates have in common."""
        keys = {
            of: [k for k, (c, _) in self._cells.items() if c.coordinates["model_covariance"] == of]
            for of in self.families
        }
        families = {
            of: {"group": digest_of_values(family.group), "about": family.about._asdict(), "cells": keys[of]}
            for of, family in self.families.items()
        }
        resolved = self.experiment.resolved()
        components = sorted({candidate.model.components for _, candidate in self._cells.values()})
        asked = {"grid": self.is_grid, "components": components, "families": families, "criteria": self.criteria}
        asked |= {"refused": self.refused} if self.refused else {}
        return {"experiment": resolved, "data_digest": self.points.digest, **asked}

    def prepare(self, folder: Path) -> None:
        """Store the points."""
        self.points.keep(folder)

    def label(self, cell: Cell) -> str:
        """The family and K."""
        return f"{cell.coordinates['covariance']} K = {cell.coordinates['components']}"

    def result(self, store: Store, outcomes: Sequence[Outcome]) -> Selection | FamilySelection:
        """Every criterion over K, and over families where these were requested."""
        found = {}
        for of, family in self.families.items():
            own = [outcome for outcome in outcomes if outcome.cell.coordinates["model_covariance"] == of]
            done = [(o, record_of(store, o)) for o in own if o.failure is None]
            choices = tuple(replace(Choice.from_dict(dict(r.values["choice"])), stale=o.stale) for o, r in done)
            failures = {str(o.cell.coordinates["model_components"]): o.failure for o in own if o.failure is not None}
            found[of] = _selection(family.about, choices, failures)
        return FamilySelection(self.name, found, self.refused) if self.is_grid else next(iter(found.values()))


@checks_arguments
def select(
    experiment: Experiment,
    components: Iterable[int] = range(1, 10),
    *,
    name: str = "experiment",
    out: Path | str = "results/experiment",
    folder: Path | str = ".",
    force: bool = False,
    keep_stale: bool = False,
    retry: bool = False,
    watch: Watch | None = None,
    criteria: Sequence[str] | None = None,
) -> Selection:
    """Score an experiment with each number of components by every criterion; stored scores are loaded.

    The points, the covariance family, the prior, the starts and the seed are the experiment's own; so are EM, Gibbs,
    NUTS and tempered SMC if it has them. A K that raises is reported in `failures`, and the others are kept.

    Args:
        experiment: the config; its own number of components is ignored.
        components: the K to choose from.
        name: shown in tables and pages.
        out: the results folder.
        folder: what a relative `data.file` is relative to.
        force: score stored K again.
        keep_stale: use stored scores that other code made, and say so in the selection.
        retry: score failed K again.
        watch: returns a progress callback, which takes the number of K done.
        criteria: names of `CRITERIA`; by default all. AIC, BIC and ICL are quick; the others refit or sample.

    Raises:
        InputError: K is not a whole number of at least 1, a criterion is unknown, or the data, the prior or the starts
            do not suit one of the K; raised before anything runs.
    """
    scope = Scope(checked_components(components), None, criteria)
    job, store = SelectionJob(name, experiment.located(Path(folder)), scope), Store(out)
    found = job.result(store, run_job(job, store, reuse=Reuse(force, keep_stale, retry), watch=watch))
    assert isinstance(found, Selection)
    return found


@checks_arguments
def select_families(
    experiment: Experiment,
    covariances: Sequence[str],
    components: Iterable[int] = range(1, 10),
    *,
    name: str = "experiment",
    out: Path | str = "results/experiment",
    folder: Path | str = ".",
    reuse: Reuse | None = None,
    watch: Watch | None = None,
    criteria: Sequence[str] | None = None,
) -> FamilySelection:
    """Score an experiment with each covariance family and number of components.

    Args:
        experiment: the config; its own family and number of components are ignored.
        covariances: the families to choose from; those that do not suit data, prior or starts are named in `refused`.
        components: the K to choose from.
        name: shown in tables and pages.
        out: the results folder.
        folder: what a relative `data.file` is relative to.
        reuse: which stored cells are used.
        watch: returns a progress callback, which takes the number of candidates done.
        criteria: names of `CRITERIA`; by default all.

    Raises:
        InputError: a family or a criterion is unknown, a family is given twice, or as for `select` in every family;
            raised before anything runs.
    """
    scope = Scope(checked_components(components), covariances, criteria)
    job, store = SelectionJob(name, experiment.located(Path(folder)), scope), Store(out)
    found = job.result(store, run_job(job, store, reuse=reuse, watch=watch))
    assert isinstance(found, FamilySelection)
    return found


def load_selections(folder: Path | str) -> list[Selection]:
    """Every stored selection of a results folder, sorted by name, with all of its numbers of components.

    A number of components whose record failed or is damaged is named in `failures`.

    Raises:
        InputError: there is none, or a stored one does not fit this version.
    """
    store = Store(folder)
    groups: dict[str, tuple[About, dict[str, None]]] = {}
    for file, job in store.jobs(SelectionJob.kind):
        for group, about, keys in _stored_families(file, job).values():
            groups.setdefault(group, (about, {}))[1].update(dict.fromkeys(keys))
    found = [_together(store, about, list(keys)) for about, keys in groups.values()]
    there = [selection for selection in found if selection.choices]
    if not there:
        raise InputError(f"{folder}: holds no selection; make one with `workbench select FILE --out {folder}`")
    return sorted(there, key=lambda selection: (selection.name, selection.setting))


def load_selection(store: Store, file: Path, job: Mapping[str, Any]) -> Selection | FamilySelection:
    """One stored selection of a folder.

    Raises:
        InputError: its file is damaged.
    """
    families = {of: _together(store, about, keys) for of, (_, about, keys) in _stored_families(file, job).items()}
    if not job["config"].get("grid"):
        return next(iter(families.values()))
    return FamilySelection(str(job["name"]), families, dict(job["config"].get("refused", {})))


def _stored_families(file: Path, job: Mapping[str, Any]) -> dict[str, tuple[str, About, list[str]]]:
    """By covariance family: the digest of its group, what its candidates have in common, and their keys."""
    try:
        found = {
            str(of): (str(each["group"]), About(**each["about"]), [str(key) for key in each["cells"]])
            for of, each in dict(job["config"]["families"]).items()
        }
        dict(job["config"].get("refused", {}))  # families that do not suit, and why
        if not found or not {key for _, _, keys in found.values() for key in keys} <= set(job["cells"]):
            raise ValueError("its families are not those of its cells")
    except DAMAGED as error:
        raise InputError(f"{file}: is damaged ({error}); delete it and run `workbench select` again") from None
    return found


def _together(store: Store, about: About, keys: Sequence[str]) -> Selection:
    """The selection made of some cells."""
    choices, failures, waiting = [], {}, list[int]()
    for key in keys:
        components = key.removeprefix("components-").partition("-")[0]
        try:
            manifest = store.manifest(key)
            if manifest is None:
                waiting.append(int(components))
                continue
            if "failure" in manifest:
                failures[components] = str(manifest["failure"]["message"])
                continue
            record = store.load(key)
            try:
                choice = Choice.from_dict(dict(record.values["choice"]))
            except DAMAGED as error:
                raise store.damaged(key, str(error)) from None
        except DamagedCellError as error:
            failures[components] = str(error)
            continue
        choices.append(replace(choice, stale=why_stale(manifest.get("made_by"))))
    ordered = tuple(sorted(choices, key=lambda choice: choice.components))
    return _selection(about, ordered, failures, sorted(waiting))


def _selection(
    about: About, choices: tuple[Choice, ...], failures: dict[str, str], waiting: Iterable[int] = ()
) -> Selection:
    return Selection(
        about.name, about.setting, choices, about.prior_remark, failures, tuple(waiting), about.missing_remark
    )
