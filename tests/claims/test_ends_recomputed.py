"""Where EM ends, by the ledger's figures and by EM, SciPy's L-BFGS and Hessians in plain NumPy from the same starts."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledger_limits import limits_of
from ledger_runs import decided
from plain_ends import End, ascended, climbed, curvatures, height, is_sound, rows_of, widths
from plain_mixture import Array, Plain, em_step

from workbench.claims.checks import CHECKS

Found = tuple[Any, list[Any]]

# The longest climb of a start here takes hundreds of steps, each of which repeats rounding of 1e-13 at most.
ROUNDING = 1e-9


@pytest.fixture(scope="module")
def claim(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Found]:
    """A claim's decision and runs, in a folder that all share."""
    out: Path = tmp_path_factory.mktemp("recomputed")
    return lambda name: decided(name, out)


def points_of(ran: Any) -> tuple[Array, str]:
    """The points and the name of the family."""
    return np.asarray(ran.problem.observations("the test")), ran.problem.covariance.name


def ends_of(ran: Any, most: int = 5000) -> list[End]:
    """Plain EM from the starts of the stored run."""
    x, family = points_of(ran)
    return [climbed(start, x, family, most=most) for start in rows_of(ran.climbs["em"], 0)]


def is_strict_maximum(end: Plain, x: Array, family: str, fewest: int) -> bool:
    """Whether L-BFGS stays at an end, and the likelihood falls in every direction from there."""
    top = ascended(end, x, family)
    # A climb that stops by a share of 1e-10 of its height is far nearer than a hundredth of a nat.
    if height(top, x) > height(end, x) + 1e-2 or not is_sound(top, x, fewest):
        return False
    # Strict maxima here have curvatures of one or more; a flat direction has that of rounding, 1e-6 of the steepest.
    return bool(np.max(curvatures(top, x, family)[1]) < -1e-2)


def test_stored_steps_of_em_are_weighted_averages(claim: Callable[[str], Found]) -> None:
    decision, (run,) = claim("weighted_averages")
    x, _ = points_of(run)
    trace, gaps = run.climbs["em"], []
    assert np.all(trace.passes[:, 1] == 1)
    for start, stored in zip(rows_of(trace, 0), rows_of(trace, 1), strict=True):
        averages, _ = em_step(start, x)
        gaps += [np.max(np.abs(a - b)) / np.max(np.abs(b)) for a, b in zip(stored, averages, strict=True)]
    # Both are rounding of sums over a thousand points in another order.
    assert max(gaps) < 1e-12
    assert decision.value < 1e-12


def test_em_of_plain_numpy_takes_the_counted_steps_and_never_falls(tmp_path: Path) -> None:
    # The claim rests on all runs of EM of the ledger; plain NumPy repeats two of them in a smaller size.
    small = ("restarts=4", "methods={ em = { max_iterations = 200 } }")
    runs = [run for name in ("non_convex", "best_is_a_spike") for run in decided(name, tmp_path, *small)[1]]
    decision = CHECKS["em_never_falls"].decide(runs, limits_of("em_never_falls"))
    ends = [ends_of(run, most=200) for run in runs]
    assert decision.value == sum(end.falls for each in ends for end in each) == 0
    # Each climb stops at the first step that gains less than 1e-10 of its height, here by 1e-12 or more.
    assert decision.unit == f"falls in {sum(end.steps for each in ends for end in each):,} steps"
    for run, each in zip(runs, ends, strict=True):
        np.testing.assert_allclose([end.height for end in each], run.climbs["em"].log_joint[:, -1], rtol=ROUNDING)


def test_as_many_starts_of_plain_em_end_where_the_components_are_one(claim: Callable[[str], Found]) -> None:
    decision, (run,) = claim("em_ends_on_a_maximum")
    x, family = points_of(run)
    ends = ends_of(run)
    elsewhere = [end for end in ends if not is_strict_maximum(end.mixture, x, family, fewest=0)]
    assert (decision.value, decision.unit) == (len(elsewhere), f"of {len(ends)} starts")
    # Where both components are the one Gaussian of the points, the likelihood is known in closed form.
    one = -0.5 * len(x) * (np.log(2 * np.pi * np.var(x)) + 1)
    assert [end.height for end in elsewhere] == pytest.approx([one] * len(elsewhere), abs=1e-2)


def test_plain_em_ends_on_as_many_distinct_strict_maxima(claim: Callable[[str], Found]) -> None:
    decision, (run,) = claim("non_convex")
    x, family = points_of(run)
    tops = [end.mixture for end in ends_of(run) if is_strict_maximum(end.mixture, x, family, fewest=2)]
    heights = sorted(height(ascended(top, x, family), x) for top in tops)
    # Distinct maxima of these data differ by a nat or more in height.
    distinct = [h for h, below in zip(heights, [-np.inf, *heights], strict=False) if h - below > 1e-3]
    assert decision.value == len(distinct) > 1
    (gap,) = re.findall(r"lies ([\d.]+) nats below", decision.note)
    # Printed to three digits.
    assert float(gap) == pytest.approx(distinct[-1] - distinct[0], rel=5e-3)


def test_the_highest_unsound_end_of_plain_em_lies_as_far_from_the_best(claim: Callable[[str], Found]) -> None:
    decision, (run,) = claim("best_is_a_spike")
    x, _ = points_of(run)
    ends = ends_of(run)
    kept = [end.height for end in ends if not end.collapsed and is_sound(end.mixture, x, fewest=x.shape[1] + 1)]
    assert len(kept) < len(ends)
    lost = [end.height for end in ends if end.height not in kept]
    assert decision.value == pytest.approx(max(lost) - max(kept), abs=1e-5)
    assert decision.note.startswith(f"{len(lost)} of {len(ends)} climbs")
    # From these ends plain EM goes on where the package's stop is lifted; no rise is near what rounding explains.
    further = [run_on(end, x) for end in ends if end.height in lost]
    risen, gone = (int(found) for found in re.findall(r"with (\d+)", decision.note))
    assert risen == sum(h > max(kept) + 0.01 for h, _ in further)
    assert gone == sum(ended for _, ended in further)


def run_on(end: End, x: Array) -> tuple[float, bool]:
    """The largest height of EM from an end, less its rounding, and whether a covariance became singular on the way."""
    mixture, top, before = end.mixture, end.height, -np.inf
    for _ in range(5000):
        try:
            with np.errstate(all="ignore"):
                mixture = em_step(mixture, x)[0]
                value = height(mixture, x)
        except np.linalg.LinAlgError:
            return top, True
        if not value > before:
            return top, not np.isfinite(value)
        before = value
        top = max(top, value - len(x) * np.finfo(float).eps / np.min(widths(mixture, x)))
    return top, False
