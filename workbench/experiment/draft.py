"""A first config for a table of one's own: what its columns seem to be, with the reasons in comments."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data import Wanted, read_rows
from workbench.data.files import table_in, unread_arrays
from workbench.data.table import MISSING, are_marked, numbers_in, words_in
from workbench.errors import VALUE, InputError, cut
from workbench.experiment.guesses import (
    COUNTS,
    COUNTS_OR_MEASURES,
    MOST_CLASSES,
    MOST_MISSING,
    are_counts,
    codes_of,
    count_rows,
    has_name_of_ids,
    is_slip,
    partly_coded,
)
from workbench.mixture import COVARIANCES, num_parameters

# Dates and times of day, in figures (2020-01-31, 31.1.20, 12:30) or with the name of the month (31 Jan 2020).
_DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4})([T ]\s*\d{1,2}:\d{2}.*)?|\d{1,2}:\d{2}(:\d{2}.*)?|"
    r"\d{1,2}[-. ]+[A-Za-z]{3,9}[-., ]+\d{2,4}|[A-Za-z]{3,9}\.? \d{1,2}, \d{4}"
)

# A value is piled up that is in so many rows, in such a share of them, and so many times as often as the next one.
FEWEST_PILED, SHARE_PILED, TIMES_NEXT = 10, 0.03, 1.5

# The family with most parameters that still has this many rows for each of them is proposed, at PROPOSED components.
ROWS_EACH, PROPOSED = 3, 2

SUGGESTED = ("full", "diagonal", "spherical")


class Partly(NamedTuple):
    """A column that says of some rows which class they belong to, and nothing of the others."""

    column: str
    classes: list[str]
    rows: int  # of known class


class Pile(NamedTuple):
    """The most frequent value of a column, where it stands out."""

    value: float
    rows: int
    next_rows: int  # of the next most frequent value


@dataclass
class Draft:
    """What the columns of a table seem to be."""

    rows: int
    columns: list[str] = field(default_factory=list)  # to be fitted
    missing: dict[str, int] = field(default_factory=dict)  # missing cells of those, by column
    piles: dict[str, Pile] = field(default_factory=dict)  # of those, by column
    incomplete: int = 0  # rows with a missing cell
    identity: str | None = None
    others: list[str] = field(default_factory=list)  # columns that could be the label as well
    label: str | None = None
    classes: list[str] = field(default_factory=list)
    weights: str | None = None  # the column that seems to say how often each row counts, which is not fitted
    partly: Partly | None = None  # classes of some rows, which are not fitted either
    left_out: dict[str, str] = field(default_factory=dict)  # columns that are not fitted, and why
    row_names: bool = False  # whether a first column without a name names the rows

    @property
    def family(self) -> str:
        """The covariance family with most parameters for which there are rows enough."""
        whole, d = self.rows - self.incomplete, len(self.columns)
        counts = {name: num_parameters(COVARIANCES[name], PROPOSED, d) for name in SUGGESTED}
        return next((name for name, count in counts.items() if whole >= ROWS_EACH * count), SUGGESTED[-1])


def _check_rows(path: Path, count: int) -> None:
    if count < 2:
        raise InputError(f"{path}: has {'only one row' if count else 'columns but no rows'}; give at least 2")


def draft_of(path: Path) -> Draft:
    """Look at a file of data.

    Raises:
        InputError: it cannot be read, or no column can be fitted.
    """
    table = table_in(path)
    if table is None:
        data = read_rows(path, Wanted())
        _check_rows(path, len(data.x))
        draft = Draft(len(data.x), list(data.columns), label=None if data.labels is None else "labels")
        for name, numbers in zip(data.columns, np.asarray(data.x).T, strict=True):
            _note_pile(draft, name, numbers)
        for name, shape in unread_arrays(path).items():
            asked = f"; label = {_quoted(name)} reads it as classes" if shape == (len(data.x),) else ""
            draft.left_out[name] = f"is another array, {list(shape)}{asked}"
        return draft
    _check_rows(path, table.num_rows)
    draft = Draft(table.num_rows, row_names=table.ids is not None)
    texts = {name: words_in(table.column(name)).tolist() for name in table.columns}
    incomplete = np.zeros(table.num_rows, bool)
    for name, cells in texts.items():
        lost = np.array([cell.lower() in MISSING for cell in cells])
        numbers = numbers_in(table.column(name), table.decimal_commas)
        if np.any(bad := np.isnan(numbers) & ~lost):
            first = cells[int(np.argmax(bad))]
            if are_marked([cell for cell, wrong in zip(cells, bad.tolist(), strict=True) if wrong]):
                marks = "write decimals with a point, thousands without a mark"
                draft.left_out[name] = f"holds numbers with separators, as {_plain(first)}; {marks}"
            elif is_slip(numbers, bad, lost):
                draft.left_out[name] = f"has numbers but in {_told(bad, cells)}; correct it to fit the column"
            else:
                _place_words(draft, name, cells, lost)
        elif np.all(lost):
            draft.left_out[name] = "holds nothing"
        elif draft.partly is None and (classes := partly_coded(numbers, lost)):
            draft.partly = Partly(name, classes, int(np.sum(~lost)))
        elif not np.all(np.isfinite(numbers[~lost])):
            draft.left_out[name] = "holds infinite numbers"
        elif np.mean(lost) > MOST_MISSING:
            draft.left_out[name] = f"is missing in {np.sum(lost):,} of {len(cells):,} rows"
        elif np.min(numbers[~lost]) == np.max(numbers[~lost]):
            draft.left_out[name] = f"is constant ({numbers[~lost][0]:g})"
        elif len(texts) > 1 and (are_counts(numbers) or has_name_of_ids(name, numbers)):
            if draft.identity is None and not draft.row_names:
                draft.identity = name
            else:
                draft.left_out[name] = "numbers the rows, as ids do"
        elif len(texts) > 1 and draft.weights is None and not np.any(lost) and count_rows(name, numbers):
            draft.weights = name
            draft.left_out[name] = "seems to say how often each row counts; see weights below, or add it to columns"
        elif len(texts) > 1 and (codes := codes_of(numbers[~lost])):
            if draft.label is None and not np.any(lost):
                draft.label, draft.classes = name, codes
            else:
                if not np.any(lost):
                    draft.others.append(name)
                draft.left_out[name] = f"has {len(codes)} different values, all whole: a class rather than a measure"
        else:
            draft.columns.append(name)
            _note_pile(draft, name, numbers[~lost])
            incomplete |= lost
            if np.any(lost):
                draft.missing[name] = int(np.sum(lost))
    draft.incomplete = int(np.sum(incomplete))
    if not draft.columns and draft.weights is not None:  # It is all that can be fitted.
        draft.columns, draft.weights = [draft.weights], None
        del draft.left_out[draft.columns[0]]
    if not draft.columns:
        reasons = "; ".join(f"{name!r} {why}" for name, why in draft.left_out.items()) or "there is none"
        raise InputError(f"{path}: no column can be fitted ({reasons}); give numbers in at least one")
    return draft


def _place_words(draft: Draft, name: str, cells: Sequence[str], lost: NDArray[np.bool_]) -> None:
    """A column of text is the classes, those of some rows, the ids, or left out."""
    different, there = sorted(set(cells)), [cell for cell, none in zip(cells, lost.tolist(), strict=True) if not none]
    if len(different) == len(cells):
        if draft.identity is None:
            draft.identity = name
            return
        draft.left_out[name] = "names the rows too"
    elif len(set(there)) == 1:
        draft.left_out[name] = f"is constant ({_plain(cut(there[0], VALUE))})"
    elif all(map(_DATE.fullmatch, there)):
        draft.left_out[name] = "holds dates or times"
    elif not np.any(lost) and len(different) <= min(MOST_CLASSES, len(cells) // 2):
        if draft.label is None:
            draft.label, draft.classes = name, different
        else:
            draft.others.append(name)
            draft.left_out[name] = "is text too; make it the label if it is the class"
    elif np.any(lost) and draft.partly is None and 1 < len(set(there)) <= min(MOST_CLASSES, len(there) // 2):
        draft.partly = Partly(name, sorted(set(there)), len(there))
    elif np.mean(lost) > MOST_MISSING:
        some = "label_known is the key for components that are known of some rows"
        draft.left_out[name] = f"is text, and empty in {np.sum(lost):,} of {len(cells):,} rows; {some}"
    else:
        draft.left_out[name] = "is text"


def _note_pile(draft: Draft, name: str, numbers: NDArray[np.float64]) -> None:
    """Note the most frequent value of a column to be fitted, without its missing cells, if it stands out."""
    different, counts = np.unique(numbers, return_counts=True)
    if len(counts) < 2:
        return
    second, first = np.sort(counts)[-2:].tolist()
    if first >= max(FEWEST_PILED, SHARE_PILED * draft.rows, TIMES_NEXT * second):
        draft.piles[name] = Pile(float(different[np.argmax(counts)]), first, second)


def _told(bad: NDArray[np.bool_], cells: Sequence[str]) -> str:
    """The first bad cell, and how many there are."""
    places = np.flatnonzero(bad).tolist()
    more = f" and {len(places) - 1:,} more" if len(places) > 1 else ""
    return f"data row {places[0] + 1} ({_plain(cut(cells[places[0]], VALUE))}){more}"


def families_of(draft: Draft) -> list[str]:
    """The covariance families that differ: in one column, a component has a variance, of its own or of all."""
    return list(COVARIANCES) if len(draft.columns) > 1 else ["full", "tied"]


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
        "# restarts = 8  # starts of each method; more find higher optima",
        "",
        "[data]",
    ]
    lines += [f"file = {_quoted(file)}", f"columns = [{', '.join(map(_quoted, draft.columns))}]"]
    if draft.identity is not None:
        lines.append(f"id = {_quoted(draft.identity)}  # names the rows; it is copied into labels.csv")
    elif draft.row_names:
        lines.append("# The first column, which has no name, names the rows; it is copied into labels.csv.")
    if draft.label is not None:
        seen = f" ({len(draft.classes)}); guessed: delete this line if these are no classes" if draft.classes else ""
        lines.append(f"label = {_quoted(draft.label)}  # known classes{seen}; never fitted, only compared")
        lines += [f"# {', '.join(map(_plain, draft.others))} could be the label as well"] if draft.others else []
    if draft.partly is not None:
        lines.append(_of_known(draft.partly, draft.rows))
    if draft.incomplete:
        cells = ", ".join(f"{_plain(column)} {count:,}" for column, count in draft.missing.items())
        rows = "1 row with a missing cell" if draft.incomplete == 1 else f"{draft.incomplete:,} rows with missing cells"
        lines.append(f'# {rows} ({cells}): "drop" leaves them out, {whole:,} stay;')
        lines.append('# "marginal" lets each count by its other cells (EM, ascent, Newton, NUTS)')
        lines.append('missing = "drop"')
    lines += [f"# not fitted: {_plain(column)} {why}" for column, why in draft.left_out.items()]
    lines += [
        f"# {_plain(column)}: {pile.value:.6g} is in {pile.rows:,} of {draft.rows:,} rows, the next most "
        f"frequent value in {pile.next_rows:,}; equal values pull at a fit: is the column rounded or clipped?"
        for column, pile in draft.piles.items()
    ]
    families = families_of(draft)
    others = ", ".join(each for each in families if each != draft.family)
    name = shlex.quote(name) if name.isprintable() else "this file"
    lines += [
        '# units = "cm"  # of the columns, for axes',
        _of_weights(draft),
        "",
        "[model]",
        f"components = {PROPOSED}  # how many? `workbench select {name} --components 1:6` compares",
        f'covariance = "{draft.family}"  # or {others}; `--covariance {",".join(families)}` there compares',
        'labels = "free"  # needed by samplers only',
        "# background = true  # a uniform density beside the components takes what belongs to no group",
        "",
        "[methods.em]",
        "",
        "[methods.ascent]",
        "",
        "# The posterior, by NUTS, takes longer, and needs the proper prior below; with it [methods.gibbs] is faster.",
        "# [methods.nuts]",
        "",
        "# The prior of every method: EM and ascent then give the mode under it, not maximum likelihood, and other",
        "# standard deviations.",
        "# [prior]",
        '# family = "conjugate"',
        "",
    ]
    return "\n".join(lines)


def _of_known(partly: Partly, rows: int) -> str:
    """The commented key for known components of rows."""
    several, first = len(partly.classes), _plain(partly.classes[0])
    return (
        f"# label_known = {_quoted(partly.column)}  # {partly.rows:,} of {rows:,} rows name one of {several} classes: "
        f"known components ({first} is component 1 in tables); needs components = {several} or more"
    )


def _of_weights(draft: Draft) -> str:
    """The commented key for counts, with a column that has their name where there is one."""
    present = [*draft.columns, draft.label, draft.identity, *draft.left_out]
    may_be = COUNTS | COUNTS_OR_MEASURES - {"n"}
    named = next((name for name in present if name is not None and name.lower() in may_be), None)
    named = named if draft.weights is None else draft.weights
    if named is None:
        return '# weights = "count"  # a column that says how many equal rows each row stands for; never fitted'
    return f"# weights = {_quoted(named)}  # if it says how many equal rows each row stands for; then only here"


def _quoted(text: str) -> str:
    """Text as a TOML string, in which characters that nobody would see are escaped."""
    written = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in written)


def _plain(text: str) -> str:
    """Text for a comment, in which control characters are not allowed."""
    return _quoted(text)
