"""The mixture of a file as a start: checked against the problem, and brought into the units that are fitted."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.errors import VALUE, InputError, cut, shown
from workbench.mixture import Mixture
from workbench.mixture.saved import load_mixture

# Where `workbench fit` leaves the model, within a results folder.
MODEL = Path("fit") / "model.json"


def saved_start(
    path: Path,
    components: int,
    family: str,
    columns: Sequence[str],
    units: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> Mixture:
    """The mixture in a file that `workbench fit` or `Mixture.save` wrote, or in a results folder with such a fit.

    Args:
        path: the file or the folder.
        components: K of the problem.
        family: the name of its covariance family.
        columns: the names of its columns; none if they are not named.
        units: centre and scale [D] of the columns that are fitted, in the units of the file; as they are unless given.

    Raises:
        InputError: the file cannot be read; or K, D, the family or the names of columns are not those of the problem.
    """
    if path.is_dir():
        if not (path / MODEL).is_file():
            raise InputError(
                f"starts.file: {cut(str(path), VALUE)}: holds no {MODEL}; `workbench fit FILE --out "
                f"{cut(path.name, VALUE)}` writes it from the runs that are stored there"
            )
        path = path / MODEL
    try:
        mixture, named, _ = load_mixture(path)
    except InputError as error:
        raise InputError(f"starts.file: {error}") from None
    where, (k, d) = f"starts.file: {cut(str(path), VALUE)}", mixture.means.shape
    if k != components:
        raise InputError(f"{where}: holds {k} components, and model.components = {components}; give it as many")
    if columns and d != len(columns):
        raise InputError(f"{where}: is of {d} columns, and the data have {len(columns)}: {shown(list(columns))}")
    if columns and named and tuple(columns) != tuple(named):
        raise InputError(
            f"{where}: is of the columns {', '.join(named)}, and the data have {', '.join(columns)}; choose the same "
            "ones, in this order, with data.columns"
        )
    if units is None:
        if mixture.covariance.name != family:
            raise _other_family(where, mixture, family)
        return mixture
    centre, scale = units
    dense = np.asarray(mixture.covariances) / (scale[:, None] * scale)
    try:
        # A mixture that was fitted to standardised columns may be of another family in their own units.
        moved = Mixture.from_covariances(mixture.weights, (np.asarray(mixture.means) - centre) / scale, dense, family)
        return replace(moved, background=mixture.background)
    except InputError:
        raise _other_family(where, mixture, family) from None


def _other_family(where: str, mixture: Mixture, family: str) -> InputError:
    return InputError(
        f"{where}: has {mixture.covariance.name} covariances, and model.covariance = {shown(family)}; give that family"
    )
