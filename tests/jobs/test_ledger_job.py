"""The ledger as a job: claims are stored, judged again when what they rest on is another, and fail one by one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import CliRunner, Result
from restamped import by_other_code

from workbench.claims import Entry, Verdict, read_ledger
from workbench.claims.checks import CHECKS
from workbench.cli import cli
from workbench.errors import InputError
from workbench.jobs import setting
from workbench.jobs.claims import LedgerJob, run_claims
from workbench.jobs.judged import load_claims
from workbench.jobs.running import Reuse, run_job
from workbench.jobs.store import Store

ROUNDING = {"rounding": {"value": 1e4, "reason": "eps of the height"}}
CLAIM = {
    "sentence": "EM climbs.",
    "source": "1977",
    "config": "tiny.toml",
    "check": "em_never_falls",
    "thresholds": ROUNDING,
}


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="workbench", catch_exceptions=False)


@pytest.fixture
def ledger(tmp_path: Path, tiny: dict[str, Any]) -> Path:
    """Two claims on one run of EM, and the experiment that they rest on."""
    one = {**tiny, "methods": {"em": tiny["methods"]["em"]}}
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(one), encoding="utf-8")
    path = tmp_path / "claims.toml"
    claims = {"a": {**CLAIM, "quick": ["restarts=1"]}, "b": {**CLAIM, "check": "several_maxima", "thresholds": {}}}
    path.write_text(tomli_w.dumps({"claims": claims}), encoding="utf-8")
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The claims that a check has decided, in turn."""
    names: list[str] = []
    decide = Entry.decide
    monkeypatch.setattr(Entry, "decide", lambda self, evidence: (names.append(self.name), decide(self, evidence))[1])
    return names


def run_of(out: Path) -> Path:
    (cell,) = (out / "tiny" / "cells").glob("em-*")
    return cell


def broken(*words: object, **more: object) -> None:
    raise RuntimeError("it broke\nhere")


def test_what_is_stored_is_neither_run_nor_decided_again(ledger, out, decided):
    first = run_claims(read_ledger(ledger), out=out)
    assert [each.decision.verdict for each in first] == [Verdict.HOLDS, Verdict.FAILS]
    assert run_claims(read_ledger(ledger), out=out) == first == load_claims(out)
    assert decided == ["a", "b"]
    assert run_claims(read_ledger(ledger), out=out, only=["b"]) == first[1:]
    assert load_claims(out) == first


def test_the_quick_variant_is_another_job_on_other_runs(ledger, out):
    first = run_claims(read_ledger(ledger), out=out)
    quick = run_claims(read_ledger(ledger, quick=True), out=out, only=["a"], quick=True)
    assert quick[0].settings == ("restarts=1",)
    assert len(list((out / "tiny" / "cells").glob("em-*"))) == 2
    # The claim that has no quick settings is the same in both.
    assert load_claims(out) == [*first, *quick, first[1]]


def test_another_sentence_is_the_same_claim_and_another_check_is_not(ledger, out, decided):
    run_claims(read_ledger(ledger), out=out)
    ledger.write_text(ledger.read_text().replace("EM climbs.", "EM goes up."))
    found = run_claims(read_ledger(ledger), out=out)
    assert decided == ["a", "b"]
    assert {each.sentence for each in found} == {each.sentence for each in load_claims(out)} == {"EM goes up."}
    ledger.write_text(ledger.read_text().replace("several_maxima", "em_ends_on_maxima"))
    run_claims(read_ledger(ledger), out=out)
    assert decided == ["a", "b", "b"]
    assert len(Store(out / "claims").jobs()) == 1


def test_a_claim_is_decided_again_when_a_run_that_it_rests_on_is_another(ledger, out, decided, caplog):
    first = run_claims(read_ledger(ledger), out=out)
    command("run", ledger.parent / "tiny.toml", "--out", out / "tiny", "--force", "--quiet")
    assert "was run again since" in load_claims(out)[0].decision.note
    assert run_claims(read_ledger(ledger), out=out) == first
    assert decided == ["a", "b"] * 2
    assert "what 2 stored claims rest on has changed since: run again" in caplog.text
    shutil.rmtree(run_of(out))
    # Nothing says that what was deleted is another; it is run again where the ledger is.
    assert load_claims(out) == first
    assert run_claims(read_ledger(ledger), out=out) == first
    assert decided == ["a", "b"] * 3


def test_a_claim_that_rests_on_what_other_code_made_has_no_verdict(ledger, out):
    first = run_claims(read_ledger(ledger), out=out)
    by_other_code(run_of(out))
    told = load_claims(out)
    kept = run_claims(read_ledger(ledger), out=out, reuse=Reuse(keep_stale=True))
    for judged in (told, kept):
        assert [each.decision.verdict for each in judged] == [Verdict.UNDECIDED] * 2
        assert "workbench 0.1.0" in judged[0].decision.note
    assert run_claims(read_ledger(ledger), out=out) == first
    cell = next((out / "claims" / "cells").glob("a-*"))
    by_other_code(cell)
    assert "Other code judged it" in load_claims(out)[0].decision.note
    assert run_claims(read_ledger(ledger), out=out) == first == load_claims(out)


