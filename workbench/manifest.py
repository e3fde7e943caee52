"""The format of what is stored: written into every manifest, and read before anything else of it."""

from collections.abc import Mapping
from typing import Any

from workbench.errors import InputError, shown

# What is newer is refused, because nobody knows yet what it means.
FORMAT = 1


def check_format(record: Any, where: str) -> None:
    """Refuse what a newer version of the workbench has written.

    Raises:
        InputError: names the formats, and what to do.
        ValueError: it is no manifest, or its format no whole number from 1 up.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"it is {shown(record)}, and no table")
    found = record.get("format", FORMAT)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise ValueError(f"its format is {shown(found)}")
    if found > FORMAT:
        raise InputError(
            f"{where}: has format {found}, of a newer workbench; this one reads formats up to {FORMAT}: update it, "
            "or run into another folder"
        )
