"""The problem: one objective for all methods, and clear messages for data that cannot be fitted."""

from collections.abc import Callable
from typing import Any, ClassVar, get_args

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.errors import InputError
from workbench.mixture import COVARIANCES, PRIORS, ConjugatePrior, Mixture
from workbench.mixture.prior.checks import Labels
from workbench.problem import Problem

K = 3
Points = NDArray[np.float64]


@pytest.mark.parametrize("family", COVARIANCES)
@pytest.mark.parametrize("prior", PRIORS)
def test_log_joint_is_scipys_likelihood_plus_the_log_prior(
    family: str,
    prior: str,
    points: Points,
    problem_of: Callable[..., Problem],
    random_mixture: Callable[..., Mixture],
    reference_log_likelihood: Callable[[Mixture, Points], float],
    log_joint: Callable[[Problem, Mixture], jax.Array],
) -> None:
    problem, mixture = problem_of(family, prior), random_mixture(points, K, family, seed=0)
    expected = reference_log_likelihood(mixture, points) + float(problem.log_prior(mixture))
    # Data of condition number 1e2 in their own units have slightly larger rounding errors than standardised data.
    assert float(log_joint(problem, mixture)) == pytest.approx(expected, rel=1e-11)


def test_an_em_step_reports_the_log_joint_of_the_mixture_before_it(
    points: Points,
    problem_of: Callable[..., Problem],
    random_mixture: Callable[..., Mixture],
    log_joint: Callable[[Problem, Mixture], jax.Array],
    em_step: Callable[[Problem, Mixture], Any],
) -> None:
    problem, mixture = problem_of("full", "conjugate"), random_mixture(points, K, "full", seed=0)
    new, before = em_step(problem, mixture)
    assert float(before) == pytest.approx(float(log_joint(problem, mixture)), rel=1e-14)
    assert float(log_joint(problem, new)) > float(before) + 1.0


def test_a_problem_crosses_jit_with_its_data_as_arguments(points: Points) -> None:
    problem = Problem(points, K, "tied", ConjugatePrior())
    leaves, structure = jax.tree.flatten(problem)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    again = jax.tree.unflatten(structure, leaves)
    assert (again.components, again.covariance, again.prior) == (K, COVARIANCES["tied"], ConjugatePrior())
    assert again.num_points == len(points) and again.num_dimensions == points.shape[1]
    # Equal shapes and settings share one compiled program, whatever the values.
    assert jax.tree.structure(Problem(2.0 * points, K, "tied", ConjugatePrior())) == structure


def test_ordered_labels_put_components_in_order_and_leave_the_objective(
    points: Points, random_mixture: Callable[..., Mixture], log_joint: Callable[[Problem, Mixture], jax.Array]
) -> None:
    mixture = random_mixture(points, K, "full", seed=0)
    mixture = mixture.permute(np.argsort(-np.asarray(mixture.means)[:, 0]))
    free, ordered = (Problem(points, K, "full", ConjugatePrior(), labels=labels) for labels in get_args(Labels))
    assert free.labelled(mixture) is mixture
    found = ordered.labelled(mixture)
    np.testing.assert_array_equal(found.means, mixture.means[::-1])
    np.testing.assert_array_equal(found.scales, mixture.scales[::-1])
    # The sum over components is in another order.
    assert float(log_joint(ordered, found)) == pytest.approx(float(log_joint(free, mixture)), rel=1e-13)
    # Equal pytree structures would let a program compiled for one problem run on the other.
    assert jax.tree.structure(free) != jax.tree.structure(ordered)


class Particular(ConjugatePrior):
    """A prior that declares itself not exchangeable."""

    exchangeable: ClassVar[bool] = False


def test_ordering_what_the_prior_tells_apart_is_refused(points: Points) -> None:
    with pytest.raises(InputError, match=r'labels: Particular is not exchangeable.*use labels = "free", or a prior'):
        Problem(points, K, prior=Particular(), labels="ordered")
    assert Problem(points, K, prior=Particular()).labels == "free"


def test_labels_of_no_kind_are_refused_with_those_there_are(points: Points) -> None:
    with pytest.raises(InputError, match="labels: unknown 'sorted'; allowed: free, ordered"):
        Problem(points, K, labels="sorted")  # type: ignore[arg-type]


def test_one_dimensional_points_become_one_column(points: Points) -> None:
    assert Problem(points[:, 0], 2).x.shape == (len(points), 1)


def test_repeated_rows_count_as_often_as_they_occur(points: Points, random_mixture: Callable[..., Mixture]) -> None:
    mixture = random_mixture(points, K, "full", seed=0)
    once, twice = (Problem(x, K).log_likelihood(mixture) for x in (points, np.vstack([points, points])))
    assert float(twice) == pytest.approx(2 * float(once), rel=1e-12)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.full((5, 1), np.nan), "NaN"),
        (np.array([[1.0], [np.inf], [2.0]]), "inf"),
        (np.array([[1.0, 2.0], [1.0, 3.0], [1.0, 4.0]]), "constant"),
        (np.zeros((0, 2)), "x"),
        (np.array([[1.0]]), "x"),
    ],
)
def test_data_that_cannot_be_fitted_are_refused(x: Points, says: str) -> None:
    with pytest.raises(InputError, match=f"(?i){says}"):
        Problem(x, 1)


def test_fewer_rows_than_components_are_refused() -> None:
    with pytest.raises(InputError, match="4"):
        Problem(np.arange(3.0), 4)


@pytest.mark.parametrize("components", [0, -1, 2.0, True, "2"])
def test_a_number_of_components_that_is_none_is_refused(components: Any, points: Points) -> None:
    with pytest.raises(InputError, match="components: must be a whole number of at least 1"):
        Problem(points, components)


def test_an_unknown_covariance_family_is_refused_with_those_there_are(points: Points) -> None:
    with pytest.raises(InputError, match=r"unknown family 'banded'\. Allowed: full, tied, diagonal, spherical"):
        Problem(points, 2, "banded")


def test_a_problem_prints_as_one_line(problem_of: Callable[..., Problem]) -> None:
    assert repr(problem_of("tied", "flat")) == (
        "Problem(60 x 2 points, K = 3, tied covariance, free labels, FlatPrior())"
    )
