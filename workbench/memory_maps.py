"""Room among the memory maps of the process, which compiled programs take up."""

import time
from pathlib import Path

import jax
import jax.numpy as jnp

# Seconds between two counts of memory maps, each of which takes milliseconds. In this time no process compiles enough
# programs to take up half of the maps that it may have.
COUNT_EVERY = 1.0
_COUNTED = {"at": -float("inf")}


def make_room(share: float = 0.5, every: float = COUNT_EVERY) -> None:
    """Clear JAX's in-memory cache of programs if more than a share of the allowed memory maps is in use.

    Each compiled program on a CPU holds a few memory maps. Beyond the limit (on Linux vm.max_map_count, 65,530 by
    default) the next program crashes the process. Programs needed again are recompiled, or read from disk. What is
    called again and again with other sizes, and compiles for each, therefore calls this first. Where a program is being
    traced, nothing is cleared.

    Args:
        share: fraction of the memory maps that a process may have.
        every: minimal time between two counts in seconds; a call before that does nothing.
    """
    now = time.monotonic()
    if now < _COUNTED["at"] + every:
        return
    _COUNTED["at"] = now
    limit, maps = Path("/proc/sys/vm/max_map_count"), Path("/proc/self/maps")
    if limit.is_file() and maps.is_file():
        with maps.open("rb") as lines:
            held = sum(1 for _ in lines)
        # Within a trace, numbers that depend on no argument are traced as well.
        if held > share * int(limit.read_text()) and not isinstance(jnp.zeros(()), jax.core.Tracer):
            jax.clear_caches()
