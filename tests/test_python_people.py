"""What people type in Python: names in place of objects, NumPy's integers, data sets; short texts; one message."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import workbench as wb
from workbench.compare.estimates import estimates_of


@pytest.fixture(scope="module")
def data() -> wb.Dataset:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(60, 2)) + np.where(np.arange(60) < 30, 0.0, 6.0)[:, None]
    return wb.Dataset("groups", x, ("length", "mass"), None, "cm (both columns)", "drawn here")


@pytest.fixture(scope="module")
def comparison(data: wb.Dataset) -> wb.Comparison:
    return wb.compare(wb.Problem(data, np.int64(2)), ["em"], restarts=np.int64(2), seed=np.int64(3))


def test_names_stand_for_defaults(data: wb.Dataset, comparison: wb.Comparison) -> None:
    problem = wb.Problem(data.x, 2)
    same = wb.compare(problem, {"em": wb.EM()}, restarts=2, seed=3, starts=wb.Alternating())
    for methods in ("em", wb.EM(), {"em": "em"}):
        again = wb.compare(problem, methods, restarts=2, seed=3, starts="alternating")
        assert np.array_equal(again["em"].log_joint, same["em"].log_joint)
    assert np.array_equal(comparison["em"].log_joint, same["em"].log_joint)
    assert wb.Problem(data.x, 2, prior="conjugate").prior == wb.ConjugatePrior()


def test_axes_and_estimates_carry_the_units_of_a_data_set(data: wb.Dataset, comparison: wb.Comparison) -> None:
    ax = Figure().subplots()
    wb.plots.fit(ax, comparison)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("length (cm)", "mass (cm)")
    assert estimates_of(comparison, "em").units == data.units
    assert wb.Problem(data.x, 2).units == ""


def test_a_data_set_names_its_columns(data: wb.Dataset) -> None:
    constant = wb.Dataset("c", data.x * [1.0, 0.0], ("length", "mass"), None, "", "drawn here")
    with pytest.raises(wb.InputError, match="column 'mass' is constant"):
        wb.Problem(constant, 2)


Call = Callable[[wb.Problem, wb.Dataset], Any]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, d: wb.compare(p, ["emm"]), r"methods: unknown method 'emm'\. Did you mean 'em'\?"),
        (lambda p, d: wb.compare(p, [wb.EM]), "is the class EM; give methods, as EM()"),
        (lambda p, d: wb.compare(p, ["em"], starts="kmean"), "starts: unknown rule 'kmean'"),
        (lambda p, d: wb.compare(p, ["em"], starts="given"), "starts: unknown rule 'given'"),
        (lambda p, d: wb.compare(p, ["em"], starts=3), "starts: 3 is of type int; give a rule, as KMeans"),
        (lambda p, d: wb.compare(p, ["em"], restarts=2.5), "restarts: must be a whole number of at least 1, got 2.5"),
        (lambda p, d: wb.compare(p, ["em"], restarts=True), "restarts: must be a whole number of at least 1, got True"),
        (lambda p, d: wb.compare(p, ["em"], seed=1.5), "seed: must be a whole number"),
        (lambda p, d: wb.Problem(d, 2, prior="normal"), "prior: unknown prior 'normal'. Allowed: flat, conjugate"),
        (lambda p, d: wb.Problem(d, 2, prior=wb.ConjugatePrior), "prior: .* is none; give a prior, as Conj"),
        (lambda p, d: wb.Problem(d, np.float64(2)), "components: must be a whole number of at least 1, got"),
        (lambda p, d: wb.EM(tol=1e-3), r"tol: unknown key \(did you mean tolerance\?\)"),
        (lambda p, d: wb.compare(p, "EM"), r"methods: unknown method 'EM'\. Did you mean 'em'\?"),
        (lambda p, d: wb.compare(p, "em, ascnt"), r"methods: unknown method 'ascnt'\. Did you mean 'ascent'\?"),
        (lambda p, d: wb.compare(p, {"em": {"tol": 1}}), r"EM: tol: unknown key \(did you mean tolerance\?\)"),
        (lambda p, d: wb.Problem(d, 2, "diag"), r"unknown family 'diag'\. Did you mean 'diagonal'\?"),
        (lambda p, d: wb.GradientAscent(lr=1.0), r"lr: unknown key \(did you mean learning_rate\?\)"),
        (lambda p, d: wb.Mixture(covariances=1), "Mixture: unknown argument covariances .*wb.Mixture.from_covariances"),
        (lambda p, d: wb.Mixture(), "Mixture: missing a required argument.*wb.Mixture.from_covariances"),
        (lambda p, d: wb.Problem(d, 2, fixed=[{"men": 1}]), r"men: unknown key \(did you mean mean\?\)"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_one_message(call: Call, message: str, comparison: wb.Comparison, data: wb.Dataset) -> None:
    with pytest.raises(wb.InputError, match=message) as error:
        call(comparison.problem, data)
    assert "\n" not in str(error.value)


def test_what_the_command_line_and_configs_take_is_taken(comparison: wb.Comparison, data: wb.Dataset) -> None:
    problem = comparison.problem
    assert list(wb.compare(problem, "em,squarem", restarts=1)) == ["em", "squarem"]
    loose = wb.compare(problem, {"em": {}, "loose": {"method": "em", "max_iterations": 3}}, restarts=1)
    assert list(loose) == ["em", "loose"]
    assert loose["loose"].num_rows == 4  # the start and three steps
    assert wb.Problem(data, 2, fixed=[{"component": 0, "weight": 0.3}]).fixed == (wb.Fixed(component=0, weight=0.3),)
    one, listed = (wb.errors_of(comparison, "em", ways) for ways in ("observed", ["observed"]))
    np.testing.assert_array_equal(one.ways["observed"], listed.ways["observed"])


def test_numbers_of_a_mixture_print_on_a_line(comparison: wb.Comparison) -> None:
    best = comparison["em"].best(comparison.problem)
    assert best is not None
    key = jax.random.key(0)
    for found in (
        best.moments(),
        best.regression({0: np.zeros(99)}),
        best.kl_bounds(best),
        best.kl_divergence(best, key),
    ):
        assert len(repr(found)) < 300 and "\n" not in repr(found)
        assert "<table" in found._repr_html_()


def test_what_prints_is_short(comparison: wb.Comparison, data: wb.Dataset) -> None:
    trace = comparison["em"]
    best = trace.best(comparison.problem)
    assert best is not None
    highest = f"{float(trace.log_joint[:, -1].max()):.3f}"
    assert repr(trace) == f"Trace(2 restarts of {trace.num_rows} rows; highest log_joint {highest})"
    assert repr(comparison).splitlines() == [f"Comparison({comparison.problem!r})", f"  em: {trace!r}"]
    assert repr(data) == "Dataset('groups': 60 x 2, columns length, mass)"
    assert repr(best).startswith("Mixture(full; weights [0.5")
    assert repr(trace.mixtures) == f"Mixture(full; weights (2, {trace.num_rows}, 2), means (2, {trace.num_rows}, 2, 2))"


def test_texts_are_made_inside_compiled_programs_too(comparison: wb.Comparison) -> None:
    texts = []

    def traced(trace: wb.Trace, mixture: wb.Mixture) -> jax.Array:
        texts.extend([repr(trace), repr(mixture)])
        return mixture.weights

    jax.jit(traced)(comparison["em"], comparison["em"].at(0, 0))
    assert [text.partition("(")[0] for text in texts] == ["Trace", "Mixture"]


def test_notebooks_show_tables(comparison: wb.Comparison, data: wb.Dataset) -> None:
    trace = comparison["em"]
    best = trace.best(comparison.problem)
    assert best is not None
    found = estimates_of(comparison, "em")
    for shown, words in (
        (best, ["mean length", "sd mass"]),
        (trace.mixtures, ["<pre>Mixture(full"]),
        (trace, ["highest log_joint", "converged"]),
        (comparison, ["best sound log-joint", "em reaches it"]),
        (comparison.problem, ["components", "FlatPrior"]),
        (found, ["standard error", "intervals by"]),
    ):
        text = shown._repr_html_()
        assert all(word in text for word in words) and "<" in text
        assert len(text) < 10_000


def test_results_are_data_frames(comparison: wb.Comparison) -> None:
    trace, table = comparison["em"], wb.table(comparison)
    frame = comparison.to_dataframe()
    assert list(frame.columns) == table.to_csv().splitlines()[0].split(",")
    assert frame["best_log_joint"][0] == pytest.approx(np.max(trace.log_joint[:, -1]), rel=1e-12)
    rows = trace.to_dataframe()
    assert len(rows) == trace.log_joint.size
    last = rows[rows["row"] == trace.num_rows - 1]
    np.testing.assert_array_equal(last["log_joint"], trace.log_joint[:, -1])
    found = estimates_of(comparison, "em")
    assert found.to_dataframe()["estimate"].tolist() == [row.estimate for row in found.rows]


def test_a_missing_package_for_frames_is_one_message(
    comparison: wb.Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.frames.find_spec", lambda name: None)
    with pytest.raises(wb.InputError, match="to_dataframe: needs pandas, polars or pyarrow"):
        comparison.to_dataframe()
