"""The environment of JAX and XLA, prepared before JAX is imported: what it cannot read is removed, and XLA is silent.

JAX reads its variables when it is imported, and XLA when it starts. A value that they cannot read ends in an abort or
in a traceback from deep inside, wherever the package is first imported. Such a variable is removed from the
environment, and `devices.check_environment` reports it before anything is computed. Unknown flags in XLA_FLAGS cannot
be distinguished from those of another version of XLA; XLA reports them itself.

When XLA reads a program from the persistent cache, it logs as an error that the program was compiled for "features"
that the machine lacks (+prefer-no-gather). These are hints to its own compiler, and the message appears even on the
machine that compiled the program: two long lines each, besides a warning. Programs of other processors are kept in
another folder (`compilation.py`), so no valid warning is hidden.

XLA reads TF_CPP_MIN_LOG_LEVEL once, when it is loaded. After that only JAX's setting changes XLA's level; it also
silences JAX's messages in Python, which must then be enabled again. JAX sets the variable to 1, so a process started
from a notebook or script that uses JAX inherits that value; here 1 counts as unset. Any other value, and a level that
the user has set in JAX, take precedence.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def unreadable(environment: Mapping[str, str]) -> dict[str, str]:
    """Names of the variables that JAX or XLA cannot read, each with a description of a valid value."""
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
    """Whether XLA can read its flags: text that does not begin with a dash must name a file of flags."""
    first = (text or "").split()[:1]
    return not first or first[0].startswith("-") or Path(first[0]).is_file()


# The strings that `jax.config` accepts as booleans.
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
    "WORKBENCH_NATIVE": _TRUTH,
    "XLA_FLAGS": (_are_flags, "flags that begin with --, or a file of them"),
}

# The variables that were removed: name to (value, description of a valid value).
SET_ASIDE: dict[str, tuple[str, str]] = {}

if "jax" not in sys.modules:
    for _name, _right in unreadable(os.environ).items():
        SET_ASIDE[_name] = (os.environ.pop(_name), _right)


if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # fatal errors only
    if "jax" in sys.modules:
        import jax

        if logging.getLogger("jax").level == logging.NOTSET:
            jax.config.update("jax_logging_level", "CRITICAL")
            # This resets JAX's Python loggers only; the level of XLA stays.
            jax.config.update("jax_logging_level", "NOTSET")
