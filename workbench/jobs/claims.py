"""Judging a ledger: what is missing is run and stored, what is there is loaded, and every claim gets its decision."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.claims.checks import CHECKS
from workbench.claims.decision import Decision, Verdict, undecided
from workbench.claims.evidence import Ran
from workbench.claims.ledger import Entry
from workbench.errors import InputError
from workbench.experiment import Experiment
from workbench.experiment.provenance import provenance_of
from workbench.files import replacing
from workbench.jobs.base import Job
from workbench.jobs.experiment import ExperimentJob
from workbench.jobs.running import Reuse, Watch, run_job
from workbench.jobs.store import Store
from workbench.jobs.study import StudyJob
from workbench.precision import USUAL, dtype_name
from workbench.provenance import Provenance, why_stale
from workbench.studies import Findings, Study

# Beside the folders of the runs.
JUDGED = "claims.json"


@dataclass(frozen=True)
class Judged:
    """A claim, what was decided, and where the runs lie that it was decided from."""

    name: str
    sentence: str
    source: str
    check: str
    about: str  # what the check counts or compares
    folders: tuple[str, ...]  # of the runs, under the results folder
    settings: tuple[str, ...]  # laid over the configs, where this is the quick variant
    decision: Decision
    failure: str | None = None  # why a run failed
    dtype: str = USUAL  # of the numbers in the runs
    made_by: Mapping[str, Any] = field(default_factory=dict)  # the code of the check and of what it reads


def run_claims(
    ledger: Sequence[Entry],
    *,
    only: Collection[str] | None = None,
    out: Path | str = "results",
    quick: bool = False,
    reuse: Reuse | None = None,
    watch: Watch | None = None,
) -> list[Judged]:
    """Run what the claims need and is not stored, decide each of them, and keep the decisions beside the runs.

    Args:
        ledger: of `read_ledger`.
        only: names of the claims to judge; all unless given.
        out: the results folder; the runs of NAME.toml lie in its NAME, as `workbench run` puts them there.
        quick: whether the ledger was read so; said in what is kept.
        reuse: what becomes of stored runs; a claim that rests on one that other code made is not decided.
        watch: gives a progress callback for everything that runs.

    Raises:
        InputError: a name is not in the ledger, data cannot be had, or the folder cannot be written.
    """
    out, found, judged = Path(out), {}, []
    kept = Reuse() if reuse is None else reuse
    for entry in _choose(ledger, only):
        evidence, failures = [], []
        for file, config in zip(entry.files, entry.configs, strict=True):
            key = (file, json.dumps(config.resolved(), sort_keys=True))
            if key not in found:
                found[key] = _gather(file, config, out / file.stem, watch, kept)
            evidence.append(found[key][0])
            failures += found[key][1]
        judged.append(_judge(entry, evidence, failures, quick))
    _keep(out / JUDGED, judged, [entry.name for entry in ledger])
    return judged


def load_claims(out: Path | str) -> list[Judged]:
    """The decisions kept in a results folder; none where no ledger has been judged there.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(out) / JUDGED
    try:
        return [_from_plain(values) for values in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: is damaged ({error}); delete it and run `workbench claims` again") from None


def _choose(ledger: Sequence[Entry], only: Collection[str] | None) -> list[Entry]:
    if only is None:
        return list(ledger)
    names = [entry.name for entry in ledger]
    unknown = [name for name in only if name not in names]
    if unknown or not only:
        raise InputError(f"--only: {', '.join(unknown) or 'none given'}: not in the ledger; it has {', '.join(names)}")
    return [entry for entry in ledger if entry.name in only]


def _gather(
    file: Path, config: Experiment | Study, out: Path, watch: Watch | None, reuse: Reuse
) -> tuple[Ran | Findings | None, list[str]]:
    """Evidence, as far as it could be had, and what failed."""
    store = Store(out)
    try:
        job: Job = (
            StudyJob(config, file.parent, file.stem)
            if isinstance(config, Study)
            else ExperimentJob.of(config, file.stem, file.parent)
        )
        found = job.result(store, run_job(job, store, reuse=reuse, watch=watch))
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    if isinstance(config, Study):
        return found, [] if found.lost is None else [f"{file.stem}: {found.lost}"]
    return Ran(config, found), [f"{file.stem}, {name}: {why}" for name, why in found.failures.items()]


def _judge(entry: Entry, evidence: Sequence[Ran | Findings | None], failures: list[str], quick: bool) -> Judged:
    check = CHECKS[entry.claim.check]
    whole = [each for each in evidence if each is not None]
    stale = "; ".join(dict.fromkeys(each.stale for each in whole if each.stale is not None))
    if failures:
        decision = undecided(f"A run failed: {'; '.join(failures)}.")
    elif stale:
        decision = undecided(f"It rests on runs that other code made ({stale}); run them again.")
    else:
        decision = check.decide(whole if check.several else whole[0])
    return Judged(
        entry.name,
        entry.claim.sentence,
        entry.claim.source,
        entry.claim.check,
        check.about,
        tuple(dict.fromkeys(file.stem for file in entry.files)),
        entry.claim.quick if quick else (),
        decision,
        "; ".join(failures) or None,
        # What is stored in another precision is another run.
        dtype_name(),
        _made_by(entry).to_dict(),
    )


def _made_by(entry: Entry) -> Provenance:
    """The present code of a claim's check, and of all that it reads."""
    roots = list(Provenance.of(CHECKS[entry.claim.check].decide).roots)
    for config in entry.configs:
        runs = [provenance_of(config, name) for name in config.methods] if isinstance(config, Experiment) else []
        roots += [root for made_by in runs or [Provenance.of(config)] for root in made_by.roots]
    return Provenance.from_roots(roots)


def _keep(path: Path, judged: list[Judged], names: list[str]) -> None:
    """What was judged now, with what was judged before of other claims that are still in the ledger."""
    known = {each.name: each for each in load_claims(path.parent)} | {each.name: each for each in judged}
    text = json.dumps([plain(known[name]) for name in names if name in known], indent=1, allow_nan=False)
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); give another folder with --out") from None


def plain(judged: Judged) -> dict[str, Any]:
    """As JSON can hold it."""
    return asdict(judged)


def _from_plain(values: dict[str, Any]) -> Judged:
    decision = values["decision"]
    interval = decision["interval"]
    decision |= {
        "verdict": Verdict(decision["verdict"]),
        "interval": None if interval is None else (float(interval[0]), float(interval[1])),
    }
    lists = {name: tuple(values[name]) for name in ("folders", "settings")}
    judged = Judged(**{**values, **lists, "decision": Decision(**decision)})
    stale = why_stale(judged.made_by)
    if stale is None:
        return judged
    return replace(judged, decision=undecided(f"Other code judged it ({stale}); run `workbench claims` again."))
