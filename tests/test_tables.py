"""Claims about the one table: it fits the terminal or says what is left out, and its forms say the same."""

import csv
import io
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from workbench.compare import Comparison
from workbench.table import LONGEST, PAGE_ROWS, Table, text_of
from workbench.wrapping import paragraph

WIDTHS = (30, 40, 60, 80, 120, 200)
WORDS = "a sentence of many words, long enough that a line of a terminal cannot hold it beside other columns"


def records(columns: int, rows: int = 3) -> Table:
    names = tuple(f"components{i}" for i in range(columns))
    return Table(names, tuple({name: 1000.5 * i for i, name in enumerate(names)} for _ in range(rows)), keep=names[-2:])


def comparison(methods: int) -> Table:
    heads = ["", *(f"method_{i}" for i in range(methods))]
    lines = [
        ["held-out log density per point", *("-1.234 ± 0.056",) * methods],
        ["other", *("-1 (2)\n-3 (4)",) * methods],
    ]
    return Table.of_lines(heads, lines, words=("0",))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("columns", [1, 3, 40])
def test_text_fits_its_width_and_names_what_it_leaves_out(width, columns):
    table = records(columns)
    lines = table.text(width).splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(lines)
    assert [name for name in table.columns if name not in text] == []
    if columns == 40:
        assert "Left out, to fit" in text
        # What is most needed is kept.
        assert all(name not in text.partition("Left out")[2] for name in table.keep[:1])


def test_a_heading_is_broken_after_spaces_and_underscores():
    table = Table(("model_components", "passes to the best"), ({"model_components": 2, "passes to the best": 21.5},))
    head = [line.split() for line in table.text(21).splitlines()[:2]]
    assert head == [["model_", "passes", "to"], ["components", "the", "best"]]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("methods", [1, 2, 3, 4, 8])
def test_a_comparison_leaves_nothing_out_but_goes_on_below(width, methods):
    text = comparison(methods).text(width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("-1.234 ± 0.056") == methods
    assert text.count("-3 (4)") == methods
    assert all(f"method_{i}" in text.replace("_\n", "_") for i in range(methods))


def test_three_methods_stand_side_by_side_in_eighty_columns():
    assert comparison(3).text(80).count("density") == 1


def test_titles_and_notes_are_wrapped_by_lines() -> None:
    table = replace(records(1), title=f"{WORDS}\nsecond", note=WORDS)
    lines = table.text(40).splitlines()
    assert max(map(len, lines)) <= 40 and "second" in lines
    assert " ".join(lines).count(WORDS) == 2


def test_other_output_than_a_terminal_is_eighty_columns_wide(tiny_run: tuple[Path, Comparison]) -> None:
    command = [sys.executable, "-m", "workbench", "compare", str(tiny_run[0])]
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=env, timeout=300).stdout
    assert 60 < max(map(len, printed.splitlines())) <= 80
    assert paragraph("word " * 40, 30).count("\n") >= 6 and paragraph("  short\nlines ", 30) == "  short\nlines "


def test_words_are_wrapped_and_none_is_lost():
    table = Table.of_lines(["claim", "figure"], [[WORDS, "12.3 nats"]], words=("claim",))
    text = table.text(50)
    assert max(map(len, text.splitlines())) <= 50
    assert [word for word in WORDS.split() if word not in text.split()] == []


def test_cells_stand_under_their_headings():
    lines = (
        Table.of_lines(["name", "number"], [["a", 1.0], ["long name", 12345.678]], words=("name",)).text().splitlines()
    )
    assert [line.index(end) for line, end in zip(lines, ("number", "─  ─", "1", "12345.678"), strict=True)]
    assert {len(line) for line in lines} == {len(lines[0])}


