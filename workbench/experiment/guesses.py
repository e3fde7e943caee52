"""What the numbers of a column seem to be: a measure, ids, codes of classes, or known components."""

import numpy as np
from numpy.typing import NDArray

# A column of text with at most this many different words, and fewer than half as many as rows, holds known classes.
MOST_CLASSES = 50

# Whole numbers of which each is in as many rows as this, on average, are codes.
ROWS_OF_A_CLASS = 20

# A column that is missing in a larger share of the rows is left out, for else these rows are.
MOST_MISSING = 0.5

# A column of numbers in which a larger share of the cells are words is one of words; one cell may always be.
MOST_BAD = 0.1

# Names of columns whose whole numbers, all different, are ids though they have gaps; so do those that end in "_id".
IDS = frozenset({"id", "ids", "index", "row", "rowid"})

# Whole numbers of so many rows that have no gap between them number the rows, in whatever order they stand.
FEWEST_SHUFFLED = 20


# Names of columns that may say how often a row counts. Those of the first kind do if their numbers are whole, of the
# second if one is 0 or 1 besides, as the least weight in kilograms seldom is, and some are equal.
COUNTS, COUNTS_OR_MEASURES = frozenset({"count", "counts"}), frozenset({"freq", "frequency", "weight", "weights", "n"})


def is_slip(numbers: NDArray[np.float64], bad: NDArray[np.bool_], lost: NDArray[np.bool_]) -> bool:
    """Whether a column is one of numbers with a few bad cells, and none of words. [N] each"""
    good = numbers[~bad & ~lost]
    few = np.sum(bad) <= max(1, MOST_BAD * (len(good) + np.sum(bad)))
    return bool(few) and len(good) > 1 and not codes_of(good)


def are_counts(numbers: NDArray[np.float64]) -> bool:
    """Whether the numbers are those of the rows: whole, each one more than the last or, of many, than another."""
    ordered = np.sort(numbers) if len(numbers) >= FEWEST_SHUFFLED else numbers
    return len(numbers) > 2 and are_whole(numbers) and bool(np.all(np.diff(ordered) == 1))


def has_name_of_ids(name: str, numbers: NDArray[np.float64]) -> bool:
    """Whether a column is called as ids are, and its whole numbers are all different."""
    named = name.lower() in IDS or name.lower().endswith("_id")
    return named and are_whole(numbers) and len(np.unique(numbers)) == len(numbers)


def count_rows(name: str, numbers: NDArray[np.float64]) -> bool:
    """Whether a column seems to say how often each row counts."""
    named, least = name.lower(), float(np.min(numbers))
    repeats = len(np.unique(numbers)) < len(numbers)
    called = named in COUNTS or (named in COUNTS_OR_MEASURES and least <= 1 and repeats)
    return called and least >= 0 and are_whole(numbers)


def are_whole(numbers: NDArray[np.float64]) -> bool:
    """Whether none is missing, has decimals or is too large to be counted with."""
    return bool(np.all((np.abs(numbers) < 2**53) & (numbers == np.round(numbers))))


def codes_of(numbers: NDArray[np.float64]) -> list[str]:
    """The different values, if they are few and whole, as codes of classes are; a density has no maximum on them."""
    different = np.unique(numbers)
    few = len(different) <= min(MOST_CLASSES, len(numbers) // ROWS_OF_A_CLASS)
    return [f"{value:g}" for value in different] if few and np.all(different == np.round(different)) else []


def partly_coded(numbers: NDArray[np.float64], lost: NDArray[np.bool_]) -> list[str]:
    """The different values, if they are 0, 1, ... and most rows have none, or few are different; else none."""
    there = numbers[~lost]
    different = np.unique(there)
    counts = 1 < len(different) <= min(MOST_CLASSES, len(there) // 2) and bool(
        np.all(different == np.arange(len(different)))
    )
    seldom = np.mean(lost) > MOST_MISSING or (np.any(lost) and bool(codes_of(there)))
    return [f"{value:g}" for value in different] if counts and seldom else []
