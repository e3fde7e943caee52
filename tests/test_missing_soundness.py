"""What is said of fits where cells are missing: spikes are found, and narrow groups that rows hold up are none."""

from collections.abc import Callable

import numpy as np
import pytest

from workbench.compare import Comparison
from workbench.compare.errors import errors_of
from workbench.data import Dataset
from workbench.errors import InputError
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import Soundness


def test_a_spike_that_two_complete_rows_hold_up_is_not_sound(after_em: Callable[..., Mixture]) -> None:
    rng = np.random.default_rng(0)
    beside = rng.normal(size=(60, 2)) + 8.0
    beside[2:, 1] = np.nan  # two rows have both cells: the covariance shrinks onto the line through them
    problem = Problem(np.vstack([rng.normal(size=(200, 2)), beside]), 2, missing="marginal")
    away = beside[1] - beside[0]
    normal = np.array([-away[1], away[0]]) / np.linalg.norm(away)
    thin = np.outer(away, away) + 1e-9 * np.outer(normal, normal)
    spike = Mixture.from_covariances([200 / 260, 60 / 260], [[0.0, 0.0], beside[:2].mean(0)], [np.eye(2), thin])
    health = Soundness().check(problem, spike)
    assert health.singular and not health.sound
    # Of many rows, each without one cell, every column and pair is known: a narrow group is a group.
    round_group = rng.normal(size=(300, 3))
    round_group[150:] = 0.02 * round_group[150:] + 5.0
    round_group[np.arange(300), np.arange(300) % 3] = np.nan
    incomplete = Problem(round_group, 2, missing="marginal")
    health = Soundness().check(incomplete, after_em(incomplete, 300))
    assert health.smallest_relative_eigenvalue < 1e-3 and health.sound and not health.suspicious


def test_equal_values_in_rows_that_miss_others_are_a_tie() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 3))
    x[:60, 0], x[:60, 1:] = 1.25, x[:60, 1:] + 3.0
    x[np.arange(60), 1 + np.arange(60) % 2] = np.nan
    problem = Problem(x, 2, missing="marginal")
    assert any(tie.column == 0 and tie.points == 60 for tie in problem.ties)
    spike = Mixture.from_covariances([0.8, 0.2], [[0.0] * 3, [1.25, 3.0, 3.0]], [np.eye(3), np.diag([1e-7, 1.0, 1.0])])
    health = Soundness().check(problem, spike)
    assert health.tie is not None and health.tie.column == 0 and not health.sound


def test_ways_that_need_every_cell_have_no_errors_and_the_others_have(settled: Callable[..., Comparison]) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(80, 2))
    x[:10, 0] = np.nan
    comparison = settled(Problem(x, 1, missing="marginal"))
    found = errors_of(comparison, "em", ["observed", "louis", "sandwich", "parametric"])
    assert found.ways["observed"] is not None
    assert [found.ways[way] for way in ("louis", "sandwich", "parametric")] == [None] * 3
    assert "louis: needs every cell of a row" in found.notes


def test_columns_are_standardised_by_the_cells_that_are_there() -> None:
    x = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, 9.0], [5.0, 1.0]])
    data = Dataset("holes", x, ("a", "b"), None, "", "", missing="marginal")
    for weights in (None, np.array([1.0, 2.0, 1.0, 1.0])):
        scaled = Dataset("holes", x, ("a", "b"), None, "", "", missing="marginal", weights=weights).standardise().x
        counts = np.ones(4) if weights is None else weights
        for column, own in zip(x.T, scaled.T, strict=True):
            there = ~np.isnan(column)
            mean = np.average(column[there], weights=counts[there])
            spread = np.sqrt(np.average((column[there] - mean) ** 2, weights=counts[there]))
            np.testing.assert_allclose(own[there], (column[there] - mean) / spread, rtol=1e-12)
    with pytest.raises(InputError, match="not finite"):
        Dataset("holes", data.x, ("a", "b"), None, "", "").standardise()


def test_what_becomes_of_missing_cells_must_be_known() -> None:
    mixture = Mixture.from_covariances([1.0], [[9.5]], [[[33.25]]])
    with pytest.raises(InputError, match="missing: unknown 'drop'; allowed: refuse, marginal"):
        mixture.predict([[1.0]], missing="drop")  # type: ignore[arg-type]
