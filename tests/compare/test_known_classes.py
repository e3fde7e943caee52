"""Known classes reach what judges a comparison: the table, the cross table, figures and files."""

from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics

import workbench as wb
from workbench.compare import Comparison
from workbench.plots.classification import classes_of


@pytest.fixture(scope="module")
def data() -> wb.Dataset:
    """Two groups with their names, three rows of the wrong name, and four that count zero times."""
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(centre, 1.0, (24, 2)) for centre in (9.0, 0.0)])
    labels = np.repeat(["gull", "auk"], 24)
    labels[[0, 1, 40]] = ["auk", "auk", "gull"]
    weights = np.where(np.arange(48) % 12 == 5, 0.0, 1.0 + np.arange(48) % 2)
    return wb.Dataset("birds", x, ("a", "b"), labels, "cm", "simulated", weights=weights)


@pytest.fixture(scope="module")
def found(data: wb.Dataset) -> Comparison:
    return wb.compare(wb.Problem(data, 2), ["em"], restarts=2, starts="kmeans")


def test_the_labels_of_a_dataset_are_known_classes_of_a_comparison(data: wb.Dataset, found: Comparison) -> None:
    assert data.labels is not None and data.weights is not None
    counted = data.weights > 0
    np.testing.assert_array_equal(found.problem.classes, data.labels[counted])
    np.testing.assert_array_equal(classes_of(found), data.labels[counted])
    often = data.weights[counted].astype(int)
    group = (np.arange(48) < 24)[counted]
    expected = sklearn.metrics.adjusted_rand_score(np.repeat(data.labels[counted], often), np.repeat(group, often))
    (summary,) = wb.summarise(found)
    assert 0.5 < expected < 1.0 and summary.adjusted_rand_index == pytest.approx(expected)
    assert "adjusted Rand" in str(wb.table(found))


def test_the_cross_table_counts_observations_of_each_class_and_component(data: wb.Dataset, found: Comparison) -> None:
    assert data.labels is not None and data.weights is not None
    shown = wb.cross_table(found)
    # Components are numbered by the first column of their means: the group at 0 is the first.
    first = np.arange(48) >= 24
    counts = {
        name: [int(data.weights[(data.labels == name) & own].sum()) for own in (first, ~first)]
        for name in ("auk", "gull")
    }
    assert shown.to_csv().split() == ["class,component", "1,component", "2", *(
        f"{name},{one},{other}" for name, (one, other) in counts.items()
    )]  # fmt: skip


def test_labels_of_a_reference_come_first_and_points_alone_have_none(data: wb.Dataset, found: Comparison) -> None:
    own = np.array(["x", "y"])[np.arange(found.problem.num_rows) % 2]
    judged = wb.compare(found.problem, ["em"], restarts=1, starts="kmeans", reference=wb.Reference(labels=own))
    np.testing.assert_array_equal(judged.reference.labels, own)
    rule = wb.Reference(rule=wb.Soundness(min_relative_eigenvalue=1e-4))
    both = wb.compare(found.problem, ["em"], restarts=1, starts="kmeans", reference=rule)
    assert both.rule == rule.rule and both.reference.labels is found.problem.classes
    plain = replace(found, problem=wb.Problem(data.x, 2), reference=wb.Reference())
    assert plain.problem.classes is None
    with pytest.raises(wb.InputError, match=r"labels: no classes are known; compare wb.Problem\(dataset, K\)"):
        wb.cross_table(plain)
