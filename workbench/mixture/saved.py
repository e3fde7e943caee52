"""A mixture as a small JSON file, which any language can read and write."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from workbench.data.points import check_columns, default_columns
from workbench.display import page
from workbench.errors import VALUE, InputError, cut, path_of, shown
from workbench.files import replacing
from workbench.frames import frame_of_rows
from workbench.mixture.background import Background
from workbench.mixture.mixture import Mixture
from workbench.table import Table

FORMAT, VERSION = "workbench mixture", 1

# The version of a file with a background, which readers of the first would overlook.
WITH_BACKGROUND = 2

# What to do with a file of a version that is not read.
OTHER_VERSION = "write it again with this workbench, or read it with the one that wrote it"

# A larger file is no mixture: it would hold a million components in one column.
MOST_BYTES = 2**27


class SavedMixture(NamedTuple):
    """A mixture with the names of its columns, if they are known, and words on where it comes from."""

    mixture: Mixture
    columns: tuple[str, ...]
    about: Mapping[str, Any]


def save_mixture(
    path: Path | str, mixture: Mixture, *, columns: Sequence[str] = (), about: Mapping[str, Any] | None = None
) -> Path:
    """Write a mixture as JSON. The file is replaced whole, or not at all.

    | key | value |
    |---|---|
    | `format`, `version` | "workbench mixture", and 1, or 2 with a background |
    | `covariance` | the name of the family: "full", "tied", "diagonal", "spherical" |
    | `weights` | K numbers that sum to 1 |
    | `means` | K lists of D numbers |
    | `covariances` | K matrices, each D lists of D numbers, whatever the family |
    | `background` | its `weight`, and D numbers each for `low` and `high`, the ends of its box; only if there is one |
    | `columns` | D names, if known |
    | `about` | free: where the mixture comes from; `workbench predict` reads its `id`, the column that names the rows |

    Numbers have all their digits: weights and means come back bit for bit, and covariances to rounding, because they
    are factored again.

    Args:
        path: the file.
        mixture: one mixture, not a batch.
        columns: names of the D columns.
        about: plain values.

    Returns:
        The path.

    Raises:
        InputError: the number of names is not D, or a number is not finite.
    """
    path = path_of("path", path)
    if np.ndim(mixture.weights) != 1:
        raise InputError(
            f"{path}: several mixtures, of shape {np.shape(mixture.weights)}; save one, as trace.best gives"
        )
    if isinstance(columns, str) or not all(isinstance(name, str) for name in columns):
        raise InputError(f"{path}: columns: give a list of names, got {shown(columns)}")
    arrays = [np.asarray(a, float) for a in (mixture.weights, mixture.means, mixture.covariances)]
    if columns:
        check_columns(columns, mixture.num_dimensions, str(path))
    if not all(np.all(np.isfinite(a)) for a in arrays):
        raise InputError(f"{path}: the mixture has numbers that are not finite; save a sound one, as trace.best gives")
    back = mixture.background
    version = VERSION if back is None else WITH_BACKGROUND
    values: dict[str, Any] = {"format": FORMAT, "version": version, "covariance": mixture.covariance.name}
    values |= dict(zip(("weights", "means", "covariances"), (a.tolist() for a in arrays), strict=True))
    if back is not None:
        parts = {"weight": back.weight, "low": back.low, "high": back.high}
        values["background"] = {name: np.asarray(part, float).tolist() for name, part in parts.items()}
    values |= {"columns": list(columns)} if columns else {}
    values |= {"about": dict(about)} if about else {}
    # A line for each key: short, and readable by eye.
    lines = (f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in values.items())
    text = "{\n" + ",\n".join(lines) + "\n}"
    try:
        with replacing(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{cut(str(path), VALUE)}: cannot be written ({error.strerror}); give another file") from None
    return path


def load_mixture(path: Path | str) -> SavedMixture:
    """Read a mixture that `save_mixture` wrote, or another program in that form.

    Raises:
        InputError: the file cannot be read, is no such file, or its numbers are no mixture of the family.
    """
    path = path_of("path", path)
    remedy = "give a file that `workbench fit` or Mixture.save wrote"
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MOST_BYTES:
            raise InputError(f"{path}: is {'no file' if not path.is_file() else f'of {size:,} bytes'}; {remedy}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{cut(str(path), VALUE)}: cannot be read ({error.strerror}); {remedy}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not JSON ({cut(str(error), VALUE)}); {remedy}") from None
    try:
        values = json.loads(text, object_pairs_hook=_each_once)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON ({cut(str(error), VALUE)}); {remedy}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f"{path}: has no format {FORMAT!r}; {remedy}")
    version = values.get("version")
    if isinstance(version, bool) or version not in (VERSION, WITH_BACKGROUND):
        read = f"{VERSION} and {WITH_BACKGROUND}"
        raise InputError(f"{path}: version is {shown(version)}, and this workbench reads {read}; {OTHER_VERSION}")
    if ("background" in values) != (version == WITH_BACKGROUND):
        there = "has a background" if version == VERSION else "has none"
        raise InputError(
            f"{path}: background: a file of version {WITH_BACKGROUND} has one and others have none; this one is of "
            f"version {version} and {there}"
        )
    missing = [key for key in ("covariance", "weights", "means", "covariances") if key not in values]
    if missing:
        raise InputError(f"{path}: {', '.join(missing)}: missing; {remedy}")
    try:
        weights, means, covariances = (_numbers(values[key], key) for key in ("weights", "means", "covariances"))
        mixture = Mixture.from_covariances(weights, means, covariances, str(values["covariance"]))
        if "background" in values:
            mixture = replace(mixture, background=_background(values["background"], mixture.num_dimensions))
        columns = values.get("columns") or []
        if not (isinstance(columns, list) and all(isinstance(name, str) for name in columns)):
            raise InputError(f"columns: give a list of names, got {shown(columns)}")
        if columns:
            check_columns(columns, mixture.num_dimensions, "columns")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    about, mixture = values.get("about"), mixture.named(columns)
    return SavedMixture(mixture, tuple(columns), about if isinstance(about, dict) else {})


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, of which Python would keep the last value of a key that is there twice.

    Raises:
        InputError: a key is there twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{shown(twice)}: is there {names.count(twice)} times; keep the one that is meant")
    return found


def _numbers(value: Any, key: str) -> np.ndarray:
    """A list of numbers, or of such lists, as an array."""
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "if" or array.size == 0:
        raise InputError(f"{key}: give lists of numbers of equal length, got {shown(value)}")
    return array.astype(float)


def _background(given: Any, dimensions: int) -> Background:
    """The background of a file."""
    names = ("weight", "low", "high")
    if not isinstance(given, dict) or set(given) != set(names):
        raise InputError(f"background: give weight, low and high, got {shown(given)}")
    return Background.checked(given["weight"], given["low"], given["high"], dimensions)


def html_of(mixture: Mixture) -> str:
    """A table of a mixture's components for notebooks: weights, means and standard deviations; text of a batch."""
    if np.ndim(mixture.weights) != 1:
        return f"<pre>{escape(repr(mixture))}</pre>"
    beside = (
        "" if mixture.background is None else f", beside a background of weight {float(mixture.background.weight):.4g}"
    )
    return page(f"{mixture.covariance.name}{beside}", _components(mixture))


def frame_of_components(mixture: Mixture) -> Any:
    """A data frame with a row for each component.

    Raises:
        InputError: several mixtures, or no package for data frames.
    """
    if np.ndim(mixture.weights) != 1:
        raise InputError(f"to_dataframe: {mixture!r} is several mixtures; give one, as trace.best gives")
    table = _components(mixture)
    return frame_of_rows(table.rows, table.columns)


def _components(mixture: Mixture) -> Table:
    """A row for each component: its number from 1, weight, means and standard deviations."""
    names = mixture.columns or default_columns(mixture.num_dimensions)
    deviations = np.sqrt(np.diagonal(np.asarray(mixture.covariances), axis1=1, axis2=2))
    heads = ("component", "weight", *(f"mean {name}" for name in names), *(f"sd {name}" for name in names))
    numbers = zip(np.asarray(mixture.weights), np.asarray(mixture.means), deviations, strict=True)
    lines = [(k + 1, float(w), *mean.tolist(), *sd.tolist()) for k, (w, mean, sd) in enumerate(numbers)]
    return Table.of_lines(heads, lines)
