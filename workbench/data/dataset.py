"""The `Dataset`: points with the names of their columns, units, source and, if simulated, the true mixture.

Its splits and simulations draw from NumPy generators that depend on a seed and a purpose, so that no two purposes share
random numbers.
"""

import dataclasses
import math
import zlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.described import classes_text, described, in_short
from workbench.data.incomplete import check_incomplete
from workbench.data.known import known_texts
from workbench.data.moments import moments_of
from workbench.data.names import column_positions
from workbench.data.points import check_columns, check_plain, check_points
from workbench.data.weights import are_whole, check_weights
from workbench.display import VALUE, as_html, lines_as_html, short
from workbench.errors import InputError, checks_arguments, one_line, shown
from workbench.frames import frame_of


def generator(seed: int, purpose: str) -> np.random.Generator:
    """The NumPy generator of `(seed, purpose)`: the same pair always draws the same numbers.

    Raises:
        InputError: `seed` is not a whole number of at least 0.
    """
    if not _is_seed(seed):
        raise InputError(f"seed must be a whole number of at least 0, got {seed!r}")
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def check_seed(seed: object) -> None:
    """Check that `seed` can be the root seed of random keys.

    Raises:
        InputError: it is not a whole number from 0 to 2^32 - 1, the range that keys accept on every platform.
    """
    if not (_is_seed(seed) and int(seed) < 2**32):  # type: ignore[call-overload]  # it is a whole number
        raise InputError(f"seed: must be a whole number from 0 to {2**32 - 1}, got {shown(seed)}")


def _is_seed(seed: object) -> bool:
    return isinstance(seed, int | np.integer) and not isinstance(seed, bool) and bool(seed >= 0)


STANDARD_DEVIATIONS = "standard deviations"


