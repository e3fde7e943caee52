"""Devices: how many JAX starts with, which of them work on a problem, and the precision of their numbers.

XLA runs the programs of all devices of a CPU on one thread pool, whose size is the number of cores or of devices,
whichever is larger. Two operations block a thread of the pool: a sum over devices waits for the shares of the other
devices, and a batched singular value decomposition by LAPACK waits for its parts, which only the same pool can compute.
If there are as many devices as cores, all threads can block at once, and the process deadlocks. The pool is therefore
made larger than the number of threads that can block at once. XLA reads its size from the variable NPROC when it
starts. Idle threads cost nothing.
"""

import importlib
import os
import re
from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import threadpoolctl
from jax.sharding import AxisType, Mesh

from workbench.engine.compat.environment import SET_ASIDE
from workbench.errors import LINE, InputError, checks_arguments, cut, shown, whole_number

USUAL = "float64"


def dtype_name(*arrays: Any) -> str:
    """Name of the dtype of the arrays, several joined by "and"; without arrays, of JAX's current default float."""
    names = {np.dtype(array.dtype).name for array in arrays}
    return " and ".join(sorted(names)) or np.dtype(jnp.result_type(float)).name


def precision_note(*dtypes: str) -> str:
    """A sentence that names the precisions of a table's numbers; empty if all are float64."""
    names = sorted(set(dtypes))
    return "" if set(names) <= {USUAL} else f"Computed in {' and '.join(names)}."


# Threads of the pool that one device can block at once: one by a sum over devices, one by singular values.
# `tests/test_waiting.py` counts these operations in the compiled programs.
WAITING = 2


@checks_arguments
def use_all_cores() -> int:
    """Give JAX one device for each core, so that passes over the data use all of them. Returns the number of devices.

    By default JAX treats a CPU as a single device and runs most of a pass on one core. Call this before anything is
    computed. Later calls have no effect, nor has any call if the environment sets the number of devices.
    """
    ask_for_devices(None)
    return jax.device_count()


def ask_for_devices(count: int | None) -> None:
    """Have JAX split the CPU into `count` devices when it starts; by default one for each core.

    This has no effect once JAX has started, or if the environment sets the number. `mesh_of` checks the outcome.
    """
    if _devices_in_environment() is None:
        # JAX raises once it has started.
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", num_cores() if count is None else count)
    _widen_pool()
    if "OPENBLAS_NUM_THREADS" not in os.environ:
        _keep_lapack_to_one_thread()


def mesh_of(devices: int | None) -> Mesh | None:
    """The devices that work on a problem, along an axis named "rows"; None for a single one.

    Args:
        devices: how many, over all hosts; None for all of them, or as many as can run without a possible deadlock.

    Raises:
        InputError: there are fewer devices, XLA's pool has too few threads for them, or the environment holds a value
            that JAX cannot read or a platform that it does not have.
    """
    check_environment()
    _widen_pool()
    there = _devices()
    most = _most_devices(there)
    devices = most if devices is None else whole_number("devices", devices, 0)
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
            f"pool; call use_all_cores() before JAX computes anything, set NPROC={_pool_size(devices)}, or give {most}"
        )
    return None if devices == 1 else Mesh(np.asarray(there[:devices]), ("rows",), axis_types=(AxisType.Auto,))


def check_environment() -> None:
    """Refuse environment variables whose values JAX cannot read.

    Raises:
        InputError: names every such variable, its value and what it should be.
    """
    if SET_ASIDE:
        problems = [
            f"{name}: must be {right}, got {shown(value)}; set it so, or leave it out"
            for name, (value, right) in SET_ASIDE.items()
        ]
        raise InputError("\n".join(problems))


def _devices() -> list[jax.Device]:
    """All devices that JAX has.

    Raises:
        InputError: JAX has no device of the requested platform.
    """
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:
        # JAX raises RuntimeError for an unknown platform, and AssertionError for a known one without devices.
        why = cut((str(error).strip().splitlines() or ["none is there"])[0], LINE // 2)
        platforms = os.environ.get("JAX_PLATFORMS", "")
        named = f"JAX_PLATFORMS={platforms}" if platforms else "JAX_PLATFORMS is not set"
        raise InputError(f"{named}: JAX has no device ({why}); set JAX_PLATFORMS=cpu, or leave it out") from None


def _widen_pool() -> None:
    """Have XLA start with a thread pool too large to block entirely, unless the environment sets its size."""
    if "NPROC" in os.environ or _has_begun():
        return
    # `jax_num_cpu_devices` is set by JAX at import.
    devices = _devices_in_environment() or jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]
    if devices > 1:
        os.environ["NPROC"] = str(max(_pool_size(devices), num_cores()))


def _pool_size(devices: int) -> int:
    """Size of a pool in which one thread stays free even if all devices block as many as they can."""
    return WAITING * devices + 1


def _num_threads(devices: int) -> int:
    """Threads in XLA's pool for a CPU with `devices` devices."""
    given = os.environ.get("NPROC", "")
    return max(int(given) if given.isdecimal() and int(given) > 0 else num_cores(), devices)


def _most_devices(there: list[jax.Device]) -> int:
    """The largest number of devices that can share work without a possible deadlock of the pool.

    Each of several hosts has its own pool, and all must use the same number of devices, so there all devices are used.
    """
    if there[0].platform != "cpu" or jax.process_count() > 1:
        return len(there)
    return max(1, min(len(there), (_num_threads(len(there)) - 1) // WAITING))


def _devices_in_environment() -> int | None:
    """The number of CPU devices that the environment sets; None if it sets none."""
    flag = re.search(r"xla_force_host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
    given = os.environ.get("JAX_NUM_CPU_DEVICES", "") or (flag[1] if flag else "")
    return int(given) if given.isdecimal() else None


def _has_begun() -> bool:
    """Whether JAX has created its devices, after which their number is fixed."""
    number = jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]  # set by JAX at import
    try:
        jax.config.update("jax_num_cpu_devices", number + 2)
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", number)
    return False


def _keep_lapack_to_one_thread() -> None:
    """Limit SciPy's BLAS, from which JAX takes its factorisations, to one thread. NumPy's own BLAS is left alone.

    The Cholesky factors of an M-step are too small to share between threads, and BLAS threads that spin while they wait
    for work occupy the cores that the devices need. With them a pass at D = 64 took twice as long.
    """
    importlib.import_module("scipy.linalg.cython_lapack")
    for library in threadpoolctl.ThreadpoolController().lib_controllers:
        if library.user_api == "blas" and "scipy.libs" in library.filepath:
            library.set_num_threads(1)


def num_cores() -> int:
    """Cores that this process may use; all cores of the machine where the system does not report an affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
