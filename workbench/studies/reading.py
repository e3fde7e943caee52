"""Reading a study from TOML, with the same messages as for experiments."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from workbench.errors import InputError, checks_arguments, shown
from workbench.experiment import Experiment
from workbench.experiment.reading import check_whole_numbers, explain, read_toml
from workbench.experiment.sweep import SweepConfig
from workbench.studies import STUDIES, Study


def is_study(path: Path | str) -> bool:
    """Whether a TOML file holds a study, which has the key `study`, and not an experiment.

    Raises:
        InputError: the file cannot be read, or is not TOML.
    """
    return "study" in read_toml(path)


@checks_arguments
def read_study(path: Path | str, settings: Iterable[str] = ()) -> Study:
    """The study in a TOML file, with `key.path=value` settings applied.

    Raises:
        InputError: the file cannot be read, is not TOML, or has wrong, unknown or missing keys. The message names all
            of them, and the allowed values.
    """
    return parse_study(read_toml(path, settings), str(path))


def parse_study(values: dict[str, Any], where: str) -> Study:
    """The study in a mapping; `where` names it in messages.

    Raises:
        InputError: as in `read_study`.
    """
    name = values.get("study")
    if not isinstance(name, str) or name not in STUDIES:
        raise InputError(f"{where}: study: unknown {shown(name)}; allowed: {', '.join(STUDIES)}")
    try:
        return STUDIES[name].model_validate(check_whole_numbers(values, where))
    except ValidationError as error:
        raise InputError("\n".join(f"{where}: {explain(e, STUDIES[name])}" for e in error.errors())) from None


def schema_of_files() -> dict[str, Any]:
    """The JSON schema of config files: a study if there is the key `study`, else an experiment or a sweep of one."""
    models: list[type[BaseModel]] = [Experiment, SweepConfig, *STUDIES.values()]
    places, shared = models_json_schema([(model, "validation") for model in models])
    chosen: dict[str, Any] = places[Experiment, "validation"]
    shared["$defs"][Experiment.__name__]["properties"]["sweep"] = places[SweepConfig, "validation"]
    for name, study in STUDIES.items():
        condition = {"properties": {"study": {"const": name}}, "required": ["study"]}
        chosen = {"if": condition, "then": places[study, "validation"], "else": chosen}
    return {"$defs": shared["$defs"], **chosen}
