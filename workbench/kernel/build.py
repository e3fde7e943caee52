"""Builds the native pass: by the system's C++ compiler, or by the one in the package ziglang.

It needs nothing but Python and the headers of jaxlib, because it runs before the package is installed:

    python workbench/kernel/build.py
"""

import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
LIBRARY = "_pass.so"
# The file beside the library that holds its digest: to load a library that was cut short ends the process.
SEAL = ".sha256"

# Comments of C++, which change no number; nor do runs of blanks.
_COMMENT = re.compile(r"//[^\n]*")

# Seconds that one call of a compiler may take, on a machine with much other work.
_PATIENCE = 600


@cache
def digest() -> str:
    """A digest of the sources without comments and layout."""
    files = sorted(file for file in (*FOLDER.glob("*.h"), *FOLDER.glob("*.cc")) if file.is_file())
    texts = {file.name: file.read_text(encoding="utf-8", errors="replace") for file in files}
    words = [[name, *_COMMENT.sub("", text).split()] for name, text in texts.items()]
    return hashlib.sha256(repr(words).encode()).hexdigest()


def build(target: Path = FOLDER / LIBRARY) -> str | None:
    """Build the library, by the first compiler that can.

    Args:
        target: the file to write.

    Returns:
        Why it could not be built; None if it was.
    """
    headers = importlib.util.find_spec("jaxlib")
    if headers is None or not headers.submodule_search_locations:
        return "jaxlib is not installed, whose headers it needs"
    include = Path(headers.submodule_search_locations[0]) / "include"
    if sys.platform not in ("linux", "darwin"):
        return f"no compiler is known for {sys.platform}"
    reasons = []
    try:
        for compiler in _compilers():
            with tempfile.TemporaryDirectory() as folder:
                reason = _built_by(compiler, include, Path(folder), target)
            if reason is None:
                return None
            reasons.append(f"{shlex.join(compiler)}: {reason}")
    except (OSError, ValueError) as error:
        return f"{target.name} cannot be made: {error}"
    return "\n".join(reasons) or "there is no C++ compiler; install one, or the package ziglang"


def _compilers() -> Iterator[list[str]]:
    """The compilers to try: the one that CXX names, else the system's, else ziglang's."""
    if os.environ.get("CXX", "").strip():
        yield shlex.split(os.environ["CXX"])
        return
    yield from ([name] for name in ("g++", "c++", "clang++") if shutil.which(name))
    if importlib.util.find_spec("ziglang") is not None:
        yield [sys.executable, "-m", "ziglang", "c++"]


def _built_by(compiler: list[str], include: Path, folder: Path, target: Path) -> str | None:
    """Why a compiler fails; None where it succeeds."""
    is_zig = "ziglang" in compiler
    common = [*compiler, "-std=c++17", "-fPIC", "-w", "-fno-exceptions", "-fno-rtti"]
    sets = _instruction_sets(is_zig)
    calls = [
        [*common, "-O3", *flags, "-c", str(FOLDER / "run.cc"), "-o", str(folder / f"{name}.o")]
        for name, flags in sets.items()
    ]
    sources = f'-DWORKBENCH_SOURCES="{digest()}"'
    handler = str(folder / "handler.o")
    calls.append([*common, "-O2", sources, f"-I{include}", "-c", str(FOLDER / "handler.cc"), "-o", handler])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = [reason for reason in pool.map(_failure, calls) if reason is not None]
    if failures:
        return failures[0]
    # No function of the C++ library is called, so that none is built or linked.
    linker = [*compiler[:-1], "cc"] if is_zig else compiler
    made, objects = folder / LIBRARY, [str(folder / f"{name}.o") for name in sets]
    alone = ["-static-libgcc", "-static-libstdc++"] if sys.platform == "linux" and not is_zig else []
    failure = _failure([*linker, "-shared", *alone, *objects, handler, "-o", str(made)])
    if failure is None and not made.is_file():
        return "it ends without an error and without a library"
    if failure is None:
        _put(target, made.read_bytes())
        _put(target.with_suffix(SEAL), hashlib.sha256(made.read_bytes()).hexdigest().encode())
    return failure


def _put(target: Path, content: bytes) -> None:
    """Write a file whole or not at all; a process that has loaded the former library keeps it."""
    near = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        near.write_bytes(content)
        near.replace(target)
    finally:
        near.unlink(missing_ok=True)


def _instruction_sets(is_zig: bool) -> dict[str, list[str]]:
    """The instruction sets of this machine's kind of processor, each with its flags."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return {"plain": []}
    # Zig writes names of processors in its own way, and takes this machine's unless it is told.
    level = "x86_64_v{}" if is_zig else "x86-64-v{}"
    return {
        "avx512": [f"-march={level.format(4)}", "-mprefer-vector-width=512"],
        "avx2": [f"-march={level.format(3)}"],
        "plain": ["-march=x86_64" if is_zig else "-march=x86-64"],
    }


def _failure(call: Sequence[str]) -> str | None:
    """The first line of what a call of the compiler complains about; None if it succeeds."""
    try:
        done = subprocess.run(call, capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
    return None if done.returncode == 0 else (lines or [f"exit status {done.returncode}"])[0]


if __name__ == "__main__":
    sys.exit(build())
