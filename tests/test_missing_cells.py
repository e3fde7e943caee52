"""Missing cells are marginalised: every method that takes them climbs one objective, and the others refuse."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner
from common_shape import D, K, N
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from workbench.cli import cli
from workbench.compare import Comparison, Reference, compare, summarise, table
from workbench.data import Dataset
from workbench.data.incomplete import completed_by_gaussian
from workbench.errors import InputError
from workbench.jobs.comparison_file import load_comparison, save_comparison
from workbench.methods import METHODS, Method
from workbench.mixture import COVARIANCES, ConjugatePrior, Mixture
from workbench.problem import Problem
from workbench.starts import Given

TAKE = (
    "em",
    "squarem",
    "anderson",
    "overrelaxed",
    "relaxed_em",
    "em_floor",
    "ascent",
    "newton",
    "nuts",
    "tempered_smc",
)
CLIMB = ("em", "squarem", "anderson", "overrelaxed", "ascent", "newton")


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Three groups of points, of which a fifth of the cells is missing. [N, D]"""
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(N, D)) + 4.0 * rng.integers(K, size=(N, 1)) * [1.0, -0.5]
    lost = rng.random((N, D)) < 0.2
    lost[np.all(lost, axis=1)] = False
    return np.where(lost, np.nan, whole)


def problem_of(x: np.ndarray, components: int = K, family: str = "full") -> Problem:
    return Problem(x, components, family, ConjugatePrior(), missing="marginal")


def log_likelihood(mixture: Mixture, x: np.ndarray) -> float:
    """Row by row of the cells that are there, by SciPy."""
    weights, means, covariances = (np.asarray(a) for a in (mixture.weights, mixture.means, mixture.covariances))
    total = 0.0
    for row in x:
        there = np.flatnonzero(~np.isnan(row))
        own = [
            np.log(w) + multivariate_normal(m[there], c[np.ix_(there, there)]).logpdf(row[there])
            for w, m, c in zip(weights, means, covariances, strict=True)
        ]
        total += float(logsumexp(own))
    return total


@pytest.mark.slow
def test_climbers_end_at_one_optimum_whose_likelihood_is_scipys(x: np.ndarray) -> None:
    problem = problem_of(x)
    start = compare(problem, ["em"], restarts=2)["em"].at(0, 0)
    methods: list[Method] = [METHODS[name]() for name in CLIMB]
    comparison = compare(problem, methods, starts=Given.of(start), restarts=1)
    ends = {name: float(comparison[name].log_joint[0, -1]) for name in CLIMB}
    # Methods stop where a relative rise of 1e-10 is left, or a gradient of that order.
    assert max(ends.values()) - min(ends.values()) < 1e-5, ends
    for name in ("em", "ascent"):
        trace = comparison[name]
        assert trace.log_likelihood[0, -1] == pytest.approx(log_likelihood(trace.at(0, -1), x), rel=1e-11)
    rises = np.diff(comparison["em"].log_joint[0])
    assert np.min(rises) > -1e-9


def test_one_component_is_the_gaussian_that_completes_the_points(
    x: np.ndarray, after_em: Callable[..., Mixture]
) -> None:
    problem = Problem(x, 1, missing="marginal")
    end = after_em(problem, 200)
    moments, completed = completed_by_gaussian(x)
    np.testing.assert_allclose(end.means[0], moments.mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(end.covariances[0], moments.covariance, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(problem.sample, completed)
    assert np.array_equal(problem.x, x, equal_nan=True)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_missing_cells_or_says_what_to_do(name: str, x: np.ndarray) -> None:
    if name in TAKE:
        METHODS[name]().admit(problem_of(x))
        return
    with pytest.raises(InputError, match=r'cannot marginalise missing cells; use missing = "drop" .*, or one of'):
        METHODS[name]().admit(problem_of(x))


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=() if name == "full" else pytest.mark.slow) for name in COVARIANCES]
)
def test_the_objective_is_flat_where_em_rests(family: str, x: np.ndarray, settled: Callable[..., Comparison]) -> None:
    problem = problem_of(x, 2, family)
    trace = settled(problem)["em"]
    end = jax.tree.map(jnp.asarray, trace.at(0, -1))
    slope = jax.jit(jax.grad(problem.log_joint))(end)
    # EM at a rate of .9 has come to 1e-7 of its last digits; curvatures are of the size of N.
    assert float(jnp.max(jnp.abs(slope.means))) < 1e-4 * N
    assert trace.log_likelihood[0, -1] == pytest.approx(log_likelihood(end, x), rel=1e-11)


def test_without_a_missing_cell_the_problem_is_as_ever(x: np.ndarray) -> None:
    whole = completed_by_gaussian(x)[1]
    assert problem_of(whole).missing == "refuse"
    with pytest.raises(InputError, match="not finite"):
        Problem(x, K)
    with pytest.raises(InputError, match="missing: unknown 'ignore'; allowed: refuse, marginal"):
        Problem(x, K, missing="ignore")  # type: ignore[arg-type]


