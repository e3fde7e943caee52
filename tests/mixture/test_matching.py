from dataclasses import replace
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from workbench.mixture import COVARIANCES, Mixture
from workbench.mixture.matching import Components, assignment, distinct, divergence

# A few hundred rounding errors of numbers of order one.
ROUNDING = 1e-11


def components(mixture: Mixture) -> Components:
    return Components.of(mixture, np.arange(mixture.num_components))


@pytest.fixture(scope="module")
def two(points, random_mixture) -> tuple[Mixture, Mixture]:
    return random_mixture(points, 3, "full", 0), random_mixture(points, 3, "full", 1)


def test_assignment_is_the_best_of_all_permutations():
    costs = np.random.default_rng(0).normal(size=(5, 5))
    best = min(sum(costs[np.arange(5), list(order)]) for order in permutations(range(5)))
    assert np.sum(costs[np.arange(5), assignment(costs)]) == pytest.approx(best, rel=1e-12)


def test_a_permutation_of_the_components_is_the_same_mixture(two):
    assert divergence(components(two[0]), components(two[0].permute(np.array([2, 0, 1])))) == pytest.approx(
        0.0, abs=ROUNDING
    )


def test_divergence_is_symmetric_and_positive(two):
    one, other = components(two[0]), components(two[1])
    assert divergence(one, other) == pytest.approx(divergence(other, one), rel=ROUNDING)
    assert divergence(one, other) > 0.1


def test_divergence_does_not_depend_on_units(two):
    matrix, shift = np.array([[1000.0, 0.0], [3.0, 1e-3]]), np.array([1.0, -1e3])
    moved = [mixture.affine(matrix, shift) for mixture in two]
    expected = divergence(components(two[0]), components(two[1]))
    # Means that are moved by a thousand of their widths keep twelve digits.
    assert divergence(*map(components, moved)) == pytest.approx(expected, rel=1e-6)


def test_divergence_is_that_of_the_integrals():
    """One dimension, two components: the symmetric Kullback-Leibler divergence of (point, label), by quadrature."""
    w, v = np.array([0.3, 0.7]), np.array([0.4, 0.6])
    one = [norm(-2.0, 0.5), norm(1.0, 1.5)]
    other = [norm(-1.5, 0.8), norm(1.2, 1.0)]

    def part(k: int, x: float) -> float:
        p, q = w[k] * one[k].pdf(x), v[k] * other[k].pdf(x)
        return (p - q) * ((np.log(w[k]) + one[k].logpdf(x)) - (np.log(v[k]) + other[k].logpdf(x)))

    expected = sum(quad(lambda x, k=k: part(k, x), -30, 30, points=[-2, 1], limit=200)[0] for k in (0, 1))
    built = [
        Components(weights, np.array([[n.mean()] for n in parts]), np.array([[[n.std()]] for n in parts]))
        for weights, parts in ((w, one), (v, other))
    ]
    # The tolerance of `quad` itself.
    assert divergence(*built) == pytest.approx(expected, rel=1e-7)


def test_mixtures_of_different_numbers_of_components_are_infinitely_apart(two):
    fewer = Components.of(two[0], np.array([0, 0, 2]))
    assert divergence(components(two[0]), fewer) == np.inf


@pytest.mark.parametrize("family", COVARIANCES)
def test_merged_components_count_as_one_whatever_their_weights(points, random_mixture, family):
    mixture = random_mixture(points, 3, family, 0)
    same = np.array([0, 0, 2])
    one = replace(mixture.take(same), weights=jnp.array([0.1, 0.5, 0.4]))
    other = replace(mixture.take(same), weights=jnp.array([0.35, 0.25, 0.4]))
    assert divergence(Components.of(one, same), Components.of(other, same)) == pytest.approx(0.0, abs=ROUNDING)
    assert divergence(components(one), components(other)) > 0.1


def test_a_vanished_component_does_not_count(two):
    light = replace(two[0], weights=jnp.array([0.4, 0.6, 1e-9]))
    moved = replace(light, means=light.means.at[2].add(100.0))
    groups = np.arange(3)
    apart = divergence(Components.of(light, groups, 1e-6), Components.of(moved, groups, 1e-6))
    assert apart == pytest.approx(0.0, abs=ROUNDING)


class TestDistinct:
    def test_equal_scores_do_not_make_one_optimum_of_two(self, two):
        ends = [components(two[0]), components(two[1]), components(two[0].permute(np.array([1, 2, 0])))]
        assert distinct(ends, np.array([-5.0, -5.0, -5.0]), 60).tolist() == [0, 1, 0]

    def test_optima_are_numbered_from_the_best(self, two):
        ends = [components(two[0]), components(two[1])]
        assert distinct(ends, np.array([-7.0, -5.0]), 60).tolist() == [1, 0]

    def test_one_mixture_scored_far_apart_is_two(self, two):
        """End points of so different values cannot be the same mixture, so they must not be compared."""
        assert distinct([components(two[0])] * 2, np.array([-5.0, -9.0]), 60).tolist() == [0, 1]

    def test_what_a_stopping_rule_leaves_over_is_forgiven_and_a_standard_error_is_not(self, two):
        mixture = two[0]
        error = float(jnp.sqrt(mixture.covariances[0, 0, 0] / (60 * mixture.weights[0])))
        ends = [components(replace(mixture, means=mixture.means.at[0, 0].add(s * error))) for s in (0.0, 0.03, 1.0)]
        assert distinct(ends, np.zeros(3), 60).tolist() == [0, 0, 1]

    def test_a_batch_is_taken_apart_in_order(self, two):
        batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *two)
        for apart, mixture in zip(Components.of_all(batch), two, strict=True):
            assert divergence(apart, components(mixture)) == pytest.approx(0.0, abs=ROUNDING)
