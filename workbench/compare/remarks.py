"""Remarks on a comparison besides the results of its methods: sentences for the end of the reading."""

import numpy as np
from numpy.typing import NDArray

from workbench.compare.comparison import Comparison
from workbench.data import default_columns
from workbench.diagnostics.convergence import FOLLOWED_COLUMNS
from workbench.errors import VALUE, cut

# Steps of a column that differ by at most this share of their mean count as equal.
EVEN = 1e-9


def remarks_on(comparison: Comparison) -> tuple[str, ...]:
    """A sentence for each remark, in a fixed order."""
    missing = [f"{name} is not in this table: {why}." for name, why in comparison.missing.items()]
    stale = [
        f"Beware: the run of {name} is STALE: other code made it ({why})." for name, why in comparison.stale.items()
    ]
    return (*_on_starts(comparison), *_on_row_numbers(comparison), *_on_followed_columns(comparison), *missing, *stale)


def counts_rows(column: NDArray[np.float64]) -> bool:
    """Whether values [N] look like row numbers: they rise from row to row, and are integers or evenly spaced."""
    steps = np.diff(column)
    if not np.all(steps > 0):
        return False
    return bool(np.all(column == np.round(column)) or np.ptp(steps) <= EVEN * np.mean(steps))


def _on_starts(comparison: Comparison) -> list[str]:
    """A remark that the starts have climbed already, if so and if a method climbs on from them."""
    climbs = any(not trace.is_sampler for trace in comparison.values())
    if comparison.starts is None or not comparison.starts.climbs or not climbs:
        return []
    return [
        "The starts have climbed already (short runs of EM, which no method is charged for): passes count from there; "
        "starts.rule = random_points begins at random."
    ]


def _on_row_numbers(comparison: Comparison) -> list[str]:
    """Remarks on columns that look like row numbers, if there are several columns."""
    problem = comparison.problem
    names = comparison.columns or default_columns(problem.num_dimensions)
    x = problem.sample
    # With two points every column rises or falls. A single column is often sorted, and cannot be left out.
    if problem.num_dimensions < 2 or len(x) < 3:
        return []
    return [
        f"Column {cut(name, VALUE)} looks like a row number: if it is one, leave it out by columns = [...]."
        for d, name in enumerate(names)
        if counts_rows(x[:, d])
    ]


def _on_followed_columns(comparison: Comparison) -> list[str]:
    """A remark on the columns that R-hat and ESS do not follow, if they are reported for any method."""
    d = comparison.problem.num_dimensions
    reported = any(trace.is_sampler and not trace.is_approximation for trace in comparison.values())
    if d <= FOLLOWED_COLUMNS or not reported:
        return []
    return [
        f"R-hat and ESS follow the means in the first {FOLLOWED_COLUMNS} of {d} columns, and weights, volumes and "
        "densities in all."
    ]
