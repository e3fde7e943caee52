"""Fits beside a uniform background: plain EM, one optimum for all methods, errors, labels, files, the command line."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner
from climbs import all_climbed, climbed
from scipy.stats import multivariate_normal

from workbench.cli import cli
from workbench.compare import Comparison, compare, table
from workbench.compare.answers import labels_of
from workbench.compare.errors import errors_of
from workbench.compare.estimates import estimates_of
from workbench.errors import InputError
from workbench.experiment import parse_experiment, read_experiment
from workbench.geometry.atlas import atlas
from workbench.jobs.comparison_file import load_comparison, save_comparison
from workbench.jobs.registry import load_results
from workbench.jobs.selection import select
from workbench.methods import EM, METHODS
from workbench.mixture import COVARIANCES, ConjugatePrior, Mixture
from workbench.mixture.background import START
from workbench.mixture.saved import SavedMixture
from workbench.numpyro_model import mixture_of_sites, potential, unconstrained_sites
from workbench.posterior.exact import exact_posterior
from workbench.problem import Problem
from workbench.starts import STARTS, Given, RandomPoints, ShortEM, draw_starts

FIT = ("em", "squarem", "anderson", "overrelaxed", "ascent", "newton")


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Two groups of 60 and 45 points, and 24 anywhere. [129, 2]"""
    rng = np.random.default_rng(0)
    groups = [rng.normal(size=(60, 2)) * 0.6, rng.normal(size=(45, 2)) * 0.5 + [4.0, 3.0]]
    return np.concatenate([*groups, rng.uniform([-5.0, -4.0], [9.0, 7.0], (24, 2))])


@pytest.fixture(scope="module")
def problem(x: np.ndarray) -> Problem:
    return Problem(x, 2, background=True)


@pytest.fixture(scope="module")
def start(problem: Problem) -> Mixture:
    return jax.tree.map(lambda leaf: leaf[0], draw_starts(ShortEM(), problem, 1, 0))


def share(mixture: Mixture) -> float:
    assert mixture.background is not None
    return float(mixture.background.weight)


def test_a_step_is_that_of_plain_em(problem: Problem, x: np.ndarray) -> None:
    mixture = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), problem, 1, 1))
    assert share(mixture) == START
    image, before = jax.jit(Problem.em_step)(problem, mixture)
    parts = [
        (1 - START) * float(w) * multivariate_normal.pdf(x, m, c)
        for w, m, c in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    ]
    terms = np.stack([*parts, np.full(len(x), START / np.prod(np.ptp(x, axis=0)))], axis=1)
    np.testing.assert_allclose(before, np.sum(np.log(terms.sum(1))), rtol=1e-12)
    r = terms / terms.sum(1, keepdims=True)
    counts = r.sum(0)
    np.testing.assert_allclose(share(image), counts[2] / len(x), rtol=1e-11)
    np.testing.assert_allclose(image.weights, counts[:2] / counts[:2].sum(), rtol=1e-11)
    np.testing.assert_allclose(image.means, (r.T @ x)[:2] / counts[:2, None], rtol=1e-11)
    gaps = x - np.asarray(image.means)[:, None]
    np.testing.assert_allclose(
        image.covariances, np.einsum("nk,kni,knj->kij", r[:, :2], gaps, gaps) / counts[:2, None, None], rtol=1e-10
    )


@pytest.mark.parametrize("method", FIT)
def test_every_method_ends_at_one_optimum(method: str, problem: Problem, start: Mixture) -> None:
    end, infos = climbed(METHODS[method](), problem, start)
    assert all(info.ok for info in infos)
    np.testing.assert_allclose(problem.log_joint(end), problem.log_joint(climbed(EM(), problem, start)[0]), atol=1e-5)
    # 24 of 129 points were drawn from anywhere, and a few of these lie within the groups.
    assert 0.1 < share(end) < 0.25


@pytest.mark.parametrize("method", sorted({*METHODS} - {*FIT, "nuts", "tempered_smc", "permuted"}))
def test_other_methods_refuse(method: str, x: np.ndarray) -> None:
    problem = Problem(x, 2, prior=ConjugatePrior(), background=True)
    with pytest.raises(InputError, match=f"background: {method} cannot fit"):
        METHODS[method]().admit(problem)


def test_em_never_falls_and_ascends_without_a_background(problem: Problem, x: np.ndarray) -> None:
    starts = draw_starts(RandomPoints(), problem, 8, 2)
    ends, ok, _ = all_climbed(EM(), problem, starts)
    assert np.all(ok)
    best = float(jnp.max(jax.vmap(problem.log_joint)(ends)))
    alone = Problem(x, 2)
    without = all_climbed(EM(), alone, draw_starts(RandomPoints(), alone, 8, 2))[0]
    # Without the box a component must cover all that belongs to no group.
    assert best > float(jnp.max(jax.vmap(alone.log_joint)(without))) + 10


