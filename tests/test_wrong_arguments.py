"""Every wrong argument of a public function is one line with the remedy, never an error from deep inside."""

from collections.abc import Callable

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import workbench as wb
from workbench.errors import ArgumentError, UnknownError, checks_arguments


@pytest.fixture(scope="module")
def fitted() -> wb.Comparison:
    x = np.random.default_rng(2).normal(size=(60, 2)) + np.where(np.arange(60) < 30, 0.0, 6.0)[:, None]
    return wb.compare(wb.Problem(x, 2), "em", restarts=1)


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
    "a number for a data set": (lambda c: wb.load_dataset(3), "unknown data set '3'"),
    "a number for a file": (lambda c: wb.read_file(3), "path: give the path of a file, got 3"),
    "a misspelt wish": (lambda c: wb.Wanted(lable="x"), "did you mean label"),
    "half a data set": (lambda c: wb.Dataset("a", c.problem.x), "it needs name, x, columns"),
    "half a simulator": (lambda c: wb.Simulator(components=3), "it needs components, dimensions"),
    "an array for a rule": (lambda c: wb.compare(c.problem, "em", starts=np.zeros((2, 2))), r"starts: array\(\[\[0"),
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
