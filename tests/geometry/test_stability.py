"""Fixed steps near a maximum: the observed edge is that of the quadratic, and EM needs no step size."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench.charts import Chart
from workbench.geometry.curvature import curvature_at
from workbench.geometry.stability import Modes, ascent_passes, displaced, em_passes
from workbench.mixture import Mixture
from workbench.problem import Problem

NATS, WITHIN, LIMIT = 1e-3, 1e-7, 2000
PARTS: dict[str, Any] = {"weights": "log_ratio", "scales": "log_cholesky"}


@pytest.fixture(scope="module")
def maximum(two_groups: Problem, shapes: dict[str, Mixture]) -> Mixture:
    """Where 300 EM steps from a good start end: far past the rounding of log_joint on clear groups."""
    return jax.jit(lambda m: jax.lax.fori_loop(0, 300, lambda _, m: two_groups.em_step(m)[0], m))(shapes["good"])


@pytest.fixture(scope="module")
def found(two_groups: Problem, maximum: Mixture) -> tuple[Modes, np.ndarray, np.ndarray, int]:
    """Modes, passes counted at step sizes in units of the edge, and those predicted, and EM's."""
    here = curvature_at(two_groups, maximum)
    modes = Modes.of(here.hessian, two_groups.num_points)
    away = modes.displacements(NATS, two_groups.num_points)
    start = displaced(maximum, Chart.of(two_groups, **PARTS), np.sum(away, axis=1) / np.sqrt(away.shape[1]))
    goal = here.log_joint - WITHIN
    rates = np.asarray([0.3, 0.6, 0.97, 1.03, 1.5]) * modes.edge
    counted = np.asarray(ascent_passes(two_groups, start, jnp.asarray(rates), goal, limit=LIMIT, **PARTS))
    predicted = np.asarray([modes.passes(rate, NATS, WITHIN, LIMIT) or -1 for rate in rates])
    return modes, counted, predicted, int(em_passes(two_groups, start, goal, jnp.asarray(LIMIT)))


def test_a_displacement_costs_its_nats(two_groups: Problem, maximum: Mixture) -> None:
    here = curvature_at(two_groups, maximum)
    modes = Modes.of(here.hessian, two_groups.num_points)
    for step in modes.displacements(NATS, two_groups.num_points).T:
        lost = float(-0.5 * step @ here.hessian @ step)
        assert lost == pytest.approx(NATS, rel=1e-9)


def test_the_predicted_edge_is_the_edge(found: tuple[Any, ...]) -> None:
    _, counted, _, _ = found
    assert np.all(counted[:3] <= LIMIT) and np.all(counted[3:] > LIMIT)


def test_the_quadratic_foretells_the_passes(found: tuple[Any, ...]) -> None:
    _, counted, predicted, _ = found
    # Third derivatives at a thousandth of a nat: a few per cent of the error, so a few steps of these.
    np.testing.assert_allclose(counted[:3], predicted[:3], rtol=0.1, atol=2)
    assert np.all(predicted[3:] == -1)


def test_em_gets_back_without_a_step_size_and_sooner(found: tuple[Any, ...]) -> None:
    _, counted, _, own = found
    assert 0 < own < np.min(counted)
