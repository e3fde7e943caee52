"""Whether a prior suits the data and the labels of a problem."""

from typing import Literal, TypeAlias, get_args

from workbench.data.moments import is_collinear, relation, row_that_hides
from workbench.data.observed import Observed
from workbench.errors import InputError
from workbench.mixture.covariance import COVARIANCES, Covariance
from workbench.mixture.prior.base import Prior

Labels: TypeAlias = Literal["free", "ordered"]


def check_rank(data: Observed, family: Covariance, prior: Prior) -> None:
    """Check that points on a hyperplane bound a covariance of the family across it, if the prior does not.

    Args:
        data: the points, with the names of their columns and their moments.
        family: the covariance family.
        prior: the prior.

    Raises:
        InputError: names the columns that depend on each other, or the row that makes them seem so, and the remedies.
    """
    moments, columns = data.moments, data.names
    if not family.has_correlations or len(columns) == 1 or prior.bounds_hyperplanes:
        return
    # So few rows always lie on one; of the thousands of columns that they may have, eigenvalues would take minutes.
    few = data.completed is None and len(data.x) <= len(columns)
    if few or is_collinear(moments.covariance):
        far = None if few else row_that_hides(data.x, moments, data.weights)
        if far is not None:
            raise InputError(
                f"x: {relation(moments, columns)}, to rounding, but only because data row {far + 1} lies so far from "
                "the others; check that row, and correct it or leave it out"
            )
        others = [f'"{name}"' for name, other in COVARIANCES.items() if not other.has_correlations]
        raise InputError(
            f"x: {relation(moments, columns)}: all points lie on a hyperplane, across which {family.name} covariances "
            f"can shrink indefinitely under the {type(prior).__name__}; leave columns out, use covariance = "
            f"{' or '.join(others)}, or a conjugate prior whose scatter is given"
        )


def check_labels(labels: Labels, prior: Prior) -> None:
    """Check that labels are known, and that ordering them does not change the model.

    Raises:
        InputError: labels are unknown, or are ordered under a prior that tells components apart.
    """
    if labels not in get_args(Labels):
        raise InputError(f"labels: unknown {labels!r}; allowed: {', '.join(get_args(Labels))}")
    if labels == "ordered" and not prior.exchangeable:
        raise InputError(
            f"labels: {type(prior).__name__} is not exchangeable, so ordering the components changes the model; "
            'use labels = "free", or a prior that is the same for all components'
        )


def check_separate(prior: Prior) -> None:
    """Check that parameters can be held fixed under a prior: that it does not bound components by each other.

    Raises:
        InputError: it does; says what to use.
    """
    if not prior.smooth:
        raise InputError(
            f"fixed: the {type(prior).__name__} bounds covariances by each other, so that none can be held alone; use "
            'prior family = "conjugate", "chen_tan" or "flat"'
        )
