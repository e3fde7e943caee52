"""A study's rows as a table, with the columns that its class shows, or all columns of single values."""

from workbench.studies.base import Findings
from workbench.table import Table

# Most rows that are printed; all are stored.
MOST_LINES = 60


def table_of(findings: Findings) -> Table:
    """The table of a study's rows, without columns of arrays."""
    rows = findings.study.tabulated(findings.rows)
    names = findings.study.shown or tuple(
        dict.fromkeys(name for row in rows for name, value in row.items() if not isinstance(value, list))
    )
    headings = {name: name.replace("_", " ") for name in names}
    return Table(tuple(names), tuple(rows), note=findings.note, headings=headings, most=MOST_LINES)
