"""Claims about the ledger: strictly read, every mistake at once, run once, kept, printed and shown."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner

from workbench.claims import Verdict, read_ledger
from workbench.claims.checks import CHECKS
from workbench.claims.decision import Decision, median_interval, number, undecided
from workbench.cli import cli
from workbench.errors import InputError
from workbench.jobs import setting as execution
from workbench.jobs.base import Record
from workbench.jobs.claims import run_claims
from workbench.jobs.judged import Judged, decision_of, plain, reading_of, record_of_decision
from workbench.report import ledger_table, redraw, show_claims

SHIPPED = Path(__file__).parents[2] / "experiments" / "claims.toml"
HOSTILE = '<script>alert("1")</script>'

# What the issue asks for by name.
PROMISED = {
    "log_of_sum", "coupled", "no_closed_form", "non_convex", "unbounded", "em_is_monotone", "em_ends_on_a_maximum",
    "no_step_size", "affine", "slows_with_overlap", "ascent_overtakes", "best_is_a_spike", "draws_stay_below",
    "one_mode_per_chain", "random_starts_fail",
}  # fmt: skip


@pytest.fixture
def claim() -> dict[str, Any]:
    return {"sentence": f"EM climbs. {HOSTILE}", "source": "1977", "config": "tiny.toml", "check": "em_never_falls"}


@pytest.fixture
def folder(tmp_path: Path, tiny: dict[str, Any]) -> Path:
    """A folder with an experiment and a study."""
    em = {"em": tiny["methods"]["em"]}
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps({**tiny, "methods": em}), encoding="utf-8")
    study = {"study": "bad_optima", "components": [2], "separation": 5.0, "methods": {"em": {}}}
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study), encoding="utf-8")
    return tmp_path


def write(folder: Path, claims: dict[str, Any], **more: Any) -> Path:
    path = folder / "claims.toml"
    path.write_text(tomli_w.dumps({"claims": claims, **more}), encoding="utf-8")
    return path


def command(*words: object) -> Any:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="workbench", catch_exceptions=False)


def test_every_mistake_is_named_at_once_with_its_key(folder: Path, claim: dict[str, Any]) -> None:
    claims = {
        "misspelt": {**claim, "chek": "x"},
        "empty": {**claim, "sentence": ""},
        "sourceless": {key: value for key, value in claim.items() if key != "source"},
        "unknown": {**claim, "check": "em_never_fals"},
        "lost": {**claim, "config": "nowhere.toml"},
        "wrong": {**claim, "config": "study.toml"},
        "many": {**claim, "check": "log_exceeds_sum", "config": ["tiny.toml", "tiny.toml"]},
        "right": claim,
        "flat": 3,
    }
    with pytest.raises(InputError) as refused:
        read_ledger(write(folder, claims, claim={}))
    lines = str(refused.value).splitlines()
    where = f"{folder / 'claims.toml'}: "
    assert all(line.startswith(where) for line in lines)
    expected = [
        ("claim: unknown key", "allowed: claims"),
        # A file has plain values before tables.
        ("claims.flat: must be a table", "got 3"),
        ("claims.misspelt.chek: unknown key", "did you mean check?"),
        ("claims.empty.sentence: ", "at least 1 character"),
        ("claims.sourceless.source: missing", ""),
        ("claims.unknown.check: unknown 'em_never_fals'", "did you mean 'em_never_falls'?"),
        ("claims.lost.config: ", "cannot be read"),
        ("claims.wrong.config: em_never_falls reads an experiment, and study.toml is the study bad_optima", ""),
        ("claims.many.config: log_exceeds_sum reads one file, got 2", ""),
    ]
    assert len(lines) == len(expected)
    for line, (begins, holds) in zip(lines, expected, strict=True):
        assert line.removeprefix(where).startswith(begins)
        assert holds in line


def test_a_quick_setting_that_fits_no_config_is_refused(folder: Path, claim: dict[str, Any]) -> None:
    path = write(folder, {"a": {**claim, "quick": ["restats=2"]}})
    assert read_ledger(path)
    with pytest.raises(InputError, match=r"claims.a.config: .*restats: unknown key \(did you mean restarts\?\)"):
        read_ledger(path, quick=True)


@pytest.mark.parametrize("values", [{}, {"claims": {}}, {"claims": 3}])
def test_a_ledger_without_claims_is_refused(folder: Path, values: dict[str, Any]) -> None:
    path = folder / "claims.toml"
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    with pytest.raises(InputError, match="claims: missing"):
        read_ledger(path)


def test_a_false_claim_is_no_failure_and_a_failed_run_is_one(
    folder: Path, claim: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder, {"false": {**claim, "check": "several_maxima"}, "true": claim})
    result = command("claims", path, "--out", folder / "out")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "fails" in result.stdout and "holds" in result.stdout and HOSTILE in result.stdout
    assert "Of 2 claims 1 hold, 1 fail, 0 not decided." in result.stdout
    page = (folder / "out" / "claims" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "http" not in page
    assert "<strong>fails</strong>" in page
    as_json = json.loads(command("claims", path, "--out", folder / "out", "--format", "json").stdout)
    assert [each["decision"]["verdict"] for each in as_json] == ["fails", "holds"]
    assert as_json[0]["folders"] == ["tiny"]

    monkeypatch.setattr(execution, "run", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("out of luck")))
    result = command("claims", path, "--out", folder / "new", "--only", "true")
    assert result.exit_code == 1
    assert "not decided" in result.stdout


def test_an_unknown_claim_is_bad_input(folder: Path, claim: dict[str, Any]) -> None:
    result = command("claims", write(folder, {"a": claim}), "--only", "b")
    assert result.exit_code == 2
    assert "--only: b: not in the ledger; it has a" in result.stderr


def test_the_page_of_an_experiment_and_of_its_claims_lead_to_each_other(folder: Path, claim: dict[str, Any]) -> None:
    out = folder / "out"
    run_claims(read_ledger(write(folder, {"a": claim, HOSTILE: claim})), out=out)
    redraw(out / "tiny")
    page = (out / "tiny" / "report.html").read_text(encoding="utf-8")
    assert "Claims that rest on these runs" in page and "EM climbs. &lt;script" in page
    # Now that the experiment has a page, the ledger's page leads there, wherever it lies.
    redraw(out / "claims")
    (own,) = (out / "claims" / "pages").iterdir()
    for place in (own, out / "claims" / "report.html"):
        text = place.read_text(encoding="utf-8")
        assert "<script" not in text
        (way,) = set(re.findall(r'href="([^"#]*tiny[^"]*)"', text))
        assert (place.parent / way).resolve() == (out / "tiny" / "report.html").resolve()
    targets = set(re.findall(r'href="#([^"]*)"', text))
    assert len(targets) == 2
    assert targets <= set(re.findall(r'id="([^"]*)"', text))


@pytest.mark.parametrize("bound", [None, (0.1, 1000.0), (-float("inf"), float("inf"))])
def test_a_decision_is_read_back_as_it_was_written(bound: tuple[float, float] | None) -> None:
    decision = Decision(Verdict.HOLDS, 0.1, "nats", bound, "Two.")
    kept = record_of_decision(decision, {"tiny/em-1": "ab"})
    read = json.loads(json.dumps(dict(kept.values), allow_nan=False))
    assert decision_of(Record(read)) == decision
    assert decision_of(record_of_decision(undecided("why"), {})) == undecided("why")


def test_figures_are_written_as_people_read_them() -> None:
    decision = Decision(Verdict.HOLDS, 0.12345, "nats", (0.1, 1000.0))
    assert (decision.figure, decision.error) == ("0.123 nats", "0.1 to 1,000")
    assert Decision(Verdict.HOLDS, 0, "falls").error == "exact"
    assert (undecided("why").figure, undecided("why").error) == ("-", "-")
    assert [number(v) for v in (12345.0, 1e-9, float("inf"))] == ["12,345", "1e-09", "no bound"]


def test_the_interval_of_a_median_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    assert median_interval(np.arange(5.0)) is None
    assert median_interval(np.arange(6.0)) == (0.0, 5.0)
    found = [median_interval(rng.exponential(size=25)) for _ in range(2000)]
    covered = np.mean([each[0] <= np.log(2) <= each[1] for each in found if each is not None])
    # At least 95 % by construction; three standard errors of a share in 2,000 below that.
    assert covered >= 0.935


def test_the_shipped_ledger_has_the_claims_that_were_promised_and_its_quick_variants_are_valid() -> None:
    entries = {entry.name: entry for entry in read_ledger(SHIPPED)}
    assert set(entries) >= PROMISED
    assert {entry.claim.check for entry in entries.values()} == set(CHECKS)
    assert all(entry.claim.sentence.endswith(".") for entry in entries.values())
    assert [entry.name for entry in read_ledger(SHIPPED, quick=True)] == list(entries)


def test_the_ledger_says_which_numbers_are_float32(tmp_path: Path) -> None:
    usual = Judged("a", "s", "1977", "c", "", (), (), Decision(Verdict.HOLDS, 1.0, "nats", note="Two."))
    single = replace(usual, name="b", dtype="float32")
    assert "float" not in reading_of([usual]) and "float" not in ledger_table([usual])
    assert reading_of([single]).endswith("Computed in float32.")
    assert reading_of([usual, single]).endswith("Computed in float32 and float64.")
    assert "Two. Computed in float32." in ledger_table([single])
    assert "Two. Computed in float32." in show_claims([single], "mine", tmp_path, {}).page.html()
    assert json.loads(json.dumps(plain(single), allow_nan=False))["dtype"] == "float32"
