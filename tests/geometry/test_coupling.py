import jax
import numpy as np
import pytest

from workbench.charts import Chart
from workbench.geometry import coupling
from workbench.geometry.curvature import Places
from workbench.mixture import COVARIANCES
from workbench.problem import Problem

# Of two components in the plane, full covariances: as `places` tells them.
PARAMETER = np.array([0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2])
COMPONENT = np.array([0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1])


def positive_definite(size: int, seed: int = 0) -> np.ndarray:
    draws = np.random.default_rng(seed).normal(size=(size, 2 * size))
    return draws @ draws.T


def test_blocks_are_named_after_what_they_hold() -> None:
    places = Places(PARAMETER, COMPONENT)
    assert coupling.equations(places).names == ("weights", "mean 1", "mean 2", "scale 1", "scale 2")
    assert coupling.components(places).names == ("component 1", "component 2", "weights")
    assert coupling.parameters(places).names == ("weights", "means", "scales")
    tied = Places(PARAMETER[:8], np.array([0, 0, 0, 1, 1, -1, -1, -1]))
    assert coupling.equations(tied).names == ("weights", "mean 1", "mean 2", "scales")
    assert coupling.components(tied).names == ("component 1", "component 2", "weights", "scales")
    np.testing.assert_array_equal(coupling.components(tied).of, [2, 0, 0, 1, 1, 3, 3, 3])


def test_the_share_does_not_depend_on_coordinates_within_blocks() -> None:
    """To 1e-10: two well-conditioned triangular solves."""
    blocks = coupling.equations(Places(PARAMETER, COMPONENT))
    information = positive_definite(11)
    change = np.where(blocks.of[:, None] == blocks.of, np.random.default_rng(1).normal(size=(11, 11)), 0.0)
    share = coupling.coupled_share(information, blocks)
    assert 0 < share < 1
    assert coupling.coupled_share(change.T @ information @ change, blocks) == pytest.approx(float(share), rel=1e-10)


def test_the_share_is_zero_where_nothing_lies_between_the_blocks() -> None:
    blocks = coupling.equations(Places(PARAMETER, COMPONENT))
    separate = np.where(blocks.of[:, None] == blocks.of, positive_definite(11), 0.0)
    # Rounding of two triangular solves.
    assert coupling.coupled_share(separate, blocks) < 1e-14


def test_the_whitened_blocks_are_the_correlations_of_two_coordinates() -> None:
    blocks = coupling.Blocks(np.array([0, 1]), ("a", "b"))
    matrix = coupling.whitened(np.array([[4.0, 3.0], [3.0, 9.0]]), blocks)
    np.testing.assert_allclose(matrix, [[1.0, 0.5], [0.5, 1.0]], rtol=1e-15)


@pytest.mark.parametrize("prior", ["flat", pytest.param("conjugate", marks=pytest.mark.slow)])
def test_one_gaussian_is_solved_by_em_and_by_newton_in_one_step_from_anywhere(
    prior, problem_of, random_mixture
) -> None:
    """Its score equations are affine in the expectation parameters, because its responsibilities are fixed."""
    problem = problem_of("full", prior, 1)
    mixture = random_mixture(problem.x, 1, "full", seed=3)
    before, each, together = left_of_score(problem, mixture)
    # Rounding of sums of 60 terms.
    assert each < 1e-12 * before
    assert together < 1e-12 * before


def test_of_two_components_one_step_of_either_kind_leaves_some_of_the_score(problem_of, random_mixture) -> None:
    problem = problem_of("full", "flat", 2)
    before, each, _ = left_of_score(problem, random_mixture(problem.x, 2, "full", seed=3))
    assert each > 1e-3 * before


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_expectations_give_back_their_mixture(covariance, problem_of, random_mixture) -> None:
    problem = problem_of(covariance)
    mixture = random_mixture(problem.x, 3, covariance, seed=4)
    again = coupling.from_expectations(problem, coupling.expectations(problem, mixture))
    for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(mixture), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@jax.jit
def left_of_score(problem: Problem, mixture) -> coupling.Residual:
    return coupling.left_of_score(problem, mixture, Chart.of(problem, weights="log_ratio"))
