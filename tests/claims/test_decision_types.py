"""What a verdict may say is enforced by its types, and thresholds stand in the ledger and in no check."""

import ast
import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench import studies
from workbench.claims import Verdict, checks, read_ledger, statistics
from workbench.claims.checks import CHECKS
from workbench.claims.decision import LEVEL, Decision, Exact, Interval, NoErrorKnown, Varied, across, holm
from workbench.claims.evidence import Ran, settings_of
from workbench.claims.statistics import by_median, by_share, median_interval
from workbench.diagnostics.proportion import Proportion
from workbench.experiment import Experiment
from workbench.studies import Findings, Study

HOLDS, FAILS, DEPENDS, UNDECIDED = Verdict
LEDGER = Path(__file__).parents[2] / "experiments" / "claims.toml"


def row(verdict: Verdict, p: float | None = None, within: bool = True) -> Varied:
    return Varied("seed", "1", within, verdict, "1 nat", NoErrorKnown(), p)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"value": 42.2, "unit": "% of draws", "error": Exact("draws")}, "exact is a count"),
        ({"value": 1.0, "unit": "nats"}, "a figure needs its error"),
        ({"value": None, "unit": ""}, "a verdict needs a figure"),
        ({"value": 1.0, "unit": "nats", "error": NoErrorKnown(), "settings": ""}, "must name its settings"),
        ({"value": 1.0, "unit": "nats", "error": Interval(0.5, 2.0, "8 data sets")}, "needs the p-value"),
        (
            {
                "verdict": DEPENDS,
                "value": 1.0,
                "unit": "nats",
                "error": Interval(0.5, 2.0, "8 data sets"),
                "sensitivity": (row(HOLDS), row(FAILS)),
                "border": "at seed 2",
            },
            "needs the p-value",
        ),
        ({"value": 1.0, "unit": "nats", "error": NoErrorKnown(), "border": "at seed 2"}, "if and only if"),
        ({"value": 1.0, "unit": "nats", "error": NoErrorKnown(), "sensitivity": (row(FAILS),)}, "turns within"),
    ],
)
def test_what_a_referee_would_refuse_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Decision(**{"verdict": HOLDS, "settings": "seed 0", **values})


def test_a_verdict_cannot_be_given_without_its_settings() -> None:
    with pytest.raises(TypeError, match="settings"):
        Decision(HOLDS, 1.0, "nats", NoErrorKnown())  # type: ignore[call-arg]


def test_the_settings_of_a_claim_name_its_data_its_seed_and_its_sizes_and_no_folder(tmp_path: Path) -> None:
    (entry,) = (each for each in read_ledger(LEDGER, seed=7) if each.name == "best_is_a_spike")
    ((file, experiment),) = entry.own
    assert isinstance(experiment, Experiment)
    told = settings_of(Ran(experiment, None, file.stem))  # type: ignore[arg-type]
    assert told == (
        "iris, seed 7; restarts 100; data dataset iris; model components 3; starts rule random_points; "
        "methods em, ascent"
    )
    for entry in read_ledger(LEDGER):
        configs = [Findings(c, []) if isinstance(c, Study) else Ran(c, None, f.stem) for f, c in entry.own]  # type: ignore[arg-type]
        told = settings_of(*configs)
        assert "seed 0" in told and str(LEDGER.parent) not in told and len(told) < 1500


def test_a_verdict_depends_only_with_two_opposite_settings() -> None:
    with pytest.raises(ValueError, match="holds in one setting and fails in another"):
        Decision(DEPENDS, 1.0, "nats", NoErrorKnown(), sensitivity=(row(HOLDS),), border="somewhere", settings="seed 0")


def test_an_interval_names_what_was_replicated_and_its_ends_in_order() -> None:
    with pytest.raises(ValueError, match="what was replicated"):
        Interval(0.0, 1.0, "")
    with pytest.raises(ValueError, match="an interval from"):
        Interval(1.0, 0.0, "8 data sets")


def test_a_complete_sum_and_a_proof_are_exact_without_being_whole() -> None:
    assert str(Exact("allocations", terms=1024)) == "exact: all 1,024 allocations"
    for exact in (Exact("allocations", terms=1024), Exact("Jensen", proved=True)):
        assert Decision(HOLDS, 0.5, "nats", exact, settings="seed 0").error is exact


