"""Data: named data sets, files and simulations, each as a `Dataset`, and checks of points."""

from workbench.data.catalogue import Description, dataset_names, describe, digest_of, load_dataset
from workbench.data.dataset import Dataset, Truth
from workbench.data.files import read_file, read_rows
from workbench.data.moments import Tie, ties_of
from workbench.data.points import (
    as_points,
    check_finite,
    check_points,
    default_columns,
    finite_points,
    named_points,
)
from workbench.data.reading import Missing, Wanted, read_table
from workbench.data.simulate import Simulator

__all__ = [
    "Dataset",
    "Description",
    "Missing",
    "Simulator",
    "Tie",
    "Truth",
    "Wanted",
    "as_points",
    "check_finite",
    "check_points",
    "dataset_names",
    "default_columns",
    "describe",
    "digest_of",
    "finite_points",
    "load_dataset",
    "named_points",
    "read_file",
    "read_rows",
    "read_table",
    "ties_of",
]
