"""Weights of rows: a row of weight w counts as w equal observations, and the number of observations is the sum."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.data.moments import Weights, number_of
from workbench.data.points import check_plain
from workbench.errors import InputError, shown

# Numbers of 64 bits cannot count more observations than this.
MOST = 2.0**53


def check_weights(given: ArrayLike, rows: int, where: str = "weights") -> Weights:
    """The weights of rows as float64, after a check that each is a finite number of at least 0 and one is above 0. [N]

    A row of weight 0 counts as no observation: it is not fitted, and gets a label like any other.

    Args:
        given: one weight for each row: an array of NumPy or JAX, a column of a data frame, or a list.
        rows: N.
        where: the name of the weights in messages.

    Raises:
        InputError: the weights are no such numbers; the message names the first row, counted from 1, and the remedy.
    """
    check_plain(given, where)
    try:
        weights = np.asarray(given)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {shown(given)} is no array of numbers; give one for each row") from None
    if weights.dtype.kind not in "biuf":
        raise InputError(f"{where}: dtype is {weights.dtype}; give numbers, one for each row")
    if weights.shape != (rows,):
        raise InputError(f"{where}: shape is {weights.shape}; give one weight for each of {rows:,} rows")
    weights = weights.astype(np.float64)
    for bad, remedy in (
        (~np.isfinite(weights), "give a finite number, or leave the row out"),
        (weights < 0, "a weight counts equal observations; give 0 or more"),
    ):
        if np.any(bad):
            row = int(np.argmax(bad))
            raise InputError(f"{where}: data row {row + 1} is {weights[row]:g}; {remedy}")
    if len(weights) and not np.any(weights > 0):
        raise InputError(f"{where}: all are 0, so that no row counts; give at least one above 0")
    if np.any(weights > MOST):
        row = int(np.argmax(weights))
        raise InputError(
            f"{where}: data row {row + 1} is {weights[row]:g}, and a weight counts equal observations; scale the "
            "weights to sum to their number"
        )
    return weights


def check_total(weights: Weights, components: int, where: str = "weights") -> None:
    """Check that the weights count enough observations.

    Raises:
        InputError: they sum to less than 2, or to less than the number of components.
    """
    total, least = number_of(weights), max(2, components)
    if total < least:
        raise InputError(
            f"{where}: sum to {total:.6g}, and a weight counts equal observations: fewer than {least} are too few to "
            "fit; scale the weights so that they sum to the number of observations"
        )


def counted_rows(
    x: NDArray[np.float64], given: ArrayLike | None, components: int
) -> tuple[NDArray[np.float64], Weights | None]:
    """The rows of x [N, D] that count, and their weights; rows that are read in blocks all stay.

    Raises:
        InputError: the weights are none (`check_weights`), or count too few observations for K components.
    """
    if given is None:
        return x, None
    weights = check_weights(given, len(x))
    check_total(weights, components)
    counts = weights > 0
    if np.all(counts) or not isinstance(x, np.ndarray) or isinstance(x, np.memmap):
        return x, weights
    return x[counts], weights[counts]


def check_whole(weights: Weights | None, who: str) -> None:
    """Refuse weights that are not whole numbers.

    Raises:
        InputError: names `who` needs whole ones, the first row that has none, and the remedy.
    """
    if weights is not None and not are_whole(weights):
        row = int(np.argmax(weights != np.floor(weights)))
        raise InputError(
            f"weights: {who} needs whole observations, and the weight of row {row + 1} is {weights[row]:g}; give "
            f"whole numbers, or leave {who} out"
        )


def are_whole(weights: Weights | None) -> bool:
    """Whether all weights are whole numbers, so that rows can be repeated; they are 1 unless given."""
    return weights is None or bool(np.all(weights == np.floor(weights)))


def points_text(rows: int, weights: Weights | None) -> str:
    """How many points there are, in words."""
    return f"{rows:,} points" if weights is None else f"{rows:,} weighted rows (N = {number_text(weights)})"


def number_text(weights: Weights) -> str:
    """The number of observations in words."""
    total = number_of(weights)
    return f"{total:,}" if isinstance(total, int) else f"{total:,.6g}"


def even_rows(weights: Weights, most: int) -> NDArray[np.intp]:
    """The row of each of at most `most` observations, evenly spaced; of all, if there are no more. [M]"""
    ends, count = np.cumsum(weights), min(most, max(1, round(float(np.sum(weights)))))
    places = (0.5 + np.arange(count)) * (ends[-1] / count)
    return np.minimum(np.searchsorted(ends, places, side="right"), len(weights) - 1)


def observed_rows(weights: Weights, most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The row of each of at most `most` observations, in the order of the rows. [M]

    Whole weights list every row as often as it counts, or a random choice of these observations if there are more. For
    other weights the sample is systematic: a row of weight w is listed w times on average, and never a whole time more
    or less often.
    """
    total, ends = number_of(weights), np.cumsum(weights)
    if not are_whole(weights):
        count = min(most, max(1, round(total)))
        places = (rng.random() + np.arange(count)) * (ends[-1] / count)
        return np.minimum(np.searchsorted(ends, places, side="right"), len(weights) - 1)
    if total > most:
        return np.searchsorted(ends, np.sort(rng.choice(int(total), most, replace=False)), side="right")
    return np.repeat(np.arange(len(weights)), weights.astype(int))