def test_a_verdict_that_turns_within_its_sentence_depends_and_names_the_border() -> None:
    base = Decision(HOLDS, 1.0, "nats", NoErrorKnown(), settings="seed 0")
    found = across(base, [row(FAILS)], at="seed 0")
    assert found.verdict == DEPENDS
    assert found.border == "holds: seed 0. fails: seed 1."
    assert across(base, [row(FAILS, within=False)]).verdict == HOLDS
    assert across(base, [row(UNDECIDED)]).verdict == HOLDS


def test_a_row_contradicts_only_if_its_test_does_among_all_rows() -> None:
    base = Decision(HOLDS, 1.0, "nats", Interval(0.5, 2.0, "8 data sets"), p_value=0.001, settings="seed 0")
    rows = [row(FAILS, 0.02), row(HOLDS, 0.001), row(HOLDS, 0.001)]
    # Of three rows, one with p = .02 is no contradiction at 5 %, and one with p = .01 is.
    assert across(base, rows).verdict == HOLDS
    found = across(base, [row(FAILS, 0.01), *rows[1:]])
    assert (found.verdict, found.p_value) == (DEPENDS, pytest.approx(0.03))


def test_two_undecided_halves_that_oppose_each_other_depend() -> None:
    base = Decision(UNDECIDED, 1.0, "nats", Interval(0.5, 2.0, "8 data sets"), p_value=0.5, settings="seed 0")
    assert across(base, [row(HOLDS), row(FAILS)]).verdict == DEPENDS
    assert across(base, [row(HOLDS), row(HOLDS)]).verdict == UNDECIDED
    # Its p-value is the larger of the two sides', each of two rows; that of the open decision says nothing of them.
    assert across(base, [row(HOLDS, 0.001), row(FAILS, 0.002)]).p_value == pytest.approx(0.004)
    assert across(base, [row(HOLDS, 0.001), row(FAILS, 0.03)]).verdict == UNDECIDED


def test_holm_equals_its_definition_and_counts_tests_that_are_not_given() -> None:
    p = {"a": 0.01, "b": 0.04, "c": 0.03}
    # By hand: 3 x .01, then 2 x .03, then the larger of .06 and .04.
    assert holm(p, 3) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.01}, 20) == pytest.approx({"a": 0.2})


def test_holm_keeps_the_family_wise_level_over_the_tests_of_a_ledger() -> None:
    rng = np.random.default_rng(0)
    wrong = [min(holm({str(i): p for i, p in enumerate(rng.random(27))}, 27).values()) <= LEVEL for _ in range(2000)]
    # Three standard errors of a share of 5 % in 2,000.
    assert np.mean(wrong) <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / 2000)


def test_the_range_of_eight_is_called_by_its_own_confidence() -> None:
    found = median_interval(np.arange(8.0), "data sets")
    assert found is not None
    # All eight above the median, or all below: 2 x 2^-8.
    assert found.level == pytest.approx(1 - 2 / 2**8)
    assert str(found) == "0 to 7 (99.2 %, 8 data sets)"
    assert median_interval(np.arange(5.0), "data sets") is None


def test_decisions_by_shares_and_medians_carry_the_p_value_of_their_test() -> None:
    share = by_share(Proportion(18, 20), 0.5, "%", "starts", settings="seed 0")
    # The exact binomial test, two-sided: 2 P(X >= 18).
    assert share.p_value == pytest.approx(2 * (1 + 20 + 190) / 2**20)
    assert share.verdict == HOLDS
    median = by_median(np.arange(1.0, 9.0), 0.0, "nats", "data sets", settings="seed 0")
    assert median is not None and median.verdict == HOLDS and median.p_value == pytest.approx(2 / 2**8)


# Numbers that decide nothing, or that a sentence or a study defines; all others stand in the ledger.
NO_THRESHOLDS = {
    "TUTORIAL_LOSS": "printed in the tutorial of the sentence",
    "TUTORIAL_MODE": "printed in the tutorial of the sentence",
    "VANISHING": "where a loss is computed for the note",
    "STEPS": "how long an iteration goes on that stops by itself",
    "SCORING_STEPS": "how long a fit goes on that converges",
    "SUREST": "keeps a fitted probability below one",
    "LEVEL": "the family-wise level of the whole ledger",
    "NOMINAL": "the coverage of the study's intervals, of which the sentence speaks",
}
# One and its double or half, zero, and the hundred of per cent.
PLAIN = {0, 1, 2, 0.5, 100}
# The numbers of replications or groups below which nothing can be said, and the 3 of the rule of three.
COUNTS = {3}

