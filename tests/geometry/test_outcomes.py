"""Outcomes: each way in which a climb can end has its own outcome."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from workbench.diagnostics import restart_statuses
from workbench.geometry.stability import Outcome, outcomes, passes_to
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import Soundness

ENDS: dict[str, tuple[str, dict[str, bool], float, Outcome]] = {
    # shape at the end, flags, nats by which the best exceeds it
    "at the best": ("good", {}, 0.0, Outcome.REACHED),
    "at the best, out of budget": ("good", {"converged": False}, 0.0, Outcome.REACHED),
    "a lax rule": ("good", {}, 1e-4, Outcome.SHORT),
    "another optimum": ("good", {}, 5.0, Outcome.WORSE),
    "merged": ("merged", {}, 5.0, Outcome.WORSE),
    "out of budget": ("good", {"converged": False}, 5.0, Outcome.UNFINISHED),
    "spike": ("spike", {}, 5.0, Outcome.COLLAPSED),
    "brink": ("good", {"collapsed": True, "converged": False}, 5.0, Outcome.COLLAPSED),
    "broken promise": ("good", {"ok": False, "converged": False}, 5.0, Outcome.DIVERGED),
    "out of the mixtures": ("good", {"ok": False, "converged": False, "collapsed": True}, 5.0, Outcome.LEFT),
}


@pytest.mark.parametrize(("shape", "flags", "gap", "expected"), ENDS.values(), ids=ENDS)
def test_an_end_has_its_outcome(
    shape: str,
    flags: dict[str, bool],
    gap: float,
    expected: Outcome,
    two_groups: Problem,
    shapes: dict[str, Mixture],
    trace_of: Callable[..., Trace],
) -> None:
    changes: dict[str, Any] = {k: np.asarray([v]) for k, v in flags.items() if k != "ok"}
    changes |= {"ok": np.asarray([[True, flags.get("ok", True)]])}
    trace = trace_of(two_groups, [[shapes["start"], shapes[shape]]], **changes)
    best = float(trace.log_joint[0, -1]) + gap
    found = outcomes(trace, restart_statuses(trace, two_groups, Soundness(), None), best, 1e-6)
    assert found == [expected]
    passes = passes_to(trace, found, best, 1e-6)
    assert passes[0] == 1.0 if expected is Outcome.REACHED else np.isnan(passes[0])