class Truth(NamedTuple):
    """The mixture that simulated points were drawn from, in the units of the points. float64."""

    weights: NDArray[np.float64]  # [K]
    means: NDArray[np.float64]  # [K, D]
    covariances: NDArray[np.float64]  # [K, D, D]

    def __repr__(self) -> str:
        return short(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def rescale(self, centre: NDArray[np.float64], scale: NDArray[np.float64]) -> "Truth":
        """The mixture of `(x - centre) / scale`, with both `[D]`, if this is the mixture of `x`."""
        covariances = self.covariances / (scale[:, None] * scale)  # [K, D, D]
        return Truth(self.weights, (self.means - centre) / scale, covariances)

    def marginal(self, positions: Sequence[int]) -> "Truth":
        """The mixture of the coordinates at `positions`, in that order."""
        index = np.asarray(positions)
        covariances = self.covariances[:, index[:, None], index]  # [K, D, D]
        return Truth(self.weights, self.means[:, index], covariances)


@checks_arguments
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Points to fit, with their description.

    Methods return new data sets. Values are checked when data are read (`read_file`) and when they are fitted
    (`check_points`), but not here, because a part of a data set may be empty or constant.

    Attributes:
        name: a short name, unique in the catalogue; for a file, its stem.
        x: the points, float64. Duplicate rows are kept and count twice.
        columns: one name for each of the D columns, all different.
        labels: a known group for each point, as text; never used in fitting.
        units: units of the columns, in words.
        source: where the numbers come from.
        notes: caveats.
        truth: the mixture from which the points were drawn, if known.
        ids: a name for each row, as text; where rows were left out, their places in the file unless they have names.
        weights: how many equal observations each row stands for; one unless given.
        dropped: the number of rows that were left out because a cell is missing.
        missing: what a problem does about NaN: "refuse" it, or take it for a missing cell, "marginal".
        known: the component of each row where it is known, as text: its number from 0, or the name of a class; empty
            where it is not. It is used in fitting, see `Problem`.
        box: for a part of a data set, the lowest and the highest value of each column of the whole.

    Raises:
        InputError: `x` is not a 2-D float64 array, or is masked, or `columns` or `labels` do not match its shape.
    """

    name: str
    x: NDArray[np.float64]  # [N, D]
    columns: tuple[str, ...]
    labels: NDArray[np.str_] | None  # [N]
    units: str
    source: str
    notes: str = ""
    truth: Truth | None = None
    ids: NDArray[np.str_] | None = None  # [N]
    dropped: int = 0
    weights: NDArray[np.float64] | None = None  # [N]
    missing: Literal["refuse", "marginal"] = "refuse"
    known: NDArray[np.str_] | None = None  # [N]
    box: NDArray[np.float64] | None = None  # [2, D]

    def __post_init__(self) -> None:
        check_plain(self.x, self.name)
        if self.x.ndim != 2 or self.x.dtype != np.float64:
            raise InputError(f"{self.name}: x is {self.x.dtype} {self.x.shape}; give as_points(x)")
        check_columns(self.columns, self.x.shape[1], self.name)
        if self.labels is not None and self.labels.shape != (len(self.x),):
            raise InputError(
                f"{self.name}: labels have shape {self.labels.shape}; give one for each of {len(self.x)} rows"
            )
        if self.weights is not None:
            object.__setattr__(self, "weights", check_weights(self.weights, len(self.x), f"{self.name}: weights"))
        if self.known is not None:
            object.__setattr__(self, "known", known_texts(self.known, len(self.x), f"{self.name}: known"))

    @property
    def counted(self) -> "Dataset":
        """The data set without rows of weight 0, which are not fitted."""
        return self if self.weights is None or np.all(self.weights > 0) else self.some(self.weights > 0)

    @property
    def extent(self) -> NDArray[np.float64]:
        """The lowest and the highest value of each column, of the whole data set if this is a part of one. [2, D]"""
        return extent_of(self.x) if self.box is None else self.box

    def __repr__(self) -> str:
        n, d = self.x.shape
        known = "" if self.labels is None else f", {len(np.unique(self.labels))} known classes"
        columns = one_line(", ".join(self.columns), VALUE)
        return f"Dataset({self.name!r}: {n} x {d}, columns {columns}{known}{in_short(self._set)})"

    def _repr_html_(self) -> str:
        n, d = self.x.shape
        told = {"name": self.name, "points": f"{n:,} x {d}", "columns": one_line(", ".join(self.columns), VALUE)}
        told |= {} if self.labels is None else {"classes": classes_text(self.labels)}
        told |= self._set | {"units": self.units, "source": self.source, "notes": self.notes}
        told |= {} if self.truth is None else {"truth": repr(self.truth)}
        told |= {} if self.ids is None else {"ids": f"a name for each row, as {shown(str(next(iter(self.ids), '')))}"}
        return lines_as_html("Dataset", {name: value for name, value in told.items() if value})

    @property
    def _set(self) -> dict[str, str]:
        """What is set of the points beside their values."""
        told = described(self.x, self.weights, self.missing, self.dropped)
        return told | ({} if self.known is None else {"known components": classes_text(self.known)})

    def to_dataframe(self) -> Any:
        """A row for each point: its id, its columns, its label, weight and known component where there are any.

        A frame of pandas, polars or Arrow. What stands beside the columns gets an underscore if a column has its name.
        """
        beside = {"id": self.ids, "label": self.labels, "weight": self.weights, "known": self.known}
        own = {_apart(name, self.columns): each for name, each in beside.items() if each is not None}
        first = {name: own.pop(name) for name in [_apart("id", self.columns)] if name in own}
        return frame_of(first | dict(zip(self.columns, self.x[:].T, strict=True)) | own)

    def select(self, columns: Sequence[str]) -> "Dataset":
        """The data set with these columns only, in the given order.

        Raises:
            InputError: `columns` is empty, repeats a name or holds an unknown one; the message suggests a spelling.
        """
        positions = column_positions(columns, self.columns, self.name)
        truth = None if self.truth is None else self.truth.marginal(positions)
        box = None if self.box is None else self.box[:, positions]
        return dataclasses.replace(self, x=self.x[:, positions], columns=tuple(columns), truth=truth, box=box)

    def divide(self, unit: float) -> "Dataset":
        """The same points in another unit, `x / unit`. For example, 9172 km/s divided by 1000 is 9.172 x 1000 km/s.

        Raises:
            InputError: `unit` is not a finite number above 0.
        """
        if not (math.isfinite(unit) and unit > 0):
            raise InputError(f"{self.name}: unit must be a finite number above 0, got {unit!r}")
        dimensions = self.x.shape[1]
        return self._rescale(np.zeros(dimensions), np.full(dimensions, float(unit)), _units(unit, self.units))

    def standardise(self) -> "Dataset":
        """Every column shifted to mean 0 and scaled to standard deviation 1 (ddof = 0).

        Standardise before splitting: the parts then share one scale.

        Raises:
            InputError: as for `check_points`; or the standard deviation of a column is zero or not finite in float64.
        """
        check = check_points if self.missing == "refuse" else check_incomplete
        check(self.x, self.name, columns=self.columns)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            centre, scale = centre_and_scale(self.x, self.weights)  # [D], [D]
        for name, sd in zip(self.columns, scale, strict=True):
            if not (np.isfinite(sd) and sd > 0):
                raise InputError(f"{self.name}: column {shown(name)} has standard deviation {sd}; divide it first")
        return self._rescale(centre, scale, STANDARD_DEVIATIONS)

    def split(self, test_fraction: float, seed: int) -> tuple["Dataset", "Dataset"]:
        """Train and test parts, each in the original row order.

        The test part has `test_fraction * N` rows, rounded half up; 0 gives an empty test part. The choice of rows
        depends only on the seed and N, and a larger test part contains every smaller one. Rows with whole weights are
        split observation by observation, as the rows repeated would be; other weights go with their rows.

        Raises:
            InputError: `test_fraction` lies outside [0, 1), is positive but rounds to no test row, or leaves fewer
                than 2 rows to train on; or `seed` is negative.
        """
        if not 0 <= test_fraction < 1:
            raise InputError(f"{self.name}: test_fraction must lie in [0, 1), got {test_fraction!r}")
        num_points = self.num_separable
        num_test = math.floor(test_fraction * num_points + 0.5)
        if (test_fraction > 0 and num_test == 0) or num_points - num_test < 2:
            raise InputError(
                f"{self.name}: test_fraction = {test_fraction!r} of {num_points} rows leaves"
                f" {num_points - num_test} to train and {num_test} to test; at least 2 and 1 are needed"
            )
        if num_test == 0:
            # The points are not copied, because they may be larger than memory.
            return self, self.some(slice(0))
        is_test = np.zeros(num_points, dtype=bool)  # [N]
        is_test[generator(seed, "split").permutation(num_points)[:num_test]] = True
        return self.part(~is_test), self.part(is_test)

    @property
    def num_separable(self) -> int:
        """How many independent points there are to choose from: rows, or observations if the weights are whole."""
        if self.weights is None or not are_whole(self.weights):
            return len(self.x)
        return int(np.sum(self.weights))

    def part(self, chosen: NDArray[np.bool_]) -> "Dataset":
        """The data set of the chosen ones of its `num_separable` points, in order."""
        whole = dataclasses.replace(self, box=self.extent)
        if self.weights is None or not are_whole(self.weights):
            return whole.some(chosen)
        rows = np.repeat(np.arange(len(self.x)), self.weights.astype(int))[chosen]
        weights = np.bincount(rows, minlength=len(self.x)).astype(float)
        return dataclasses.replace(whole.some(weights > 0), weights=weights[weights > 0])

    def some(self, keep: NDArray[Any] | slice) -> "Dataset":
        """Some of the rows with all that belongs to them: those of these numbers, or those that are marked True."""
        each = {name: getattr(self, name) for name in ("labels", "ids", "weights", "known")}
        kept: dict[str, Any] = {name: None if column is None else column[keep] for name, column in each.items()}
        return dataclasses.replace(self, x=self.x[keep], **kept)

    def _rescale(self, centre: NDArray[np.float64], scale: NDArray[np.float64], units: str) -> "Dataset":
        truth = None if self.truth is None else self.truth.rescale(centre, scale)
        box = None if self.box is None else (self.box - centre) / scale
        return dataclasses.replace(self, x=(self.x - centre) / scale, units=units, truth=truth, box=box)


def _apart(name: str, columns: Sequence[str]) -> str:
    """A name that none of the columns has."""
    return _apart(f"{name}_", columns) if name in columns else name


def extent_of(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lowest and the highest value of each column of x [N, D], of which cells may be missing (NaN). [2, D]"""
    return np.stack([np.nanmin(x, axis=0), np.nanmax(x, axis=0)])


def centre_and_scale(
    x: NDArray[np.float64], weights: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (ddof = 0) of each column of x [N, D], whose rows have weights [N] if given."""
    if weights is None:
        return np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    each = [moments_of(column[there, None], weights[there]) for column, there in zip(x.T, ~np.isnan(x.T), strict=True)]
    return np.array([own.mean[0] for own in each]), np.sqrt([own.covariance[0, 0] for own in each])


def _units(unit: float, units: str) -> str:
    """The text of a scaled unit, such as `1000 km/s`; a unit of several words is put in parentheses."""
    if units in ("", "none"):
        return f"{unit:.15g}"
    return f"{unit:.15g} x ({units})" if " " in units else f"{unit:.15g} {units}"
