"""Devices: how many JAX starts with, and which of them work on a problem.

XLA runs the programs of all devices of a CPU on one pool of as many threads as there are cores, or devices if these are
more. Two things wait on a thread of it: a device for the others, where shares of a sum are added up, and LAPACK's
singular values of a batch for their pieces, which only the same pool can compute. Where devices take all cores every
thread may come to wait, and nothing moves again. So the pool is made wider than what can wait at once; XLA takes its
width from the variable NPROC when it begins. Threads that wait for work cost nothing.
"""

import importlib
import os
import re
from contextlib import suppress

import jax
import numpy as np
import threadpoolctl
from jax.sharding import AxisType, Mesh

from workbench.engine.compat.environment import SET_ASIDE
from workbench.errors import LINE, InputError, cut, shown

# Threads of the pool that one device may come to hold up: a sum over devices, and singular values beside it.
# `tests/test_waiting.py` reads the compiled programs for how many each of them has.
WAITING = 2


def use_all_cores() -> int:
    """One JAX device for each core, so that passes over the data use all of them. Returns how many devices there are.

    A CPU is a single device to JAX, which runs most of a pass on one core. To be called before anything is computed:
    afterwards, and where the environment says how many devices there are, it changes nothing.
    """
    ask_for_devices(None)
    return jax.device_count()


def ask_for_devices(count: int | None) -> None:
    """Have JAX make so many devices of the CPU when it begins; one for each core unless given.

    Where JAX has begun, or the environment states their number, it changes nothing; `mesh_of` sees what came of it.
    """
    if _stated() is None:
        # JAX refuses once it has begun.
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", num_cores() if count is None else count)
    _widen_pool()
    if "OPENBLAS_NUM_THREADS" not in os.environ:
        _keep_lapack_to_one_thread()


def mesh_of(devices: int | None) -> Mesh | None:
    """The devices that work on a problem, along an axis named "rows"; None for a single one.

    Args:
        devices: how many, over all hosts; None for all there are, or as many as cannot wait for each other for ever.

    Raises:
        InputError: there are fewer devices, XLA's pool has too few threads for so many, or the environment says what
            JAX cannot read or have.
    """
    check_environment()
    _widen_pool()
    there = _devices()
    most = _most_devices(there)
    devices = most if devices is None else devices
    if not 1 <= devices <= len(there):
        raise InputError(
            f"devices: {devices} of {len(there)} {there[0].platform} devices; give 1 to {len(there)}, or start more "
            "(on a CPU, JAX_NUM_CPU_DEVICES sets their number)"
        )
    if jax.process_count() > 1 and devices < len(there):
        raise InputError(f"devices: {devices} of {len(there)}; several hosts share the rows over all their devices")
    if most < devices:
        raise InputError(
            f"devices: {devices} could wait for each other for ever on the {_num_threads(len(there))} threads of XLA's "
            f"pool; call use_all_cores() before JAX computes anything, set NPROC={_width(devices)}, or give {most}"
        )
    return None if devices == 1 else Mesh(np.asarray(there[:devices]), ("rows",), axis_types=(AxisType.Auto,))


def check_environment() -> None:
    """Refuse what the environment says to JAX and JAX cannot read.

    Raises:
        InputError: names every such variable, its value and what it should be.
    """
    if SET_ASIDE:
        told = [
            f"{name}: must be {right}, got {shown(value)}; set it so, or leave it out"
            for name, (value, right) in SET_ASIDE.items()
        ]
        raise InputError("\n".join(told))


def _devices() -> list[jax.Device]:
    """What JAX has.

    Raises:
        InputError: no device of the platform that it was told to use.
    """
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:
        # JAX fails on a platform that it does not know, and asserts that one it knows is there.
        why = cut((str(error).strip().splitlines() or ["none is there"])[0], LINE // 2)
        asked = os.environ.get("JAX_PLATFORMS", "")
        named = f"JAX_PLATFORMS={asked}" if asked else "JAX_PLATFORMS is not set"
        raise InputError(f"{named}: JAX has no device ({why}); set JAX_PLATFORMS=cpu, or leave it out") from None


def _widen_pool() -> None:
    """Have XLA begin with a pool of threads that cannot all come to wait, unless the environment states its width."""
    if "NPROC" in os.environ or _has_begun():
        return
    asked = _stated() or jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]  # set by JAX at import
    if asked > 1:
        os.environ["NPROC"] = str(max(_width(asked), num_cores()))


def _width(devices: int) -> int:
    """Threads of which one is left whatever so many devices wait for."""
    return WAITING * devices + 1


def _num_threads(devices: int) -> int:
    """Threads of XLA's pool for a CPU with so many devices."""
    stated = os.environ.get("NPROC", "")
    return max(int(stated) if stated.isdecimal() and int(stated) > 0 else num_cores(), devices)


def _most_devices(there: list[jax.Device]) -> int:
    """How many of the devices can share work without a chance that all threads of the pool wait.

    Of several hosts each has a pool of its own, and none can do with fewer devices than the others.
    """
    if there[0].platform != "cpu" or jax.process_count() > 1:
        return len(there)
    return max(1, min(len(there), (_num_threads(len(there)) - 1) // WAITING))


def _stated() -> int | None:
    """How many devices of a CPU the environment says there are; None where it says nothing."""
    flag = re.search(r"xla_force_host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
    stated = os.environ.get("JAX_NUM_CPU_DEVICES", "") or (flag[1] if flag else "")
    return int(stated) if stated.isdecimal() else None


def _has_begun() -> bool:
    """Whether JAX has made its devices: their number cannot be changed any more."""
    number = jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]  # set by JAX at import
    try:
        jax.config.update("jax_num_cpu_devices", number + 2)
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", number)
    return False


def _keep_lapack_to_one_thread() -> None:
    """Limit the BLAS that JAX takes its factorisations from, which is SciPy's; NumPy has one of its own.

    A Cholesky factor of an M-step is too small to share, and threads that look for the next one hold the cores that the
    devices need: with them a pass at D = 64 took twice as long.
    """
    importlib.import_module("scipy.linalg.cython_lapack")
    for library in threadpoolctl.ThreadpoolController().lib_controllers:
        if library.user_api == "blas" and "scipy.libs" in library.filepath:
            library.set_num_threads(1)


def num_cores() -> int:
    """Cores that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
