"""Hosts: processes that run one program side by side, what the first tells the others, and their end if one is lost.

Every host runs the same Python on the same input; only the rows are shared out. Passes meet in a sum, so all hosts must
take the same decisions. What a host could see otherwise than the others (a clock, a file) the first one tells them, and
it alone writes and prints.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from workbench.errors import InputError

T = TypeVar("T")

# Exit status of a host that cannot go on because another is gone.
LOST = 3

# Seconds without a sign of life after which a host counts as lost, as JAX has it. A busy machine can hold one up for
# longer than 30; one whose connection closes is noticed at once.
HEARTBEAT = 100
# Seconds that hosts wait for each other at the start, and for the first to finish writing at the end.
MEETING = 300

# What a collective operation raises when a host is gone, and what fails on one host alone.
_FAILURES = (jax.errors.JaxRuntimeError, MemoryError, OSError)

_ADVICE = (
    "a host was lost or failed, and the others cannot go on without it; finished runs are kept, and the same command "
    "on every host goes on from the last checkpoint"
)

# Set for the process that a supervisor started.
_SUPERVISED = "WORKBENCH_SUPERVISED"

# Bytes of a message that the first host tells the others.
_MESSAGE = 2048


def several() -> bool:
    """Whether more than one host takes part."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def leads() -> bool:
    """Whether this is the first host, which writes and prints; so is one that is alone."""
    return not several() or jax.process_index() == 0


def from_first_host(value: T) -> T:
    """A pytree of numbers and arrays as the first host has it; every host must call this, with equal shapes."""
    return multihost_utils.broadcast_one_to_all(value) if several() else value


def by_the_first(act: Callable[[], None]) -> None:
    """Let the first host alone do something.

    Raises:
        InputError: that of the first host, on every host.
    """
    if not several():
        act()
        return
    message = b""
    if leads():
        try:
            act()
        except InputError as error:
            message = str(error).encode()[:_MESSAGE]
    heard = bytes(from_first_host(np.frombuffer(message.ljust(_MESSAGE), np.uint8))).rstrip()
    if heard:
        raise InputError(heard.decode(errors="replace"))


@contextmanager
def folder_of_the_first(folder: Path) -> Iterator[Path]:
    """The folder on the first host, and on the others one whose content is thrown away.

    What is drawn takes passes, so every host draws it.
    """
    if leads():
        yield folder
    else:
        with tempfile.TemporaryDirectory() as thrown_away:
            yield Path(thrown_away)


@contextmanager
def joined(hosts: int) -> Iterator[None]:
    """Join so many hosts before JAX begins. A host that is lost ends the process with a message and status `LOST`.

    They find each other as JAX does: under SLURM, Open MPI or on a TPU by themselves, elsewhere by
    `JAX_COORDINATOR_ADDRESS` (host:port of the first) and `JAX_PROCESS_ID` (0 to hosts - 1).

    Raises:
        InputError: nothing says where they meet, or a number is wrong.
    """
    if hosts == 1:
        yield
        return
    try:
        _join(hosts)
        yield
    except _FAILURES as error:
        # At once: an orderly exit would wait for the one that is gone.
        reason = (str(error).strip().splitlines() or [""])[0]
        print(f"Error: {_ADVICE} ({type(error).__name__}: {reason})", file=sys.stderr, flush=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(LOST)


def is_supervised() -> bool:
    """Whether a supervisor started this process."""
    return _SUPERVISED in os.environ


def supervise(arguments: Sequence[str]) -> int:
    """Run the command line in a process of its own, and say so if it is aborted. Returns its exit status.

    JAX aborts a process that has lost its coordinator, without a chance for Python to say what that means.
    """
    command = [sys.executable, "-m", "workbench", *arguments]
    # Asked to end, it goes at once, and the process with it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # The pipe tells the process when its supervisor is gone.
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | {_SUPERVISED: "1"}) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            # The process was interrupted as well.
            status = process.wait()
    if status >= 0:
        return status
    print(f"Error: {_ADVICE} (signal {-status})", file=sys.stderr, flush=True)
    return LOST


def _join(hosts: int) -> None:
    if is_supervised():
        threading.Thread(target=_end_with_supervisor, daemon=True).start()
    given = os.environ.get("JAX_PROCESS_ID")
    if given is not None and not (given.isdecimal() and int(given) < hosts):
        raise InputError(f"JAX_PROCESS_ID: must be 0 to {hosts - 1} for run.hosts = {hosts}, got {given!r}")
    try:
        jax.distributed.initialize(
            num_processes=hosts,
            process_id=None if given is None else int(given),
            initialization_timeout=MEETING,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=MEETING,
        )
    except ValueError as error:
        raise InputError(
            f"run.hosts: {hosts} hosts cannot meet ({error}); start them under SLURM, Open MPI or on a TPU, or set "
            f"JAX_COORDINATOR_ADDRESS=host:port of the first and JAX_PROCESS_ID=0 to {hosts - 1}"
        ) from None
    with _silent_output():
        # The first meeting, which gloo announces on standard output.
        from_first_host(0)


@contextmanager
def _silent_output() -> Iterator[None]:
    """Nothing reaches standard output, not even from outside Python."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _end_with_supervisor() -> None:
    """Wait until the supervisor is gone, however it went, and go as well."""
    # Not by `sys.stdin`, whose lock a thread must not hold when the interpreter ends.
    while os.read(0, 1):
        pass
    os._exit(LOST)