def test_a_weight_counts_a_row_with_missing_cells_as_often(x: np.ndarray, after_em: Callable[..., Mixture]) -> None:
    weights = np.where(np.arange(N) % 3 == 0, 2.0, 1.0)
    weighted = Problem(x, K, prior=ConjugatePrior(), missing="marginal", weights=weights)
    repeated = problem_of(np.repeat(x, weights.astype(int), axis=0))
    assert weighted.num_points == repeated.num_points
    np.testing.assert_array_equal(weighted.rows.each_weight, weights)
    np.testing.assert_allclose(weighted.rows.at(jnp.arange(N)), weighted.sample, rtol=1e-12)
    mixture, log_joint = after_em(repeated, 50), jax.jit(Problem.log_joint)
    assert float(log_joint(weighted, mixture)) == pytest.approx(float(log_joint(repeated, mixture)), rel=1e-12)


def test_scores_criteria_and_files_judge_a_row_by_the_cells_that_are_there(
    x: np.ndarray, settled: Callable[..., Comparison], tmp_path: Path
) -> None:
    data = Dataset("holes", x[: N // 2], ("a", "b"), None, "", "", missing="marginal")
    test = Dataset("rest", x[N // 2 :], ("a", "b"), None, "", "", missing="marginal")
    problem = Problem(data, 2, prior=ConjugatePrior())
    comparison = settled(problem, reference=Reference.of(data, test))
    best = comparison["em"].best(problem, comparison.rule)
    assert best is not None
    (summary,) = summarise(comparison)
    assert summary.heldout_log_density == pytest.approx(log_likelihood(best, test.x) / len(test.x), rel=1e-10)
    assert "rows have missing cells and count by the others" in str(table(comparison))
    again = load_comparison(save_comparison(comparison, tmp_path / "c.npz"))
    assert again.problem.missing == "marginal"
    assert str(table(again)) == str(table(comparison))


def test_the_command_line_fits_selects_and_labels_rows_with_missing_cells(x: np.ndarray, tmp_path: Path) -> None:
    rows = [",".join([f"r{n}", *("" if np.isnan(v) else f"{v:.6f}" for v in row)]) for n, row in enumerate(x)]
    (tmp_path / "holes.csv").write_text("\n".join(["tag,a,b", *rows, "empty,,"]) + "\n", encoding="utf-8")
    config = tmp_path / "holes.toml"
    config.write_text(
        '[data]\nfile = "holes.csv"\nid = "tag"\nmissing = "marginal"\n[model]\ncomponents = 2\n[methods.em]\n',
        encoding="utf-8",
    )
    runner, out = CliRunner(), ["--out", str(tmp_path / "out")]
    # A row without any value says nothing, and is left out.
    with_empty = runner.invoke(cli, ["fit", str(config), "--out", str(tmp_path / "with_empty")])
    assert with_empty.exit_code == 0, with_empty.output
    assert "1 row without any value was left out." in with_empty.output
    assert (tmp_path / "with_empty" / "fit" / "labels.csv").read_text(encoding="utf-8").count("\n") == N + 1
    (tmp_path / "holes.csv").write_text("\n".join(["tag,a,b", *rows]) + "\n", encoding="utf-8")
    fitted = runner.invoke(cli, ["fit", str(config), *out])
    assert fitted.exit_code == 0, fitted.output
    assert "rows have missing cells" in fitted.output
    # What was stored is read back with its missing cells, by every command.
    for command in (
        ["compare"],
        ["estimates"],
        ["report"],
        ["plot", "--figure", "classification", "--out", str(tmp_path / "c.png")],
    ):
        again = runner.invoke(cli, [command[0], str(tmp_path / "out"), *command[1:]])
        assert again.exit_code == 0, (command, again.output)
    (tmp_path / "new.csv").write_text("tag,b,a\nu,1.0,\nv,,\nw,0.5,0.1\n", encoding="utf-8")
    model = next((tmp_path / "out").rglob("model.json"))
    labelled = runner.invoke(cli, ["predict", str(model), str(tmp_path / "new.csv"), "--id", "tag"])
    assert labelled.exit_code == 0, labelled.output
    assert "1 row with missing cells: judged by the other cells" in labelled.stderr
    assert "1 row without any value ('v'): no label" in labelled.stderr
    assert [line.split(",")[0] for line in labelled.stdout.splitlines()] == ["tag", "u", "w"]
    mixture = Mixture.load(model)
    found = float(labelled.stdout.splitlines()[1].split(",")[3])
    assert found == pytest.approx(log_likelihood(mixture, np.array([[np.nan, 1.0]])), rel=1e-9)
