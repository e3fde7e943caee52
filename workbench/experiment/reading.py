"""Reading an experiment from TOML with overrides. Every mistake is reported at once, with its place and remedy."""

import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from workbench.config import explain_value, innermost
from workbench.data.files import SUFFIXES
from workbench.errors import VALUE, InputError, checks_arguments, one_line, shown
from workbench.experiment.config import DataConfig, Experiment, ModelConfig, RunConfig, SimulateConfig
from workbench.files import regular
from workbench.methods import METHODS
from workbench.mixture import PRIORS, Fixed
from workbench.soundness import Soundness
from workbench.starts import STARTS

# Whole numbers in TOML have 64 bits.
LARGEST = 2**63 - 1

# The most tables and lists within each other; no key lies nearly so deep.
DEEPEST = 50

# The most bytes of a file that is read; a larger file is not a config, and takes a minute to parse.
MOST_BYTES = 2**22

_BARE_WORD = re.compile(r"[A-Za-z_][\w+./-]*")
_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@checks_arguments
def read_experiment(path: Path | str, settings: Iterable[str] = ()) -> Experiment:
    """The experiment in a TOML file, with `key.path=value` settings that override it.

    Raises:
        InputError: the file cannot be read, is not TOML, or has wrong, unknown or missing keys; all of them are
            named, with what is allowed and the nearest right spelling.
    """
    return parse_experiment(read_toml(path, settings), str(path))


def parse_experiment(values: Mapping[str, Any], where: str) -> Experiment:
    """The experiment in a mapping; `where` names it in messages.

    Raises:
        InputError: as for `read_experiment`.
    """
    if {"format", "kind", "cells"} <= set(values):
        raise InputError(
            f"{where}: is the record of a stored job, not a config; show its results with --job and its id, as in "
            "`workbench estimates DIR --job ID`, or give the config that was run"
        )
    try:
        return Experiment.model_validate(check_whole_numbers(dict(values), where))
    except ValidationError as error:
        raise InputError("\n".join(f"{where}: {explain(e, Experiment)}" for e in error.errors())) from None


