"""A sweep: one experiment under many settings of some of its keys, and the words that tell experiments apart."""

import copy
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from workbench.config import Config
from workbench.errors import InputError, one_line, shown, typed
from workbench.experiment.config import Experiment
from workbench.experiment.reading import explain, parse_experiment, parse_setting, read_toml, set_key

# Tables of which every key tells experiments apart; of others only keys that all of them have: what only some have
# depends on such a key (the family of the prior), or belongs to a method.
_WHOLE = ("data.", "model.")


def tell_apart(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each resolved experiment, the settings that differ between them, such as "seed = 3"; empty for a single one.

    Args:
        configs: TOML values, as `Experiment.resolved` returns them.
    """
    flat = [_flat(dict(config)) for config in configs]
    for own, config in zip(flat, configs, strict=True):
        own |= {"methods": list(config["methods"])} if isinstance(config.get("methods"), Mapping) else {}
    keys = sorted({key for one in flat for key in one})
    usable = [key for key in keys if key.startswith(_WHOLE) or all(key in one for one in flat)]
    differing = [key for key in usable if len({json.dumps(one.get(key)) for one in flat}) > 1]
    names = [", ".join(f"{key} = {_said(one[key])}" for key in differing if key in one) for one in flat]
    # Experiments that differ only in data or in a method's settings are numbered, oldest first.
    same = [[i for i, other in enumerate(names) if other == name] for name in names]
    return [
        ", ".join(filter(None, [name, f"{places.index(i) + 1} of {len(places)}" if len(places) > 1 else ""]))
        for i, (name, places) in enumerate(zip(names, same, strict=True))
    ]


def _said(value: Any) -> str:
    """A value in a name: a list as its items between spaces, so that commas part settings alone."""
    return one_line(" ".join(map(str, value)) if isinstance(value, list) else str(value), 60)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    pairs = [_flat(v, f"{prefix}.{k}" if prefix else k) for k, v in value.items()]
    return {key: v for part in pairs for key, v in part.items()}


Point = dict[str, Any]  # a value of each key that is swept, such as {"model.components": 3}

# The most experiments of a sweep; more are taken for a mistake.
MOST = 100_000


class SweepConfig(Config):
    """The table [sweep], which says which keys take which values. All combinations of its three parts are run."""

    grid: dict[str, Any] = Field({}, description="lists of values by key: every combination")
    zip: dict[str, Any] = Field({}, description="lists of values by key, all as long: the first of each, and so on")
    cells: list[dict[str, Any]] = Field([], description="tables of one value for each key")

    def points(self) -> list[Point]:
        """Every setting of the keys, in order; the last key of the grid changes fastest.

        Raises:
            InputError: values are not lists, lists of `zip` differ in length, a key is swept twice, or there are no
                settings or too many.
        """
        grid, zipped = _lists(self.grid, "sweep.grid"), _lists(self.zip, "sweep.zip")
        lengths = {key: len(values) for key, values in zipped.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{key} {length}" for key, length in lengths.items())
            raise InputError(f"sweep.zip: lists must be of one length, got {said}")
        cells = [dict(_leaves(cell)) for cell in self.cells]
        twice = sorted(
            (set(grid) & set(zipped)) | {key for cell in cells for key in cell if key in grid or key in zipped}
        )
        if twice:
            raise InputError(f"sweep: {typed(twice)}: swept twice; name each key in one place")
        count = 1
        for length in [len(values) for values in grid.values()] + list(lengths.values())[:1] + [len(cells) or 1]:
            count *= length
        if count > MOST:
            raise InputError(f"sweep: {count:,} experiments; give at most {MOST:,}")
        rows = [dict(zip(zipped, each, strict=True)) for each in zip(*zipped.values(), strict=True)] if zipped else [{}]
        found = [
            dict(zip(grid, values, strict=True)) | row | cell
            for values in itertools.product(*grid.values())
            for row in rows
            for cell in cells or [{}]
        ]
        if not any(found):
            raise InputError("sweep: nothing is swept; give a list by key, as [sweep.grid] with seed = [0, 1, 2]")
        return found


class SweptExperiment(NamedTuple):
    """One experiment of a sweep."""

    point: Point
    experiment: Experiment


def is_sweep(path: Path | str) -> bool:
    """Whether a TOML file holds a sweep, that is, a table [sweep].

    Raises:
        InputError: the file cannot be read, or is not TOML.
    """
    return "sweep" in read_toml(path)


def read_sweep(path: Path | str, settings: Iterable[str] = (), swept: Iterable[str] = ()) -> dict[str, Any]:
    """The TOML values of a file with its sweep.

    Args:
        path: a TOML file of an experiment, with or without a table [sweep].
        settings: `key.path=value` settings that override it.
        swept: `key.path=[values]` settings, which add keys to the grid.

    Raises:
        InputError: the file cannot be read, or an option is not of that form.
    """
    values = read_toml(path, settings)
    table = values.setdefault("sweep", {})
    if not isinstance(table, dict):
        raise InputError(f"{path}: sweep: must be a table, got {shown(table)}")
    for setting in swept:
        key, listed = parse_setting(setting, "--sweep")
        if not isinstance(listed, list):
            raise InputError(f"--sweep {key}: give a list of values, as --sweep {key}=[1, 2, 3]")
        grid = table.setdefault("grid", {})
        if isinstance(grid, dict):
            grid[key] = listed
    return values


def parse_sweep(values: Mapping[str, Any], where: str) -> list[SweptExperiment]:
    """The experiments of a mapping with a table `sweep`, in order; `where` names it in messages.

    Raises:
        InputError: one of them is not a valid experiment; each mistake is named once.
    """
    try:
        points = SweepConfig.model_validate(values["sweep"]).points()
    except ValidationError as error:
        raise InputError("\n".join(f"{where}: sweep.{explain(e, SweepConfig)}" for e in error.errors())) from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    base = {key: value for key, value in values.items() if key != "sweep"}
    found, problems = [], dict[str, None]()
    for point in points:
        own = copy.deepcopy(base)
        try:
            for key, value in point.items():
                set_key(own, key, copy.deepcopy(value), f"{where}: sweep")
            found.append(SweptExperiment(point, parse_experiment(own, where)))
        except InputError as error:
            problems |= dict.fromkeys(str(error).split("\n"))
    if problems:
        raise InputError("\n".join(problems))
    return found


def named_point(point: Point) -> str:
    """A setting in words."""
    return ", ".join(f"{key} = {shown(value, 40)}" for key, value in point.items())


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """The values of nested tables by their whole keys."""
    for key, value in table.items():
        whole = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            yield from _leaves(value, whole)
        else:
            yield whole, value


def _lists(table: Mapping[str, Any], where: str) -> dict[str, list[Any]]:
    found = dict(_leaves(table))
    wrong = [key for key, values in found.items() if not isinstance(values, list) or not values]
    if wrong:
        raise InputError(f"{where}.{wrong[0]}: must be a list of values, got {shown(found[wrong[0]])}")
    return found
