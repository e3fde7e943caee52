"""The state of a cell: done or failed, made by this code or by other code, sound or damaged."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import InputError

DONE, FAILED = "done", "failed"


@dataclass(frozen=True)
class Failure:
    """Why a cell has no record."""

    message: str  # the kind of the error and its first line
    traceback: str

    @classmethod
    def of(cls, error: BaseException, traceback: str) -> "Failure":
        """The failure of an error."""
        lines = str(error).strip().splitlines() or [""]
        return cls(f"{type(error).__name__}: {lines[0]}".rstrip(": "), traceback)


@dataclass(frozen=True)
class Kept:
    """A stored cell, as its manifest describes it."""

    status: str  # DONE or FAILED
    manifest: Mapping[str, Any]
    stale: str | None = None  # the other code that made it, if it is stale

    @property
    def failure(self) -> str:
        """Why it failed; empty if it did not."""
        return str(self.manifest.get("failure", {}).get("message", ""))


class DamagedJobError(InputError):
    """The file of a job has changed since it was written."""


class DamagedCellError(InputError):
    """A cell on disk has changed since it was written."""


def nothing_in(folder: Path) -> str:
    """Why a folder holds no results, and what to do."""
    if any((folder / name).is_dir() for name in ("experiments", "selection")) or any(folder.glob("*-*/info.json")):
        return "holds runs of an older workbench in another layout, which are not read; run the experiment again"
    return "no finished runs; give a folder that `workbench run` wrote"
