"""The commands that say what something is: a method, prior, rule of starts, study or data set, or this machine."""

import importlib.util
import inspect
import platform
import textwrap
from collections.abc import Mapping
from typing import Any

import click
import jax
from pydantic import BaseModel

from workbench.cli.group import cli
from workbench.data import dataset_names, load_dataset
from workbench.data.names import unknown_name
from workbench.engine.devices import num_cores
from workbench.errors import InputError
from workbench.kernel import REMEDY, SWITCH, instructions, is_switched_off, library
from workbench.methods import METHODS
from workbench.mixture import COVARIANCES, PRIORS
from workbench.provenance import version_of
from workbench.starts import STARTS
from workbench.studies import STUDIES
from workbench.table import Table

# What can be described, by its kind; the tag of a kind is the key that names it in a config.
KINDS: Mapping[str, tuple[Mapping[str, type[BaseModel]], str]] = {
    "method": (METHODS, "method"),
    "prior": (PRIORS, "family"),
    "rule of starts": (STARTS, "rule"),
    "study": (STUDIES, "study"),
}

WIDTH = 100

# What `doctor` names: the packages that numbers depend on, and the extras, each with a module that only it brings.
PACKAGES = ("jax", "jaxlib", "numpyro", "numpy", "scipy")
EXTRAS = {
    "parquet": "pyarrow",
    "excel": "openpyxl",
    "results": "duckdb",
    "dask": "distributed",
    "slurm": "submitit",
    "arviz": "arviz",
    "sklearn": "sklearn",
}


@cli.command()
@click.argument("name")
def describe(name: str) -> None:
    """Say what a method, prior, rule of starts, study, covariance family or data set is, and what its keys mean.

    `workbench list` shows all names.
    """
    found = [_config(kind, registry[name], tag) for kind, (registry, tag) in KINDS.items() if name in registry]
    if name in COVARIANCES:
        found.append(f"{name}, a covariance family\n\n{_words(COVARIANCES[name])}")
    if name in dataset_names():
        data = load_dataset(name)
        about = f"{len(data.x):,} rows; columns: {', '.join(data.columns)}; units: {data.units}"
        found.append("\n\n".join(filter(None, [f"{name}, a data set", about, data.source, data.notes])))
    if not found:
        known = [*(each for registry, _ in KINDS.values() for each in registry), *COVARIANCES, *dataset_names()]
        raise InputError(unknown_name("name", name, sorted(set(known))))
    click.echo("\n\n".join(found))


def _config(kind: str, config: type[BaseModel], tag: str) -> str:
    """The words of a config class and a table of its keys."""
    schema = config.model_json_schema()
    keys = [(key, *_of_key(value, key in schema.get("required", ()))) for key, value in schema["properties"].items()]
    lines = [line for line in keys if line[0] != tag]
    table = Table.of_lines(
        ("key", "default", "allowed", "meaning"), lines, words=("key", "default", "allowed", "meaning")
    )
    name = schema["properties"][tag]["default"]
    return f"{name}, a {kind}\n\n{_words(config)}\n\n{table.text(WIDTH) if lines else 'It has no keys.'}"


def _of_key(value: Mapping[str, Any], required: bool) -> tuple[str, str, str]:
    """Default, allowed values and meaning of a key, from its JSON schema."""
    default = "to be given" if required else _shown(value.get("default"))
    return default, _allowed(value), str(value.get("description", ""))


def _allowed(value: Mapping[str, Any]) -> str:
    """The allowed values of a key in words."""
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_allowed(each) for each in value["anyOf"] if each.get("type") != "null"))
    if "enum" in value:
        return ", ".join(map(str, value["enum"]))
    kind = {"integer": "whole number", "boolean": "true, false", "array": "list", "object": "table", "string": "text"}
    text = kind.get(str(value.get("type")), "table" if "$ref" in value else str(value.get("type", "any")))
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    limits = [f"{word} {value[key]:g}" for key, word in bounds.items() if key in value]
    return ", ".join([text, *limits])


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)


def _words(thing: object) -> str:
    """The docstring, wrapped."""
    documented = thing if isinstance(thing, type) else type(thing)
    paragraphs = inspect.cleandoc(documented.__doc__ or "").split("\n\n")
    # Lists and tables keep their lines.
    return "\n\n".join(p if p.startswith(("-", "|", " ")) else textwrap.fill(p, WIDTH) for p in paragraphs)


@cli.command()
def doctor() -> None:
    """Say what computes here: versions, processor, which pass over the rows is in use, and where programs are kept."""
    device = jax.devices()[0]
    kept = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]  # set by JAX at import
    found = {
        "workbench": f"{version_of('workbench')}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {version_of(name)}" for name in PACKAGES),
        "processor": f"{device.platform} ({device.device_kind}), {num_cores()} cores",
        "pass": _pass_in_use(device.platform),
        "kept programs": str(kept) if kept else "none: the cache is off, or its folder cannot be written to",
        "extras": ", ".join(name for name, module in EXTRAS.items() if importlib.util.find_spec(module)) or "none",
    }
    width = max(len(name) for name in found)
    for name, words in found.items():
        click.echo(f"{name:<{width}}  {words}")


def _pass_in_use(platform_name: str) -> str:
    if platform_name != "cpu":
        return "JAX's; the native one is for CPUs"
    if library() is not None:
        return f"native, for {instructions()}; float64 and float32 ({SWITCH}=0 leaves it out)"
    return f"JAX's: {SWITCH} switches the native one off" if is_switched_off() else f"JAX's, which is slower; {REMEDY}"
