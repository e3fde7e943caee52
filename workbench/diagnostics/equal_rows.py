"""A component that holds equal rows and hardly any other, as a group of saturated or censored measurements.

Under a prior that bounds its width it is a mode like others, and may be the right answer. A Gaussian says little of
such rows, however, and the width of the component is the prior's, so the user is told, whatever the width.
"""

from collections.abc import Sequence

import numpy as np

from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import VANISHED, ties_within

# A component holds hardly any other rows if the equal ones are at least this share of its points' worth.
NEARLY = 0.95


def equal_rows(problem: Problem, mixture: Mixture, columns: Sequence[str]) -> str | None:
    """The first component, counted from 1, that holds equal rows and hardly any other, as text; None if none does.

    Args:
        problem: the problem with the points.
        mixture: the mixture; the text has the place of the component in the order of `Problem.presented`.
        columns: names of the D columns.
    """
    if not problem.ties:
        return None
    shown = problem.presented(mixture)
    for k, size in enumerate(problem.num_points * np.asarray(shown.weights)):
        for tie in ties_within(problem, shown, k) if size > VANISHED else ():
            if (tie.column is None or problem.num_dimensions == 1) and tie.points >= NEARLY * size:
                return (
                    f"component {k + 1} ({size:.3g} points' worth) holds hardly any but equal rows: {tie.text(columns)}"
                )
    return None
