"""What holds of every relabelling algorithm on draws that are well separated."""

import jax
import numpy as np
import pytest

from workbench.posterior.relabelling import RELABELLINGS, agreement, agreement_matrix, apply, timed
from workbench.problem import Problem

NAMES = sorted(RELABELLINGS)


@pytest.fixture(scope="module")
def shuffled(draws_of, shuffles):
    mixtures, scores = draws_of()
    return apply(shuffles, mixtures), scores


@pytest.fixture(scope="module")
def found(shuffled, three_groups) -> dict[str, np.ndarray]:
    return {name: relabel(*shuffled, three_groups) for name, relabel in RELABELLINGS.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_random_permutation_of_each_draw_is_undone(name, found, shuffled, shuffles):
    restored = np.take_along_axis(shuffles, found[name], axis=-1)  # labels before the shuffle
    # The same for all draws: one global permutation is free.
    np.testing.assert_array_equal(restored, np.broadcast_to(restored[0, 0], restored.shape))
    means = np.asarray(apply(found[name], shuffled[0]).means)
    assert np.ptp(means, axis=(0, 1)).max() < 3  # ten standard deviations of the noise; the groups lie 6 apart


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_a_permutation(name, found):
    np.testing.assert_array_equal(np.sort(found[name], -1), np.broadcast_to(np.arange(3), found[name].shape))


@pytest.mark.parametrize("name", NAMES)
def test_labels_as_sampled_do_not_matter(name, found, draws_of, shuffles, three_groups):
    plain = RELABELLINGS[name](*draws_of(), three_groups)
    assert agreement(np.take_along_axis(shuffles, found[name], axis=-1), plain) == 1.0


def test_all_agree(found):
    np.testing.assert_array_equal(agreement_matrix(found), 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_densities_are_left_as_they_are(name, found, shuffled, three_groups):
    before, after = shuffled[0], apply(found[name], shuffled[0])
    densities = jax.jit(jax.vmap(jax.vmap(lambda m: m.log_density(three_groups.x[::6]))))
    # Sums of three terms in another order.
    np.testing.assert_allclose(densities(after), densities(before), rtol=1e-12)


@pytest.mark.parametrize(("name", "family"), [("pivotal", "tied"), ("pivotal", "spherical"), ("stephens", "diagonal")])
def test_every_family_is_relabelled(name, family, draws_of, shuffles, three_groups):
    mixtures, scores = draws_of(family)
    problem = Problem(three_groups.x, 3, family)
    orders = RELABELLINGS[name](apply(shuffles, mixtures), scores, problem)
    restored = np.take_along_axis(shuffles, orders, axis=-1)
    np.testing.assert_array_equal(restored, np.broadcast_to(restored[0, 0], restored.shape))


def test_a_draw_that_is_not_finite_is_left_with_some_order(draws_of, three_groups):
    mixtures, scores = draws_of()
    broken = jax.tree.map(lambda leaf: leaf.at[1, 3].set(np.nan), mixtures)
    scores = scores.copy()
    scores[1, 3] = np.nan
    for name, relabel in RELABELLINGS.items():
        orders = relabel(broken, scores, three_groups)
        np.testing.assert_array_equal(np.sort(orders[1, 3]), np.arange(3), err_msg=name)


def test_agreement_is_the_share_of_draws_up_to_one_permutation():
    one = np.tile([0, 1, 2], (2, 10, 1))
    other = np.tile([2, 0, 1], (2, 10, 1))
    assert agreement(one, other) == 1.0
    other[0, :3] = [0, 1, 2]
    assert agreement(one, other) == agreement(other, one) == 17 / 20


def test_the_cost_of_a_method_is_timed_apart_from_compiling(shuffled, three_groups, found):
    answer = timed(RELABELLINGS["ecr"], *shuffled, three_groups)
    np.testing.assert_array_equal(answer.permutations, found["ecr"])
    assert answer.seconds > 0 and answer.compile_seconds >= 0
