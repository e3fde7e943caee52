"""Climbs side by side end where the one loop leaves them."""

from collections.abc import Iterator

import jax
import numpy as np
import pytest

from workbench.engine.keys import named_key
from workbench.methods import EM
from workbench.methods.parts import EndsOnly
from workbench.problem import Problem
from workbench.selection import nesting
from workbench.selection.nesting import climb_side_by_side, run_nested
from workbench.starts import RandomPoints, draw_starts


@pytest.fixture(scope="module")
def three_slots() -> Iterator[None]:
    """Fewer slots than climbs, and no divisor of their number: slots are taken over, and run empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nesting, "SLOTS", 3)
        jax.clear_caches()  # the number of slots is read when the program is traced
        yield


@pytest.mark.usefixtures("three_slots")
@pytest.mark.parametrize("most", [5000, 3])
def test_every_climb_ends_where_the_one_loop_leaves_it(points: np.ndarray, most: int) -> None:
    problems = [Problem(points[:-5], 3, "full", devices=1), Problem(points[5:], 2, "full", devices=1)]
    starts = [draw_starts(RandomPoints(), problem, 4, seed=0) for problem in problems]
    method, key = EM(max_iterations=most), named_key(0, "em")
    together = climb_side_by_side(method, problems, starts, key)
    for problem, begun, found in zip(problems, starts, together, strict=True):
        alone = run_nested(EndsOnly(inner=method), problem, begun, key)
        np.testing.assert_array_equal(found.passes[:, -1], alone.passes[:, -1])
        np.testing.assert_array_equal(found.converged, alone.converged)
        np.testing.assert_array_equal(found.collapsed, alone.collapsed)
        assert found.ok.all() and found.ends.weights.shape == (4, problem.components)
        # Two compiled programs of one arithmetic: rounding over some hundred steps of a contraction.
        np.testing.assert_allclose(found.log_likelihood[:, -1], alone.log_likelihood[:, -1], rtol=1e-9)
        np.testing.assert_allclose(found.ends.means, alone.ends.means, rtol=1e-5)
