"""The logic of the benchmarks, without their timings."""

import dataclasses
import itertools
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import em
import setting
import starts
import store as many_cells
import summary
import tables
import workbench as wb
from floor import FAMILIES, Rates, features, floor_seconds
from judge import Parameters, agree, log_likelihood
from peers import PEERS, ScikitLearn, Workbench
from workbench.jobs.store import Store
from workbench.jobs.table import checked_rows_of

RATES = Rates(products=1e9, exponentials=1e6, bandwidth=1e9)
OURS, SKLEARN = PEERS[:2]


class Wrong(ScikitLearn):
    """scikit-learn, with an error of one part in a hundred in its first mean."""

    name = "wrong"

    def parameters(self, result: Any) -> Parameters:
        right = super().parameters(result)
        return right._replace(means=right.means * np.array([[1.01, 1.0], [1.0, 1.0]]))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    left_out: list[dict[str, Any]] = []
    measured = []
    for family in FAMILIES:
        cell = em.Cell(family, 300, 2, 2)
        measured += em.with_floor(em.time_cell(cell, [OURS, SKLEARN], "float64", 0.0, left_out), RATES, "float64")
    assert not left_out
    return measured


@pytest.fixture
def results(rows: list[dict[str, Any]], tmp_path: Path) -> Path:
    setting.write(tmp_path / "em.json", rows, left_out=[{"peer": "gmmx", "reason": "no such family"}])
    return tmp_path


@pytest.mark.parametrize(("family", "count"), [("full", 45), ("tied", 9), ("diagonal", 17), ("spherical", 10)])
def test_features_are_counted_as_the_families_form_them(family: str, count: int) -> None:
    assert features(family, 8) == count


def test_floor_is_products_plus_exponentials() -> None:
    # 4 x 1000 x 16 x 45 operations at 1e9/s and 1000 x 17 exponentials at 1e6/s.
    assert floor_seconds(1000, 8, 16, "full", RATES) == pytest.approx(2.88e-3 + 1.7e-2, rel=1e-12)


def test_floor_is_reading_where_memory_is_the_slowest() -> None:
    slow = RATES._replace(bandwidth=1e3)
    assert floor_seconds(1000, 8, 16, "full", slow) == pytest.approx(64.0, rel=1e-12)
    assert floor_seconds(1000, 8, 16, "full", slow, itemsize=4) == pytest.approx(32.0, rel=1e-12)


def test_judge_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 2))
    mixture = Parameters(np.array([0.3, 0.7]), rng.standard_normal((2, 2)), np.array([[[2, 0.5], [0.5, 1]], np.eye(2)]))
    densities = [multivariate_normal(m, c).pdf(x) for m, c in zip(mixture.means, mixture.covariances, strict=True)]
    expected = np.log(mixture.weights @ np.array(densities)).sum()
    # Two routes in float64 over 50 points.
    assert log_likelihood(mixture, x, "full") == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_peers_start_where_they_are_told(family: str) -> None:
    x, start = em.problem(em.Cell(family, 100, 3, 2), "float64")
    for peer in (Workbench(), ScikitLearn()):
        none = peer.parameters(peer.prepare(x, start, family, 0)())
        assert all(np.allclose(a, b, rtol=1e-14, atol=0) for a, b in zip(none, start, strict=True))


def test_rows_have_the_promised_keys(results: Path) -> None:
    rows = json.loads((results / "em.json").read_text())
    assert [row["peer"] for row in rows] == ["workbench", "scikit-learn"] * 4
    assert all({"peer", "family", "N", "D", "K", "ratio", "share_of_floor"} <= row.keys() for row in rows)
    assert all(row["ratio"] == 1.0 for row in rows if row["peer"] == "workbench")


def test_packages_agree_in_every_family(rows: list[dict[str, Any]]) -> None:
    assert all(row["agrees"] for row in rows)


def test_a_wrong_peer_is_caught() -> None:
    ours, wrong = em.time_cell(em.Cell("full", 300, 2, 2), [OURS, Wrong()], "float64", 0.0, [])
    assert ours["agrees"]
    assert not wrong["agrees"]


def test_nothing_agrees_with_nan() -> None:
    assert not agree(float("nan"), -10.0, "float64")
    assert not agree(-10.0, float("nan"), "float64")


def test_tables_are_written_once(results: Path) -> None:
    page = "before\n<!-- em -->\nold\n<!-- end em -->\nbetween\n<!-- memory -->\nkept\n<!-- end memory -->\n"
    once = tables.renewed(page, results)
    assert "old" not in once
    assert "kept" in once
    assert "scikit-learn" in once
    assert tables.renewed(once, results) == once


