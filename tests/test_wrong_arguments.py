"""Every wrong argument of a public function is one line with the remedy, never an error from deep inside."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import workbench as wb
from workbench.errors import ArgumentError, UnknownError, checks_arguments
from workbench.report import figure
from workbench.sklearn import GaussianMixture


@pytest.fixture(scope="module")
def fitted() -> wb.Comparison:
    x = np.random.default_rng(2).normal(size=(60, 2)) + np.where(np.arange(60) < 30, 0.0, 6.0)[:, None]
    return wb.compare(wb.Problem(x, 2), "em", restarts=1)


GALAXIES = Path(__file__).parents[1] / "experiments" / "galaxies.toml"

Wrong = Callable[[wb.Comparison], object]

WRONG: dict[str, tuple[Wrong, str]] = {
    "points for a problem": (lambda c: wb.compare(c.problem.x, "em"), r"wb\.Problem\(x, components\) makes one"),
    "swapped": (lambda c: wb.compare("em", c.problem), "problem must be of type Problem, got 'em'"),
    "no methods": (lambda c: wb.compare(c.problem), "it needs problem, methods"),
    "a misspelt argument": (lambda c: wb.compare(c.problem, "em", n_restarts=3), "did you mean restarts"),
    "scikit-learn's name": (lambda c: wb.Problem(c.problem.x, n_components=2), "did you mean components"),
    "no components": (lambda c: wb.Problem(c.problem.x), "it needs x, components"),
    "a class": (lambda c: wb.compare(c.problem, wb.EM), r"is the class EM; give a list, as \[EM\(\)"),
    "a half seed": (lambda c: wb.compare(c.problem, "em", seed=1.5), "seed: must be a whole number from 0"),
    "a shortened name": (lambda c: wb.EM(tol=1e-3), "did you mean tolerance"),
    "no name": (lambda c: wb.EM(1e-3), r"takes values by name, race=.*tolerance=\.\.\., .*; got 0\.001 without one"),
    "two that lack": (lambda c: wb.Race(), "after: missing; give a value; Race: keep: missing"),
    "no such run": (lambda c: c["nuts"], "no run of 'nuts'; it has em"),
    "a number for a run": (lambda c: c[0], "no run of 0; it has em"),
    "best of nothing": (lambda c: c["em"].best(), "it needs problem"),
    "best of points": (lambda c: c["em"].best(c.problem.x), "problem must be of type Problem, got "),
    "table of a trace": (lambda c: wb.table(c["em"]), "got Trace .wb.compare.problem, methods. returns one"),
    "table of a problem": (lambda c: wb.table(c.problem), "comparison must be of type Comparison"),
    "summary of a problem": (lambda c: wb.summarise(c.problem), "comparison must be of type Comparison"),
    "estimates of no method": (lambda c: wb.estimates_of(c), "it needs comparison, method"),
    "a comparison for a trace": (lambda c: wb.relabel(c, c.problem), 'as comparison\\["em"\\]'),
    "summary of a comparison": (lambda c: wb.posterior_summary(c, c.problem), "trace must be of type Trace"),
    "ArviZ of a comparison": (lambda c: wb.to_arviz(c, c.problem), "trace must be of type Trace"),
    "points saved": (lambda c: wb.save_comparison(c.problem.x, "a.npz"), "comparison must be of type Comparison"),
    "a path for an experiment": (lambda c: wb.run_experiment("a.toml"), r"wb\.read_experiment\(file\) reads one"),
    "a problem selected": (lambda c: wb.select(c.problem), "experiment must be of type Experiment, got Problem"),
    "an atlas of points": (lambda c: wb.atlas(c.problem.x, "em"), "problem must be of type Problem"),
    "a model of points": (lambda c: wb.mixture_model(c.problem.x), "problem must be of type Problem"),
    "a reference of points": (lambda c: wb.Reference.of(c.problem.x), r"wb\.read_file\(file\)"),
    "a start at points": (lambda c: wb.Given.of(c.problem.x), "mixture must be of type Mixture"),
    "swapped axes": (lambda c: wb.plots.fit(c, Figure().subplots()), "comparison must be of type Comparison, got Axes"),
    "a plot of a problem": (lambda c: wb.plots.score(Figure().subplots(), c.problem), "type Comparison, got Problem"),
    "a seed for a key": (lambda c: best(c).sample(0, 10), r"as jax\.random\.key\(0\), got 0"),
    "a seed for a divergence": (lambda c: best(c).kl_divergence(best(c), 0), r"as jax\.random\.key\(0\), got 0"),
    "a divergence from points": (
        lambda c: best(c).kl_divergence(c.problem.x, jax.random.key(0)), "other must be of type Mixture"
    ),
    "a number for a data set": (lambda c: wb.load_dataset(3), "load_dataset: name: must be text, got 3"),
    "a number for a file": (lambda c: wb.read_file(3), "path: give the path of a file, got 3"),
    "a misspelt wish": (lambda c: wb.Wanted(lable="x"), "did you mean label"),
    "half a data set": (lambda c: wb.Dataset("a", c.problem.x), "it needs name, x, columns"),
    "half a simulator": (lambda c: wb.Simulator(components=3), "it needs components, dimensions"),
    "an array for a rule": (lambda c: wb.compare(c.problem, "em", starts=np.zeros((2, 2))), r"starts: array\(\[\[0"),
    "no replicates": (lambda c: wb.errors_of(c, "em", ["weighted"], replicates=0), "replicates: .* at least 2, got 0"),
    "replicates in words": (lambda c: wb.errors_of(c, "em", replicates="a"), "replicates: .* whole number"),
    "a seed in words": (lambda c: wb.errors_of(c, "em", seed="a"), "seed: must be a whole number from 0"),
    "no ways": (lambda c: wb.errors_of(c, "em", None), r"ways: must be a list of texts, got None"),
    "more draws than fit into memory": (
        lambda c: c["em"].best(c.problem).sample(jax.random.key(0), 10**12),
        "num_samples: must be a whole number of at most",
    ),
    "more replicates than fit into memory": (
        lambda c: wb.errors_of(c, "em", replicates=10**9),
        "replicates: must be a whole number of at most 1,000,000",
    ),
    "weights that cannot be counted": (
        lambda c: wb.Problem(c.problem.x, 2, weights=np.full(c.problem.num_rows, 1e308)),
        r"weights: data row 1 is 1e\+308, and a weight counts",
    ),
    "no number of components": (
        lambda c: wb.select(wb.read_experiment(GALAXIES), 3),
        "components: give numbers of components, as",
    ),
    "an argument of none": (lambda c: wb.use_all_cores("a"), "use_all_cores: too many positional arguments"),
    "an unknown way": (lambda c: wb.errors_of(c, "em", "weigted"), r"unknown way 'weigted'\. Did you mean"),
    "a list for a method": (lambda c: wb.estimates_of(c, ["em"]), "method: must be text"),
    "a level in words": (lambda c: wb.estimates_of(c, "em", "a"), "level: must be a number, got 'a'"),
    "levels": (lambda c: wb.estimates_of(c, "em", []), r"level: must be a number, got \[\]"),
    "a list for a family": (lambda c: wb.Problem(c.problem.x, 2, covariance=["full"]), "covariance: must be text"),
    "numbers for names": (lambda c: wb.Problem(c.problem.x, 2, columns=[1, 2]), r"list of texts, got \[1, 2\]"),
    "devices in words": (lambda c: wb.Problem(c.problem.x, 2, devices="a"), "devices: must be a whole number"),
    "a number held fixed": (lambda c: wb.Problem(c.problem.x, 2, fixed=3), r"fixed: .*Fixed\(.*got 3"),
    "no folder": (lambda c: wb.load_results(None), "folder: give the path of a folder, got None"),
    "bytes for a folder": (lambda c: wb.results(b"x"), "folder: give the path of a folder, got b'x'"),
    "no folder of choices": (lambda c: wb.load_selections(None), "folder: give the path of a folder, got None"),
    "no folder of studies": (lambda c: wb.load_studies(3), "folder: give the path of a folder, got 3"),
    "no folder of atlases": (lambda c: wb.load_atlases(3), "folder: give the path of a folder, got 3"),
    "no config": (lambda c: wb.read_experiment(3), "path: give the path of a file, got 3"),
    "a path with a zero": (lambda c: wb.read_experiment("\0"), "path: give the path of a file, got '.x00'"),
    "a model of a zero": (lambda c: wb.Mixture.load("\0"), "path: give the path of a file, got '.x00'"),
    "a file for a folder": (lambda c: best(c).save(Path(__file__) / "x.json"), r"x\.json: cannot be written"),
    "too many names": (lambda c: best(c).named(["a", "b", "c"]), "3 column names for 2 columns"),
    "one name twice": (lambda c: best(c).named(["a", "a"]), "columns: .*a"),
    "one text for names": (lambda c: best(c).named("ab"), r"give a list of 2 names, or \[\], got 'ab'"),
    "names that are numbers": (lambda c: best(c).named([0, 1]), r"names must be text, got \[0, 1\]"),
    "no names": (lambda c: best(c).named(None), r"give a list of 2 names, or \[\], got None"),
    "a place for places": (lambda c: best(c).take(99), "places: must be a list of whole numbers from 0 to 1, got 99"),
    "places beyond": (lambda c: best(c).take([5, 6]), r"whole numbers from 0 to 1, got \[5, 6\]"),
    "places from the end": (lambda c: best(c).take([-1]), r"whole numbers from 0 to 1, got \[-1\]"),
    "an uneven order": (lambda c: best(c).permute([[0], [1, 2]]), "order: must be a list of whole numbers"),
    "no unit": (lambda c: best(c).affine(float("nan")), "matrix: must be finite, got nan"),
    "units of more columns": (lambda c: best(c).affine([1, 2, 3]), r"expected 2 numbers, or \[2, 2\]"),
    "a shift of more columns": (lambda c: best(c).affine(1.0, [1, 2, 3]), r"a shift of 2, got \(\), \(3,\)"),
    "the name of a family": (
        lambda c: wb.Mixture(best(c).weights, best(c).means, best(c).scales, "full"), "from_covariances takes a name"
    ),
    "words for numbers": (lambda c: wb.Mixture.from_covariances("a", "b", "c"), "weights: must be an array of numbers"),
    "several keys": (lambda c: best(c).sample(jax.random.split(jax.random.key(0), 2), 5), "must be one random key"),
    "axes that are none": (lambda c: wb.plots.score(None, c), r"ax: must be Axes of matplotlib, .* got NoneType"),
    "one for a list of axes": (lambda c: wb.plots.trace(Figure().subplots(), []), r"as \[plt\.gca\(\)\], got Axes"),
    "a run for panels": (lambda c: wb.plots.trace([Figure().subplots()], c["em"]), "panels: must be a list of Panel"),
    "points for groups": (lambda c: wb.plots.forest([Figure().subplots()], c.problem.x), "groups: must be a list of"),
    "too few axes": (
        lambda c: wb.plots.forest([Figure().subplots()], wb.plots.groups_of(c)), r"are needed, got 1; plt\.subplots"
    ),
    "no figure": (lambda c: figure(c, None), "figure: name: must be text, got None"),
    "a figure of a run": (lambda c: figure(c["em"], "trace"), "results must be of type Comparison"),
    "one side": (lambda c: figure(c, "score", size=3), "size: give width and height in inches"),
    "no colours": (lambda c: figure(c, "score", palette=3), "palette: must be a list of texts, got 3"),
    "values too large to square": (lambda c: GaussianMixture(2).fit([[1e308] * 2] * 2), r"X: holds 1e\+308.* unit"),
}  # fmt: skip


def best(comparison: wb.Comparison) -> wb.Mixture:
    found = comparison["em"].best(comparison.problem)
    assert found is not None
    return found


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_argument_is_one_line_with_the_remedy(fitted: wb.Comparison, wrong: str) -> None:
    call, words = WRONG[wrong]
    with pytest.raises(wb.InputError, match=words) as caught:
        call(fitted)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_errors_of_arguments_are_still_those_of_python(fitted: wb.Comparison) -> None:
    """So that code that expects Python's own goes on working, `in` and `get` among it."""
    with pytest.raises(TypeError):
        wb.compare()
    with pytest.raises(KeyError):
        fitted["nuts"]
    assert "nuts" not in fitted and fitted.get("nuts") is None
    assert issubclass(ArgumentError, TypeError) and issubclass(UnknownError, KeyError)


