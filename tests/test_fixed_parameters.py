"""Parameters that are held fixed: closed forms, one optimum for all methods that hold them, errors of the free ones."""

import itertools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner
from climbs import climbed
from common_shape import D, K, N
from jax.flatten_util import ravel_pytree

from workbench.charts import SCALES, WEIGHTS, Chart
from workbench.cli import cli
from workbench.compare import Comparison, table
from workbench.compare.errors import errors_of
from workbench.compare.estimates import estimates_at, estimates_of
from workbench.errors import InputError
from workbench.experiment import parse_experiment
from workbench.jobs.comparison_file import load_comparison, save_comparison
from workbench.jobs.selection import select
from workbench.methods import METHODS
from workbench.mixture import (
    BoundedRatioPrior,
    ChenTanPrior,
    ConjugatePrior,
    Fixed,
    FlatPrior,
    Mixture,
)
from workbench.problem import Problem
from workbench.soundness import Soundness
from workbench.starts import Labellings, RandomPoints, draw_starts

HOLD = ("em", "squarem", "anderson", "overrelaxed", "ascent", "newton")
COVARIANCE = [[1.5, 0.25], [0.25, 0.75]]
CASES = {
    "weight": [Fixed(component=1, weight=0.25)],
    "weights": [Fixed(component=0, weight=0.5), Fixed(component=1, weight=0.25), Fixed(component=2, weight=0.25)],
    "mean": [Fixed(component=0, mean=(4.5, -2.0))],
    "covariance": [Fixed(component=2, covariance=COVARIANCE)],
    "whole": [Fixed(component=1, weight=0.25, mean=(4.0, -2.0), covariance=COVARIANCE)],
}
# A weight, a mean and a covariance, each of another component.
APART = [CASES["weight"][0], CASES["mean"][0], CASES["covariance"][0]]
PRIORS_OF_EM = {"conjugate": ConjugatePrior(), "flat": FlatPrior(), "chen_tan": ChenTanPrior()}
# What is held meets the terms of the conjugate prior, of which the other priors have some or none.
PAIRS = {*((case, "conjugate") for case in CASES), ("whole", "flat"), ("mean", "chen_tan")}


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Three groups of points. [N, D]"""
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, D)) + 4.0 * rng.integers(K, size=(N, 1)) * [1.0, -0.5]


def values_of(mixture: Mixture, fixed: list[Fixed]) -> list[tuple[np.ndarray, np.ndarray]]:
    """What a mixture has, and what is fixed."""
    pairs = []
    for one in fixed:
        k = one.component
        given = ((mixture.weights, one.weight), (mixture.means, one.mean), (mixture.covariances, one.covariance))
        pairs += [(np.asarray(own[k]), np.asarray(value)) for own, value in given if value is not None]
    return pairs


@pytest.mark.parametrize(
    ("case", "prior"),
    [
        pytest.param(case, prior, marks=[] if (case, prior) in PAIRS else pytest.mark.slow)
        for case, prior in itertools.product(CASES, PRIORS_OF_EM)
    ],
)
def test_em_climbs_to_where_the_free_slope_is_zero(case: str, prior: str, x: np.ndarray) -> None:
    problem = Problem(x, K, prior=PRIORS_OF_EM[prior], fixed=CASES[case])
    start = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), problem, 1, 0))
    step = jax.jit(problem.em_step)
    mixture, heights = start, []
    for _ in range(300):
        mixture, height = step(mixture)
        heights.append(float(height))
    # Values of the size of 200 are rounded to 1e-13 of themselves.
    assert np.min(np.diff(heights)) > -1e-10
    for own, value in values_of(mixture, CASES[case]):
        # Weights and means to the last bit; a covariance is factored.
        np.testing.assert_allclose(own, value, rtol=1e-14)
    assert float(jnp.sum(mixture.weights)) == pytest.approx(1.0, rel=1e-14)
    chart = Chart.of(problem, weights="log_ratio")
    u, unravel = ravel_pytree(chart.unconstrain(mixture))
    assert u.size == problem.num_parameters
    slope = jax.jit(jax.grad(lambda v: problem.log_joint(chart.constrain(unravel(v)))))(u)
    # EM at a rate of .93 has come to 1e-9 of its last digits after 300 steps; curvatures are of the size of N.
    assert float(jnp.max(jnp.abs(slope))) < 1e-4


@pytest.mark.parametrize(
    "fixed",
    [
        pytest.param(APART, id="apart"),
        *(pytest.param(fixed, id=case, marks=pytest.mark.slow) for case, fixed in CASES.items()),
    ],
)
def test_methods_that_hold_end_at_one_optimum(
    fixed: list[Fixed], x: np.ndarray, after_em: Callable[..., Mixture]
) -> None:
    problem = Problem(x, K, prior=ConjugatePrior(), fixed=fixed)
    settled, log_joint, ends = after_em(problem, 300), jax.jit(problem.log_joint), {}
    for name in ("em", "squarem", "ascent", "newton"):
        end, infos = climbed(METHODS[name](), problem, settled)
        ends[name] = float(log_joint(end))
        assert all(info.ok for info in infos) and infos[-1].converged, name
        for own, value in values_of(end, fixed):
            np.testing.assert_allclose(own, value, rtol=1e-13)
        if name == "newton":
            # A Hessian costs a pass for each coordinate, and only what is free has one.
            assert int(infos[0].passes) == 2 + problem.num_parameters
    # Methods stop where a relative rise of 1e-10 is left, or a gradient of that order.
    assert max(ends.values()) - min(ends.values()) < 1e-5, ends


@pytest.mark.parametrize("family", ["full", "tied", "diagonal", "spherical"])
def test_one_component_has_closed_forms(family: str, x: np.ndarray, after_em: Callable[..., Mixture]) -> None:
    centre = x[0]
    gaps = x - centre
    end = after_em(Problem(x, 1, family, fixed=[Fixed(component=0, mean=tuple(centre))]), 2)
    scatter = gaps.T @ gaps / N
    expected = {
        "full": scatter,
        "tied": scatter,
        "diagonal": scatter * np.eye(D),
        "spherical": np.trace(scatter) / D * np.eye(D),
    }[family]
    np.testing.assert_allclose(end.covariances[0], expected, rtol=1e-10, atol=1e-12)
    problem = Problem(x, 1, family, fixed=[Fixed(component=0, covariance=np.eye(D) * 2.0)])
    other = after_em(problem, 2)
    np.testing.assert_allclose(other.means[0], x.mean(axis=0), rtol=1e-10)
    rows = estimates_at(problem, other).rows
    (weight, *means) = rows[: 1 + D]
    assert weight.standard_error is None
    # The mean of N points of known variance 2.
    np.testing.assert_allclose([row.standard_error for row in means], np.sqrt(2.0 / N), rtol=1e-6)
    assert all(row.standard_error is None for row in rows[1 + D :])


@pytest.mark.parametrize(
    ("weights", "scales"), [*((name, "log_cholesky") for name in WEIGHTS), *(("softmax", name) for name in SCALES)]
)
@pytest.mark.parametrize("case", ["weights", "whole"])
def test_a_chart_has_coordinates_of_the_free_parameters_alone(
    case: str, weights: str, scales: str, x: np.ndarray
) -> None:
    problem = Problem(x, K, fixed=CASES[case])
    chart = Chart.of(problem, weights, scales)
    mixture = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), problem, 1, 0))
    mixture = problem.settled(mixture)
    again = chart.constrain(chart.unconstrain(mixture))
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(mixture), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_numbers_of_free_parameters(x: np.ndarray) -> None:
    whole = Problem(x, K).num_parameters  # 2 + 6 + 9
    counts = {case: Problem(x, K, fixed=fixed).num_parameters for case, fixed in CASES.items()}
    assert counts == {
        "weight": whole - 1,
        "weights": whole - 2,
        "mean": whole - 2,
        "covariance": whole - 3,
        "whole": whole - 6,
    }
    shared = [Fixed(component=k, covariance=COVARIANCE) for k in range(K)]
    assert Problem(x, K, "tied", fixed=shared).num_parameters == 8


@pytest.mark.parametrize("name", METHODS)
def test_a_method_holds_or_says_what_to_do(name: str, x: np.ndarray) -> None:
    problem = Problem(x, K, prior=ConjugatePrior(), fixed=CASES["mean"])
    if name in HOLD:
        METHODS[name]().admit(problem)
        return
    with pytest.raises(InputError, match=f"fixed: {name} cannot hold parameters fixed; leave fixed out, or use one of"):
        METHODS[name]().admit(problem)


@pytest.mark.parametrize(
    ("fixed", "family", "why"),
    [
        ([Fixed(component=3, weight=0.5)], "full", r"component = 3 \(4 in tables\): components count from 0 to 2 here"),
        (
            [Fixed(component=0, weight=0.5), Fixed(component=0, mean=(0.0, 0.0))],
            "full",
            r"component = 0 \(1 in tables\): is there twice",
        ),
        ([Fixed(component=0, mean=(0.0,))], "full", r"component = 0 \(1 in tables\): mean: needs 2 numbers"),
        (
            [Fixed(component=0, covariance=[1.0, 1.0])],
            "full",
            r"component = 0 \(1 in tables\): covariance: needs 2 rows of 2 numbers",
        ),
        ([Fixed(component=0, covariance=COVARIANCE)], "diagonal", "covariances: "),
        ([Fixed(component=0, covariance=-np.eye(2))], "full", "covariances: must be positive definite"),
        ([Fixed(component=0, covariance=COVARIANCE)], "tied", "all components share one covariance"),
        ([Fixed(component=k, weight=0.5) for k in range(2)], "full", "weights sum to 1 and leave nothing"),
        ([Fixed(component=k, weight=0.3) for k in range(3)], "full", "all weights are fixed and sum to 0.9"),
        (
            [Fixed(component=k, weight=w, mean=(k, k), covariance=np.eye(2)) for k, w in enumerate((0.5, 0.25, 0.25))],
            "full",
            "every parameter is fixed",
        ),
    ],
)
def test_what_cannot_be_held_is_one_message(fixed: list[Fixed], family: str, why: str, x: np.ndarray) -> None:
    with pytest.raises(InputError, match=f"^model.fixed: {why}"):
        Problem(x, K, family, fixed=fixed)


def test_what_contradicts_fixed_parameters_is_refused(x: np.ndarray) -> None:
    with pytest.raises(InputError, match="give at least one of weight, mean and covariance"):
        Fixed(component=0)
    with pytest.raises(InputError, match="labels: fixed parameters number the components already"):
        Problem(x, K, labels="ordered", fixed=CASES["mean"])
    with pytest.raises(InputError, match="bounds covariances by each other"):
        Problem(x, K, prior=BoundedRatioPrior(), fixed=CASES["mean"])
    start = Mixture.from_covariances(np.full(K, 1 / K), x[:K], np.stack([np.eye(D)] * K), "full")
    with pytest.raises(InputError, match=r"which known rows .* and fixed parameters do not allow"):
        Labellings.of(start).check(Problem(x, K, fixed=CASES["mean"]))
    with pytest.raises(InputError, match="give a list, as"):
        Problem(x, K, fixed=["a"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="give at least one of weight, mean and covariance"):
        Problem(x, K, fixed=[{"component": 0}])  # type: ignore[list-item]


def test_components_that_are_fixed_alike_can_stand_in_for_each_other(x: np.ndarray) -> None:
    alike = Problem(x, K, fixed=CASES["weights"])
    np.testing.assert_array_equal(alike.interchangeable, [[1, 0, 0], [0, 1, 1], [0, 1, 1]])
    np.testing.assert_array_equal(Problem(x, K, fixed=CASES["mean"]).interchangeable, [[1, 0, 0], [0, 1, 1], [0, 1, 1]])
    mixture = Mixture.from_covariances([0.5, 0.25, 0.25], x[:3], np.stack([np.eye(D)] * K), "full")
    np.testing.assert_array_equal(alike.presented(mixture).means, mixture.means)


def test_starts_take_the_fixed_values_in_the_nearest_order(x: np.ndarray) -> None:
    problem = Problem(x, K, fixed=CASES["mean"])
    drawn = draw_starts(RandomPoints(), problem, 4, 0)
    free = draw_starts(RandomPoints(), Problem(x, K), 4, 0)
    for restart in range(4):
        np.testing.assert_array_equal(drawn.means[restart, 0], CASES["mean"][0].mean)
        lost = [
            m for m in np.asarray(free.means[restart]).tolist() if m not in np.asarray(drawn.means[restart]).tolist()
        ]
        white = (np.asarray(free.means[restart]) - CASES["mean"][0].mean) @ np.asarray(problem.rows.inverse).T
        assert lost == [np.asarray(free.means[restart])[np.argmin(np.sum(white**2, axis=1))].tolist()]


def test_a_narrow_covariance_that_is_fixed_is_no_spike(x: np.ndarray, after_em: Callable[..., Mixture]) -> None:
    narrow = [Fixed(component=0, weight=0.01, mean=(50.0, 50.0), covariance=1e-7 * np.eye(D))]
    rest = after_em(Problem(x, 2), 200)
    covariances = np.concatenate([1e-7 * np.eye(D)[None], np.asarray(rest.covariances)])
    means = np.concatenate([[[50.0, 50.0]], np.asarray(rest.means)])
    mixture = Mixture.from_covariances([0.01, *(0.99 * np.asarray(rest.weights))], means, covariances, "full")
    assert Soundness().check(Problem(x, K, fixed=narrow), mixture).sound
    assert not Soundness().check(Problem(x, K), mixture).sound


@pytest.fixture(scope="module")
def held(x: np.ndarray, settled: Callable[..., Comparison]) -> Comparison:
    return settled(Problem(x, K, prior=ConjugatePrior(), fixed=CASES["whole"]))


def test_only_free_parameters_have_errors(held: Comparison) -> None:
    own = [row for row in estimates_of(held, "em").rows if row.component == 2]
    others = [row for row in estimates_of(held, "em").rows if row.component != 2]
    assert all(row.standard_error is None for row in own)
    assert all(row.standard_error is not None for row in others if row.parameter != "correlation")
    found = errors_of(held, "em", ["observed", "louis", "weighted"], replicates=20)
    for way, errors in found.ways.items():
        assert errors is not None, (way, found.notes)
        fixed = np.asarray([place[1] == 2 for place in found.places])
        assert np.all(errors[fixed] == 0) and np.all(errors[~fixed] > 0), way
    observed, louis = found.ways["observed"], found.ways["louis"]
    assert observed is not None and louis is not None
    # Two computations of one matrix.
    np.testing.assert_allclose(observed, louis, rtol=1e-5)


def test_a_comparison_says_what_is_fixed_and_comes_back(held: Comparison, tmp_path: Path) -> None:
    text = " ".join(str(table(held)).split())
    assert "Held fixed: of component 2 weight and mean and covariance; 11 parameters are free" in text
    again = load_comparison(save_comparison(held, tmp_path / "c.npz"))
    assert again.problem.fixed == held.problem.fixed
    assert str(table(again)) == str(table(held))


def test_criteria_count_the_free_parameters(x: np.ndarray, tmp_path: Path) -> None:
    rows = "\n".join(["a,b", *(f"{a},{b}" for a, b in x)])
    (tmp_path / "d.csv").write_text(rows + "\n", encoding="utf-8")
    config = {
        "data": {"file": str(tmp_path / "d.csv")},
        "model": {"components": K, "fixed": [{"component": 0, "mean": [4.5, -2.0]}]},
        "methods": {"em": {}},
        "restarts": 2,
    }
    experiment = parse_experiment(config, "x")
    assert experiment.model.fixed == (Fixed(component=0, mean=(4.5, -2.0)),)
    choice = select(experiment, [K])[K]
    free = Problem(x, K).num_parameters - D
    assert choice.parameters == free
    aic, bic = (choice.scores[name].value for name in ("aic", "bic"))
    assert aic is not None and bic is not None
    assert aic + free == pytest.approx(bic + 0.5 * free * np.log(N), rel=1e-12)


def test_the_command_line_fits_around_what_is_fixed(x: np.ndarray, tmp_path: Path) -> None:
    rows = "\n".join(["a,b", *(f"{a:.6f},{b:.6f}" for a, b in x)])
    (tmp_path / "d.csv").write_text(rows + "\n", encoding="utf-8")
    config = tmp_path / "d.toml"
    text = '[data]\nfile = "d.csv"\n[model]\ncomponents = 3\n[[model.fixed]]\ncomponent = 0\nmean = [4.5, -2.0]\n'
    config.write_text("restarts = 2\n" + text + "[methods.em]\n", encoding="utf-8")
    out = str(tmp_path / "out")
    fitted = CliRunner().invoke(cli, ["fit", str(config), "--out", out])
    assert fitted.exit_code == 0, fitted.output
    saved = Mixture.load(tmp_path / "out/fit/model.json")
    np.testing.assert_array_equal(saved.means[0], [4.5, -2.0])
    again = CliRunner().invoke(cli, ["compare", out])
    assert again.exit_code == 0 and "Held fixed: of component 1 mean" in " ".join(again.output.split())
    config.write_text(text.replace("mean", "maen") + "[methods.em]\n", encoding="utf-8")
    wrong = CliRunner().invoke(cli, ["fit", str(config), "--out", out])
    assert wrong.exit_code == 2 and "model.fixed.0.maen" in wrong.output and "mean" in wrong.output
