"""Missing cells filled in by a mixture: regression by conditioning, and the Gaussian that completes the points."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from workbench.cli import cli
from workbench.data.incomplete import completed_by_gaussian
from workbench.errors import InputError
from workbench.mixture import COVARIANCES, Mixture

N, D, K = 40, 3, 2

Random = Callable[..., Mixture]


@pytest.fixture(scope="module")
def whole() -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(size=(N, D)) @ rng.normal(size=(D, D)) + [0.0, 10.0, 5.0]


@pytest.fixture(scope="module")
def x(whole: np.ndarray) -> np.ndarray:
    lost = np.random.default_rng(2).random((N, D)) < 0.3
    lost[np.all(lost, axis=1)] = False
    return np.where(lost, np.nan, whole)


@pytest.mark.parametrize("family", COVARIANCES)
def test_a_missing_cell_is_its_regression_on_the_others(
    family: str, x: np.ndarray, whole: np.ndarray, random_mixture: Random
) -> None:
    mixture = random_mixture(whole, K, family, seed=3)
    found = mixture.complete(x)
    there = ~np.isnan(x)
    np.testing.assert_array_equal(found[there], x[there])
    for row, filled in zip(x, found, strict=True):
        seen = np.flatnonzero(~np.isnan(row))
        if len(seen) < D:
            expected = mixture.regression({int(d): row[d] for d in seen}).mean
            np.testing.assert_allclose(filled[np.isnan(row)], expected, rtol=1e-9)


def test_one_gaussian_completes_as_the_problem_does(x: np.ndarray) -> None:
    moments, completed = completed_by_gaussian(x)
    mixture = Mixture.from_covariances([1.0], moments.mean[None], moments.covariance[None], "full")
    # The Gaussian is fitted until nothing moves by more than 1e-9.
    np.testing.assert_allclose(mixture.complete(x), completed, rtol=1e-7)


def test_points_without_a_missing_cell_stay_as_they_are(whole: np.ndarray, random_mixture: Random) -> None:
    np.testing.assert_array_equal(random_mixture(whole, K, "full", seed=4).complete(whole), whole)


def test_what_cannot_be_completed_is_refused(whole: np.ndarray, random_mixture: Random) -> None:
    mixture = random_mixture(whole, K, "full", seed=4)
    for wrong, why in (
        ([[np.nan] * D], "no cell has a value"),
        ([[1.0, 2.0]], r"expected points \[N, 3\]"),
        ([[np.inf, np.nan, 1.0]], "data row 1, column 'x1' is inf"),
        ([[1e300, np.nan, 1.0]], "data row 1: so far out that no component has a density there"),
    ):
        with pytest.raises(InputError, match=why):
            mixture.complete(np.asarray(wrong))


def test_the_command_line_writes_the_completed_table(
    x: np.ndarray, whole: np.ndarray, random_mixture: Random, tmp_path: Path
) -> None:
    mixture = random_mixture(whole, K, "full", seed=5)
    mixture.save(tmp_path / "model.json", columns=("a", "b", "c"))
    lines = [
        "tag,a,b,c",
        *(f"r{n}," + ",".join("" if np.isnan(v) else repr(float(v)) for v in r) for n, r in enumerate(x)),
    ]
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = tmp_path / "whole.csv"
    given = ["predict", str(tmp_path / "model.json"), str(tmp_path / "d.csv"), "--id", "tag", "--complete"]
    done = CliRunner().invoke(cli, [*given, "--out", str(out)])
    assert done.exit_code == 0, done.output
    head, *rows = [line.split(",") for line in out.read_text(encoding="utf-8").splitlines()]
    assert head == ["tag", "completed", "a", "b", "c"]
    assert [int(row[1]) for row in rows] == np.sum(np.isnan(x), axis=1).tolist()
    np.testing.assert_array_equal(np.asarray([row[2:] for row in rows], float), mixture.complete(x))
    said = CliRunner().invoke(cli, given)
    assert "rows with missing cells: filled in by the other cells" in said.stderr
    assert said.stdout == out.read_text(encoding="utf-8")
