"""The entry of a manifest on the machine, the time and the packages that made a cell."""

import time
from typing import Any

import jax

from workbench.engine.devices import dtype_name
from workbench.provenance import version_of

# Packages whose versions are recorded, whether or not a cell's code imports them.
_PACKAGES = ("workbench", "jax", "jaxlib", "numpyro", "numpy", "scipy", "optax", "arviz-stats")


def machine(devices: int) -> dict[str, Any]:
    """The packages, hosts, precision and time of this process, and its device, of which `devices` took part."""
    device = jax.devices()[0]
    return {
        "versions": {package: version_of(package) for package in _PACKAGES},
        "device": {"platform": device.platform, "kind": device.device_kind, "count": devices},
        "hosts": jax.process_count(),
        "dtype": dtype_name(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
