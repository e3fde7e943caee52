"""A first config for a table of one's own: what its columns seem to be, with the reasons in comments."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.data import Wanted, read_rows
from workbench.data.files import TABLES, read_text
from workbench.data.table import MISSING, number_in, parse_table
from workbench.errors import InputError
from workbench.mixture import COVARIANCES, num_parameters

# A column of text with at most this many different words, and fewer than half as many as rows, holds known classes.
MOST_CLASSES = 50

# The family with most parameters that still has this many rows for each of them is proposed, at PROPOSED components.
ROWS_EACH, PROPOSED = 3, 2

SUGGESTED = ("full", "diagonal", "spherical")


@dataclass
class Draft:
    """What the columns of a table seem to be."""

    rows: int
    columns: list[str] = field(default_factory=list)  # to be fitted
    missing: dict[str, int] = field(default_factory=dict)  # missing cells of those, by column
    incomplete: int = 0  # rows with a missing cell
    identity: str | None = None
    label: str | None = None
    classes: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)  # columns that are not fitted, and why

    @property
    def family(self) -> str:
        """The covariance family with most parameters for which there are rows enough."""
        whole, d = self.rows - self.incomplete, len(self.columns)
        counts = {name: num_parameters(COVARIANCES[name], PROPOSED, d) for name in SUGGESTED}
        return next((name for name, count in counts.items() if whole >= ROWS_EACH * count), SUGGESTED[-1])


def draft_of(path: Path) -> Draft:
    """Look at a file of data.

    Raises:
        InputError: it cannot be read, or no column can be fitted.
    """
    if path.suffix.lower() not in TABLES:
        data = read_rows(path, Wanted())
        return Draft(len(data.x), list(data.columns), label=None if data.labels is None else "labels")
    table = parse_table(read_text(path), str(path))
    draft = Draft(len(table.rows))
    texts = {name: [row[i].strip() for row in table.rows] for i, name in enumerate(table.columns)}
    incomplete = np.zeros(len(table.rows), bool)
    for name, cells in texts.items():
        lost = np.array([cell.lower() in MISSING for cell in cells])
        numbers = np.array([number_in(cell) for cell in cells])
        if np.any(np.isnan(numbers) & ~lost):
            _place_words(draft, name, cells)
        elif np.all(lost):
            draft.left_out[name] = "holds nothing"
        elif np.ptp(numbers[~lost]) == 0:
            draft.left_out[name] = f"is constant ({numbers[~lost][0]:g})"
        elif _counts(numbers) and draft.identity is None and len(texts) > 1:
            draft.identity = name
        else:
            draft.columns.append(name)
            incomplete |= lost
            if np.any(lost):
                draft.missing[name] = int(np.sum(lost))
    draft.incomplete = int(np.sum(incomplete))
    if not draft.columns:
        reasons = "; ".join(f"{name!r} {why}" for name, why in draft.left_out.items()) or "there is none"
        raise InputError(f"{path}: no column can be fitted ({reasons}); give numbers in at least one")
    return draft


def _place_words(draft: Draft, name: str, cells: Sequence[str]) -> None:
    """A column of text is the classes, the ids, or left out."""
    different = sorted(set(cells))
    if len(different) == len(cells):
        if draft.identity is None:
            draft.identity = name
            return
        draft.left_out[name] = "names the rows too"
    elif "" not in different and len(different) <= min(MOST_CLASSES, len(cells) // 2) and draft.label is None:
        draft.label, draft.classes = name, different
    else:
        draft.left_out[name] = "is text" if draft.label is None else "is text too; make it the label if it is the class"


def _counts(numbers: NDArray[np.float64]) -> bool:
    """Whether the numbers are those of the rows: whole, each one more than the last."""
    return len(numbers) > 2 and bool(np.all(np.diff(numbers) == 1) and numbers[0] in (0, 1))


def toml_of(draft: Draft, file: str, name: str) -> str:
    """The config, with what was found and what is still to be decided in comments.

    Args:
        draft: what the file holds.
        file: its path, relative to the config's folder.
        name: of the config, as the user will give it to commands.
    """
    d, whole = len(draft.columns), draft.rows - draft.incomplete
    lines = [
        f"# {draft.rows:,} rows, {d} numeric column{'s' * (d != 1)}. Change what is not as you want it.",
        "",
        "[data]",
    ]
    lines += [f"file = {_quoted(file)}", f"columns = [{', '.join(map(_quoted, draft.columns))}]"]
    if draft.identity is not None:
        lines.append(f"id = {_quoted(draft.identity)}  # names the rows; it is copied into labels.csv")
    if draft.label is not None:
        seen = f" ({len(draft.classes)} classes)" if draft.classes else ""
        lines.append(f"label = {_quoted(draft.label)}  # known classes{seen}; never fitted, only compared")
    if draft.incomplete:
        cells = ", ".join(f"{_plain(column)} {count:,}" for column, count in draft.missing.items())
        lines.append(
            f'missing = "drop"  # {draft.incomplete:,} rows with missing cells are left out ({cells}): {whole:,} stay'
        )
    lines += [f"# not fitted: {_plain(column)} {why}" for column, why in draft.left_out.items()]
    others = ", ".join(each for each in COVARIANCES if each != draft.family)
    lines += [
        '# units = "cm"  # of the columns, for axes',
        "",
        "[model]",
        f"components = {PROPOSED}  # how many? `workbench select {name} --components 1:6` compares",
        f'covariance = "{draft.family}"  # or {others}; `workbench select {name} --covariance full,diagonal` compares',
        'labels = "free"  # needed by samplers only',
        "",
        "[methods.em]",
        "",
        "[methods.ascent]",
        "",
        "# The posterior, by NUTS, takes longer; with the conjugate prior below, [methods.gibbs] is faster.",
        "# [methods.nuts]",
        "",
        "# [prior]",
        '# family = "conjugate"',
        "",
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """Text as a TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _plain(text: str) -> str:
    """Text for a comment, in which control characters are not allowed."""
    return _quoted(text)
