"""A study's rows as a table: the columns that its class shows, or all that hold single values."""

from workbench.studies.base import Findings
from workbench.table import Table

# Rows printed; all are stored.
MOST_LINES = 60


def table_of(findings: Findings) -> Table:
    """The rows of a study. Columns of arrays are left out."""
    rows = findings.study.tabulated(findings.rows)
    names = findings.study.shown or tuple(
        dict.fromkeys(name for row in rows for name, value in row.items() if not isinstance(value, list))
    )
    headings = {name: name.replace("_", " ") for name in names}
    return Table(tuple(names), tuple(rows), note=findings.note, headings=headings, most=MOST_LINES)
