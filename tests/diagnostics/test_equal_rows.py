"""Components of equal rows are named whatever their width, and others are not."""

import numpy as np
import pytest

import workbench as wb
from workbench.diagnostics.equal_rows import equal_rows
from workbench.soundness import Soundness

RNG = np.random.default_rng(0)
# As of an image whose brightest part is saturated: 700 pixels of three channels, and 324 at the top of each.
PIXELS = np.concatenate([RNG.normal([90, 80, 120], [25, 20, 30], size=(700, 3)), np.full((324, 3), 255.0)])


@pytest.mark.parametrize("weighted", [False, True])
def test_a_component_of_saturated_rows_is_named_and_sound(weighted: bool) -> None:
    x, weights = (np.concatenate([PIXELS[:701]]), np.r_[np.ones(700), 324.0]) if weighted else (PIXELS, None)
    problem = wb.Problem(x, 2, prior="conjugate", columns=("R", "G", "B"), weights=weights)
    comparison = wb.compare(problem, wb.EM(), restarts=4)
    best = comparison["em"].best(problem)
    assert best is not None and sorted(np.round(np.asarray(best.weights) * 1024)) == pytest.approx([324, 700], abs=1)
    health = Soundness().check(problem, best)
    # Wider than what is tight: nothing else says a word.
    assert health.sound and not health.suspicious and health.smallest_relative_eigenvalue > Soundness().tight
    (summary,) = wb.summarise(comparison)
    number = 1 + int(np.argmin(np.asarray(problem.presented(best).weights)))
    tie = "324 of 1,024 rows are equal (R = 255, G = 255, B = 255)"
    assert summary.equal_rows == f"component {number} (324 points' worth) holds hardly any but equal rows: {tie}"
    assert f"In the best of em, {summary.equal_rows}." in wb.table(comparison).reading


def test_one_column_has_rows_of_one_value() -> None:
    problem = wb.Problem(np.r_[RNG.normal(5.0, 1.0, 300), np.zeros(100)], 2, prior="conjugate")
    best = wb.compare(problem, wb.EM(), restarts=4)["em"].best(problem)
    assert best is not None and "100 of 400 values of flow are equal (0)" in str(equal_rows(problem, best, ("flow",)))


def test_ties_among_other_rows_are_not_named() -> None:
    # A third of the rows of one group are equal, and one of two columns has two values only.
    x = np.c_[np.r_[RNG.normal(0.0, 1.0, 200), np.zeros(100), RNG.normal(9.0, 1.0, 200)], np.zeros(500)]
    x[::2, 1] = 1.0
    problem = wb.Problem(x, 2, prior="conjugate")
    best = wb.compare(problem, wb.EM(), restarts=4)["em"].best(problem)
    assert best is not None and problem.ties and equal_rows(problem, best, ("a", "b")) is None
    continuous = wb.Problem(RNG.normal(size=(50, 2)), 2)
    assert equal_rows(continuous, wb.Mixture.from_covariances([0.5, 0.5], np.eye(2), [np.eye(2)] * 2), "ab") is None
