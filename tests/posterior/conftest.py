"""Draws of a problem with three groups of points, and their labels shuffled draw by draw."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

from workbench.mixture import Mixture, covariance_named
from workbench.problem import Problem

# Chains, draws, components, dimensions.
R, S, K, D = 2, 40, 3, 2


@pytest.fixture(scope="session")
def three_groups() -> Problem:
    rng = np.random.default_rng(11)
    return Problem(rng.normal(size=(36, D)) + np.repeat([[-6.0, 0.0], [0.0, 5.0], [6.0, -1.0]], 12, axis=0), K)


@pytest.fixture(scope="session")
def draws_of() -> Callable[..., tuple[Mixture, np.ndarray]]:
    """Draws about the groups at a distance, the same label in the same place, and made-up scores. Leaves [R, S, ...]"""

    def make(family: str = "full", noise: float = 0.3, chains: int = R, draws: int = S) -> tuple[Mixture, np.ndarray]:
        rng = np.random.default_rng(12)
        shape = (chains, draws, K)
        centres = np.array([[-6.0, 0.0], [0.0, 5.0], [6.0, -1.0]])
        weights = rng.dirichlet(np.full(K, 50.0), size=shape[:2])
        means = centres + noise * rng.normal(size=(*shape, D))
        deviations = np.exp(0.2 * noise * rng.normal(size=(*shape, D)))
        scales = {
            "full": deviations[..., None] * np.eye(D),
            "tied": deviations[:, :, 0, :, None] * np.eye(D),
            "diagonal": deviations,
            "spherical": deviations[..., 0],
        }[family]
        arrays = (jnp.asarray(a) for a in (weights, means, scales))
        return Mixture(*arrays, covariance_named(family)), rng.normal(size=shape[:2])

    return make


@pytest.fixture(scope="session")
def shuffles() -> np.ndarray:
    """A random order for each draw. [R, S, K]"""
    return np.random.default_rng(13).permuted(np.tile(np.arange(K), (R, S, 1)), axis=-1)
