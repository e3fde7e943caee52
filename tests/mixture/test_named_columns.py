"""A mixture that knows the names of its columns finds them in a table, wherever they stand there."""

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.diagnostics.clustering import co_clustering
from workbench.diagnostics.predictive import heldout_log_density


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    kind = np.arange(80) % 2
    return pd.DataFrame({"temp": 9.0 * kind + rng.normal(size=80), "rpm": 300.0 - 90.0 * kind + rng.normal(size=80)})


@pytest.fixture(scope="module")
def best(data: pd.DataFrame) -> wb.Mixture:
    problem = wb.Problem(data, 2)
    found = wb.compare(problem, "em", restarts=1)["em"].best(problem)
    assert found is not None
    return found.canonical()


def test_columns_of_a_table_are_found_by_name_and_those_of_an_array_by_position(data, best) -> None:
    labels = np.asarray(best.predict(data))
    assert labels.tolist() == (np.arange(80) % 2).tolist()
    turned = data[["rpm", "temp"]].assign(note="text that is not read")
    for take in (best.predict, best.log_density, best.responsibilities):
        np.testing.assert_array_equal(take(turned), take(data.to_numpy()))
    np.testing.assert_array_equal(best.predict({"rpm": data["rpm"], "temp": data["temp"]}), labels)
    holes = turned.copy()
    holes.loc[3, "rpm"] = np.nan
    np.testing.assert_array_equal(best.predict(holes, missing="marginal"), labels)


def test_a_table_that_lacks_a_column_is_refused_and_one_of_other_names_is_read_by_position(data, best) -> None:
    with pytest.raises(wb.InputError, match=r"x: lacks 'rpm' of the columns of the mixture; it has temp, torque; rena"):
        best.predict(data.rename(columns={"rpm": "torque"}))
    both = r"lacks 'temp' \(did you mean 'temps'\?\), 'rpm' of .*; it has temps; .* an array \[N, 2\] .* temp, rpm, in"
    with pytest.raises(wb.InputError, match=both):
        best.predict(data[["temp"]].set_axis(["temps"], axis=1))
    np.testing.assert_array_equal(best.predict(data.set_axis(["a", "b"], axis=1)), best.predict(data))


def test_all_that_reads_points_finds_columns_by_name(data, best) -> None:
    turned = data[["rpm", "temp"]]
    holes = turned.assign(rpm=turned["rpm"].where(turned.index > 3))
    np.testing.assert_array_equal(best.complete(holes)[:, 1], best.complete(holes[["temp", "rpm"]].to_numpy())[:, 1])
    assert heldout_log_density(best, turned) == heldout_log_density(best, data.to_numpy())
    np.testing.assert_array_equal(co_clustering(best, turned), co_clustering(best, data.to_numpy()))
    problem = wb.Problem(data, 2)
    heldout = wb.compare(problem, "em", restarts=1, reference=wb.Reference(turned)).reference.heldout
    np.testing.assert_array_equal(heldout, data)


def test_names_are_kept_in_a_file_in_another_order_and_in_a_part(data, best, tmp_path: Path) -> None:
    best.save(tmp_path / "model.json")
    loaded = wb.Mixture.load(tmp_path / "model.json")
    assert loaded.columns == best.columns == best.permute([1, 0]).columns == ("temp", "rpm")
    np.testing.assert_array_equal(loaded.predict(data[["rpm", "temp"]]), best.predict(data))
    part = best.marginal([1])
    assert part.columns == ("rpm",)
    np.testing.assert_array_equal(part.predict(data), part.predict(data["rpm"].to_numpy()))
    assert list(best.to_dataframe().columns)[2:4] == ["mean temp", "mean rpm"]
    assert "mean rpm" in best._repr_html_()
    # In other units, or mixed with each other, they are other columns.
    assert best.affine(2.0 * np.eye(2), np.zeros(2)).columns == ()


def test_names_are_no_part_of_what_is_compiled(best) -> None:
    plain = wb.Mixture(best.weights, best.means, best.scales, best.covariance)
    assert jax.tree.structure(plain) == jax.tree.structure(best)
    assert jax.tree.map(lambda leaf: leaf, best).columns == ()
