"""Writes workbench/posterior/references/*.json anew: `python tests/posterior/write_references.py`."""

from pathlib import Path
from statistics import NormalDist

import jax
import numpy as np

from workbench.mixture import ConjugatePrior
from workbench.posterior.exact import FOLDER, make_reference
from workbench.problem import Problem

# The tutorial's model has independent priors; these are their nearest conjugate ones: Dirichlet(1/2), one variance for
# both components, means with a standard deviation of about ten.
FIVE = ConjugatePrior(
    concentration=0.5, mean_location=(0.0,), mean_shrinkage=0.02, degrees_of_freedom=3.0, scatter=((2.0,),)
)
LINE = ConjugatePrior(
    concentration=1.0, mean_location=(0.0,), mean_shrinkage=0.1, degrees_of_freedom=4.0, scatter=((2.0,),)
)
PLANE = ConjugatePrior(
    concentration=1.5,
    mean_location=(1.0, 0.0),
    mean_shrinkage=0.2,
    degrees_of_freedom=6.0,
    scatter=((2.0, 0.5), (0.5, 1.0)),
)


def problems() -> dict[str, tuple[str, Problem, np.ndarray]]:
    """What each is, the problem, and where its density is told."""
    three = np.array([-4.1, -3.6, -3.2, -2.7, -0.6, -0.1, 0.3, 0.7, 2.4, 3.1, 3.3, 4.2])
    quantiles = [NormalDist().inv_cdf((i + 0.5) / 10) for i in range(10)]
    overlapping = np.round(np.concatenate([np.array(quantiles) - 1.2, 0.7 * np.array(quantiles) + 1.2]), 4)
    plane = np.array([[0, 0], [0.8, 0.3], [-0.5, 0.6], [0.2, -0.7], [2.6, 1.9], [3.1, 2.2], [2.2, 2.5], [3.4, 1.4]])
    line = np.linspace(-5, 5, 11)[:, None]
    return {
        "five_points": (
            "The five points of NumPyro's tutorial on mixtures, two components with one variance.",
            Problem(np.array([0.0, 1.0, 10.0, 11.0, 12.0]), 2, "tied", FIVE),
            np.linspace(-2, 14, 9)[:, None],
        ),
        "three_groups": (
            "Twelve points in three groups on a line, three components: all six labellings, none of them certain.",
            Problem(three, 3, "full", LINE),
            line,
        ),
        "two_overlapping": (
            "Twenty points of two overlapping groups on a line, two components.",
            Problem(overlapping, 2, "full", LINE),
            line,
        ),
        "plane": (
            "Eight points of two groups in the plane, two components with covariances of their own.",
            Problem(plane, 2, "full", PLANE),
            np.array([[0.0, 0.0], [1.5, 1.0], [3.0, 2.0], [-1.0, 2.0]]),
        ),
    }


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name, (about, problem, at) in problems().items():
        Path(str(FOLDER / f"{name}.json")).write_text(make_reference(name, about, problem, at), encoding="utf-8")
