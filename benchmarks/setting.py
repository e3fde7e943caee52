"""Where and with what a figure was measured, in words, and how the rows of a benchmark are written."""

import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from threadpoolctl import threadpool_info

PACKAGES = (
    "workbench", "jax", "numpyro", "numpy", "scipy", "scikit-learn", "gmmx", "pomegranate", "torch", "pymc", "nutpie",
)  # fmt: skip
# Set by some images for old NumPys; both slow the matrix products of a current one.
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def machine() -> str:
    """The machine in words."""
    words = [f"{len(os.sched_getaffinity(0))} cores of {_processor()}", f"{_gibibytes():.0f} GiB of memory"]
    if jax.default_backend() != "cpu":
        words.append(f"{jax.device_count()} x {jax.devices()[0].device_kind}")
    return ", ".join([*words, f"{platform.system()}, Python {platform.python_version()}"])


def blas() -> str:
    """The kernel that NumPy's matrix products run on; NumPy must have been imported."""
    kernels = [f"{i['internal_api']} {i['version']} ({i.get('architecture', 'unknown')})" for i in threadpool_info()]
    slowed = [f"{name} is set: `env -u {name}` is faster" for name in SLOWING if name in os.environ]
    return "; ".join([*dict.fromkeys(k for k in kernels if "blas" in k or "mkl" in k), *slowed])


def versions() -> dict[str, str]:
    """Of what is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write(path: Path, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """Rows as a JSON list, one to a line, and beside them `NAME.setting.json` with date, machine, versions, command."""
    about = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "blas": blas(),
        "load": os.getloadavg()[2],
        "versions": versions(),
        "command": shlex.join(["python", *_relative(sys.argv)]),
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n", encoding="utf-8")
    setting_of(path).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def setting_of(path: Path) -> Path:
    """Where the setting of a file of rows lies."""
    return path.with_suffix(".setting.json")


def _relative(command: Sequence[str]) -> list[str]:
    here = Path.cwd()
    return [str(Path(word).relative_to(here)) if Path(word).is_relative_to(here) else word for word in command]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gibibytes() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