def read_toml(path: Path | str, settings: Iterable[str] = ()) -> dict[str, Any]:
    """The values in a TOML file, with `key.path=value` settings that override them.

    Raises:
        InputError: the file cannot be read or is not TOML, or a setting is not of that form.
    """
    path = Path(path)
    if path.suffix.lower() in SUFFIXES and path.is_file():
        config = shlex.quote(f"{path.stem}.toml")
        raise InputError(
            f"{path}: is data, not an experiment; `workbench init {shlex.quote(str(path))}` writes {config}, and "
            "commands take that"
        )
    try:
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: is of {path.stat().st_size:,} bytes; give a TOML file of at most {MOST_BYTES:,}")
        text = regular(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a TOML experiment file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; give a TOML experiment file") from None
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits and endlessly nested tables raise these as well.
        raise InputError(f"{path}: is not valid TOML: {_located(str(error), text)}") from None
    for setting in settings:
        key, value = parse_setting(setting)
        set_key(values, key, value, f"--set {one_line(setting, VALUE)}")
    return check_whole_numbers(values, str(path))


def _located(message: str, text: str) -> str:
    """A message of the TOML reader, with the line that it is about."""
    message = message.replace("Cannot overwrite a value", "a key is set twice; keep one of its lines")
    place = re.search(r"at line (\d+)", message)
    lines = text.splitlines()
    if place is None or int(place[1]) > len(lines):
        return message
    return f"{message}: {one_line(lines[int(place[1]) - 1].strip(), VALUE)}"


def check_whole_numbers(values: dict[str, Any], where: str) -> dict[str, Any]:
    """The values of a config, after a check that every whole number fits the 64 bits of TOML, and of their nesting.

    Raises:
        InputError: names the first number that does not, or the first value within more than `DEEPEST` others.
    """

    def check(value: Any, path: str, depth: int = 0) -> None:
        if depth > DEEPEST:
            raise InputError(
                f"{where}: {one_line(path, VALUE)}: is within more than {DEEPEST} tables and lists; no key lies so deep"
            )
        if isinstance(value, dict):
            for key, inner in value.items():
                check(inner, f"{path}.{key}" if path else str(key), depth + 1)
        elif isinstance(value, list | tuple):
            for inner in value:
                check(inner, path, depth + 1)
        elif isinstance(value, int) and abs(value) > LARGEST:
            raise InputError(
                f"{where}: {one_line(path)}: {shown(value)} is beyond 64 bits; give a number of at most {LARGEST}"
            )

    check(values, "")
    return values


def parse_setting(setting: str, option: str = "--set") -> tuple[str, Any]:
    """The key and the value of `key.path=value`; the value is TOML, or a bare word.

    Raises:
        InputError: it is not of that form; the message begins with the option.
    """
    key, equals, raw = setting.partition("=")
    key, raw = key.strip(), raw.strip()
    if not equals or not _KEY.fullmatch(key):
        raise InputError(f"{option} {one_line(setting, VALUE)}: give key.path=value, as in {option} model.components=3")
    try:
        parsed = tomllib.loads(f"value = {raw}")
        if len(parsed) != 1:
            raise InputError(f"{option} {key}: give one value")
        value = parsed["value"]
    except (ValueError, RecursionError):
        if not _BARE_WORD.fullmatch(raw):
            raise InputError(
                f"{option} {one_line(setting, VALUE)}: {shown(raw)} is not a TOML value; quote text"
            ) from None
        value = raw
    return key, value


def set_key(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Override one value of a config, in place; missing tables on its path are made.

    Args:
        values: the config.
        key: the path of the value, such as `model.components`.
        value: the new value.
        where: the beginning of the message of an error.

    Raises:
        InputError: the path leads through a value that is not a table.
    """
    *parents, last = key.split(".")
    table = values
    for depth, parent in enumerate(parents):
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise InputError(f"{where}: {'.'.join(parents[: depth + 1])} is a value, not a table")
    table[last] = value


# Tags that pydantic puts into the path of an error, which the user did not write.
_TAGGED: dict[str, Mapping[str, type[BaseModel]]] = {"prior": PRIORS, "starts": STARTS}


def explain(error: Any, root: type[BaseModel]) -> str:
    """One validation error as `key.path: what is wrong, got what, what is allowed`.

    Args:
        error: one of pydantic's `errors()`.
        root: the config class that the whole file is read into.
    """
    location = [str(part) for part in error["loc"]]
    model, path = _locate(location, root)
    key = ".".join(one_line(part, VALUE) for part in path)
    if error["type"] == "extra_forbidden" and len(path) == 1:
        model, tables = root, {name: innermost(root, [name]) for name in root.model_fields}
        within = [name for name, table in tables.items() if table is not root and path[0] in table.model_fields]
        if within:
            return f"{key}: unknown key (did you mean {within[0]}.{path[0]}?)"
    fields = sorted(model.model_fields) if model is not None else []
    return explain_value(error, key, fields, _tags(path))


def _tags(path: list[str]) -> list[str]:
    return list(METHODS if "methods" in path[:1] else _TAGGED.get(path[-1] if path else "", METHODS))


def _locate(location: list[str], root: type[BaseModel]) -> tuple[type[BaseModel] | None, list[str]]:
    """The config class that an error lies in, and its path without tags."""
    match location:
        case ["subjects", index, *rest] if rest:
            (subject, *_) = get_args(root.model_fields["subjects"].annotation)
            model, path = _locate(rest, subject)
            return model, ["subjects", index, *path]
        case [("prior" | "starts") as section, tag, *rest] if tag in _TAGGED[section]:
            return _TAGGED[section][tag], [section, *rest]
        case ["methods", name, _, "of", tag, *rest] if tag in METHODS:
            return innermost(METHODS[tag], rest[:-1]), ["methods", name, "of", *rest]
        case ["methods", name, tag, *rest] if tag in METHODS:
            return innermost(METHODS[tag], rest[:-1]), ["methods", name, *rest]
        case ["data", "simulate", *_]:
            return SimulateConfig, location
        case ["data", *_]:
            return DataConfig, location
        case ["model", "fixed", _, *rest] if rest:
            return Fixed, location
        case ["model", *_]:
            return ModelConfig, location
        case ["soundness", *_]:
            return Soundness, location
        case ["run", *_]:
            return RunConfig, location
        case _:
            return root, location
