"""What is set of points beside their values, in words: weights, missing cells, rows left out, classes."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from workbench.data.moments import Weights, blocks_of
from workbench.data.weights import number_text
from workbench.errors import cut

# The most characters of the list of classes.
CLASSES = 160


def described(x: NDArray[np.float64], weights: Weights | None, missing: str, dropped: int) -> dict[str, str]:
    """A line for each of weights [N], missing cells of x [N, D], and rows left out, where there are any."""
    told = {}
    if weights is not None:
        least, most = float(np.min(weights, initial=np.inf)), float(np.max(weights, initial=-np.inf))
        told["weights"] = f"from {least:g} to {most:g}; {len(weights):,} rows count as N = {number_text(weights)}"
    if missing != "refuse":
        lost = [np.isnan(block) for block in blocks_of(x)]
        cells, rows = (sum(int(np.sum(some)) for some in each) for each in (lost, (np.any(m, axis=1) for m in lost)))
        told["missing cells"] = f"{cells:,} in {rows:,} of {len(x):,} rows, which count by their other cells"
    if dropped:
        told["rows left out"] = f"{dropped:,}, for their missing cells"
    return told


def classes_text(labels: NDArray[np.str_]) -> str:
    """The classes of rows [N], with their sizes; an empty text is none, and then how many rows have one."""
    names, counts = np.unique(labels[labels != ""], return_counts=True)
    each = ", ".join(f"{name} ({count:,})" for name, count in zip(names.tolist(), counts.tolist(), strict=True))
    some = f"{int(np.sum(counts)):,} of {len(labels):,} rows: " if "" in labels else ""
    return some + cut(each, CLASSES)


def in_short(told: Mapping[str, str]) -> str:
    """The names of what is set, for the end of a line."""
    return f"; with {', '.join(told)}" if told else ""
