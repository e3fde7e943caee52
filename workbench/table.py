"""The table: rows and columns as text that fits the terminal, as CSV, as JSON and as HTML.

No number depends on it, so it is not part of the code that a stored record depends on.
"""

import csv
import html
import json
import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from types import SimpleNamespace
from typing import Any, Self

from workbench.errors import one_line
from workbench.wrapping import paragraph, terminal_width

# Shown in place of a missing value.
DASH = "–"

# The most rows of an HTML table; CSV and JSON have all rows.
PAGE_ROWS = 500

# The most characters of a cell that is not wrapped, and the least width of a wrapped column.
LONGEST, NARROWEST = 80, 14

BETWEEN = "  "

# The forms in which a table can be asked for.
FORMS = ("table", "csv", "json", "markdown", "latex")


class Linked(str):
    """Text that is a link on a page; `html` is the HTML of the link, and is not escaped again."""

    html: str

    def __new__(cls, text: str, html: str) -> Self:
        """A text with the HTML that replaces it on a page."""
        made = super().__new__(cls, text)
        made.html = html
        return made

    @classmethod
    def to(cls, text: str, address: str) -> Self:
        """A link; text and address are escaped."""
        return cls(text, f'<a href="{html.escape(address)}">{html.escape(text)}</a>')


@dataclass(frozen=True)
class Table:
    """Rows under named columns, which can be shown in every format.

    Attributes:
        columns: the names of the columns, which are the keys of the rows and the header of CSV and JSON.
        rows: a value or None for each column; text is shown unchanged.
        title: a line above the text.
        note: a line below the text.
        headings: the headings of columns whose heading is not their name.
        words: columns that hold words, which are aligned left, and wrapped if necessary.
        most: the most rows that are printed; by default all.
        keep: the columns to keep if not all fit, the most important first; the others are named below. By default all
            are shown, in blocks below each other that each begin with the first columns.
        first: how many first columns say what a row is of.
        apart: so many first rows are set apart from the others by a rule.
    """

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    title: str = ""
    note: str = ""
    headings: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    most: int | None = None
    keep: tuple[str, ...] = ()
    apart: int = 0
    first: int = 1

    @classmethod
    def of_lines(cls, heads: Sequence[str], lines: Iterable[Sequence[Any]], **more: Any) -> Self:
        """A table of cells in the order of its columns; `more` are the other attributes."""
        columns = tuple(str(i) if not head or heads.index(head) != i else head for i, head in enumerate(heads))
        rows = tuple(dict(zip(columns, line, strict=True)) for line in lines)
        return cls(columns, rows, headings=dict(zip(columns, heads, strict=True)), **more)

    @property
    def heads(self) -> list[str]:
        """The heading of each column."""
        return [self.headings.get(name, name) for name in self.columns]

    def lines(self, most: int | None = None) -> list[list[str]]:
        """The rows as text, at most `most` of them."""
        return [[text_of(row.get(name), name in self.words) for name in self.columns] for row in self.rows[:most]]

    def __len__(self) -> int:
        return len(self.rows)

    def to_csv(self, *, header: bool = True) -> str:
        """CSV, with a header by default. A missing value is empty; lists and mappings are JSON."""
        # Only a character of the line's end is quoted: a carriage return in a cell would else end a row for readers.
        lines: list[str] = []
        writer = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
        writer.writerows([self.columns] if header else [])
        writer.writerows([[_csv(row.get(name)) for name in self.columns] for row in self.rows])
        return "".join(line.removesuffix("\r\n") + "\n" for line in lines)

    def to_json(self) -> str:
        """A list of objects on one line. A value that is missing or not finite is null."""
        rows = [{name: plain(row.get(name)) for name in self.columns} for row in self.rows]
        return json.dumps(rows, allow_nan=False)

    def to_html(self) -> str:
        """An HTML table, whose contents are escaped. The first cell of a row is its header."""
        head = "".join(f'<th scope="col"{self._class(i)}>{html.escape(text)}</th>' for i, text in enumerate(self.heads))
        lines, marks = enumerate(self.rows[:PAGE_ROWS]), {self.apart or None: ' class="ruled"'}
        body = "".join(f"<tr{marks.get(i, '')}>{self._html_line(row)}</tr>\n" for i, row in lines)
        more = len(self.rows) - PAGE_ROWS
        below = f'<p class="note">... and {more:,} rows more.</p>\n' if more > 0 else ""
        return f'<table class="figures">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n{below}'

    def to_markdown(self) -> str:
        """A table of GitHub's Markdown, with what Markdown would read as markup escaped."""
        marks = [":--" if name in self.words else "--:" for name in self.columns]
        lines = [self.heads, marks, *self.lines()]
        return "".join(f"| {' | '.join(map(markdown, line))} |\n" for line in lines)

    def to_latex(self) -> str:
        """A `tabular` of LaTeX with the rules of the package booktabs; what LaTeX would read as markup is escaped."""
        shape = "".join("l" if name in self.words else "r" for name in self.columns)
        head, *body = ((" & ".join(map(latex, line)) + r" \\") for line in [self.heads, *self.lines()])
        rows = ["\\toprule", head, "\\midrule", *body, "\\bottomrule"]
        return "\n".join([f"\\begin{{tabular}}{{{shape}}}", *rows, "\\end{tabular}", ""])

    def in_form(self, form: str) -> str:
        """The table in one of `FORMS`, with a newline at its end."""
        shown = {"csv": self.to_csv, "json": self.to_json, "markdown": self.to_markdown, "latex": self.to_latex}
        return shown.get(form, self.text)().rstrip("\n") + "\n"

    def _html_line(self, row: Mapping[str, Any]) -> str:
        first, *rest = (_html(row.get(name), name in self.words) for name in self.columns)
        cells = "".join(f"<td{self._class(i)}>{text}</td>" for i, text in enumerate(rest, 1))
        return f'<th scope="row"{self._class(0)}>{first}</th>{cells}'

    def _class(self, column: int) -> str:
        return ' class="words"' if self.columns[column] in self.words else ""

    def text(self, width: int | None = None) -> str:
        """The table as text for printing.

        Args:
            width: characters of a line; by default those of the terminal. If the columns do not fit, headings and words
                are wrapped first; then columns are left out or put below, as `keep` says.
        """
        width = terminal_width() if width is None else width
        shown = self.lines(self.most)
        blocks, left_out = self._blocks(shown, width) if self.columns else ([], [])
        parts = [
            *filter(None, [paragraph(self.title, width)]),
            *("\n".join(_printed(block, self.apart)) for block in blocks),
        ]
        below = ["no row"] if not self.rows else []
        if len(self.rows) > len(shown):
            below.append(f"... and {len(self.rows) - len(shown):,} rows more")
        if left_out:
            below.append(paragraph(f"Left out, to fit {width} characters: {', '.join(left_out)}.", width))
        return "\n".join([*parts, *below, *filter(None, [paragraph(self.note, width)])])

    def _blocks(self, lines: Sequence[Sequence[str]], width: int) -> tuple[list[list["_Column"]], list[str]]:
        """For each block the columns that fit beside each other, and the headings of the columns left out."""
        columns = [
            _Column.of(head, [line[i] for line in lines], name in self.words)
            for i, (name, head) in enumerate(zip(self.columns, self.heads, strict=True))
        ]
        if (fitted := _fitted(columns, width)) is not None:
            return [fitted], []
        if self.keep:
            kept, gone = dict(zip(self.columns, columns, strict=True)), []
            others = [name for name in self.columns if name not in self.keep]
            for name in [*reversed(others), *(name for name in reversed(self.keep) if name in kept)][:-1]:
                del kept[name]
                gone.append(name)
                if (fitted := _fitted(list(kept.values()), width)) is not None:
                    return [fitted], [self.headings.get(name, name) for name in self.columns if name in gone]
        blocks, first, rest = list[list[_Column]](), columns[: self.first], columns[self.first :]
        while rest:
            count = next((n for n in range(len(rest), 1, -1) if _fitted([*first, *rest[:n]], width) is not None), 1)
            together = [*first, *rest[:count]]
            blocks.append(_fitted(together, width) or [column.narrowed() for column in together])
            rest = rest[count:]
        return blocks or [columns], []

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self)} rows: {one_line(', '.join(self.columns), 300)}; print it for the table)"
        )

    def _repr_html_(self) -> str:
        return self.to_html()


