"""A loop over problems of ever other sizes runs on: neither memory maps nor memory grow with the number of problems."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Far more than the 148 after which a process came to the system's 65,530 memory maps, as long as none was let go.
PROBLEMS = 300

LOOP = f"""
import json
import resource
import jax, numpy as np
import workbench as wb

jax.config.update("jax_enable_x64", True)
rng, found = np.random.default_rng(0), []
for number in range({PROBLEMS}):
    x = rng.normal(size=(100 + number, 1)) + 6 * rng.integers(3, size=(100 + number, 1))
    wb.compare(wb.Problem(x, 3, "spherical"), [wb.EM(max_iterations=5)], restarts=1)
    with open("/proc/self/maps", "rb") as maps:
        held = sum(1 for _ in maps)
    found.append((held, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10))
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory maps of a process")
def test_three_hundred_problems_of_as_many_sizes_stay_within_bounds() -> None:
    environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    ended = subprocess.run([sys.executable, "-c", LOOP], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    maps, mebibytes = zip(*json.loads(ended.stdout), strict=True)
    # Programs are forgotten at half of the limit, and a problem adds some 500.
    assert max(maps) < 0.6 * int(Path("/proc/sys/vm/max_map_count").read_text())
    # The second half of the loop needs no more than the first, but for what allocators keep.
    assert max(mebibytes) < 1.1 * max(mebibytes[: PROBLEMS // 2])
