"""The format of stored files, which every manifest states and which is read before anything else."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.engine.devices import USUAL, dtype_name
from workbench.errors import InputError, shown

# A newer format is refused, because this version cannot know its meaning.
FORMAT = 2

# The reason given for a run that was never requested.
NEVER = "it has not been run"

PRECISIONS = {"float32", USUAL}


def check_format(record: Any, where: str) -> None:
    """Refuse files of a newer version of the workbench.

    Raises:
        InputError: the format is newer; names the formats, and what to do.
        ValueError: the record is not a table, or its format is not a whole number from 1 up.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"it is {shown(record)}, and no table")
    found = record.get("format", 1)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise ValueError(f"its format is {shown(found)}")
    if found > FORMAT:
        raise InputError(
            f"{where}: has format {found}, of a newer workbench; this one reads formats up to {FORMAT}: update it, "
            "or run into another folder"
        )


def why_missing(cell: Path) -> str:
    """Why the folder METHOD-HASH of a run does not hold it, in a few words."""
    if cell.is_dir():
        return f"{cell.name} has no manifest.json; run it again"
    for other in sorted(cell.parent.glob(f"{cell.name.rpartition('-')[0]}-*/manifest.json")):
        try:
            dtype = str(dict(json.loads(other.read_text(encoding="utf-8"))["made"]).get("dtype"))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            continue
        if dtype in PRECISIONS - {dtype_name()}:
            setting = f'jax.config.update("jax_enable_x64", {dtype == USUAL})'
            return f"it is stored in {dtype}, and JAX computes in {dtype_name()}: {setting}"
    return NEVER
