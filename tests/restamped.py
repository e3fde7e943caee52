"""Stored cells changed on purpose, as if they had been written so: every digest fits again."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.jobs.base import digest_of_values


def restamp(cell: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a cell's manifest says, and let its digests say that nothing was changed."""
    file = cell / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    del manifest["digest"]
    change(manifest)
    manifest["files"] = {name: hashlib.sha256((cell / name).read_bytes()).hexdigest() for name in manifest["files"]}
    file.write_text(json.dumps(manifest | {"digest": digest_of_values(manifest)}), encoding="utf-8")


def by_other_code(cell: Path, **versions: str) -> None:
    """Let a cell say that other code, and these versions of packages, made it."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["made_by"] |= {"code": "another", "versions": manifest["made_by"]["versions"] | versions}

    restamp(cell, change)


def with_values(cell: Path, change: Callable[[Any], object]) -> None:
    """Change the values of a cell, digests and all."""
    file = cell / "values.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    change(values)
    file.write_text(json.dumps(values), encoding="utf-8")
    restamp(cell, lambda manifest: None)
