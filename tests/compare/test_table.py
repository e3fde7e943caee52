import csv
import io
import json
from collections.abc import Callable
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench.compare import Comparison, ComparisonTable, MethodSummary, Optimum, compare, summarise, table
from workbench.compare.table import read
from workbench.loop.trace import Trace
from workbench.methods import EM, Gibbs, Permuted
from workbench.mixture import Mixture
from workbench.problem import Problem

NAMES = [field.name for field in fields(MethodSummary)]


@pytest.fixture(scope="module")
def em() -> MethodSummary:
    """A summary in which everything is filled that applies to a point estimate."""
    return MethodSummary(
        method="em",
        restarts=8,
        best_log_likelihood=-1130.2639,
        best_log_joint=-1143.5,
        heldout_log_density=-4.1231,
        heldout_standard_error=0.0567,
        statuses={"CONVERGED": 6, "BUDGET": 1, "COLLAPSED": 1},
        reached_best=6,
        passes_to_best=31.5,
        seconds_to_best=0.0123,
        passes=1234.0,
        seconds=0.5,
        seconds_per_pass=1.2345e-5,
        compile_seconds=1.25,
        r_hat_max=None,
        ess_min=None,
        smallest_relative_eigenvalue=0.0621,
        smallest_component_size=96.66,
        suspicious=False,
        adjusted_rand_index=0.9,
        matched_error=0.0312,
        optima=(Optimum(-1143.5, 6), Optimum(-1200.25, 1)),
        near_best=7,
        passes_to_near_best=0.256,
    )


@pytest.fixture(scope="module")
def nuts(em: MethodSummary) -> MethodSummary:
    draws = {"r_hat_max": 1.004, "ess_min": 812.3, "statuses": {"CONVERGED": 4}, "optima": ()}
    draws |= {"near_best": None, "passes_to_near_best": None}
    return replace(em, method="nuts", restarts=4, best_log_joint=-1144.0, **draws)


@pytest.fixture(scope="module")
def failed(two_groups: Problem) -> MethodSummary:
    (found,) = summarise(Comparison(two_groups, {}, failures={"broken": "RuntimeError: out of memory"}))
    return found


def test_json_parses_back_to_the_summaries(em, nuts):
    found = json.loads(ComparisonTable("faithful", (em, nuts)).to_json())
    assert found["experiment"] == "faithful"
    assert [set(method) for method in found["methods"]] == [set(NAMES)] * 2
    assert found["methods"][0]["best_log_joint"] == em.best_log_joint
    assert found["methods"][0]["statuses"] == em.statuses
    assert found["methods"][0]["optima"][1] == {"log_joint": -1200.25, "restarts": 1}


def test_json_is_one_line(em, nuts):
    assert "\n" not in ComparisonTable("two\nlines", (em, nuts)).to_json()


def test_json_has_null_where_a_figure_does_not_apply(em, nuts, failed):
    methods = json.loads(ComparisonTable("x", (em, nuts, failed)).to_json())["methods"]
    assert methods[0]["r_hat_max"] is methods[0]["ess_min"] is None
    assert methods[1]["r_hat_max"] == 1.004
    assert methods[2]["best_log_joint"] is methods[2]["passes_to_best"] is None
    assert methods[2]["failure"] == "RuntimeError: out of memory"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_json_has_no_number_that_is_not_finite(em, value):
    spoilt = replace(em, r_hat_max=value, matched_error=value, heldout_standard_error=value)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    method = json.loads(ComparisonTable("x", (spoilt,)).to_json(), parse_constant=refuse)["methods"][0]
    assert method["r_hat_max"] is method["matched_error"] is method["heldout_standard_error"] is None


def test_csv_parses_back_to_the_summaries(em, nuts, failed):
    text = ComparisonTable('a "b", c', (replace(em, method="e,m\n"), nuts, failed)).to_csv()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["experiment", "dtype", *NAMES]
    assert [row["method"] for row in rows] == ["e,m\n", "nuts", "broken"]
    assert {row["experiment"] for row in rows} == {'a "b", c'}
    assert float(rows[0]["best_log_joint"]) == em.best_log_joint
    assert json.loads(rows[0]["statuses"]) == em.statuses
    assert json.loads(rows[0]["optima"])[0]["restarts"] == 6
    assert rows[0]["r_hat_max"] == rows[2]["best_log_joint"] == ""


@pytest.mark.parametrize(
    ("seconds", "shown"), [(2.5, "2.5 s"), (0.0321, "32.1 ms"), (1e-3, "1 ms"), (4.56e-7, "0.456 µs"), (None, "–")]
)
def test_the_time_of_a_pass_has_the_unit_that_suits_it(em, seconds, shown):
    lines = dict(ComparisonTable("x", (em, replace(em, seconds_per_pass=seconds))).lines)
    assert lines["time of a pass"][1] == shown