@dataclass(frozen=True)
class _Column:
    """One printed column: the lines of its heading and of each cell."""

    head: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    words: bool

    @classmethod
    def of(cls, head: str, cells: Sequence[str], words: bool) -> "_Column":
        return cls((head,), tuple(tuple(cell.split("\n")) for cell in cells), words)

    @property
    def width(self) -> int:
        return max([*map(len, self.head), *(len(line) for cell in self.cells for line in cell)], default=0)

    @property
    def least(self) -> int:
        """The least width of the column: that of its longest word, if it holds words."""
        inside = max((len(line) for cell in self.cells for line in cell), default=0)
        if self.words:
            inside = min(inside, max([NARROWEST, *(len(w) for c in self.cells for line in c for w in line.split())]))
        return max([inside, 1, *map(len, _words_of(" ".join(self.head)))])

    def narrowed(self, width: int | None = None) -> "_Column":
        """The column wrapped to a width, or to its least width."""
        width = max(self.least, width or 0)
        head = tuple(_wrapped(" ".join(self.head), width))
        if not self.words:
            return replace(self, head=head)
        wrap = textwrap.TextWrapper(width, break_on_hyphens=False).wrap
        cells = tuple(tuple(piece for line in cell for piece in wrap(line) or [""]) for cell in self.cells)
        return replace(self, head=head, cells=cells)


