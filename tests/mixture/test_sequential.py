"""Updates by one point at a time equal the update by all points at once, in every family."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import summed

from workbench.mixture import COVARIANCES, ConjugatePrior, Statistics
from workbench.mixture.prior.update import (
    Known,
    Tables,
    Updated,
    foresee,
    log_predictive,
    not_updated,
    update,
    with_point,
)
from workbench.problem import Problem

K = 3
# Compiled whole: traced one operation at a time, each of nine points would cost as much.
once_updated, foreseen, predicted = (
    jax.jit(update, static_argnums=3),
    jax.jit(foresee, static_argnums=4),
    jax.jit(log_predictive, static_argnums=2),
)
joined = jax.jit(with_point, static_argnums=3)


def updated_by(x: np.ndarray, labels: np.ndarray, problem: Problem) -> Updated:
    """The posterior given points of known components, from sums over all of them."""
    hot, d = np.eye(K)[labels], x.shape[1]
    second = np.einsum("nk,ni,nj->kij", hot, x, x)
    kept = summed(problem.covariance, second)
    statistics = Statistics(jnp.asarray(hot.sum(0)), jnp.asarray(hot.T @ x), jnp.asarray(kept))
    return once_updated(statistics, jnp.zeros((K, d)), problem.hyperparameters, problem.covariance)


def of_one(updated: Updated, problem: Problem) -> Known:
    """Remove the axis of a population of one particle."""
    one = Known.of(jax.tree.map(lambda leaf: jnp.asarray(leaf)[..., None], updated), problem.covariance)
    return jax.tree.map(lambda leaf: leaf[..., 0], one)


@pytest.mark.parametrize("dimensions", [1, 3])
@pytest.mark.parametrize("covariance", sorted(COVARIANCES))
def test_points_one_by_one_are_the_update_by_all_and_foreseen_by_students_t(covariance: str, dimensions: int) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(9, dimensions)) + 1.0, rng.integers(0, K, 9)
    problem = Problem(x, K, covariance, ConjugatePrior(concentration=0.7))
    h, family = problem.hyperparameters, problem.covariance
    tables = Tables.of(len(x), h, family)
    known = of_one(not_updated(h, K, family), problem)
    for n, (point, label) in enumerate(zip(x, labels, strict=True)):
        found, change = foreseen(known, jnp.asarray(point), tables, h, family)
        before = updated_by(x[:n], labels[:n], problem)
        expected = jnp.log(before.counts + 0.7) + predicted(before, jnp.asarray(point)[None], family)[0]
        # Rounding errors of a few products.
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        known = joined(known, jnp.asarray(np.eye(K)[label]), change, family)
    for part, whole in zip(known, of_one(updated_by(x, labels, problem), problem), strict=True):
        np.testing.assert_allclose(part, whole, rtol=1e-9, atol=1e-9)
