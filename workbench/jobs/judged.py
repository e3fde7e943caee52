"""Judged claims, read from the records of a ledger, as far as they are still valid."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.claims.checks import CHECKS
from workbench.claims.decision import (
    LEVEL,
    Decision,
    Error,
    Exact,
    Interval,
    NoErrorKnown,
    Varied,
    Verdict,
    holm,
    undecided,
)
from workbench.claims.ledger import Claim
from workbench.engine.devices import USUAL, precision_note
from workbench.errors import InputError
from workbench.files import DAMAGED
from workbench.jobs.base import DamagedCellError, Record, digest_of_values
from workbench.jobs.store import Store
from workbench.provenance import why_stale
from workbench.table import Table

KIND = "claims"


class EvidenceError(RuntimeError):
    """The evidence of a claim could not be computed; the message says why."""


@dataclass(frozen=True)
class Judged:
    """A claim, the decision on it, and its evidence."""

    name: str
    sentence: str
    source: str
    check: str
    about: str  # what the check counts or compares
    kind: str  # measured, identity or theorem
    folders: tuple[str, ...]  # of the runs, beside the ledger's own
    settings: tuple[str, ...]  # settings of the quick variant, which override the configs
    decision: Decision
    failure: str | None = None  # why a run or the check failed
    dtype: str = USUAL  # of the numbers in the runs
    made_by: Mapping[str, Any] = field(default_factory=dict)  # the code of the check and of what it reads


def record_of_decision(decision: Decision, rests_on: Mapping[str, str]) -> Record:
    """The record of a decision.

    Args:
        decision: the decision on the claim.
        rests_on: digests of the records that it was decided from, by FOLDER/KEY.
    """
    error = decision.error
    low, high = (error.low, error.high) if isinstance(error, Interval) else (None, None)
    numbers = {"value": _plain(decision.value), "low": _plain(low), "high": _plain(high)}
    row = {"verdict": decision.verdict.value, "unit": decision.unit, **numbers, "p_value": decision.p_value}
    listed = [{"record": name, "digest": digest} for name, digest in rests_on.items()]
    return Record({"decision": _values(decision), "rests_on": listed}, row=row)


def decision_of(record: Record) -> Decision:
    """The inverse of `record_of_decision`; raises an error of `DAMAGED` if the record does not fit."""
    values = dict(record.values["decision"])
    lines = [
        {**row, "verdict": Verdict(row["verdict"]), "error": _error(row["error"])} for row in values["sensitivity"]
    ]
    return Decision(
        verdict=Verdict(values["verdict"]),
        value=None if values["value"] is None else float(values["value"]),
        unit=str(values["unit"]),
        error=_error(values["error"]),
        note=str(values["note"]),
        p_value=None if values["p_value"] is None else float(values["p_value"]),
        sensitivity=tuple(Varied(**row) for row in lines),
        border=str(values["border"]),
        settings=str(values["settings"]),
    )


def rests_on(record: Record) -> dict[str, str]:
    """Digests of the records that a decision was made from, by FOLDER/KEY."""
    return {str(each["record"]): str(each["digest"]) for each in record.values["rests_on"]}


def lost(failure: str) -> Decision:
    """The decision on a claim that could not be judged."""
    return undecided(f"It could not be judged: {failure}.")


def outdated(why: str) -> Decision:
    """The decision on a claim that was judged by other code, or from other records."""
    return undecided(f"Other code judged it, or made what it rests on ({why}); run `workbench claims` again.")


def told(failure: str) -> str:
    """A stored failure without the prefix `EvidenceError`, which adds nothing for the reader."""
    return failure.removeprefix(f"{EvidenceError.__name__}: ")


def at_family_level(judged: Sequence[Judged], family: int) -> list[Judged]:
    """The claims with the verdicts that stand if all tests of the ledger are taken together.

    Verdicts by tests are kept if their p-values, adjusted by Holm's method, are at most `LEVEL`, so that the
    probability of any wrong one is at most that. The others are not decided. Counts and proofs are no tests.

    Args:
        judged: the claims; if they are only some of a ledger, the others count as undecided.
        family: the number of measured claims in the ledger.
    """
    tested = {e.name: e.decision.p_value for e in judged if e.decision.verdict != Verdict.UNDECIDED}
    adjusted = holm({name: p for name, p in tested.items() if p is not None}, family)
    return [_at_level(each, adjusted.get(each.name), family) for each in judged]


def _at_level(judged: Judged, adjusted: float | None, family: int) -> Judged:
    if adjusted is None:
        return judged
    found, told_p = judged.decision, f"p = {adjusted:.2g} adjusted for {family} tests (Holm)"
    if adjusted <= LEVEL:
        return replace(judged, decision=replace(found, note=f"{found.note} {told_p[0].upper()}{told_p[1:]}.".strip()))
    note = f"{found.note} Alone it {found.verdict.value}, but {told_p}.".strip()
    return replace(judged, decision=replace(found, verdict=Verdict.UNDECIDED, border="", note=note))


def plain(judged: Judged) -> dict[str, Any]:
    """A judged claim as JSON values."""
    return asdict(judged) | {"decision": _values(judged.decision)}


def _values(decision: Decision) -> dict[str, Any]:
    """A decision as JSON values."""
    rows = [{**asdict(row), "error": _plain_error(row.error)} for row in decision.sensitivity]
    own = {"value": _plain(decision.value), "error": _plain_error(decision.error), "sensitivity": rows}
    return asdict(decision) | own


def _plain_error(error: Error | None) -> dict[str, Any] | None:
    """An error as JSON values."""
    if error is None:
        return None
    kind = {Exact: "exact", Interval: "interval", NoErrorKnown: "unknown"}[type(error)]
    ends = {"low": _plain(error.low), "high": _plain(error.high)} if isinstance(error, Interval) else {}
    return {"kind": kind, **asdict(error), **ends}


def _error(values: Mapping[str, Any] | None) -> Error | None:
    """The inverse of `_plain_error`."""
    if values is None:
        return None
    more = {key: value for key, value in values.items() if key != "kind"}
    if values["kind"] == "interval":
        return Interval(**{**more, "low": float(more["low"]), "high": float(more["high"])})
    return Exact(**more) if values["kind"] == "exact" else NoErrorKnown()


def reading_of(judged: Sequence[Judged]) -> str:
    """A sentence that counts the claims by verdict, and another on the precision where it is not float64."""
    counts = Counter(each.decision.verdict for each in judged)
    proved = sum(each.kind != "measured" for each in judged)
    text = (
        f"Of {len(judged)} claims {', '.join(f'{counts[v]} {_VERBS[v]}' for v in Verdict)}; {proved} are identities or "
        f"theorems, which test the code. The probability of any wrong verdict by a test is at most {LEVEL:g} (Holm)."
    )
    return f"{text} {precision_note(*(each.dtype for each in judged))}".rstrip()


_VERBS = {Verdict.HOLDS: "hold", Verdict.FAILS: "fail", Verdict.DEPENDS: "depend", Verdict.UNDECIDED: "not decided"}


def table_of_claims(judged: Sequence[Judged]) -> Table:
    """A line for each claim."""
    heads = ("claim", "verdict", "figure", "error", "runs")
    lines = []
    for each in judged:
        found, runs = each.decision, ", ".join(each.folders)
        lines.append(
            (
                f"{each.name}: {each.sentence}",
                found.verdict.value,
                found.figure,
                f"{found.error_text}. {found.border}".rstrip(". "),
                runs,
            )
        )
    return Table.of_lines(heads, lines, words=("claim", "figure", "error", "runs"))


def load_claims(out: Path | str) -> list[Judged]:
    """Every judged claim of every ledger in a folder of results.

    Raises:
        InputError: a ledger's file is damaged.
    """
    stores = [Store(place.parents[1]) for place in sorted(Path(out).glob(f"*/jobs/{KIND}-*.toml"))]
    found = {store.folder: store for store in stores}
    return [
        judged
        for store in found.values()
        for file, record in store.jobs(KIND)
        for judged in load_ledger(store, file, record)
    ]


def load_ledger(store: Store, file: Path, record: Mapping[str, Any]) -> list[Judged]:
    """The claims of a stored ledger, except those that have never been judged.

    Raises:
        InputError: its file is damaged.
    """
    found: list[Judged] = []
    family = 0
    try:
        config = record["config"]
        for (name, values), key in zip(dict(config["claims"]).items(), record["cells"], strict=True):
            manifest_dtype = str(config["dtype"])
            claim = Claim.model_validate({key: value for key, value in values.items() if key != "configs"})
            family += claim.kind == "measured"
            decided = _as_stored(store, key)
            if decided is None:
                continue
            decision, failure, made_by = decided
            files = [str(config["configs"][place]["file"]) for place in values["configs"]]
            about = CHECKS[claim.check].about if claim.check in CHECKS else ""
            found.append(
                Judged(
                    name=str(name),
                    sentence=claim.sentence,
                    source=claim.source,
                    check=claim.check,
                    about=about,
                    kind=claim.kind,
                    folders=tuple(dict.fromkeys(Path(each).stem for each in files)),
                    settings=claim.quick if config["quick"] else (),
                    decision=decision,
                    failure=failure,
                    dtype=manifest_dtype,
                    made_by=made_by,
                )
            )
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{file}: is damaged ({error}); delete it and judge the ledger again") from None
    return at_family_level(found, family)


def time_of_runs(store: Store, keys: Iterable[str]) -> str:
    """A sentence on the time that the runs behind stored decisions took, each run once.

    Args:
        store: of the ledger.
        keys: of the decisions; those that were never made are left out.
    """
    kept = [key for key in keys if "failure" not in (store.manifest(key) or {"failure": None})]
    runs = {name for key in kept for name in rests_on(store.load(key))}
    home = store.folder.resolve().parent
    manifests = [Store(home / Path(name).parent.name).manifest(Path(name).name) for name in runs]
    minutes = sum(float(each["seconds"]) for each in manifests if each is not None) / 60
    return f"The {len(runs):,} runs behind them took {minutes:.3g} min, one after another."


def _as_stored(store: Store, key: str) -> tuple[Decision, str | None, Mapping[str, Any]] | None:
    """The decision, the failure, and the code that made them; None if the claim was never judged."""
    try:
        manifest = store.manifest(key)
        if manifest is None:
            return None
        made_by = manifest["made_by"]
        if "failure" in manifest:
            failure = told(str(manifest["failure"]["message"]))
            return lost(failure), failure, made_by
        record = store.load(key)
        try:
            decision, records = decision_of(record), rests_on(record)
        except DAMAGED as error:
            raise store.damaged(key, str(error)) from None
    except DamagedCellError as error:
        return lost(str(error)), str(error), {}
    stale = why_stale(made_by) or _changed_since(store, records)
    return decision if stale is None else outdated(stale), None, made_by


def _changed_since(store: Store, records: Mapping[str, str]) -> str | None:
    """Which record that a decision was made from has changed since; records that are not here are ignored."""
    home = store.folder.resolve().parent
    for name, digest in records.items():
        folder, _, key = name.rpartition("/")
        try:
            manifest = Store(home / Path(folder).name).manifest(Path(key).name)
        except DamagedCellError:
            return f"{name} is damaged"
        if manifest is not None:
            why = why_stale(manifest.get("made_by"))
            if why is not None:
                return why
            if digest_of_values(manifest) != digest:
                return f"{name} was run again since"
    return None


def _plain(value: float | None) -> float | str | None:
    """A number as a JSON value; infinities become text."""
    if value is None:
        return None
    return float(value) if math.isfinite(value) else str(float(value))