def _fitted(columns: Sequence[_Column], width: int) -> list[_Column] | None:
    """The columns, narrowed as far as necessary; None if they do not fit."""
    room = width - len(BETWEEN) * (len(columns) - 1)
    widths = [column.width for column in columns]
    least = [column.least for column in columns]
    if sum(least) > room:
        return None
    while sum(widths) > room:
        widest = max((i for i in range(len(columns)) if widths[i] > least[i]), key=lambda i: widths[i])
        widths[widest] -= 1
    return [c if c.width <= w else c.narrowed(w) for c, w in zip(columns, widths, strict=True)]


def _printed(columns: Sequence[_Column], apart: int = 0) -> list[str]:
    """The printed lines of columns: headings, a rule, and the rows, with a rule below the first `apart` of them."""
    widths = [column.width for column in columns]
    tall = max(len(column.head) for column in columns)
    heads = [("",) * (tall - len(column.head)) + column.head for column in columns]
    body = [[column.cells[i] for column in columns] for i in range(len(columns[0].cells))]
    rule: list[tuple[str, ...]] = [("─" * width,) for width in widths]
    rows: list[list[tuple[str, ...]]] = [heads, rule, *body[:apart], *([rule] if apart else []), *body[apart:]]
    texts = []
    for row in rows:
        for pieces in zip_longest(*row, fillvalue=""):
            padded = [
                piece.ljust(width) if column.words else piece.rjust(width)
                for piece, width, column in zip(pieces, widths, columns, strict=True)
            ]
            texts.append(BETWEEN.join(padded).rstrip())
    return texts


def _words_of(text: str) -> list[str]:
    """The parts of a heading, which can be broken after spaces and underscores."""
    return re.findall(r"[^\s_]*_+|[^\s_]+", text) or [""]


def _wrapped(text: str, width: int) -> list[str]:
    """A heading wrapped to a width."""
    lines = [""]
    for word in re.findall(r"\s*(?:[^\s_]*_+|[^\s_]+)", text):
        if lines[-1] and len(lines[-1] + word) > width:
            lines.append(word.lstrip())
        else:
            lines[-1] += word
    return lines


def text_of(value: Any, whole: bool = False) -> str:
    """A value as a table shows it: a number with about four digits, and a dash for None.

    Args:
        value: the value.
        whole: whether text is shown at ten times the usual length.
    """
    match value:
        case None:
            return DASH
        case bool():
            return "yes" if value else "no"
        case float():
            if not math.isfinite(value):
                return str(value)
            if value == int(value) and abs(value) < 1e15:
                return f"{int(value)}"
            return format(value, ".3f") if 1 <= abs(value) < 1e6 else format(value, ".4g")
        case _:
            most = 10 * LONGEST if whole else LONGEST
            return "\n".join(one_line(line, most) for line in str(value).split("\n"))


# Characters that Markdown reads as markup, and those of LaTeX with what stands for them.
_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>|~&$]")
_NAMES = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater"}
_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {c: rf"\text{name}{{}}" for c, name in _NAMES.items()}
_LATEX |= {"±": r"$\pm$", DASH: "--", "\0": "{}"}  # the last keeps hyphens apart, which LaTeX joins to dashes


def markdown(text: str) -> str:
    """Text for Markdown, on one line."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


def latex(text: str) -> str:
    """Text for LaTeX; a number's minus sign is one of mathematics."""
    if re.fullmatch(r"-\d[\d.,e+-]*", text):
        return f"${text}$"
    return "".join(_LATEX.get(c, c) for c in re.sub("-(?=-)", "-\0", " ".join(text.split())))


def _html(value: Any, whole: bool) -> str:
    return value.html if isinstance(value, Linked) else html.escape(text_of(value, whole))


def plain(value: Any) -> Any:
    """A value as a JSON value; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv(value: Any) -> Any:
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(plain(value))
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value
