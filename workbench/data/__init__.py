"""Data: named data sets, files and simulations, each as a `Dataset`, and checks of points."""

from workbench.data.catalogue import Description, dataset_names, describe, digest_of, load_dataset
from workbench.data.dataset import Dataset, Truth
from workbench.data.files import read_file, read_rows
from workbench.data.incomplete import points_or_missing
from workbench.data.moments import Tie, ties_of
from workbench.data.points import (
    as_points,
    by_name,
    check_finite,
    check_points,
    default_columns,
    finite_points,
    named_points,
)
from workbench.data.reading import Missing, Wanted, fate_of_missing, read_table
from workbench.data.simulate import Simulator
from workbench.data.weights import check_weights, check_whole, counted_rows, even_rows, observed_rows, points_text

__all__ = [
    "Dataset",
    "Description",
    "Missing",
    "Simulator",
    "Tie",
    "Truth",
    "Wanted",
    "as_points",
    "by_name",
    "check_finite",
    "check_points",
    "check_weights",
    "check_whole",
    "counted_rows",
    "dataset_names",
    "default_columns",
    "describe",
    "digest_of",
    "even_rows",
    "fate_of_missing",
    "finite_points",
    "load_dataset",
    "named_points",
    "observed_rows",
    "points_or_missing",
    "points_text",
    "read_file",
    "read_rows",
    "read_table",
    "ties_of",
]