def test_rows_beyond_the_most_are_counted():
    table = Table(("n",), tuple({"n": n} for n in range(1500)), most=2)
    assert table.text().splitlines()[2:] == ["0", "1", "... and 1,498 rows more"]
    assert table.to_html().count("<tr>") == 1 + PAGE_ROWS
    assert f"... and {1500 - PAGE_ROWS:,} rows more" in table.to_html()
    assert Table(("n",), ()).text().splitlines()[-1] == "no row"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "yes"),
        (3, "3"),
        (3.0, "3"),
        (-185.949, "-185.949"),
        (1234567.5, "1.235e+06"),
        (1e-9, "1e-09"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        ("a\x1b[31m", "a\\x1b[31m"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_a_value_is_shown_as_people_read_it(value, text):
    assert text_of(value) == text


def test_long_text_is_cut_unless_it_is_wrapped():
    assert len(text_of("x" * 500)) < LONGEST + 10
    assert text_of("x" * 500, whole=True) == "x" * 500


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_form_holds_every_cell_and_html_escapes_it():
    hostile = "<script>alert('x')</script>"
    table = Table.of_lines([hostile, "n"], [[hostile, 1], ["b", None]], words=(hostile,), title=hostile)
    page = Page()
    page.feed(table.to_html())
    assert not {"script"} & {tag for tag, _ in page.tags}
    assert page.text.count(hostile) == 2
    assert all(attributes["scope"] in ("row", "col") for tag, attributes in page.tags if tag == "th")
    assert list(csv.reader(io.StringIO(table.to_csv()))) == [[hostile, "n"], [hostile, "1"], ["b", ""]]
    assert json.loads(table.to_json()) == [{hostile: hostile, "n": 1}, {hostile: "b", "n": None}]


def test_numbers_that_are_not_finite_are_no_numbers_in_csv_and_json():
    table = Table(("x", "y"), ({"x": math.nan, "y": [math.inf, 1.0]},))
    assert json.loads(table.to_json()) == [{"x": None, "y": [None, 1.0]}]
    assert table.to_csv().splitlines()[1] == ',"[null, 1.0]"'


def test_headings_of_one_name_are_two_columns():
    table = Table.of_lines(["a", "a"], [[1, 2]])
    assert table.heads == ["a", "a"]
    assert table.lines() == [["1", "2"]]


def test_markdown_and_latex_keep_a_cell_on_its_line_and_escape_markup() -> None:
    table = Table.of_lines(("a_b", "c"), [("x\n&|y", -1.5), ("<i>", None)], words=("a_b",))
    assert table.to_markdown().splitlines() == [
        "| a\\_b | c |",
        "| :-- | --: |",
        "| x \\&\\|y | -1.500 |",
        "| \\<i\\> | – |",
    ]
    latex = table.to_latex().splitlines()
    assert latex[0] == r"\begin{tabular}{lr}"
    assert latex[4:6] == [r"x \&|y & $-1.500$ \\", r"\textless{}i\textgreater{} & -- \\"]


def test_entities_formulas_and_rows_of_hyphens_are_shown_as_they_are() -> None:
    table = Table.of_lines(("b&lt;c", "$x$"), [("---", "-"), (-1.5, "a--b")], words=("b&lt;c", "$x$"))
    assert table.to_markdown().splitlines()[0] == r"| b\&lt;c | \$x\$ |"
    head, _, *body = table.to_latex().splitlines()[2:6]
    assert head == r"b\&lt;c & \$x\$ \\"
    assert body == [r"-{}-{}- & - \\", r"$-1.500$ & a-{}-b \\"]


def test_csv_quotes_every_end_of_a_line_and_can_leave_the_header_out() -> None:
    table = Table.of_lines(("a", "b"), [("x\ry", 1), ("x\ny", 2)])
    assert table.to_csv(header=False) == '"x\ry",1\n"x\ny",2\n'
    assert table.to_csv() == "a,b\n" + table.to_csv(header=False)


def test_a_table_without_columns_says_that_it_has_no_row():
    assert Table((), ()).text() == "no row"
    assert Table((), (), title="title", keep=("n",), note="note").text() == "title\nno row\nnote"
