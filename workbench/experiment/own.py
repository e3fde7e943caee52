"""A user's own methods that a config names. They are imported only where the user runs the config."""

import importlib
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from workbench.errors import VALUE, InputError, cut, one_line, shown
from workbench.methods import METHODS, Method, home_of, own_methods, register

# The key of a method's table that names its class.
CLASS = "class"


def import_methods(values: Mapping[str, Any], folder: Path) -> None:
    """Import and register the classes that the methods of a config name. This executes the code of their modules.

    Python looks for a module on its path and then in the config's folder, where workers find it too.

    Args:
        values: the TOML values of a config.
        folder: the folder of the config.

    Raises:
        InputError: there is no such module or class, or it is not a method.
    """
    methods = values.get("methods")
    for name, table in methods.items() if isinstance(methods, Mapping) else ():
        if isinstance(table, Mapping) and CLASS in table:
            try:
                import_method(table[CLASS], folder)
            except InputError as error:
                raise InputError(f"methods.{name}.{CLASS}: {error}") from None


def import_method(home: Any, folder: Path) -> type[Method]:
    """Import and register one class. This executes the code of its module.

    Raises:
        InputError: there is no such module or class, or it is not a method.
    """
    module, _, qualified = home.partition(":") if isinstance(home, str) else ("", "", "")
    if not all(part.isidentifier() for part in f"{module}.{qualified}".split(".")):
        raise InputError(f'{shown(home)} is no class; give module and class, as "my_module:Mine"')
    own = str(folder.resolve())
    if own not in sys.path:
        sys.path.append(own)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0] and error.name != module:
            raise InputError(f"module {module} needs the module {shown(error.name)}, which is absent") from None
        raise InputError(f"no module {shown(module)} in {own}, nor where PYTHONPATH points") from None
    except SystemExit as error:
        raise InputError(f"module {module} ends the process as it is imported (status {error.code})") from None
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(
            f"module {module} cannot be imported: {type(error).__name__}: {one_line(str(error), 200)} "
            f"({place.filename}, line {place.lineno})"
        ) from error
    for part in qualified.split("."):
        try:
            found = getattr(found, part)
        except Exception as error:
            raise InputError(f"module {module} has no {shown(qualified)} ({one_line(str(error), 200)})") from None
    if isinstance(found, type) and issubclass(found, Method) and found in METHODS.values() and not _is_own(found):
        name = found.model_fields["method"].default
        raise InputError(f'{home_of(found)} is a method of the package; write method = "{name}" in place of class')
    return register(found)


def validate_own(value: Any, handler: Any) -> Any:
    """Validate a method by the user's class that its table names or registered, and any other by the handler.

    Raises:
        ValueError: the class that the table names is not registered; it is not imported here.
    """
    if isinstance(value, Method):
        return value if _is_own(type(value)) else handler(value)
    if not isinstance(value, Mapping):
        return handler(value)
    name = value.get("method")
    kind = _registered(value[CLASS]) if CLASS in value else METHODS.get(name) if isinstance(name, str) else None
    if kind is None or (CLASS not in value and not _is_own(kind)):
        return handler(value)
    return _validated(kind, {key: inner for key, inner in value.items() if key != CLASS})


def with_classes(methods: Mapping[str, Method], handler: Any) -> dict[str, Any]:
    """Methods as tables; the table of a user's own method names its class."""
    dumped: dict[str, Any] = handler(methods)
    return {
        name: table | ({CLASS: home_of(type(methods[name]))} if _is_own(type(methods[name])) else {})
        for name, table in dumped.items()
    }


def _is_own(kind: type[Method]) -> bool:
    return kind in own_methods()


def _registered(home: Any) -> type[Method]:
    for kind in METHODS.values():
        if home_of(kind) == home:
            return kind
    raise ValueError(
        f"{shown(home)} is code of a user's own that is not imported; running its config imports it, "
        f"`workbench --import {cut(str(home), VALUE)} COMMAND ...` does for other commands, and "
        "workbench.methods.register in Python"
    )


def _validated(kind: type[Method], table: dict[str, Any]) -> Method:
    """The method in a table; the location of an error begins with the method's name, as for other methods."""
    name = kind.model_fields["method"].default
    try:
        return kind.model_validate({"method": name, **table})
    except ValidationError as error:
        details = [
            InitErrorDetails(type=each["type"], loc=(name, *each["loc"]), input=each["input"], ctx=each.get("ctx", {}))
            for each in error.errors()
        ]
        raise ValidationError.from_exception_data(kind.__name__, details) from None