# In studies, likewise: settings that matter are keys of their configs.
OF_STUDIES = {
    "BEGIN": "nats of the starts below the optimum, told in the study's description",
    "END": "the last of TOLERANCES",
    "TOLERANCES": "to which passes are stored; the claims say which they read",
    "ROUNDED": "ends a count of ratios before rounding does",
    "NOMINAL": "the coverage that is aimed at",
    "FACTORS": "the default of a key",
    "UNITS_OF_COLUMNS": "the units to which data are changed",
    "FALSE_ALARM": "of the column that is printed; the claim has its own",
    "MOST_CHANGE": "whether differences of the EM map have become derivatives, without which there are no such errors",
    "MOST_R_HAT": "whether chains have mixed, without which draws give no errors; no claim reads them",
}


def numbers_in(file: Path) -> list[tuple[str, float]]:
    """The numbers in a file, each with the name of the constant that it belongs to, or of the function around it."""
    found = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        targets = getattr(node, "targets", [getattr(node, "target", node)])
        name = getattr(targets[0], "id", getattr(node, "name", ""))
        for each in ast.walk(node):
            if isinstance(each, ast.Constant) and type(each.value) in (int, float):
                found.append((name, each.value))
    return found


FILES_OF_CHECKS = [*Path(inspect.getfile(checks)).parent.glob("*.py"), Path(inspect.getfile(statistics))]


@pytest.mark.parametrize("file", FILES_OF_CHECKS, ids=lambda file: file.stem)
def test_checks_hold_no_threshold(file: Path) -> None:
    allowed = PLAIN | COUNTS
    assert [(n, v) for n, v in numbers_in(file) if n not in NO_THRESHOLDS and v not in allowed] == []
    # Nor do they import one.
    names = {
        each.name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for each in node.names
        if each.name.isupper() and isinstance(getattr(sys.modules[str(node.module)], each.name), float | tuple)
    }
    assert names <= set(NO_THRESHOLDS)


def test_a_threshold_in_a_check_is_seen(tmp_path: Path) -> None:
    (tmp_path / "check.py").write_text("LIMIT = 0.05\n\n\ndef check(x):\n    return x < 1e-8 or x == -0.25\n")
    assert numbers_in(tmp_path / "check.py") == [("LIMIT", 0.05), ("check", 1e-8), ("check", 0.25)]


def test_constants_of_studies_are_known() -> None:
    """A constant of a study is either a default of a key, which its config shows, or is listed here."""
    for file in Path(inspect.getfile(studies)).parent.glob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.Tuple | ast.UnaryOp):
                floats = [each for each in ast.walk(node.value) if type(getattr(each, "value", None)) is float]
                names = {e.id for t in node.targets for e in ast.walk(t) if isinstance(e, ast.Name)}
                assert not floats or names <= set(OF_STUDIES), (file.name, names)


def test_no_check_reads_chains_but_those_that_agree() -> None:
    """Draws are read from `Ran.agreeing`; only the check of chains that labels part looks at all samplers."""
    source = (Path(inspect.getfile(checks)).parent / "posterior.py").read_text(encoding="utf-8")
    uses = [
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and "samplers.values()" in ast.unparse(node)
    ]
    assert set(uses) <= {"labels_alone_part_the_chains", "_diverged"}


def test_every_threshold_of_the_ledger_has_a_reason_and_every_claim_its_kind() -> None:
    for entry in read_ledger(LEDGER):
        assert set(entry.claim.thresholds) == set(CHECKS[entry.claim.check].thresholds)
        assert all(len(threshold.reason) > 20 for threshold in entry.claim.thresholds.values())
    kinds = [entry.claim.kind for entry in read_ledger(LEDGER)]
    assert kinds.count("measured") > kinds.count("theorem") > 0 and kinds.count("identity") > 0


# Checks that decide a measured claim in several settings from what one study or several experiments hold.
SEVERAL = {
    "equations_are_coupled", "one_gaussian_is_uncoupled", "direct_ascent_cannot", "em_slows_with_overlap",
    "ascent_overtakes_em", "acceleration_beats_ascent", "em_ends_higher", "successes_fall_exponentially",
    "kmeans_starts_fail_less", "wald_falls_short_on_overlap",
}  # fmt: skip


def test_every_measured_claim_is_decided_in_other_settings_too() -> None:
    for entry in read_ledger(LEDGER):
        claim = entry.claim
        tried = any(threshold.tried for threshold in claim.thresholds.values())
        assert claim.kind != "measured" or claim.vary or tried or claim.check in SEVERAL, entry.name
