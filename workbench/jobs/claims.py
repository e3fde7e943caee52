"""The ledger of claims as a job: a cell is one claim, which runs the evidence that is missing and then decides.

The evidence of a claim lies in folders of its own beside the ledger's, as `workbench run` puts it there. Each record of
a claim names the records that it was decided from, so that it is decided again when one of them has changed.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from workbench.claims.checks import CHECKS
from workbench.claims.evidence import Ran
from workbench.claims.ledger import Claim, Entry
from workbench.engine.devices import dtype_name
from workbench.errors import InputError, typed
from workbench.experiment import Experiment, parse_experiment
from workbench.files import DAMAGED
from workbench.jobs import judged
from workbench.jobs.base import FAILED, Cell, DamagedCellError, Job, Kept, Progress, Record, digest_of_values
from workbench.jobs.experiment import ExperimentJob
from workbench.jobs.judged import KIND, EvidenceError, Judged
from workbench.jobs.running import Executor, Outcome, Reuse, Watch, record_of, run_job
from workbench.jobs.store import Store
from workbench.jobs.study import StudyJob, data_of
from workbench.loop.pool import Checkpoint
from workbench.studies import Findings, Study
from workbench.studies.reading import parse_study


class How(NamedTuple):
    """How the evidence of claims is run."""

    reuse: Reuse = Reuse()
    watch: Watch | None = None
    executor: Executor | None = None  # the processes that run its cells; by default this one


class Evidence(NamedTuple):
    """Evidence of a claim: a job, and the store of its cells."""

    job: ExperimentJob | StudyJob
    store: Store

    @property
    def records(self) -> dict[str, tuple[Cell, Store]]:
        """Its cells, by FOLDER/KEY."""
        return {f"{self.store.folder.name}/{cell.key}": (cell, self.store) for cell in self.job.cells()}


class LedgerJob(Job):
    """A ledger of claims.

    Args:
        name: the name of the ledger; shown in tables and pages.
        ledger: the claims, from `read_ledger`.
        only: names of the claims to judge; by default all.
        root: the folder of the evidence, in which the runs of NAME.toml lie in NAME.
        quick: whether the quick variant was read, which is another job.
        how: how the evidence is run.

    Raises:
        InputError: a name is not in the ledger.
    """

    kind: ClassVar[str] = KIND
    plural: ClassVar[str] = "claims"
    counted: ClassVar[bool] = True
    failures: ClassVar[tuple[type[Exception], ...]] = (Exception,)

    def __init__(
        self,
        name: str,
        ledger: Sequence[Entry],
        only: Collection[str] | None = None,
        *,
        root: Path,
        quick: bool = False,
        how: How | None = None,
    ) -> None:
        self.name = name
        self.ledger = list(ledger)
        self.chosen = _choose(ledger, only)
        self.root = root
        self.quick = quick
        self.how = How() if how is None else how
        self._found: dict[Path, tuple[Ran | Findings | None, list[str]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """The state that is sent to a worker, without progress callbacks and without what can be read again."""
        return super().__getstate__() | {"how": self.how._replace(watch=None, executor=None), "_found": {}}

    @classmethod
    def stored(cls, folder: Path, record: Mapping[str, Any], where: str) -> "LedgerJob":
        """The ledger that a folder keeps; its data files must still lie where they were."""
        try:
            config = record["config"]
            configs = [_read_back(values, where) for values in config["configs"]]
            ledger = []
            for name, values in dict(config["claims"]).items():
                rests_on = iter([configs[place] for place in values["configs"]])
                claim = Claim.model_validate({key: value for key, value in values.items() if key != "configs"})
                sizes = [len(each.config or claim.config) for each in (() if config["quick"] else claim.vary)]
                own = len(values["configs"]) - sum(sizes)
                groups = [list(islice(rests_on, size)) for size in (own, *sizes)]
                ledger.append(Entry(name, claim, groups[0], tuple(groups[1:])))
            if unknown := [entry.claim.check for entry in ledger if entry.claim.check not in CHECKS]:
                raise ValueError(f"no check is called {unknown[0]}")
        except InputError:
            raise
        except DAMAGED as error:
            raise InputError(f"{where}: is damaged ({error}); delete it and judge the ledger again") from None
        job = cls(str(record["name"]), ledger, root=beside(folder), quick=bool(config["quick"]))
        # Claims that were never judged are left out.
        there = [entry.name for cell, entry in job._cells.values() if Store(folder).place(cell.key).exists()]
        job.chosen = there or job.chosen
        return job

    @cached_property
    def _evidence(self) -> dict[str, list[Evidence]]:
        """The evidence of each claim."""
        known: dict[str, Evidence] = {}
        return {entry.name: [self._of(known, *each) for each in entry.rests_on] for entry in self.ledger}

    def _of(self, known: dict[str, Evidence], file: Path, config: Experiment | Study) -> Evidence:
        key = digest_of_values([str(file), config.resolved()])
        if key not in known:
            try:
                job = (
                    StudyJob(config, file.parent, file.stem)
                    if isinstance(config, Study)
                    else ExperimentJob.of(config, file.stem, file.parent)
                )
            except InputError as error:
                raise InputError(f"{file}: {error}") from None
            known[key] = Evidence(job, Store(self.root / file.stem))
        return known[key]

    @cached_property
    def _cells(self) -> dict[str, tuple[Cell, Entry]]:
        found = {}
        for entry in self.ledger:
            identity = {
                "claim": entry.name,
                "check": entry.claim.check,
                "decided": entry.claim.model_dump(mode="json", include={"kind", "settings", "thresholds", "vary"}),
                "dtype": dtype_name(),
                "rests_on": [
                    {"folder": each.store.folder.name, "job": digest_of_values(each.job.identity())}
                    for each in self._evidence[entry.name]
                ],
            }
            about = {"claim": entry.name, "check": entry.claim.check}
            readable = re.sub(r"[^A-Za-z0-9_-]", "_", entry.name)[:60]
            cell = Cell(readable, identity, entry.made_by, about)
            found[cell.key] = (cell, entry)
        return found

    def cells(self) -> Sequence[Cell]:
        """One for each claim that was chosen."""
        return [cell for cell, entry in self._cells.values() if entry.name in self.chosen]

    def all_cells(self) -> Sequence[Cell]:
        """One for each claim."""
        return [cell for cell, _ in self._cells.values()]

    def run(self, cell: Cell, checkpoint: Checkpoint, progress: Progress | None) -> Record:
        """Decide a claim, after running the evidence that is missing.

        Raises:
            EvidenceError: a run of the evidence failed.
        """
        _, entry = self._cells[cell.key]
        evidence = self._evidence[entry.name]
        configs = [config for _, config in entry.rests_on]
        read = [self._read(each) for each in zip(evidence, configs, strict=True)]
        if failures := [failure for _, own in read[: len(entry.own)] for failure in own]:
            raise EvidenceError("; ".join(failures))
        decision = entry.decide(["; ".join(failures) if failures else found for found, failures in read])
        return judged.record_of_decision(
            decision, {name: _digest(*place) for name, place in self._records(entry).items()}
        )

    def _records(self, entry: Entry) -> dict[str, tuple[Cell, Store]]:
        """The cells that a claim rests on, by FOLDER/KEY."""
        return {name: place for each in self._evidence[entry.name] for name, place in each.records.items()}

    def _read(self, evidence: tuple[Evidence, Experiment | Study]) -> tuple[Any, list[str]]:
        """The evidence that could be computed, and the failures."""
        (job, store), config = evidence
        place = store.file_of(job)
        if place not in self._found:
            try:
                outcomes = run_job(job, store, **self.how._asdict())
                found = job.result(store, outcomes)
            except InputError as error:
                raise InputError(f"{job.name}: {error}") from None
            if isinstance(found, Findings):
                self._found[place] = (found, [] if found.lost is None else [f"{job.name}: {found.lost}"])
            else:
                assert isinstance(config, Experiment)
                failures = [f"{job.name}, {name}: {why}" for name, why in found.failures.items()]
                self._found[place] = (Ran(config, found, job.name), failures)
        return self._found[place]

    def as_it_stands(self, store: Store, cell: Cell, kept: Kept) -> Kept | None:
        """A stored decision; None if one of the records that it was decided from has changed or is gone.

        It is stale if one of them is. If the decision failed because a run failed, it waits for that run.
        """
        records = self._records(self._cells[cell.key][1])
        there = {name: _manifest(own, place) for name, (own, place) in records.items()}
        if kept.status == FAILED:
            waits = any(found is not None and found["status"] == FAILED for found in there.values())
            return kept if waits or not kept.failure.startswith(EvidenceError.__name__) else None
        digests = {name: digest_of_values(found) for name, found in there.items() if found is not None}
        if digests != judged.rests_on(store.load(cell.key)):
            return None
        whys = (own.made_by.why_stale((there[name] or {}).get("made_by")) for name, (own, _) in records.items())
        return replace(kept, stale=kept.stale or next(filter(None, whys), None))

    def config(self) -> dict[str, Any]:
        """The claims, and the resolved configs of their evidence."""
        configs: list[dict[str, Any]] = []
        claims = {}
        for entry in self.ledger:
            own = [_written(file, config) for file, config in entry.rests_on]
            configs += [each for each in own if each not in configs]
            claims[entry.name] = {
                **entry.claim.model_dump(mode="json", exclude_none=True),
                "configs": [configs.index(each) for each in own],
            }
        return {"quick": self.quick, "dtype": dtype_name(), "claims": claims, "configs": configs}

    def identity(self) -> dict[str, Any]:
        """A ledger keeps its file in a folder even if its claims change; its quick variant has a file of its own."""
        return {"quick": self.quick}

    def label(self, cell: Cell) -> str:
        """The name of the claim."""
        return f"claim {cell.coordinates['claim']}"

    def result(self, store: Store, outcomes: Sequence[Outcome]) -> list[Judged]:
        """The decisions on the claims that were chosen, at a level that holds for all tests of the ledger together."""
        family = sum(entry.is_test for entry in self.ledger)
        return judged.at_family_level([self._judged(store, outcome) for outcome in outcomes], family)

    def _judged(self, store: Store, outcome: Outcome) -> Judged:
        _, entry = self._cells[outcome.cell.key]
        failure = None if outcome.failure is None else judged.told(outcome.failure)
        if failure is not None:
            decision = judged.lost(
                f"{failure} (in an earlier run; --retry tries it again)" if outcome.before else failure
            )
        elif outcome.stale is not None:
            decision = judged.outdated(outcome.stale)
        else:
            decision = judged.decision_of(record_of(store, outcome))
        return Judged(
            name=entry.name,
            sentence=entry.claim.sentence,
            source=entry.claim.source,
            check=entry.claim.check,
            about=CHECKS[entry.claim.check].about,
            kind=entry.claim.kind,
            folders=tuple(dict.fromkeys(file.stem for file, _ in entry.rests_on)),
            settings=entry.claim.quick if self.quick else (),
            decision=decision,
            failure=failure,
            # A run in another precision is another cell, so the present precision is that of the record.
            dtype=dtype_name(),
            made_by=outcome.cell.made_by.to_dict(),
        )


def run_claims(
    ledger: Sequence[Entry],
    *,
    only: Collection[str] | None = None,
    out: Path | str = "results",
    name: str = "claims",
    quick: bool = False,
    reuse: Reuse | None = None,
    watch: Watch | None = None,
) -> list[Judged]:
    """Run the evidence that is missing, decide each claim, and store the decisions.

    If a run or a check raises, its claim is undecided, and the others are judged.

    Args:
        ledger: the claims, from `read_ledger`.
        only: names of the claims to judge; by default all.
        out: the folder of all results, in which the runs of NAME.toml lie in NAME, as `workbench run` puts them there.
        name: the name of the ledger; its decisions lie in the folder of that name.
        quick: whether the quick variant was read.
        reuse: which stored cells are used; a claim that rests on a run of other code is not decided.
        watch: returns a progress callback for everything that runs.

    Raises:
        InputError: a name is not in the ledger, data cannot be read, or the folder cannot be written.
    """
    reuse = Reuse() if reuse is None else reuse
    job = LedgerJob(name, ledger, only, root=Path(out), quick=quick, how=How(reuse, watch))
    store = Store(Path(out) / name)
    return job.result(store, run_job(job, store, reuse=reuse, watch=watch))


def beside(folder: Path) -> Path:
    """The folder that contains a results folder."""
    return folder.parent if folder.name else folder.resolve().parent


def _choose(ledger: Sequence[Entry], only: Collection[str] | None) -> list[str]:
    names = [entry.name for entry in ledger]
    unknown = [name for name in only or () if name not in names]
    if unknown or (only is not None and not only):
        raise InputError(f"--only: {typed(unknown)}: not in the ledger; it has {', '.join(names)}")
    return [name for name in names if only is None or name in only]


def _manifest(cell: Cell, store: Store) -> dict[str, Any] | None:
    try:
        return store.manifest(cell.key)
    except DamagedCellError:
        return None


def _digest(cell: Cell, store: Store) -> str:
    """The digest of a stored record. It changes when the cell is run again, because the duration is part of it."""
    return digest_of_values(_manifest(cell, store))


def _written(file: Path, config: Experiment | Study) -> dict[str, Any]:
    """A config and its file, as TOML values."""
    kind = "study" if isinstance(config, Study) else "experiment"
    home = {"folder": str(file.parent.resolve())} if any(data.file is not None for data in data_of(config)) else {}
    return {"file": file.name, **home, kind: config.resolved()}


def _read_back(values: Mapping[str, Any], where: str) -> tuple[Path, Experiment | Study]:
    """The inverse of `_written`."""
    file = Path(values.get("folder", ".")) / Path(values["file"]).name
    if "study" in values:
        return file, parse_study(dict(values["study"]), where)
    return file, parse_experiment(dict(values["experiment"]), where)
