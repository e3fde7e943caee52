"""Hosts: processes that run one program side by side, broadcasts from the first one, and the loss of a host.

Every host runs the same Python code on the same input; only the rows are divided among them. Each pass ends in a sum
over hosts, so all hosts must take the same decisions. Whatever may differ between hosts (a clock, a file) is therefore
broadcast from the first host, and only that one writes and prints.
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

# Exit status of a host that cannot continue because another one is lost.
LOST = 3

# Seconds without a heartbeat after which a host counts as lost; JAX's default. On a busy machine a host can be delayed
# for more than 30 seconds. A closed connection is noticed at once.
HEARTBEAT = 100
# Seconds that hosts wait for each other at the start, and for the first to finish writing at the end.
MEETING = 300

# Exceptions that a collective operation raises when a host is lost, and those that can occur on one host alone.
_FAILURES = (jax.errors.JaxRuntimeError, MemoryError, OSError)

_ADVICE = (
    "a host was lost or failed, and the others cannot go on without it; finished runs are kept, and the same command "
    "on every host goes on from the last checkpoint"
)

# Environment variable set for a process that a supervisor started.
_SUPERVISED = "WORKBENCH_SUPERVISED"

# Length in bytes of the error message that the first host broadcasts.
_MESSAGE = 2048


def several() -> bool:
    """Whether more than one host takes part."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def leads() -> bool:
    """Whether this is the first host, which writes and prints. True for a single host."""
    return not several() or jax.process_index() == 0


def from_first_host(value: T) -> T:
    """Broadcast a pytree of numbers and arrays from the first host; every host must call this, with equal shapes."""
    return multihost_utils.broadcast_one_to_all(value) if several() else value


def on_first_host(act: Callable[[], None]) -> None:
    """Call a function on the first host only.

    Raises:
        InputError: the function raised one on the first host; it is raised on every host.
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
    received = bytes(from_first_host(np.frombuffer(message.ljust(_MESSAGE), np.uint8))).rstrip()
    if received:
        raise InputError(received.decode(errors="replace"))


@contextmanager
def folder_on_first_host(folder: Path) -> Iterator[Path]:
    """Yield the folder on the first host, and a temporary folder on the others.

    Figures need passes over the rows, so every host has to draw them.
    """
    if leads():
        yield folder
    else:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)


@contextmanager
def joined(hosts: int) -> Iterator[None]:
    """Connect to the other hosts before JAX starts. If a host is lost, the process exits with a message and `LOST`.

    Hosts find each other as JAX does: automatically under SLURM, Open MPI or on a TPU, elsewhere through
    `JAX_COORDINATOR_ADDRESS` (host:port of the first) and `JAX_PROCESS_ID` (0 to hosts - 1).

    Raises:
        InputError: the address of the first host is not known, or a process number is out of range.
    """
    if hosts == 1:
        yield
        return
    try:
        _join(hosts)
        yield
    except _FAILURES as error:
        # `os._exit`, because an orderly exit would wait for the lost host.
        reason = (str(error).strip().splitlines() or [""])[0]
        print(f"Error: {_ADVICE} ({type(error).__name__}: {reason})", file=sys.stderr, flush=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(LOST)


def is_supervised() -> bool:
    """Whether a supervisor started this process."""
    return _SUPERVISED in os.environ


def supervise(arguments: Sequence[str]) -> int:
    """Run the command line in a child process, and print a message if it is aborted. Returns its exit status.

    JAX aborts a process that has lost its coordinator, and Python has no chance to explain it.
    """
    command = [sys.executable, "-m", "workbench", *arguments]
    # SIGTERM ends the supervisor at once, and the child ends with it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # The pipe closes when the supervisor ends, which the child notices.
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | {_SUPERVISED: "1"}) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            # The child has received the interrupt as well.
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
        # The first collective operation, which gloo announces on standard output.
        from_first_host(0)


@contextmanager
def _silent_output() -> Iterator[None]:
    """Discard standard output, including what code outside Python writes."""
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
    """Wait until the supervisor has ended for whatever reason, then exit."""
    # `os.read` rather than `sys.stdin`, whose lock a thread must not hold when the interpreter ends.
    while os.read(0, 1):
        pass
    os._exit(LOST)
