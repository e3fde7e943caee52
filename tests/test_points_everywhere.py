"""Every public function that takes points refuses the same inputs, with one message that says what to do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from numpyro.handlers import seed

import workbench as wb
from workbench.data import as_points
from workbench.diagnostics import heldout_log_density
from workbench.diagnostics.clustering import co_clustering
from workbench.errors import InputError
from workbench.posterior.exact import exact_posterior

MIXTURE = wb.Mixture.from_covariances([0.4, 0.6], [[0.0, 0.0], [1.0, 1.0]], np.stack([np.eye(2)] * 2))
DRAWS = jax.tree.map(lambda leaf: leaf[None], MIXTURE)
GOOD = np.array([[0.0, 1.0], [1.0, -1.0], [2.0, 0.5], [0.5, 0.5]])


def problem() -> wb.Problem:
    return wb.Problem(GOOD, 2, prior=wb.ConjugatePrior())


TAKERS: dict[str, Callable[..., object]] = {
    "Problem": lambda x: wb.Problem(x, 2),
    "predict": MIXTURE.predict,
    "log_density": MIXTURE.log_density,
    "responsibilities": MIXTURE.responsibilities,
    "component_log_joint": MIXTURE.component_log_joint,
    "heldout_log_density": lambda x: heldout_log_density(DRAWS, x),
    "co_clustering": lambda x: co_clustering(DRAWS, x),
    "Reference": lambda x: wb.Reference(heldout=x).check(problem()),
    "exact_posterior": lambda x: exact_posterior(problem(), at=x),
    "mixture_model": lambda x: seed(wb.mixture_model, 0)(problem(), x=x),
    "latent_model": lambda x: seed(wb.latent_model, 0)(problem(), x=x),
}
with_nan, with_infinity = GOOD.copy(), GOOD.copy()
with_nan[2, 1], with_infinity[1, 0] = np.nan, np.inf
BAD: dict[str, tuple[object, str]] = {
    "NaN": (with_nan, "data row 3, column 'x2' is nan; give a finite number or remove the row"),
    "infinity": (with_infinity, "data row 2, column 'x1' is inf; give a finite number or remove the row"),
    "masked": (np.ma.masked_array(GOOD, GOOD > 1.5), "data row 3, column 'x1' is nan; give a finite number"),
    "list of masked": ([np.ma.masked_array(row, row > 1.5) for row in GOOD], "data row 3, column 'x1' is nan"),
    "column of masked": (
        {"a": np.ma.masked_array([1, 2, 3], [False, True, False]), "b": np.array([0.5, 1.0, 2.0])},
        "data row 2, column 'a' is nan; give a finite number",
    ),
    "name of a file": ("peng.csv", "x: is text, not points; if it names a file, give wb.read_file('peng.csv')"),
    "path": (Path("a") / "peng.csv", "give wb.read_file('a/peng.csv')"),
    "sparse": (scipy.sparse.csr_matrix(GOOD), "is a sparse matrix; give a dense one, as x.toarray()"),
    "sparse array": (scipy.sparse.coo_array(GOOD), "is a sparse matrix; give a dense one, as x.toarray()"),
    "nullable": (
        pd.DataFrame({"a": pd.array([1, None, 2, 3], dtype="Int64"), "b": GOOD[:, 1]}),
        "data row 2, column 'a' is nan; give a finite number or remove the row",
    ),
    "None": ([[0.0, 1.0], [None, 2.0]], "data row 2, column 'x1' is nan"),
    "text": ([["a", "b"], ["c", "d"]], "not numeric; give integers or floats"),
    "too large": ([[1, 2], [10**400, 3]], "data row 2, column 'x1' is inf"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("taker", TAKERS)
def test_points_that_cannot_be_fitted_are_refused(taker: str, kind: str) -> None:
    bad, fragment = BAD[kind]
    with pytest.raises(InputError) as caught:
        TAKERS[taker](bad)
    assert fragment.removeprefix("x: ") in str(caught.value)


@pytest.mark.parametrize("taker", [name for name in TAKERS if name != "Problem"])
def test_points_of_other_columns_are_refused(taker: str) -> None:
    with pytest.raises(InputError, match=r"expected points \[N, 2\], got shape \[4, 3\]"):
        TAKERS[taker](np.ones((4, 3)))


def test_several_cells_are_one_message_with_their_count() -> None:
    bad = np.where(GOOD > 0.9, np.nan, GOOD)
    with pytest.raises(InputError) as caught:
        wb.Problem(bad, 1)
    assert str(caught.value) == (
        "x: 3 cells in 3 rows are not finite ('x1' 2, 'x2' 1): data row 1, column 'x2' is nan; data row 2, column 'x1' "
        "is nan; data row 3, column 'x1' is nan; give finite numbers or remove the rows, or let their other cells "
        'count with missing="marginal"'
    )


MARGINALISING = ("Problem", "predict", "log_density", "responsibilities", "component_log_joint")
LINE = wb.Mixture.from_covariances([0.4, 0.6], [[0.0], [1.0]], np.ones((2, 1, 1)))


@pytest.mark.parametrize("taker", TAKERS)
def test_marginalising_is_offered_where_it_is_possible(taker: str) -> None:
    with pytest.raises(InputError) as caught:
        TAKERS[taker](with_nan)
    offer = ', or let its other cells count with missing="marginal"'
    assert str(caught.value).endswith(offer) == (taker in MARGINALISING)


def test_nothing_is_no_points() -> None:
    for take in (lambda x: wb.Problem(x, 1), MIXTURE.predict, wb.read_table):
        with pytest.raises(InputError, match=r"is None; give points as an array \[N, D\], a data frame, or what wb"):
            take(None)


STRUCTURED = np.array([tuple(row) for row in GOOD.tolist()], [("a", float), ("b", float)])


@pytest.mark.parametrize(
    "masked",
    [
        np.ma.masked_array(GOOD, GOOD > 1.5),
        [np.ma.masked_array(row, row > 1.5) for row in GOOD],
        {"a": np.ma.masked_array(GOOD[:, 0], GOOD[:, 0] > 1.5), "b": GOOD[:, 1]},
        np.ma.masked_array(STRUCTURED, [(first > 1.5, False) for first in GOOD[:, 0]]),
    ],
)
def test_a_masked_cell_is_a_missing_one(masked: object) -> None:
    expected = np.where(GOOD > 1.5, np.nan, GOOD)
    np.testing.assert_array_equal(wb.Problem(masked, 1, missing="marginal").x, expected)
    found = MIXTURE.log_density(masked, missing="marginal")  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, MIXTURE.log_density(expected, missing="marginal"))


@pytest.mark.parametrize("taker", [name for name in TAKERS if name not in ("Problem", "Reference")])
def test_a_data_set_is_points(taker: str) -> None:
    TAKERS[taker](wb.read_table(GOOD))


def test_a_data_set_is_read_by_names_and_marginalises_its_missing_cells() -> None:
    named = replace(MIXTURE, means=jnp.array([[0.0, 0.0], [1.0, 3.0]])).named(("a", "b"))
    swapped = wb.read_table({"b": with_nan[:, 1], "a": with_nan[:, 0]}, missing="marginal")
    found = named.log_density(swapped)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, named.log_density(with_nan, missing="marginal"))
    with pytest.raises(InputError, match="lacks 'b'"):
        named.predict(wb.read_table({"a": GOOD[:, 0], "c": GOOD[:, 1]}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad", [with_infinity, np.array([[np.inf, 1.0], [0.0, np.nan], [1.0, 2.0]]), np.array([[0.0, 1.0], [np.nan] * 2])]
)
def test_marginalising_is_not_offered_where_it_would_not_help(bad: np.ndarray) -> None:
    for take in (lambda x: wb.Problem(x, 1), MIXTURE.predict):
        with pytest.raises(InputError, match=r"remove the rows?$"):
            take(bad)


def test_in_one_column_a_missing_cell_leaves_nothing_to_marginalise() -> None:
    with pytest.raises(InputError, match=r"remove the row$"):
        LINE.predict([0.0, np.nan])


def test_rows_are_not_dropped_by_a_problem_but_by_the_reader_that_is_named() -> None:
    with pytest.raises(
        InputError, match=r"allowed: refuse, marginal; wb\.read_table\(x, missing=\"drop\"\) leaves rows"
    ):
        wb.Problem(with_nan, 1, missing="drop")  # type: ignore[arg-type]
    assert wb.Problem(wb.read_table(with_nan, missing="drop"), 1).num_rows == len(GOOD) - 1


@pytest.mark.parametrize(
    "whole",
    [
        pd.DataFrame({"a": pd.array([1, 2, 3], dtype="Int64"), "b": [0.5, 1.5, 3.5]}),
        np.ma.masked_array([[1, 0.5], [2, 1.5], [3, 3.5]]),
        [[1, 0.5], [2, 1.5], [3, 3.5]],
        jnp.asarray([[1, 0.5], [2, 1.5], [3, 3.5]]),
    ],
)
def test_whatever_holds_numbers_and_nothing_else_is_points(whole: object) -> None:
    points = as_points(whole)  # type: ignore[arg-type]
    assert type(points) is np.ndarray
    np.testing.assert_array_equal(points, [[1, 0.5], [2, 1.5], [3, 3.5]])


def test_a_masked_data_set_is_refused() -> None:
    with pytest.raises(InputError, match="mine: is a masked array"):
        wb.Dataset("mine", np.ma.masked_array(GOOD, GOOD > 1.5), ("a", "b"), None, "", "")


def test_values_are_not_looked_at_inside_a_compiled_program() -> None:
    x = jnp.asarray(with_nan)
    labels = jax.jit(lambda x: MIXTURE.predict(x))(x)
    assert labels.shape == (4,)


def test_labels_of_other_rows_are_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match=r"reference.labels: shape is \[3\]; give one for each of 4 rows"):
        wb.compare(problem(), [wb.EM()], reference=wb.Reference(labels=np.array(["a", "b", "a"])))


def test_a_point_whose_nearest_component_rounding_hides_has_no_label_and_no_completion() -> None:
    alike = wb.Mixture.from_covariances([0.4, 0.6], [[0.0, 0.0], [3.0, 4.0]], [np.eye(2), np.eye(2)])
    # Two components of one covariance: the log-odds grow with the distance, and are lost in its square from some on.
    for distance in (1e3, 1e8, 1e12):
        assert alike.predict([[distance, 0.0]]).tolist() == [1]
        assert alike.complete([[distance, np.nan]]).tolist() == [[distance, 4.0]]
    message = "x: data row 2: so far out that rounding hides which component is the nearest; check its units"
    for distance in (1e20, 1e100):
        x = np.array([[0.0, 0.0], [distance, np.nan], [0.0, np.nan]])
        for ask in (alike.complete, lambda x: alike.predict(x, missing="marginal"),
                    lambda x: alike.responsibilities(x, missing="marginal")):  # fmt: skip
            with pytest.raises(InputError, match=message):
                ask(x)
        with pytest.raises(InputError, match="rounding hides"):
            alike.conditional({0: distance})
    # Of unequal widths, the wider one is the right limit: its log-joint differs in the first digit.
    wider = wb.Mixture.from_covariances([0.5, 0.5], [[0.0, 0.0], [3.0, 4.0]], [np.eye(2), [[2.0, 0.5], [0.5, 1.0]]])
    np.testing.assert_allclose(wider.complete([[1e100, np.nan]]), [[1e100, 0.25e100]], rtol=1e-12)
    # What lies in the middle, or between components that have merged, is shared however the shares round.
    same = wb.Mixture.from_covariances([0.5, 0.5], [[1.0, 0.0], [1.0, 0.0]], [np.eye(2), np.eye(2)])
    np.testing.assert_allclose(same.responsibilities([[1.0, 0.0], [1e6, 0.0]]), 0.5)


@pytest.mark.parametrize("family", ["full", "tied", "diagonal", "spherical"])
def test_a_point_that_no_component_reaches_has_no_label(family: str) -> None:
    dense = np.stack([np.eye(2), np.eye(2) if family == "tied" else 4 * np.eye(2)])
    mixture = wb.Mixture.from_covariances([0.4, 0.6], [[0.0, 0.0], [1.0, 1.0]], dense, family)
    for ask in (mixture.predict, mixture.responsibilities):
        for far in ([1e300, 0.0], [1e308, -1e308], [1e200, 1e200]):
            with pytest.raises(InputError, match=r"x: data row 2: so far out that no component has a density"):
                ask([[0.0, 0.0], far])
        with pytest.raises(InputError, match=r"x: data row 1 and 1 more: "):
            ask([[1e300, 0.0], [0.0, 1e300], [0.0, 0.0]])
    # Far away but within range: the wider component is the more probable one, or the nearer one.
    assert np.all(np.isfinite(mixture.responsibilities([[1e6, 1e6], [-1e6, -1e6]])))
    assert np.asarray(mixture.predict([[1e6, 1e6], [-1e6, -1e6]])).tolist() == ([1, 0] if family == "tied" else [1, 1])


def _masked(whole: object) -> np.ndarray:
    array = np.asarray(whole)
    return np.ma.masked_array(array, np.arange(array.size).reshape(array.shape) == 1)


@pytest.mark.parametrize("name", ["weights", "means", "covariances", "given", "shift", "labels"])
def test_what_lies_below_a_mask_is_read_nowhere(name: str) -> None:
    parts = {"weights": [0.4, 0.6], "means": [[0.0, 0.0], [1.0, 1.0]], "covariances": [np.eye(2), np.eye(2)]}
    ask: Callable[[], object] = {
        "given": lambda: MIXTURE.conditional({0: _masked([0.5, 1.0])}),
        "shift": lambda: MIXTURE.affine(np.eye(2), _masked([0.0, 1.0])),
        "labels": lambda: wb.Reference(labels=_masked([0, 1, 0, 1])).check(problem()),
    }.get(name, lambda: wb.Mixture.from_covariances(**parts | {name: _masked(parts[name])}))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"must be finite|is a masked array|is nan"):
        ask()