def test_cells_that_all_starts_miss_are_listed_with_what_is_missing() -> None:
    common = {"data": "iris", "family": "full", "rule": "alternating", "share": 0.5, "passes": 9.0}
    rows = [
        common | {"K": 2, "optimum": -214.0, "best": -214.01, "few": True, "all": True},
        common | {"K": 5, "optimum": -128.0, "best": -130.5, "few": False, "all": False},
        common | {"K": 4, "optimum": -157.0, "best": -151.0, "few": False, "all": False},
        common | {"K": 6, "optimum": None, "best": None, "few": False, "all": False},
    ]
    shown = tables.starts_all(rows, {})
    assert "| alternating | 50% | 1 of 3 | 1 of 3 | 0 | 9 |" in shown
    assert "Of 4 cells 1 have no sound optimum." in shown
    assert shown.endswith("- iris: full 5 (2.50), full 4 (a suspicious end higher up)")


def test_the_ends_of_searches_are_set_against_the_known_optimum(tmp_path: Path) -> None:
    cell, x = starts.Cell("simulated", "full", 2), np.random.default_rng(0).normal(size=(60, 1))
    x[30:] += 9.0
    known, asked = starts.Optima(tmp_path / "known.json"), Namespace(restarts=2, seed=0)
    (row,) = starts.searched(x, cell, asked, known)
    problem = wb.Problem(x, 2)
    trace = wb.compare(problem, [wb.EM()], restarts=2)["em"]
    # All starts lead to the two groups. EM leaves less than this when it stops.
    assert row.optimum == pytest.approx(float(np.max(trace.log_joint[:, -1])), abs=1e-3)
    assert row.best == row.optimum and row.all and row.few and row.share == 1.0
    higher = starts.Cell("faithful", "full", 2)
    known.raised(higher, row.optimum + 0.1)
    (missed,) = starts.searched(x, higher, asked, known)
    assert missed.best == row.best and not missed.all and not missed.few
    assert "A search takes" in tables.starts_all([dataclasses.asdict(missed)], {})


def test_known_optima_are_only_raised(tmp_path: Path) -> None:
    cell = starts.Cell("iris", "full", 5)
    assert starts.Optima(tmp_path / "known.json").raised(cell, -128.0) == -128.0
    again = starts.Optima(tmp_path / "known.json")
    assert [again.raised(cell, found) for found in (-130.0, -np.inf, -127.0)] == [-128.0, -128.0, -127.0]
    assert starts.Optima(tmp_path / "known.json").raised(cell, -200.0) == -127.0
    # A simulation is another one for another seed.
    assert again.raised(cell._replace(data="simulated: 3 groups, 2 columns"), -5.0) == -5.0
    assert list(again.values) == ["iris; full; 5"]


def test_the_page_has_a_place_for_every_table() -> None:
    page = (tables.HERE / "README.md").read_text()
    assert all(
        f"<!-- {name} -->" in page and f"<!-- end {name} -->" in page for name in tables.TABLES if name != "scaling"
    )


def test_summary_lists_the_cells_that_miss_a_goal() -> None:
    common = {"family": "full", "D": 8, "K": 2, "agrees": True, "share_of_floor": 0.25}
    rows = [
        common | {"peer": "workbench", "N": 100_000, "ratio": 1.0},
        common | {"peer": "gmmx", "N": 100_000, "ratio": 1.5},
        common | {"peer": "gmmx", "N": 1_000, "ratio": 0.5},
    ]
    means, under, slower, floor, disagree = summary.summary(rows)
    assert means.startswith("gmmx: 0.9x as the geometric mean of 2 cells, goal 8x")  # sqrt(0.75) = 0.87
    assert under.endswith("full N=100000 D=8 K=2 gmmx 1.50x")
    assert slower.endswith(": full N=1000 D=8 K=2 gmmx 0.50x")
    assert "0 of 1 cells reach 50%" in floor
    assert disagree.endswith("none")


def test_the_thinned_grid_has_every_pair_of_values() -> None:
    cells = [em.Cell(*values) for values in itertools.product(*em.GRID)]
    kept = [cell for cell in cells if cell.in_thinned_grid]
    assert len(kept) == len(cells) / 5
    for i in range(4):
        for j in range(i):
            pairs = {(cell[i], cell[j]) for cell in kept}
            assert len(pairs) == len(em.GRID[i]) * len(em.GRID[j])


def test_no_benchmark_hides_a_module_of_the_standard_library() -> None:
    # A script's folder comes first on Python's path: a `select.py` there stops every script that starts a process.
    assert not {file.stem for file in Path(em.__file__).parent.glob("*.py")} & sys.stdlib_module_names


def test_a_folder_of_many_cells_is_one_that_the_workbench_opens(tmp_path: Path) -> None:
    many_cells.write(tmp_path / "many", 16)
    folder = Store(tmp_path / "many")
    ((_, job),) = folder.jobs()
    rows = checked_rows_of(folder, folder.stored_keys()).rows
    assert sorted(job["cells"]) == [row["key"] for row in rows]
    assert {row["state"] for row in rows} == {"done"}
