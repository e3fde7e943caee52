"""Devices: how many JAX starts with, and which of them work on a problem."""

import importlib
import os
from contextlib import suppress

import jax
import numpy as np
import threadpoolctl
from jax.sharding import AxisType, Mesh

from workbench.errors import InputError


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
    stated = "JAX_NUM_CPU_DEVICES" in os.environ or "xla_force_host_platform" in os.environ.get("XLA_FLAGS", "")
    if not stated:
        # JAX refuses once it has begun.
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", _num_cores() if count is None else count)
    if "OPENBLAS_NUM_THREADS" not in os.environ:
        _keep_lapack_to_one_thread()


def mesh_of(devices: int | None) -> Mesh | None:
    """The devices that work on a problem, along an axis named "rows"; None for a single one.

    Args:
        devices: how many, over all hosts; None for all there are.

    Raises:
        InputError: there are fewer devices.
    """
    there = jax.devices()
    devices = len(there) if devices is None else devices
    if not 1 <= devices <= len(there):
        raise InputError(
            f"devices: {devices} of {len(there)} {there[0].platform} devices; give 1 to {len(there)}, or start more "
            "(on a CPU, JAX_NUM_CPU_DEVICES sets their number)"
        )
    if jax.process_count() > 1 and devices < len(there):
        raise InputError(f"devices: {devices} of {len(there)}; several hosts share the rows over all their devices")
    return None if devices == 1 else Mesh(np.asarray(there[:devices]), ("rows",), axis_types=(AxisType.Auto,))


def _keep_lapack_to_one_thread() -> None:
    """Limit the BLAS that JAX takes its factorisations from, which is SciPy's; NumPy has one of its own.

    A Cholesky factor of an M-step is too small to share, and threads that look for the next one hold the cores that the
    devices need: with them a pass at D = 64 took twice as long.
    """
    importlib.import_module("scipy.linalg.cython_lapack")
    for library in threadpoolctl.ThreadpoolController().lib_controllers:
        if library.user_api == "blas" and "scipy.libs" in library.filepath:
            library.set_num_threads(1)


def _num_cores() -> int:
    """Cores that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
