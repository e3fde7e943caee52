"""A study's rows as text: the columns that its class shows, or all that hold single values."""

from dataclasses import dataclass

from workbench.studies.base import Findings, Value

# Rows printed; all are stored.
MOST_LINES = 60


@dataclass(frozen=True)
class StudyTable:
    """Headings, and the lines below them. `str` is the table as the command line prints it."""

    headings: list[str]
    lines: list[list[str]]
    left_out: int
    note: str = ""  # below all

    def __str__(self) -> str:
        columns = list(zip(self.headings, *self.lines, strict=True))
        widths = [max(map(len, column)) for column in columns]
        texts = [
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in (self.headings, *self.lines)
        ]
        below = [f"... and {self.left_out} rows more"] if self.left_out else []
        return "\n".join([*texts, *below, *filter(None, [self.note])])


def table_of(findings: Findings) -> StudyTable:
    """The rows of a study as text. Columns of arrays are left out."""
    rows = findings.study.tabulated(findings.rows)
    names = findings.study.shown or tuple(
        dict.fromkeys(name for row in rows for name, value in row.items() if not isinstance(value, list))
    )
    lines = [[_text(row.get(name)) for name in names] for row in rows[:MOST_LINES]]
    return StudyTable(
        [name.replace("_", " ") for name in names],
        lines,
        max(0, len(rows) - MOST_LINES),
        findings.note,
    )


def _text(value: Value) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return format(value, ".4g")
        case _:
            return str(value)
