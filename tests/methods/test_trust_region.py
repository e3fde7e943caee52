"""The trust-region subproblem: the conditions that characterise its global minimum, hard cases included."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.methods.newton import Model, lowest_in_ball

P = 6
Vector = NDArray[np.float64]


@partial(jax.jit)
def solved(gradient: Vector, hessian: Vector, radius: float) -> tuple[jax.Array, jax.Array]:
    model = Model.of(jnp.asarray(gradient), jnp.asarray(hessian))
    step = lowest_in_ball(model, radius)
    return step, model.change(step)


def drawn(kind: str, seed: int) -> tuple[Vector, Vector, float]:
    """Gradient, Hessian and radius, of scales that differ by many powers of ten."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(P, P)))[0]
    curvatures = rng.normal(size=P) * 10.0 ** rng.uniform(-4, 3, P)
    if kind == "convex":
        curvatures = np.abs(curvatures)
    elif curvatures.min() > 0:
        curvatures *= -1
    hessian = axes @ np.diag(curvatures) @ axes.T
    gradient = rng.normal(size=P) * 10.0 ** rng.uniform(-6, 3)
    if kind == "hard":
        lowest = axes[:, np.argmin(curvatures)]
        gradient = gradient - lowest * (lowest @ gradient)
    return gradient, 0.5 * (hessian + hessian.T), 10.0 ** rng.uniform(-3, 3)


@pytest.mark.parametrize("kind", ["convex", "indefinite", "hard"])
def test_the_step_is_the_global_minimum_in_the_ball(kind: str) -> None:
    """(H + m I) p = -g with m >= 0, H + m I positive semidefinite, and m = 0 or |p| = radius (More & Sorensen 1983)."""
    boundary = 0
    for seed in range(200):
        g, h, radius = drawn(kind, seed)
        p = np.asarray(solved(g, h, radius)[0])
        size, largest = float(np.linalg.norm(p)), float(np.max(np.abs(np.linalg.eigvalsh(h))))
        assert size <= radius * (1 + 1e-9)
        m = float((-g - h @ p) @ p / size**2)
        # The eigendecomposition's rounding, with the spread of curvatures of 1e7 and room.
        scale = float(np.linalg.norm(g)) + (largest + abs(m)) * size
        np.testing.assert_allclose(h @ p + m * p, -g, atol=1e-9 * scale)
        assert m >= -1e-9 * largest and m + np.linalg.eigvalsh(h)[0] >= -1e-9 * largest
        inside = size < radius * (1 - 1e-6)
        assert not inside or abs(m) <= 1e-9 * largest
        boundary += not inside
    # Both kinds of end occur where both can.
    assert 20 < boundary < 180 if kind == "convex" else boundary == 200


def test_at_a_saddle_without_any_slope_the_step_goes_down_the_negative_curvature() -> None:
    step, change = solved(np.zeros(3), np.diag([3.0, -2.0, 1.0]), 0.5)
    np.testing.assert_allclose(np.abs(step), [0.0, 0.5, 0.0], atol=1e-12)
    assert float(change) == pytest.approx(-0.25)  # -2 * 0.5^2 / 2


def test_a_ball_that_holds_the_minimum_is_left_with_newtons_step() -> None:
    g, h = np.array([1.0, -2.0]), np.array([[2.0, 0.5], [0.5, 1.0]])
    np.testing.assert_allclose(solved(g, h, 100.0)[0], -np.linalg.solve(h, g), rtol=1e-12)
