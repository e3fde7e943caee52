"""The native code of the one pass on CPUs: C++ sources, how they are built (`build.py`), and the library they make.

`vector.h` has the vector types with exponential and logarithm; `mixture.h` what all forms of the pass share;
`triangular.h`, `diagonal.h` and `expanded.h` a form each; `families.h` says which form a covariance family takes;
`run.cc`, compiled once for each instruction set, goes over rows and mixtures; `handler.cc` is what JAX calls.
"""

import ctypes
import hashlib
import logging
import os
from functools import cache
from pathlib import Path

from workbench.kernel.build import FOLDER, LIBRARY, SEAL, digest

# Setting it to 0 (or false, no, off) leaves the native code out.
SWITCH = "WORKBENCH_NATIVE"

REMEDY = "`make setup` (or `pip install .`) builds it where there is a C++ compiler or the package ziglang"

_LOG = logging.getLogger("workbench")


@cache
def library() -> ctypes.CDLL | None:
    """The library, if it was built from the present sources and is not switched off; a warning says why it is not."""
    if is_switched_off():
        return None
    loaded = _loaded(FOLDER / LIBRARY)
    if isinstance(loaded, str):
        _LOG.warning("the native pass %s, so JAX's own serves, which is slower; %s", loaded, REMEDY)
        return None
    return loaded


def is_switched_off() -> bool:
    """Whether the environment leaves the native code out, in the words that JAX reads for its own switches."""
    return os.environ.get(SWITCH, "").lower() in ("0", "n", "no", "f", "false", "off")


def in_use() -> str:
    """Which code makes a pass on a CPU, as it stands in records: the digest of the native one, or `jax`."""
    return "jax" if library() is None else f"native {digest()[:12]}"


def instructions() -> str:
    """The instruction set for which the native code was chosen here, in words."""
    loaded = library()
    return "" if loaded is None else {64: "AVX-512", 32: "AVX2"}.get(loaded.workbench_register_bytes(), "128-bit")


def _loaded(file: Path) -> ctypes.CDLL | str:
    """The library in a file, or what is wrong with it."""
    if not file.is_file():
        return "is not built"
    try:
        if file.with_suffix(SEAL).read_text(errors="replace") != hashlib.sha256(file.read_bytes()).hexdigest():
            return "is damaged"
        loaded = ctypes.CDLL(str(file))
        loaded.workbench_sources.restype = ctypes.c_char_p
        made_from = loaded.workbench_sources().decode()
    except (OSError, AttributeError) as error:
        return f"cannot be loaded ({error})"
    return loaded if made_from == digest() else "was built from other sources"