@pytest.mark.parametrize("family", COVARIANCES)
def test_short_em_finds_the_groups_beside_the_background(family: str, x: np.ndarray) -> None:
    problem = Problem(x, 2, family, background=True)
    starts = draw_starts(ShortEM(), problem, 1, 0)
    (value,) = jax.vmap(problem.log_joint)(starts)
    ends, _, _ = all_climbed(EM(), problem, draw_starts(RandomPoints(), problem, 8, 0))
    assert float(value) > float(jnp.max(jax.vmap(problem.log_joint)(ends))) - 0.1


@pytest.mark.parametrize("rule", sorted(set(STARTS) - {"given", "labellings"}))
def test_every_rule_starts_with_a_background(rule: str, problem: Problem) -> None:
    starts = draw_starts(STARTS[rule](), problem, 3, 0)
    assert starts.background is not None
    assert starts.background.weight.shape == (3,)
    assert np.all((np.asarray(starts.background.weight) > 0) & (np.asarray(starts.background.weight) < 1))


def test_the_model_of_numpyro_has_the_density_and_nuts_its_coordinates(x: np.ndarray, start: Mixture) -> None:
    problem = Problem(x, 2, prior=ConjugatePrior(), background=True)
    sites = unconstrained_sites(problem, start)
    back = mixture_of_sites(problem, sites)
    np.testing.assert_allclose(share(back), share(start), rtol=1e-12)
    shift = jax.jit(potential)(problem, sites) + problem.log_joint(start)
    for weight in (0.05, 0.4):
        assert start.background is not None
        other = replace(start, background=start.background.weighing(jnp.asarray(weight)))
        moved = jax.jit(potential)(problem, unconstrained_sites(problem, other)) + problem.log_joint(other)
        # What is left is the Jacobian of the log-odds, b (1 - b).
        expected = np.log(share(start) * (1 - share(start))) - np.log(weight * (1 - weight))
        np.testing.assert_allclose(moved - shift, expected, atol=1e-9)


