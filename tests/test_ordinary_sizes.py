"""At ordinary sizes, on all cores, as the command line runs, every method ends: nothing hangs, crashes or stands still.

Thirty sizes, each with EM and two more methods in turn, so that every method meets small and large data, few and many
columns, and every family with every number of columns or of points. Methods are stopped early: what is tested is that
their programs, their judges and the report come to an end at these sizes, not where the methods end.
"""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tomli_w
from patience import LONG

from workbench.methods import METHODS
from workbench.mixture import COVARIANCES

DRAWS = {"num_warmup": 4, "num_samples": 8, "num_chains": 2}
FEW: dict[str, dict[str, Any]] = {
    "squarem": {"of": {"method": "em", "max_iterations": 20}},
    "anderson": {"of": {"method": "em", "max_iterations": 20}},
    "overrelaxed": {"of": {"method": "em", "max_iterations": 20}},
    "online_em": {"max_passes": 2.0},
    "stochastic_ascent": {"max_passes": 2.0},
    "nuts": DRAWS | {"max_tree_depth": 3},
    "gibbs": DRAWS,
    "mixed": DRAWS | {"max_tree_depth": 3},
    "tempered_smc": DRAWS | {"num_warmup": 20},
    "ibis": DRAWS | {"num_warmup": 60},
    "permuted": {"of": {"method": "nuts", **DRAWS, "max_tree_depth": 3}},
    "cavi": {"max_iterations": 20, "num_samples": 8},
    "variational": {"max_iterations": 20, "num_samples": 8},
}
ITERATIONS = 20

# Methods that solve with a dense matrix of so many parameters, at a price of as many passes, are for small models.
DENSE, MOST_PARAMETERS = ("newton", "natural_gradient"), 150
# NumPyro's Gibbs within HMC visits the points one after the other.
ONE_BY_ONE, MOST_POINTS = ("mixed",), 100
# Riemannian descent has charts of full covariances alone, and refuses the others.
FULL_ONLY = ("riemannian",)


class Size(NamedTuple):
    """N points of D columns, K components of a family."""

    points: int
    dimensions: int
    components: int
    family: str

    def suits(self, method: str) -> bool:
        """Whether a method is meant for this size at all."""
        k, d = self.components, self.dimensions
        parameters = k - 1 + k * d + COVARIANCES[self.family].num_parameters(k, d)
        if method in FULL_ONLY and self.family != "full":
            return False
        if method in DENSE:
            return parameters <= MOST_PARAMETERS
        return method not in ONE_BY_ONE or self.points <= MOST_POINTS


def sizes() -> list[Size]:
    families = list(COVARIANCES)
    grid = itertools.product(enumerate((100, 5_000, 100_000)), enumerate((1, 2, 8, 20, 40)), enumerate((2, 8)))
    return [Size(n, d, k, families[(i + j + 2 * m) % len(families)]) for (i, n), (j, d), (m, k) in grid]


def cells() -> list[tuple[Size, tuple[str, ...]]]:
    """Every size with EM and the next two methods that suit it."""
    waiting = [method for method in METHODS if method != "em"]
    found = []
    for size in sizes():
        chosen = [method for method in waiting if size.suits(method)][:2]
        # To the end of the queue.
        waiting = [method for method in waiting if method not in chosen] + chosen
        found.append((size, ("em", *chosen)))
    return found


def test_every_method_meets_several_sizes_and_every_family_all_numbers_of_points() -> None:
    met = {method: [size for size, methods in cells() if method in methods] for method in METHODS}
    assert min(len(found) for method, found in met.items() if method not in ONE_BY_ONE) >= 2
    assert min(map(len, met.values())) >= 1
    assert {(size.family, size.dimensions) for size in sizes()} >= {
        ("full", 8),
        ("tied", 8),
        ("full", 40),
        ("tied", 40),
    }
    assert {(size.family, size.points) for size in sizes()} == set(
        itertools.product(COVARIANCES, (100, 5_000, 100_000))
    )


@pytest.mark.slow
@pytest.mark.parametrize(("size", "methods"), cells(), ids=lambda value: "-".join(map(str, value)))
def test_every_method_ends_at_ordinary_sizes(size: Size, methods: tuple[str, ...], tmp_path: Path) -> None:
    simulate = {"components": size.components, "dimensions": size.dimensions, "points": size.points, "separation": 3.0}
    values = {
        "restarts": 2,
        "data": {"simulate": simulate},
        "model": {"components": size.components, "covariance": size.family, "labels": "free"},
        "prior": {"family": "conjugate"},
        "methods": {method: FEW.get(method, {"max_iterations": ITERATIONS}) for method in methods},
    }
    config = tmp_path / "size.toml"
    config.write_text(tomli_w.dumps(values), encoding="utf-8")
    # Of this process's own settings none: devices, threads and compilation as a user has them.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_", "NPROC"))}
    command = [sys.executable, "-m", "workbench", "run", str(config), "--out", str(tmp_path / "out")]
    ended = subprocess.run(command, env=kept, capture_output=True, text=True, timeout=LONG)
    # 1: not one sound answer, as where a hundred points are too few for eight full covariances of forty columns.
    assert ended.returncode in (0, 1), ended.stderr
    assert "Traceback" not in ended.stderr
    # A command that stands still uses no processor; one that has little of a busy machine is slow, and says so.
    assert "(0 s of CPU time" not in ended.stderr
    assert "failed" not in ended.stdout
