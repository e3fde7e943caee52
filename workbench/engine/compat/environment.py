"""Sets aside what the environment says to JAX and JAX cannot read, before JAX is imported.

JAX reads its variables as it is imported and XLA as it begins: a value that either cannot read ends in a traceback
from deep inside, or an abort, wherever the package is imported first. Such a variable is taken out of the environment,
and `devices.check_environment` tells of it before anything is computed. Unknown flags in XLA_FLAGS cannot be told from
those of another version of XLA, and remain XLA's to report.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def unreadable(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that JAX or XLA cannot read, and what they should be."""
    return {name: right for name, (reads, right) in _READERS.items() if not reads(environment.get(name))}


def _is_truth(text: str | None) -> bool:
    return text is None or text.lower() in _TRUTHS


def _is_number(kind: type[int] | type[float], least: float) -> Callable[[str | None], bool]:
    def reads(text: str | None) -> bool:
        try:
            return text is None or kind(text) >= least
        except ValueError:
            return False

    return reads


def _are_flags(text: str | None) -> bool:
    """Whether XLA finds flags: what does not begin with a dash is the name of a file of them."""
    first = (text or "").split()[:1]
    return not first or first[0].startswith("-") or Path(first[0]).is_file()


# As `jax.config` reads truth.
_TRUTHS = ("y", "yes", "t", "true", "on", "1", "n", "no", "f", "false", "off", "0")
_TRUTH = (_is_truth, "true or false")

_READERS: dict[str, tuple[Callable[[str | None], bool], str]] = {
    "JAX_NUM_CPU_DEVICES": (_is_number(int, 1), "a whole number of at least 1"),
    "JAX_ENABLE_X64": _TRUTH,
    "JAX_ENABLE_COMPILATION_CACHE": _TRUTH,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": (_is_number(float, 0), "a number of seconds"),
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": (_is_number(int, -1), "a whole number of bytes, or -1"),
    "JAX_DEBUG_NANS": _TRUTH,
    "JAX_DISABLE_JIT": _TRUTH,
    "XLA_FLAGS": (_are_flags, "flags that begin with --, or a file of them"),
}

# Name, and what was said and should be said, of each variable that was set aside.
SET_ASIDE: dict[str, tuple[str, str]] = {}

if "jax" not in sys.modules:
    for _name, _right in unreadable(os.environ).items():
        SET_ASIDE[_name] = (os.environ.pop(_name), _right)
