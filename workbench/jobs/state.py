"""How a cell stands: done or failed, made by this code or by other, sound or damaged."""

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
        """What an error says."""
        lines = str(error).strip().splitlines() or [""]
        return cls(f"{type(error).__name__}: {lines[0]}".rstrip(": "), traceback)


@dataclass(frozen=True)
class Kept:
    """What is stored of a cell, as its manifest has it."""

    status: str  # DONE or FAILED
    manifest: Mapping[str, Any]
    stale: str | None = None  # what other code made it, if any did

    @property
    def failure(self) -> str:
        """Why it failed; empty where it has not."""
        return str(self.manifest.get("failure", {}).get("message", ""))


class DamagedJobError(InputError):
    """The file of a job is not what was written."""


class DamagedCellError(InputError):
    """A cell is on disk, and cannot be what was written."""


def nothing_in(folder: Path) -> str:
    """Why a folder has nothing to show, and what to do."""
    if any((folder / name).is_dir() for name in ("experiments", "selection")) or any(folder.glob("*-*/info.json")):
        return "holds runs of an older workbench in another layout, which are not read; run the experiment again"
    return "no finished runs; give a folder that `workbench run` wrote"
