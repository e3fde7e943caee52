"""Candidates on disk: one JSON file for each number of components, in one folder with its rivals.

results/NAME/selection/K-HASH.json holds one candidate: its config, and what every criterion says of it. The hash covers
all that the scores depend on but K: candidates of one hash are one selection.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp

from workbench.errors import InputError
from workbench.experiment import Experiment
from workbench.files import replacing
from workbench.provenance import Provenance, why_stale
from workbench.selection.choice import Choice
from workbench.selection.criteria import CRITERIA
from workbench.selection.scoring import scored
from workbench.selection.selection import Selection

# Of the files; another one is another version's.
FORMAT = 2

# What a stored candidate that is damaged raises when it is read.
_DAMAGED = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


def load_selections(folder: Path | str) -> list[Selection]:
    """Every stored selection of a results folder, by name, with all of its numbers of components.

    Raises:
        InputError: there is none, or a file of one is damaged or of another version.
    """
    groups: dict[str, list[Path]] = {}
    for file in (Path(folder) / "selection").glob("*-*.json"):
        groups.setdefault(file.stem.partition("-")[2], []).append(file)
    if not groups:
        raise InputError(f"{folder}: holds no selection; make one with `workbench select FILE --out {folder}`")
    return sorted(map(_together, groups.values()), key=lambda selection: (selection.name, selection.setting))


class About(NamedTuple):
    """What all candidates of a selection have in common, in words."""

    name: str
    setting: str
    prior_remark: str


class Place(NamedTuple):
    """The folder of one selection's candidates, and what sets them apart from those of others."""

    folder: Path
    identity: str
    about: About
    made_by: Provenance

    @classmethod
    def of(cls, out: Path, candidate: Experiment, digest: str, about: About) -> "Place":
        """Where a candidate and all its rivals are kept, made if need be.

        Raises:
            InputError: the folder cannot be written.
        """
        folder = out / "selection"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{out}: cannot be written ({error.strerror}); give another folder with --out") from None
        parts = (candidate.methods, candidate.starts, candidate.prior, candidate.soundness)
        made_by = Provenance.of(scored, *parts, alone=("selection.running", "experiment.config"))
        return cls(folder, _identity(candidate, digest), about, made_by)

    def load(self, components: int) -> Choice | None:
        """The stored candidate; None where there is none, or a damaged one, which is to be scored again."""
        try:
            record = _read(self._file(components))
            return replace(Choice.from_dict(record["choice"]), stale=self.made_by.why_stale(record.get("made_by")))
        except _DAMAGED:
            return None

    def keep(self, candidate: Experiment, made: Choice) -> Choice:
        """The choice, once it is on disk."""
        record = {
            "format": FORMAT,
            **self.about._asdict(),
            "config": candidate.resolved(),
            "made_by": self.made_by.to_dict(),
            "choice": made.to_dict(),
        }
        with replacing(self._file(made.components)) as temporary:
            temporary.write_text(json.dumps(record, allow_nan=False) + "\n", encoding="utf-8")
        return made

    def _file(self, components: int) -> Path:
        return self.folder / f"{components}-{self.identity}.json"


def _together(files: list[Path]) -> Selection:
    """The selection of some files."""
    choices = []
    for file in files:
        try:
            record = _read(file)
            about = About(*(str(record[name]) for name in About._fields))
            stale = why_stale(record.get("made_by"))
            choices.append(replace(Choice.from_dict(record["choice"]), stale=stale))
        except _DAMAGED as error:
            raise InputError(
                f"{file}: is damaged or of another version ({type(error).__name__}: {error}); "
                "delete it and run `workbench select` again"
            ) from None
    ordered = tuple(sorted(choices, key=lambda choice: choice.components))
    return Selection(about.name, about.setting, ordered, about.prior_remark)


def _read(file: Path) -> dict[str, Any]:
    record = dict(json.loads(file.read_text(encoding="utf-8")))
    if record["format"] != FORMAT:
        raise ValueError(f"format {record['format']}, not {FORMAT}")
    return record


def _identity(candidate: Experiment, digest: str) -> str:
    """A hash of all that the scores depend on, the number of components apart."""
    resolved = {key: value for key, value in candidate.resolved().items() if key != "data"}
    resolved["model"] = {key: value for key, value in resolved["model"].items() if key != "components"}
    identity = resolved | {"data": digest, "dtype": str(jnp.result_type(float)), "criteria": list(CRITERIA)}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
