"""Remarks on a comparison as a whole."""

from collections.abc import Callable

import numpy as np
import pytest

from workbench.compare import Comparison
from workbench.compare.remarks import counts_rows, remarks_on
from workbench.data import dataset_names, load_dataset
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.problem import Problem

N = 40


def test_a_column_that_looks_like_a_row_number_is_named(two_groups: Problem) -> None:
    x = np.column_stack([two_groups.x, np.arange(101.0, 101.0 + N)])
    (remark,) = remarks_on(Comparison(Problem(x, 2), {}, columns=("a", "b", "id")))
    assert remark == "Column id looks like a row number: if it is one, leave it out by columns = [...]."
    # From Python columns have their default names; gaps and other units change nothing.
    gaps = np.cumsum(np.random.default_rng(0).integers(1, 5, N)).astype(float)
    scaled = (np.arange(N) - 19.5) / np.std(np.arange(N))
    for column in (gaps, scaled):
        (remark,) = remarks_on(Comparison(Problem(np.column_stack([column, two_groups.x]), 2), {}))
        assert remark.startswith("Column x1 looks like a row number")


def test_a_lone_sorted_column_and_ordinary_ones_are_none(two_groups: Problem) -> None:
    assert remarks_on(Comparison(Problem(np.arange(float(N)), 2), {})) == ()
    assert remarks_on(Comparison(two_groups, {})) == ()
    assert not counts_rows(np.array([1.0, 2.0, 2.0, 3.0]))
    assert not counts_rows(np.array([0.1, 0.2, 0.5]))


@pytest.mark.parametrize("name", dataset_names())
def test_no_column_of_a_shipped_data_set_beside_others_looks_like_a_row_number(name: str) -> None:
    x = load_dataset(name).x
    assert x.shape[1] == 1 or not any(counts_rows(column) for column in x.T)


def test_what_chains_are_not_judged_by_is_said(trace_of: Callable[..., Trace]) -> None:
    x = np.random.default_rng(0).normal(size=(N, 6))
    problem = Problem(x, 1)
    mixture = Mixture.from_covariances([1.0], x.mean(0)[None], np.cov(x.T)[None])
    climb, draws = (trace_of(problem, [[mixture, mixture]], draws=draws) for draws in (0, 1))
    (remark,) = remarks_on(Comparison(problem, {"nuts": draws}))
    assert remark.startswith("R-hat and ESS follow the means in the first 4 of 6 columns")
    assert remarks_on(Comparison(problem, {"em": climb})) == ()


def test_weights_that_sum_to_less_than_the_parameters_are_no_counts(two_groups: Problem) -> None:
    x = two_groups.x
    least = Problem(x, 2).num_parameters
    assert least <= len(x) == N
    for total, told in ((least - 0.5, True), (float(least), False), (3.0, True), (float(N), False)):
        (remark,) = remarks_on(Comparison(Problem(x, 2, weights=np.full(N, total / N)), {}))
        assert remark.startswith(f"The {N} rows have weights")
        assert (f"fewer than the {least} free parameters" in remark) == told
    # Few rows are few whatever their weights are.
    (remark,) = remarks_on(Comparison(Problem(x[:10], 2, weights=np.full(10, 0.5)), {}))
    assert "free parameters" not in remark