def test_a_check_that_raises_is_a_kept_failure_of_its_claim_alone(ledger, out, monkeypatch):
    check = CHECKS["em_never_falls"]
    for error in (ZeroDivisionError("no steps"), InputError("no data")):
        with monkeypatch.context() as broken_check:
            broken_check.setitem(CHECKS, "em_never_falls", replace(check, decide=_raising(error)))
            first = command("claims", ledger, "--out", out, "--force")
            again = command("claims", ledger, "--out", out)
        for result in (first, again):
            assert result.exit_code == 1
            assert f"a could not be judged: {_named(error)}" in result.stderr
            assert "fails" in result.stdout and "not decided" in result.stdout
        assert load_claims(out)[0].failure == _named(error)
        assert load_claims(out)[1].decision.verdict == Verdict.FAILS
    assert command("claims", ledger, "--out", out).exit_code == 0  # other code: the check is another
    assert [each.failure for each in load_claims(out)] == [None, None]


def _raising(error: Exception) -> Any:
    def decide(evidence: object, limits: object) -> None:
        raise error

    return decide


def _named(error: Exception) -> str:
    own = isinstance(error, InputError)
    return f"RuntimeError: em_never_falls: {error}" if own else f"{type(error).__name__}: {error}"


def test_a_run_that_fails_fails_its_claims_until_it_is_tried_again(ledger, out, monkeypatch):
    with monkeypatch.context() as failing:
        failing.setattr(setting, "run", broken)
        lost = run_claims(read_ledger(ledger), out=out)
    assert [each.failure for each in lost] == ["tiny, em: RuntimeError: it broke"] * 2
    assert [each.decision.verdict for each in lost] == [Verdict.UNDECIDED] * 2
    assert [each.failure for each in run_claims(read_ledger(ledger), out=out)] == [each.failure for each in lost]
    assert command("status", out).exit_code == 0
    assert [row["failed"] for row in json.loads(command("status", out, "--format", "json").stdout)] == [2, 1]
    again = run_claims(read_ledger(ledger), out=out, reuse=Reuse(retry=True))
    assert [each.failure for each in again] == [None, None]


def test_a_claim_is_decided_when_its_failed_run_was_run_elsewhere(ledger, out, monkeypatch):
    with monkeypatch.context() as failing:
        failing.setattr(setting, "run", broken)
        run_claims(read_ledger(ledger), out=out)
    assert command("run", ledger.parent / "tiny.toml", "--out", out / "tiny", "--retry", "--quiet").exit_code == 0
    assert [each.failure for each in run_claims(read_ledger(ledger), out=out)] == [None, None]


def test_run_judges_a_ledger_as_claims_does(ledger, out):
    one = command("claims", ledger, "--out", out)
    two = command("run", ledger, "--out", out / "claims")
    assert (one.exit_code, two.exit_code) == (0, 0)
    assert two.stdout == one.stdout
    for option in ("--set", "--sweep", "--methods"):
        refused = command("run", ledger, option, "a=[1]", "--out", out / "claims")
        assert refused.exit_code == 2
        assert f"{option}: " in refused.stderr and "is a ledger of claims" in refused.stderr


def test_processes_judge_as_one_does(ledger, out, tmp_path):
    one = command("claims", ledger, "--out", out, "--format", "json")
    two = command("claims", ledger, "--out", tmp_path / "two", "--format", "json", "--jobs", 2)
    assert (one.exit_code, two.exit_code) == (0, 0)
    assert json.loads(two.stdout) == json.loads(one.stdout)


def test_workers_run_what_claims_rest_on_or_the_claims(ledger, out, decided):
    job = LedgerJob("claims", read_ledger(ledger), root=out)
    copy = object.__new__(LedgerJob)
    copy.__dict__.update(job.__getstate__())
    assert [cell.key for cell in copy.cells()] == [cell.key for cell in job.cells()]
    run_job(copy, Store(out / "claims"))
    assert decided == ["a", "b"]


def test_a_pack_of_a_ledger_is_checked_by_running_what_its_judged_claims_rest_on(ledger, out, tmp_path):
    # One claim alone: the other was never asked for.
    assert command("claims", ledger, "--only", "a", "--out", out).exit_code == 0
    assert command("export", out / "claims", "--out", tmp_path / "pack.zip").exit_code == 0
    shutil.rmtree(out)
    result = command("verify", tmp_path / "pack.zip")
    assert result.exit_code == 0, result.output
    assert "1 of 1 cells come out as they were packed." in result.stdout


def test_a_damaged_ledger_or_decision_is_one_message(ledger, out):
    run_claims(read_ledger(ledger), out=out)
    cell = next((out / "claims" / "cells").glob("a-*"))
    (cell / "values.json").write_text("{}")
    found = load_claims(out)
    assert "values.json was changed after it was written" in found[0].decision.note
    assert found[1].failure is None
    (file,) = (out / "claims" / "jobs").iterdir()
    file.write_text("claims = 3")
    with pytest.raises(InputError, match="is damaged"):
        load_claims(out)