@pytest.fixture(scope="module")
def compared(x: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """EM from the command line, on rows of which some are held out."""
    folder = tmp_path_factory.mktemp("background")
    with (folder / "points.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["tag", "kind", "a", "b"])
        kinds = ["near"] * 60 + ["far"] * 45 + ["noise"] * 24
        writer.writerows([f"t{n}", kind, *row] for n, (kind, row) in enumerate(zip(kinds, x.tolist(), strict=True)))
    (folder / "points.toml").write_text(
        '[data]\nfile = "points.csv"\ncolumns = ["a", "b"]\nid = "tag"\nlabel = "kind"\n'
        "[model]\ncomponents = 2\nbackground = true\n[methods.em]\n"
    )
    result = CliRunner().invoke(cli, ["fit", str(folder / "points.toml"), "--out", str(folder / "results")])
    assert result.exit_code == 0, result.output
    assert "uniform background" in result.output
    noise = next(line for line in result.output.splitlines() if line.startswith("noise"))
    # Of the 24 rows from anywhere, most are given to the background.
    assert int(noise.split()[1]) >= 16
    return folder, load_results(folder / "results")[0]


def test_labels_call_the_background_0(compared: tuple[Path, Comparison]) -> None:
    rows = list(csv.DictReader((compared[0] / "results" / "fit" / "labels.csv").read_text().splitlines()))
    assert {row["component"] for row in rows} == {"0", "1", "2"}
    for row in rows:
        shares = [float(row[f"p{k}"]) for k in range(3)]
        assert sum(shares) == pytest.approx(1.0, abs=1e-12)
        assert shares[int(row["component"])] == max(shares) == float(row["probability"])
    model = json.loads((compared[0] / "results" / "fit" / "model.json").read_text())
    estimates = list(csv.DictReader((compared[0] / "results" / "fit" / "estimates.csv").read_text().splitlines()))
    own = next(row for row in estimates if row["parameter"] == "background")
    assert float(own["estimate"]) == pytest.approx(model["background"]["weight"], rel=1e-12)
    assert 0 < float(own["low"]) < float(own["estimate"]) < float(own["high"]) < 1


def test_a_saved_model_is_a_start_and_labels_new_rows(compared: tuple[Path, Comparison]) -> None:
    folder, _ = compared
    config = (folder / "points.toml").read_text() + '[starts]\nrule = "given"\nfile = "results/fit/model.json"\n'
    (folder / "again.toml").write_text(config.replace("[methods.em]\n", "") + "[methods.em]\n")
    result = CliRunner().invoke(cli, ["run", str(folder / "again.toml"), "--out", str(folder / "again")])
    assert result.exit_code == 0, result.output
    assert "8 of 8 starts in 1 pass" in result.output or "8 of 8 starts in 0 passes" in result.output
    (folder / "without.toml").write_text(config.replace("background = true\n", ""))
    result = CliRunner().invoke(cli, ["run", str(folder / "without.toml"), "--out", str(folder / "without")])
    assert result.exit_code == 2
    assert "starts.background: the model has none" in result.output


def test_errors_agree_with_the_bootstrap(compared: tuple[Path, Comparison]) -> None:
    comparison = compared[1]
    found = errors_of(comparison, "em", ("observed", "louis", "nonparametric"), replicates=60)
    at = [place[0] for place in found.places].index("background")
    observed, refitted = (found.ways[way] for way in ("observed", "nonparametric"))
    assert observed is not None
    assert refitted is not None
    # An error of 60 replicates is known to 9 %; three of these, and the bootstrap's own bias.
    assert refitted[at] == pytest.approx(observed[at], rel=0.35)
    assert found.ways["louis"] is None
    assert "without a background" in " ".join(found.notes)


def test_a_comparison_is_kept_in_one_file(compared: tuple[Path, Comparison], tmp_path: Path) -> None:
    comparison = compared[1]
    again = load_comparison(save_comparison(comparison, tmp_path / "c.npz"))
    assert str(table(again)) == str(table(comparison))
    assert estimates_of(again, "em") == estimates_of(comparison, "em")


def test_held_out_rows_lie_in_the_box(x: np.ndarray) -> None:
    values = {
        "data": {"simulate": {"components": 2, "dimensions": 2, "points": 80, "separation": 4.0}, "test_fraction": 0.3},
        "model": {"components": 2, "background": True},
        "methods": {"em": {}},
    }
    experiment = parse_experiment(values, "held")
    train, heldout = experiment.data.load(0, Path())
    problem = experiment.problem(train)
    assert problem.background is not None
    assert np.all(np.asarray(problem.background.log_joint(jnp.asarray(heldout.x))) > -np.inf)


def test_a_weight_that_cannot_be_told_from_none_has_no_interval() -> None:
    rng = np.random.default_rng(0)
    even = np.concatenate([rng.uniform(-1, 1, 100), rng.normal(8.0, 0.5, 60)])
    groups = np.concatenate([rng.normal(size=(150, 2)), rng.normal([6.0, 2.0], 1.0, (100, 2))])
    for x, none in ((even, True), (groups, False)):
        traces = compare(Problem(x, 2, background=True), "em", restarts=2)
        found = estimates_of(traces, "em")
        own = next(row for row in found.rows if row.parameter == "background")
        assert (own.low, own.high, own.standard_error) == (None, None, None)
        assert "the background's weight lies within 2 standard errors of 0" in found.said
        assert all(row.low is not None for row in found.rows if row.parameter == "mean")
        assert ("gives it less than one point: fit without it" in table(traces).reading) == none


def test_predict_says_how_many_rows_lie_outside_the_box(compared: tuple[Path, Comparison], tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("a,b\n0,0\n50,50\n-60,1\n1,\n")
    model = str(compared[0] / "results" / "fit" / "model.json")
    result = CliRunner().invoke(cli, ["predict", model, str(tmp_path / "new.csv")])
    assert result.exit_code == 0, result.output
    assert "2 rows outside the box of the model's background" in result.stderr
    result = CliRunner().invoke(cli, ["predict", model, str(tmp_path / "new.csv"), "--complete"])
    assert result.exit_code == 0, result.output
    assert "outside the box" not in result.stderr


def test_labels_of_rows_outside_the_box_are_of_a_component(start: Mixture) -> None:
    blocks = list(labels_of(SavedMixture(start, (), {}), np.array([[30.0, 30.0], [0.0, 0.0]])))
    assert blocks[0].rows[0]["component"] != 0
    assert blocks[0].rows[0]["p0"] == 0.0


def test_what_reads_components_alone_refuses(problem: Problem, x: np.ndarray, start: Mixture) -> None:
    with pytest.raises(InputError, match="background: an atlas"):
        atlas(problem, EM(), starts=2)
    with pytest.raises(InputError, match="background: the exact posterior"):
        exact_posterior(Problem(x[:6], 2, "diagonal", ConjugatePrior(), background=True))
    with pytest.raises(InputError, match=r"starts\.background"):
        draw_starts(Given.of(start), Problem(x, 2), 1, 0)


@pytest.mark.slow
def test_criteria_choose_the_groups_beside_the_background(compared: tuple[Path, Comparison], tmp_path: Path) -> None:
    experiment = read_experiment(compared[0] / "points.toml")
    found = select(experiment, components=(1, 2, 3), out=tmp_path / "beside", folder=compared[0])
    assert found.best("bic") == 2
    # Without a background a third component covers the noise, and more.
    model = experiment.model.model_copy(update={"background": False})
    changed = experiment.model_copy(update={"model": model})
    alone = select(changed, components=(1, 2, 3), out=tmp_path / "alone", folder=compared[0])
    assert alone.best("bic") == 3
    with_two, with_three = found[2].scores["bic"].value, alone[3].scores["bic"].value
    assert with_two is not None and with_three is not None and with_two > with_three
