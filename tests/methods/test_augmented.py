"""The augmented form: the density of one matrix for each component, and the geometry that makes transport free."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import expm, sqrtm
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from workbench.methods.riemannian import Augmented, Tangent, augment, geodesic, unaugment, value_and_gradient
from workbench.methods.riemannian import log_joint as augmented_log_joint
from workbench.mixture import Mixture
from workbench.problem import Problem

K, D = 3, 2
VALUE = jax.jit(augmented_log_joint)

Points = NDArray[np.float64]
Problems = Callable[..., Problem]
Random = Callable[..., Mixture]


@pytest.fixture(scope="module")
def problem(problem_of: Problems) -> Problem:
    return problem_of("full", "conjugate")


@pytest.fixture(scope="module")
def mixture(points: Points, random_mixture: Random) -> Mixture:
    return random_mixture(points, K, "full", seed=0)


@pytest.fixture(scope="module")
def point() -> Augmented:
    """A point with corners that are not one, and roots that are not triangular."""
    rng = np.random.default_rng(0)
    roots = np.eye(D + 1) + 0.3 * rng.normal(size=(K, D + 1, D + 1))
    return Augmented(jnp.asarray(rng.normal(size=K - 1)), jnp.asarray(roots))


@pytest.fixture(scope="module")
def tangent() -> Tangent:
    rng = np.random.default_rng(1)
    matrices = rng.normal(size=(K, D + 1, D + 1))
    return Tangent(jnp.asarray(rng.normal(size=K - 1)), jnp.asarray(matrices + matrices.transpose(0, 2, 1)))


def matrices_of(point: Augmented) -> Points:
    """S_k. [K, D + 1, D + 1]"""
    roots = np.asarray(point.roots)
    return roots @ roots.transpose(0, 2, 1)


def test_the_objective_is_the_density_of_the_augmented_rows(problem_of: Problems, point: Augmented) -> None:
    # Hosseini & Sra (2015), eq. 3.2: q(y; S) = sqrt(2 pi) exp(1/2) N(y; 0, S), y = (1, z), z in working units.
    flat = problem_of("full", "flat")
    z = (np.asarray(flat.x) - np.asarray(flat.rows.shift)) @ np.asarray(flat.rows.inverse).T
    y = np.column_stack([np.ones(len(z)), z])
    logits = np.append(np.asarray(point.logits), 0.0)
    parts = [multivariate_normal(np.zeros(D + 1), s).logpdf(y) for s in matrices_of(point)]
    terms = np.stack(parts, 1) + logits - logsumexp(logits) + 0.5 * np.log(2 * np.pi) + 0.5
    expected = np.sum(logsumexp(terms, axis=1)) - len(z) * float(flat.rows.log_determinant)
    assert float(VALUE(flat, point)) == pytest.approx(expected, rel=1e-11)


def test_where_all_corners_are_one_the_objective_is_log_joint(
    problem: Problem, mixture: Mixture, log_joint: Any
) -> None:
    point = augment(mixture, problem.rows)
    back, corners = unaugment(point, problem.rows)
    np.testing.assert_allclose(corners, 1.0, rtol=1e-14)
    for ours, given in zip(jax.tree.leaves(back), jax.tree.leaves(mixture), strict=True):
        np.testing.assert_allclose(ours, given, rtol=1e-11, atol=1e-11 * np.max(np.abs(given)))  # units and back
    assert float(VALUE(problem, point)) == pytest.approx(float(log_joint(problem, mixture)), rel=1e-12)


@pytest.mark.parametrize("corner", [0.5, 0.99, 1.01, 3.0])
def test_with_other_corners_the_objective_is_lower_and_the_mixture_the_same(
    corner: float, problem: Problem, mixture: Mixture, log_joint: Any
) -> None:
    point = augment(mixture, problem.rows)
    grown = point._replace(roots=point.roots.at[:, :, 0].multiply(jnp.sqrt(corner)))
    back, corners = unaugment(grown, problem.rows)
    np.testing.assert_allclose(corners, corner, rtol=1e-13)
    np.testing.assert_allclose(back.means, mixture.means, rtol=1e-11)
    # One corner for all components: its term comes out of the sum.
    lost = 0.5 * (1 - np.log(corner) - 1 / corner) * problem.num_points
    assert lost < 0
    assert float(VALUE(problem, grown)) == pytest.approx(float(log_joint(problem, mixture)) + lost, rel=1e-12)


def test_the_geodesic_is_the_affine_invariant_one(point: Augmented, tangent: Tangent) -> None:
    # S^(1/2) exp(S^(-1/2) X S^(-1/2)) S^(1/2), X the tangent outside its frame (Bhatia 2007, sec. 6.1).
    ends = matrices_of(geodesic(point, tangent))
    for s, root, a, end in zip(matrices_of(point), point.roots, tangent.matrices, ends, strict=True):
        half = np.real(sqrtm(s))
        outside = np.asarray(root @ a @ root.T)
        inner = np.linalg.solve(half, np.linalg.solve(half, outside).T)
        np.testing.assert_allclose(end, half @ expm(inner) @ half, rtol=1e-8, atol=1e-8 * np.max(np.abs(end)))


def test_a_tangent_transported_along_a_geodesic_keeps_its_coordinates(point: Augmented, tangent: Tangent) -> None:
    # X -> E X E^T with E = (S_2 S_1^-1)^(1/2) (Sra & Hosseini 2015, SIAM J. Optim. 25, sec. 3).
    rng = np.random.default_rng(2)
    other = rng.normal(size=(D + 1, D + 1))
    other = other + other.T
    ends = geodesic(point, tangent)
    for first, last, s, t in zip(point.roots, ends.roots, matrices_of(point), matrices_of(ends), strict=True):
        carrier = np.real(sqrtm(t @ np.linalg.inv(s)))
        carried = carrier @ np.asarray(first) @ other @ np.asarray(first).T @ carrier.T
        # Condition of the matrices, squared.
        np.testing.assert_allclose(last @ other @ last.T, carried, rtol=1e-6, atol=1e-7 * np.max(np.abs(carried)))


def test_the_gradient_is_the_slope_along_geodesics(problem: Problem, point: Augmented, tangent: Tangent) -> None:
    value, gradient = jax.jit(value_and_gradient)(problem, point)
    assert float(value) == pytest.approx(float(VALUE(problem, point)), rel=1e-13)
    np.testing.assert_array_equal(gradient.matrices, jnp.swapaxes(gradient.matrices, -1, -2))

    def ahead(t: float) -> Any:
        return VALUE(problem, geodesic(point, jax.tree.map(lambda leaf: t * leaf, tangent)))

    step = 1e-4  # central differences: error step^2 of the third derivative, rounding 1e-13 / step
    slope = float(ahead(step) - ahead(-step)) / (2 * step)
    along = sum(float(jnp.vdot(g, a)) for g, a in zip(gradient, tangent, strict=True))
    assert along == pytest.approx(slope, rel=1e-5)