def test_numbers_of_numpy_are_taken_wherever_those_of_python_are() -> None:
    assert wb.NUTS(num_samples=np.int64(20)) == wb.NUTS(num_samples=20)
    assert wb.EM(max_iterations=np.int32(4), tolerance=np.float32(0.5)) == wb.EM(max_iterations=4, tolerance=0.5)
    assert wb.Race(after=np.int64(2), keep=np.int8(1)) == wb.Race(after=2, keep=1)
    assert wb.Fixed(component=np.int64(0), mean=np.zeros(2)) == wb.Fixed(component=0, mean=[0.0, 0.0])
    assert wb.ConjugatePrior(concentration=np.float64(2)) == wb.ConjugatePrior(concentration=2.0)
    with pytest.raises(wb.InputError, match="max_iterations"):
        wb.EM(max_iterations=np.float64(4.5))


def test_an_atlas_takes_the_name_of_a_method(fitted: wb.Comparison) -> None:
    by_name, by_method = (wb.atlas(fitted.problem, each, starts=np.int64(2)) for each in ("em", wb.EM()))
    assert by_name.to_json() == by_method.to_json()


class Own:
    __module__ = "workbench.tests"


def test_only_what_an_annotation_says_for_certain_is_checked() -> None:
    @checks_arguments
    def take(one: Own | None, several: list[Own], either: Own | str, text: "Own") -> str:
        return f"{one} {several} {either} {text}"

    own = Own()
    assert take(None, [own], "a", own).startswith("None [")
    for wrong in ((1, [], "a", own), ("a", [], own, own)):
        with pytest.raises(ArgumentError, match=r"take: one must be of type Own"):
            take(*wrong)
    assert take(None, 3, 3.5, own)  # these the function itself checks
