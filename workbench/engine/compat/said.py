"""Descriptions of the static values on which a compiled program depends, so that another process can find it."""

import hashlib
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from pydantic import BaseModel

# Classes of these packages are known by their names: a digest covers the code of this one, and versions that of others.
KNOWN = (__name__.split(".")[0], "builtins", "collections", "jax", "jaxlib", "numpy", "numpyro", "optax")


class UnsaidError(Exception):
    """A value has no description that says all that a program may depend on."""


def digest_of(value: Any) -> str:
    """A digest of bytes, or of the `repr` of anything else."""
    return hashlib.sha256(value if isinstance(value, bytes) else repr(value).encode()).hexdigest()


def said(value: Any) -> Any:
    """A description, as nested tuples with a faithful `repr`, of a value on which a program depends.

    Raises:
        UnsaidError: the value is of a kind that may depend on more than its description would say.
    """
    match value:
        case None | bool() | int() | float() | str() | bytes():
            return type(value).__name__, value
        case Enum():
            return _home(type(value)), value.name
        case type():
            return _home(value)
        case np.dtype():
            return str(value)
        case Mesh():
            return value.axis_names, said(value.axis_types), _ids(value.devices.flat), value.devices.shape
        case NamedSharding():
            return said(value.mesh), said(tuple(value.spec)), str(value.memory_kind)
        case SingleDeviceSharding():
            return _ids(value.device_set), str(value.memory_kind)
        case PartitionSpec():
            return said(tuple(value))
        case np.ndarray() if value.dtype != object:
            return str(value.dtype), value.shape, digest_of(value.tobytes())
        case BaseModel():
            held = {name: getattr(value, name) for name in type(value).model_fields}
            return _home(type(value)), said(held)
        case dict():
            return "dict", *((said(key), said(each)) for key, each in value.items())
        case tuple() | list():
            return _home(type(value)), *map(said, value)
        case frozenset() | set():
            return _home(type(value)), *sorted(map(repr, map(said, value)))
        case _ if is_dataclass(value):
            return _home(type(value)), *((field.name, said(getattr(value, field.name))) for field in fields(value))
    # An object of this package without a state, such as a covariance family.
    if type(value).__module__.split(".")[0] == KNOWN[0] and getattr(value, "__dict__", None) == {}:
        return _home(type(value))
    raise UnsaidError(f"{type(value)}")


def _home(of: type) -> str:
    """The name of a class whose code a digest or a version covers."""
    if of.__module__.split(".")[0] not in KNOWN:
        raise UnsaidError(f"{of}")
    return f"{of.__module__}.{of.__qualname__}"


def _ids(devices: Any) -> list[int]:
    """The numbers of devices, in order."""
    return [device.id for device in devices]
