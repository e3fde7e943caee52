"""A loop over problems of ever other sizes runs on: neither memory maps nor memory grow with the number of problems."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from workbench.compare import compare
from workbench.methods import EM, GradientAscent, Method
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import Soundness

# Far more than the 148 after which a process came to the system's 65,530 memory maps, as long as none was let go.
PROBLEMS = 300

# Of the system's maps, at which programs are forgotten here: so few that the loop comes there several times.
SHARE = 0.08

LOOP = f"""
import json
import resource
import jax, numpy as np
import workbench as wb

from workbench.memory_maps import make_room

jax.config.update("jax_enable_x64", True)
make_room.__defaults__ = ({SHARE}, 0.0)
rng, found = np.random.default_rng(0), []
mixture = wb.Mixture.from_covariances([0.5, 0.5], [[0.0, 0.0], [1.0, 1.0]], [np.eye(2)] * 2)
for number in range(PROBLEMS):
    x = rng.normal(size=(100 + number, 1)) + 6 * rng.integers(3, size=(100 + number, 1))
    BODY
    with open("/proc/self/maps", "rb") as maps:
        held = sum(1 for _ in maps)
    found.append((held, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10))
print(json.dumps(found))
"""

# Each with the number of problems, and the fewest times that the programs are let go: fewer where a problem needs few.
BODIES = {
    "compare": ('wb.compare(wb.Problem(x, 3, "spherical"), [wb.EM(max_iterations=5)], restarts=1)', PROBLEMS, 1),
    "sample": ("mixture.sample(jax.random.key(0), len(x))", PROBLEMS, 3),
    # Compiling for one more number of rows takes a second.
    "regression": ("mixture.regression({0: x[:, 0]})", 150, 1),
    "predict": ("mixture.predict(np.hstack([x, x])), mixture.log_density(np.hstack([x, x]))", 150, 1),
}


@pytest.mark.parametrize(
    ("method", "family", "sizes"), [(EM(), "full", range(97, 107)), (GradientAscent(), "diagonal", (97, 104))]
)
def test_sizes_that_are_padded_to_one_shape_share_their_programs(
    method: Method, family: str, sizes: Iterable[int]
) -> None:
    # The programs of the tests before this one may fill half of the maps, where all programs are let go.
    jax.clear_caches()
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **about: compiled.append(about["fun_name"]) if "backend_compile" in event else None
    )
    rng, shapes, bound = np.random.default_rng(0), set(), Counter[str]()
    for number in sizes:
        x = rng.normal(size=(number, 2)) + 6 * rng.integers(2, size=(number, 1))
        problem = Problem(x, 3, family)
        (trace,) = compare(problem, [method], restarts=2).values()
        Soundness().check(problem, jax.tree.map(lambda leaf: leaf[0], trace.ends))
        if problem.rows.z.shape not in shapes:
            # What this shape needs; random rows alone are drawn by a program for every N.
            shapes.add(problem.rows.z.shape)
            bound += Counter(compiled)
        else:
            assert set(compiled) <= {"jit(_drawn)"}, number
        # The score is that of these points and of no padding. Sums of some 100 terms, in another order.
        density = [log_likelihood(jax.tree.map(lambda leaf, r=r: leaf[r], trace.ends), x) for r in range(2)]
        np.testing.assert_allclose(trace.log_joint[:, -1], density, rtol=1e-12)
        compiled.clear()
    assert bound["jit(advance)"] <= len(shapes) < len(list(sizes))


def log_likelihood(mixture: Mixture, x: NDArray[np.float64]) -> float:
    """By SciPy, with the restart's own covariances."""
    parts = zip(mixture.means, mixture.covariances, strict=True)
    components = np.stack([multivariate_normal(mean, covariance).logpdf(x) for mean, covariance in parts])
    return float(np.sum(logsumexp(components + np.log(mixture.weights)[:, None], axis=0)))


@pytest.mark.slow
@pytest.mark.timeout(6000)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory maps of a process")
@pytest.mark.parametrize("body", BODIES)
def test_hundreds_of_problems_of_as_many_sizes_stay_within_bounds(body: str) -> None:
    environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    line, problems, fewest = BODIES[body]
    program = LOOP.replace("BODY", line).replace("PROBLEMS", str(problems))
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    maps, mebibytes = zip(*json.loads(ended.stdout), strict=True)
    # A problem of a new shape adds some 500.
    assert max(maps) < SHARE * int(Path("/proc/sys/vm/max_map_count").read_text()) + 1500
    assert sum(later < earlier - 500 for earlier, later in pairwise(maps)) >= fewest
    # The second half of the loop needs no more than the first, but for what allocators keep.
    assert max(mebibytes) < 1.1 * max(mebibytes[: problems // 2])