class _Page(HTMLParser):
    """Collects tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_html_escapes_what_a_user_named(em, failed):
    name = '<script>alert("x")</script>'
    page = _Page()
    page.feed(ComparisonTable(name, (replace(em, method=name), replace(failed, failure="<b>no</b>")))._repr_html_())
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert name in page.text


def test_html_and_text_show_the_same_figures(em, nuts):
    shown = ComparisonTable("faithful", (em, nuts))
    page = _Page()
    page.feed(shown._repr_html_())
    for heading, cells in shown.lines:
        assert heading in page.text
        assert set(cells) <= set(page.text)
        assert all(word in str(shown) for word in [heading, *cells])
    assert shown.reading in page.text
    assert repr(shown) == "ComparisonTable(faithful; em, nuts; print it for the table)"


def test_text_is_plain_and_keeps_brackets_of_names(em):
    text = str(ComparisonTable("x", (replace(em, method="[red]em[/red]"),)))
    assert "[red]em[/red]" in text.splitlines()[1]
    assert "\x1b" not in text


@pytest.mark.parametrize("name", ["[bold]x[/bold]", "galaxies[/]"])
def test_text_keeps_brackets_of_the_experiments_name(em, name):
    assert str(ComparisonTable(name, (em,))).startswith(name)


def test_figures_are_printed_with_their_digits(em, nuts):
    lines = dict(ComparisonTable("", (em, nuts)).lines)
    assert lines["best sound log-likelihood"][0] == "-1130.264"
    assert lines["held-out log density per point"][0] == "-4.123 ± 0.057"
    assert lines["reached the best (within 0.001)"] == ["6 of 8", "6 of 4"]
    assert lines["ran out"][0] == lines["collapsed"][0] == "1 of 8"
    assert lines["passes in all"][0] == "1,234"
    assert lines["time of a pass"][0] == "12.3 µs"
    assert lines["passes to the best (median)"][0] == "31.5"
    assert lines["passes to within 0.001 nats per point"] == ["0.256 (7 of 8)", "–"]
    assert lines["R-hat, largest"] == ["–", "1.004"]
    assert lines["suspicious"] == ["no", "no"]


def test_ends_lower_than_ems_are_said_in_a_line_of_their_own(em):
    heading = "ended lower than em (by 1e-06)"
    assert dict(ComparisonTable("", (em, replace(em, method="anderson", lower_than_em=2))).lines)[heading] == [
        "–",
        "2 of 8",
    ]
    assert dict(ComparisonTable("", (em, replace(em, method="anderson", lower_than_em=0))).lines)[heading] == [
        "–",
        "0 of 8",
    ]
    assert heading not in dict(ComparisonTable("", (em,)).lines)


def test_the_evidence_is_printed_with_its_error(em, nuts):
    smc = replace(nuts, log_evidence=-1161.23456, log_evidence_standard_error=0.0421)
    assert dict(ComparisonTable("", (em, smc)).lines)["log evidence"] == ["–", "-1161.235 ± 0.042"]
    assert "log evidence" not in dict(ComparisonTable("", (em, nuts)).lines)


def test_a_line_without_a_figure_is_left_out(em):
    headings = [heading for heading, _ in ComparisonTable("", (em,)).lines]
    assert "R-hat, largest" not in headings
    assert "adjusted Rand index" in headings
    assert "adjusted Rand index" not in [
        h for h, _ in ComparisonTable("", (replace(em, adjusted_rand_index=None),)).lines
    ]


class TestReading:
    def test_it_says_who_reached_the_best_how_often_and_at_what_price(self, em):
        slow = replace(em, method="slow", reached_best=0, best_log_joint=-1150.0, passes_to_best=None)
        lost = replace(em, method="lost", reached_best=0, best_log_joint=None, passes_to_best=None)
        reading = ComparisonTable("", (em, slow, lost)).reading
        assert "Best sound log-joint -1143.500" in reading
        assert "em reaches it from 6 of 8 starts in 31.5 passes" in reading
        assert "slow never reaches it (-1150.000)" in reading
        assert "lost has no sound answer" in reading

    def test_it_says_whether_chains_agree(self, em, nuts):
        assert "The 4 chains of nuts agree (R-hat 1.004, ESS 812)" in ComparisonTable("", (em, nuts)).reading
        apart = replace(nuts, statuses={"BUDGET": 4})
        assert "nuts do not agree yet" in ComparisonTable("", (em, apart)).reading

    def test_chains_that_do_not_agree_come_with_what_to_try(self, em, nuts):
        assert "Try a longer warm-up" not in ComparisonTable("", (em, nuts)).reading
        apart = replace(nuts, statuses={"BUDGET": 4})
        reading = ComparisonTable("", (em, apart, replace(apart, method="gibbs"))).reading
        assert reading.count("Try a longer warm-up and more draws.") == 1
        assert "tempered_smc weighs modes against each other" in reading
        # A lone chain has none to disagree with.
        assert "Try a longer warm-up" not in ComparisonTable("", (em, replace(apart, restarts=1))).reading

    def test_the_sizes_to_try_are_those_of_the_methods_whose_chains_do_not_agree(self, two_groups):
        problem = Problem(np.asarray(two_groups.x), 2, prior="conjugate")
        short = {"num_warmup": 2, "num_samples": 8, "num_chains": 4}
        methods = {"a": Gibbs(**short), "b": Permuted(of=Gibbs(**short)), "em": EM()}
        comparison = compare(problem, methods, restarts=4)
        assert dict(comparison.sizes["b"]) == {"of.num_warmup": 2, "of.num_samples": 8}
        assert "em" not in comparison.sizes
        reading = table(comparison).reading
        assert (
            "Try a longer warm-up and more draws (say methods.a.num_warmup = 8, methods.a.num_samples = 32; "
            "methods.b.of.num_warmup = 8, methods.b.of.num_samples = 32, 4 times as many). Chains that still" in reading
        )

    def test_it_warns_of_a_best_where_climbs_were_cut_off(self, em):
        beware = "Beware: no start that reaches it has converged."
        assert beware in read((replace(em, converged_on_best=0),))
        assert beware not in read((replace(em, converged_on_best=1),))
        # One method that has come to its end there is enough, and one that has not got there says nothing of it.
        assert beware not in read((replace(em, converged_on_best=0), replace(em, method="b", converged_on_best=2)))
        assert beware in read((replace(em, converged_on_best=0), replace(em, reached_best=0, converged_on_best=0)))

    def test_it_warns_of_a_suspicious_best(self, em):
        assert "Beware" not in ComparisonTable("", (em,)).reading
        assert "Beware: the best of em" in ComparisonTable("", (replace(em, suspicious=True),)).reading
        sliver = replace(em, sliver="a component of 12 points' worth, narrow along x1, that adds 8.0 nats where")
        assert "Beware: the best of em has a component of 12 points' worth" in ComparisonTable("", (sliver,)).reading

    def test_it_names_what_failed_and_why(self, em, failed):
        assert "broken failed: RuntimeError: out of memory" in ComparisonTable("", (em, failed)).reading

    def test_it_says_so_where_nothing_is_sound(self, em):
        lost = replace(em, best_log_joint=None)
        assert ComparisonTable("", (lost,)).reading == "No method has a sound answer."

    def test_it_names_what_failed_where_nothing_else_ran(self, failed):
        assert "out of memory" in ComparisonTable("", (failed,)).reading


def test_the_table_of_a_real_run_has_what_applies_to_each_method(tiny_run: tuple[Path, Comparison]):
    found = {m["method"]: m for m in json.loads(table(tiny_run[1]).to_json())["methods"]}
    assert list(found) == ["em", "slope", "nuts"]
    for name, method in found.items():
        # Simulated data: held-out points, labels and truth are known.
        for field in ("best_log_joint", "heldout_log_density", "adjusted_rand_index", "matched_error"):
            assert isinstance(method[field], float), (name, field)
        assert (method["r_hat_max"] is None) == (method["ess_min"] is None) == (name != "nuts")
        assert sum(method["statuses"].values()) == method["restarts"]
    assert found["em"]["best_log_joint"] >= found["slope"]["best_log_joint"]


def test_the_table_is_named_after_its_comparison(
    two_groups: Problem, shapes: dict[str, Mixture], trace_of: Callable[..., Trace]
):
    trace = trace_of(two_groups, [[shapes["start"], shapes["good"]]])
    assert str(table(Comparison(two_groups, {"m": trace}, name="geyser"))).startswith("geyser")


def test_another_precision_is_said_in_text_page_json_and_csv(em, nuts):
    usual, single = ComparisonTable("t", (em, nuts)), ComparisonTable("t", (em, nuts), dtype="float32")
    assert "float" not in str(usual) and "float" not in usual._repr_html_()
    for text in (str(single), single._repr_html_(), single.to_dict()["reading"]):
        assert "Computed in float32." in text
    assert single.to_dict()["dtype"] == "float32"
    assert next(csv.DictReader(io.StringIO(single.to_csv())))["dtype"] == "float32"


def test_slow_energies_are_a_warning(nuts):
    assert "Beware: E-BFMI of nuts is 0.12, below 0.3" in read((replace(nuts, e_bfmi=0.12),))
    assert "E-BFMI" not in read((replace(nuts, e_bfmi=0.9),)) + read((nuts,))
