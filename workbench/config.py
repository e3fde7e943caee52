"""The base class of all configs: frozen and strict, with one error message for all wrong values."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import jax
import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from workbench.display import call, page, words_of
from workbench.errors import MOST_WHOLE, VALUE, InputError, cut, nearest, shown
from workbench.table import Table

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    # The metaclass has no public name.
    ModelMetaclass = type(BaseModel)


class _Refusing(ModelMetaclass):
    """Turns pydantic's errors into one `InputError` when a config is constructed in Python.

    A config inside another that is read from a mapping is not constructed by a call, so it keeps pydantic's own error,
    to which the reader of the mapping adds the position of the value.
    """

    def __call__(cls, *args: Any, **values: Any) -> Any:
        model: Any = cls
        if args:
            # What only tells which config it is has one value.
            free = [name for name, field in model.model_fields.items() if get_origin(field.annotation) is not Literal]
            fields = ", ".join(f"{name}=..." for name in free) or "no values"
            raise InputError(f"{cls.__name__}: takes values by name, {fields}; got {shown(args[0])} without one")
        try:
            return super().__call__(**{name: _of_python(value) for name, value in values.items()})
        except ValidationError as error:
            messages = [f"{cls.__name__}: {_explained(each, model)}" for each in error.errors()]
            raise InputError("; ".join(messages)) from None


class Config(BaseModel, metaclass=_Refusing):
    """A frozen and strict config: unknown keys and wrong types are errors.

    Raises:
        InputError: a value is wrong; the message names the class, the field, the value and what is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="constants")

    def __repr__(self) -> str:
        """The keys that differ from their defaults, on one line."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        defaults = {name: f.get_default(call_default_factory=True) for name, f in type(self).model_fields.items()}
        return call(self, {name: value for name, value in values.items() if value != defaults[name]})

    def __str__(self) -> str:
        """The keys with their values and meanings."""
        return f"{type(self).__name__}\n{self._keys}" if self._keys.rows else type(self).__name__

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        return page(type(self).__name__, self._keys)

    @property
    def _keys(self) -> Table:
        """A row for each key but the one that names the class."""
        lines = [
            (name, words_of(getattr(self, name)), field.description)
            for name, field in type(self).model_fields.items()
            if get_origin(field.annotation) is not Literal or len(get_args(field.annotation)) > 1
        ]
        heads = ("key", "value", "meaning")
        return Table.of_lines(heads, lines, words=heads)


def _of_python(value: Any) -> Any:
    """A number of NumPy or JAX as Python's, and an array as lists."""
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        return value.tolist()
    if type(value) in (list, tuple):
        return type(value)(_of_python(each) for each in value)
    return value


# For fields that are tuples: lists, as read from TOML and JSON, become tuples, because frozen configs must be hashable.
Listed = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)

# Whole numbers of a config have bounds, so that no size computed from them overflows (`MOST_WHOLE`).
Whole = Annotated[int, Field(ge=1, le=MOST_WHOLE)]

# Starts and chains, of which each has a mixture of its own in memory.
MOST_RESTARTS = 1_000_000
Restarts = Annotated[int, Field(ge=1, le=MOST_RESTARTS)]

# Points are in memory once, so that there may be more of them; the simulator says whether they fit.
Points = Annotated[int, Field(ge=2, le=500_000_000)]

# Pydantic's names of types, and TOML's.
_PLAIN = {
    "a valid dictionary or object to extract fields from": "a table",
    "a valid dictionary": "a table",
    "a valid tuple": "an array",
}


def explain_value(error: Any, key: str, fields: Sequence[str], tags: Sequence[str] = ()) -> str:
    """Describe one of pydantic's `errors()` as `key: what is wrong, the value, what is allowed`.

    Args:
        error: the error.
        key: the key of the value, as the user wrote it.
        fields: names of the fields of the config that contains it.
        tags: allowed tags, if the value is one of a tagged union.
    """
    given = error.get("input")
    match error["type"]:
        case "extra_forbidden":
            wrong = key.rpartition(".")[2]
            near = nearest(wrong, fields)
            hint = f"did you mean {near}?" if near else f"allowed: {', '.join(sorted(fields))}"
            return f"{key}: unknown key ({hint})"
        case "missing":
            return f"{key}: missing; give a value"
        case "union_tag_not_found":
            tag = error["ctx"]["discriminator"].strip("'")
            return f"{key}.{tag}: missing; " + (f"allowed: {', '.join(tags)}" if tags else "give one")
        case "union_tag_invalid":
            tag, got = error["ctx"]["discriminator"].strip("'"), str(error["ctx"]["tag"])
            allowed = [each.strip(" '") for each in error["ctx"]["expected_tags"].split(",")]
            return f"{key}.{tag}: unknown {_unknown(got, allowed)}"
        case "literal_error":
            expected = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            return f"{key}: unknown {_unknown(given, expected)}"
        case "value_error":
            return f"{key}: {error['ctx']['error']}".removeprefix(": ")
        case _:
            message = error["msg"].removeprefix("Input ").replace("should", "must")
            for technical, plain in _PLAIN.items():
                message = message.replace(technical, plain)
            return f"{key}: {message}, got {shown(given)}"


def innermost(model: type[BaseModel], tables: list[str]) -> type[BaseModel]:
    """The config class into which the last of the nested tables is read."""
    for table in tables:
        field = model.model_fields.get(table)
        kinds = () if field is None else (field.annotation, *get_args(field.annotation))
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if len(inner) != 1:
            break
        (model,) = inner
    return model


def _explained(error: Any, model: type[BaseModel]) -> str:
    path = [str(part) for part in error["loc"]]
    return explain_value(
        error, ".".join(cut(part, VALUE) for part in path), list(innermost(model, path[:-1]).model_fields)
    )


def _unknown(got: object, allowed: list[str]) -> str:
    near = nearest(str(got), allowed)
    hint = f"did you mean {near!r}? " if near else ""
    return f"{shown(got)} ({hint}allowed: {', '.join(allowed)})"
