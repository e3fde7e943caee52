"""Starts of problems with known rows: in the order that the rows say, at the rows that are known."""

import jax.numpy as jnp
import numpy as np
import pytest

from workbench.data.known import UNKNOWN
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts import STARTS, Given, Stated, draw_starts

N, D, K = 60, 2, 3
RULES = [rule for rule in STARTS.values() if not issubclass(rule, Stated)]


@pytest.fixture(scope="module")
def groups() -> np.ndarray:
    return np.arange(N) % K


@pytest.fixture(scope="module")
def x(groups: np.ndarray) -> np.ndarray:
    """Three groups far apart; the first coordinate falls with the number of the group. [N, D]"""
    return np.random.default_rng(0).normal(size=(N, D)) + 12.0 * (K - groups)[:, None] * [1.0, -0.5]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.model_fields["rule"].default)
def test_every_start_is_in_the_order_of_the_known_rows(rule: type, x: np.ndarray, groups: np.ndarray) -> None:
    few = np.where(np.arange(N) < 2 * K, groups, UNKNOWN)  # two rows of each: fewer than D + 1
    drawn = draw_starts(rule(), Problem(x, K, label_known=few), 5, 0)
    free = draw_starts(rule(), Problem(x, K), 5, 0)
    for restart in range(5):
        mixture = Mixture(*(leaf[restart] for leaf in (drawn.weights, drawn.means, drawn.scales)), drawn.covariance)
        joint = np.asarray(mixture.component_log_joint(x[few >= 0]))
        own = few[few >= 0]
        orders = [
            np.sum(joint[np.arange(len(own)), np.asarray(order)[own]])
            for order in np.ndindex(K, K, K)
            if len(set(order)) == K
        ]
        assert np.sum(joint[np.arange(len(own)), own]) == pytest.approx(max(orders), rel=1e-9)
        # It is the start of the problem without known rows, but for the order.
        np.testing.assert_allclose(np.sort(drawn.means[restart], axis=0), np.sort(free.means[restart], axis=0))


def test_enough_known_rows_give_a_component_its_mean(x: np.ndarray, groups: np.ndarray) -> None:
    known = np.where((groups == 1) | (np.arange(N) < 4), groups, UNKNOWN)
    weights = np.where(np.arange(N) % 5 == 0, 2.0, 1.0)
    drawn = draw_starts(STARTS["random_points"](), Problem(x, K, label_known=known, weights=weights), 3, 0)
    own = known == 1
    np.testing.assert_allclose(drawn.means[:, 1], np.tile(weights[own] @ x[own] / weights[own].sum(), (3, 1)))
    spread = np.ptp(np.asarray(drawn.means)[:, 2], axis=0)
    assert np.all(spread > 0), "a component of which few rows are known begins elsewhere in each restart"


def test_a_given_start_is_put_into_the_order_of_the_known_rows(x: np.ndarray, groups: np.ndarray) -> None:
    means = np.stack([x[groups == k].mean(axis=0) for k in (2, 0, 1)])
    start = Mixture.from_covariances([0.2, 0.3, 0.5], means, np.stack([np.eye(D)] * K), "full")
    problem = Problem(x, K, label_known=np.where(np.arange(N) < K, groups, UNKNOWN))
    drawn = draw_starts(Given.of(start), problem, 2, 0)
    np.testing.assert_allclose(drawn.weights[1], jnp.asarray([0.3, 0.5, 0.2]))


def test_a_stated_start_keeps_its_means_and_takes_the_order_of_the_labels() -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=(40, 2)), rng.normal(size=(40, 2)) + 6.0])
    label = np.repeat([0, 1], 40)
    label[rng.random(80) < 0.5] = -1
    problem = Problem(x, 2, label_known=label)
    stated = Given(weights=[0.5, 0.5], means=[[5.0, 5.0], [1.0, 1.0]], covariances=[np.eye(2).tolist()] * 2)
    start = draw_starts(stated, problem, 1, seed=0)
    np.testing.assert_allclose(start.means[0], [[1.0, 1.0], [5.0, 5.0]], atol=1e-12)
