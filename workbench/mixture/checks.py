"""Checks of what users give a mixture: numbers, names of columns, and places of components."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from workbench.data import Dataset, by_name, finite_points, points_or_missing
from workbench.data.observed import MissingCells, check_missing
from workbench.data.points import check_columns
from workbench.data.table import unmasked
from workbench.errors import InputError, check_key, shown, whole_number
from workbench.memory_maps import make_room


def finite_numbers(name: str, given: Any) -> NDArray[np.float64]:
    """An argument as an array of finite numbers.

    Raises:
        InputError: it holds something else.
    """
    try:
        found = np.asarray(unmasked(given), float)
    except (TypeError, ValueError):
        raise InputError(f"{name}: must be an array of numbers, got {shown(given)}") from None
    if not np.all(np.isfinite(found)):
        raise InputError(f"{name}: must be finite, got {shown(found.tolist())}")
    return found


def points_of(
    x: ArrayLike, columns: Sequence[str], dimensions: int, missing: MissingCells
) -> tuple[ArrayLike, MissingCells]:
    """Points [N, D], columns of a table by name; inside a compiled program only the shape is checked.

    What becomes of missing cells is returned with them: a `Dataset` that marginalises its own needs no argument.

    Raises:
        InputError: a problem would refuse them, or it is not known what becomes of missing cells.
    """
    make_room()
    check_missing(missing)
    if isinstance(x, jax.core.Tracer):
        points = x[:, None] if x.ndim == 1 and dimensions == 1 else x
        if points.ndim != 2 or points.shape[1] != dimensions:
            raise InputError(f"x: expected points [N, {dimensions}], got shape {list(x.shape)}")
        return points, missing
    missing = x.missing if isinstance(x, Dataset) and missing == "refuse" else missing
    x = by_name(x, columns)
    if missing == "refuse":
        return finite_points(x, dimensions, marginal='missing="marginal"{}'), missing
    return points_or_missing(x, dimensions), missing


def checked_draws(key: object, num_samples: object, dimensions: int) -> int:
    """How many points to draw; there is room for the programs of another number.

    Raises:
        InputError: it is no whole number from 0 to 2^30 / D, or the key is no random key, or several.
    """
    make_room()
    check_key(key)
    return whole_number("num_samples", num_samples, 0, 2**30 // dimensions)


def names_of(columns: Sequence[str], dimensions: int) -> tuple[str, ...]:
    """One distinct name for each column, or none at all.

    Raises:
        InputError: their number is another, one occurs twice, or one is no text.
    """
    if isinstance(columns, str) or not hasattr(columns, "__iter__"):
        raise InputError(f"columns: give a list of {dimensions} names, or [], got {shown(columns)}")
    found = tuple(columns)
    if not all(isinstance(name, str) for name in found):
        raise InputError(f"columns: names must be text, got {shown(list(found))}")
    if found:
        check_columns(found, dimensions, "columns")
    return found


def check_places(name: str, places: Any, components: int) -> None:
    """Check that components are there, unless this is only known when a compiled program runs.

    Raises:
        InputError: a place is no whole number from 0 to K - 1.
    """
    if isinstance(places, jax.core.Tracer):
        return
    given = _places(name, places)
    if given.ndim != 1 or given.dtype.kind not in "iu" or not np.all((given >= 0) & (given < components)):
        raise InputError(f"{name}: must be a list of whole numbers from 0 to {components - 1}, got {shown(places)}")


def check_order(order: Any, components: int) -> None:
    """Check that an order of components names each once, unless this is only known when a compiled program runs.

    Raises:
        InputError: it is no permutation of 0 to K - 1.
    """
    if isinstance(order, jax.core.Tracer):
        return
    given = _places("order", order)
    if given.dtype.kind not in "iu" or not np.array_equal(np.sort(given, axis=None), np.arange(given.size)):
        raise InputError(f"order: {shown(given.tolist())} is no permutation of 0 to {components - 1}")
    if given.shape != (components,):
        raise InputError(f"order: {shown(given.tolist())} is not of {components} components")


def _places(name: str, places: Any) -> NDArray[Any]:
    try:
        return np.asarray(places)
    except ValueError:
        raise InputError(f"{name}: must be a list of whole numbers, got {shown(places)}") from None
