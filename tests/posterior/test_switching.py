"""Label switching counted on made-up chains, and what it does to R-hat."""

import jax
import numpy as np
import pytest

from workbench.posterior.relabelling import RELABELLINGS, apply
from workbench.posterior.switching import invariant_convergence, label_switching, parameter_convergence, parameters

SWAP = np.array([[1, 0, 2]])


@pytest.fixture(scope="module")
def chains(draws_of, three_groups, trace_of):
    """Four chains, two of them in another labelling; made like a sampler's trace."""
    mixtures, _ = draws_of(chains=4, draws=100)
    orders = np.tile(np.arange(3), (4, 100, 1))
    orders[2:] = SWAP
    return trace_of(three_groups, apply(orders, mixtures), draws=100)


def test_modes_and_switches_of_made_up_chains_are_counted():
    a, b, c = [0, 1, 2], [1, 0, 2], [2, 1, 0]
    stuck, twice, thrice = [a] * 6, [a, a, b, b, a, a], [a, b, c, b, b, a]
    found = label_switching(np.array([stuck, twice, thrice]))
    np.testing.assert_array_equal(found.modes_visited, [1, 2, 3])
    np.testing.assert_array_equal(found.switches, [0, 2, 4])
    np.testing.assert_array_equal(found.labellings, [a, b, c])  # met 12, 5 and 1 times
    np.testing.assert_allclose(found.shares, np.array([[6, 0, 0], [4, 2, 0], [2, 3, 1]]) / 6)


def test_relabelled_chains_have_visited_the_labellings_they_were_made_in(draws_of, shuffles, three_groups):
    mixtures, scores = draws_of()
    found = label_switching(RELABELLINGS["stephens"](apply(shuffles, mixtures), scores, three_groups))
    made = label_switching(shuffles)
    # Forty random orders of three visit all six.
    np.testing.assert_array_equal(found.modes_visited, made.modes_visited)
    np.testing.assert_array_equal(found.modes_visited, [6, 6])
    np.testing.assert_array_equal(found.switches, made.switches)


def test_two_labellings_ruin_raw_r_hat_and_nothing_else(chains, three_groups):
    raw = parameter_convergence(chains.answer)
    orders = RELABELLINGS["ecr"](chains.answer, chains.log_joint, three_groups)
    relabelled = parameter_convergence(apply(orders, chains.answer))
    invariant = invariant_convergence(chains, three_groups)
    switching = label_switching(orders)
    assert raw.r_hat_max > 1.5  # rank-normalised R-hat of two chains against two saturates below 2
    # Independent draws: 400 of them scatter R-hat by some percent.
    assert relabelled.r_hat_max < 1.05 and invariant.r_hat_max < 1.05
    assert relabelled.ess_min > 150 and raw.ess_min < 20
    np.testing.assert_array_equal(switching.modes_visited, 1)
    assert len(switching.labellings) == 2


def test_convergence_is_told_by_name(chains, three_groups):
    invariant, raw = invariant_convergence(chains, three_groups), parameter_convergence(chains.answer)
    assert len(invariant.names) == len(invariant.r_hat) == 2 + 8 + 7 + 3 + 3 + 6
    assert invariant.names[0] == "log_joint" and invariant.names[-1] == "sorted_means[3, x2]"
    assert len(raw.names) == len(raw.ess) == 3 + 6 + 6
    assert raw.names[3] == "means[1, x1]"
    # Sampling: the third component has the same label in all chains, the first two do not.
    r_hat = dict(zip(raw.names, raw.r_hat, strict=True))
    assert r_hat["means[1, x1]"] > 1.5 > 1.05 > r_hat["means[3, x1]"]


def test_what_is_one_number_throughout_says_nothing(chains):
    still = jax.tree.map(lambda leaf: leaf.copy(), chains.answer)
    still.weights[...] = 1 / 3
    found = parameter_convergence(still)
    assert np.all(np.isnan(found.r_hat[:3])) and np.all(np.isnan(found.ess[:3]))
    assert np.isfinite(found.r_hat_max) and np.isfinite(found.ess_min)


@pytest.mark.parametrize(
    ("family", "last", "count"),
    [("full", "deviations[3, b]", 6), ("tied", "deviations[b]", 2), ("diagonal", "deviations[3, b]", 6),
     ("spherical", "deviations[3]", 3)],
)  # fmt: skip
def test_a_parameter_is_named_once_however_its_family_shares_it(draws_of, family, last, count):
    mixtures, _ = draws_of(family)
    names, values = parameters(mixtures, ("a", "b"))
    assert (len(names), names[0], names[4], names[-1]) == (3 + 6 + count, "weights[1]", "means[1, b]", last)
    np.testing.assert_array_equal(values[..., 4], mixtures.means[:, :, 0, 1])
    trils = jax.vmap(jax.vmap(lambda mixture: mixture.scale_trils))(mixtures)
    # The last row of the last component's factor; one sum of two squares.
    np.testing.assert_allclose(values[..., -1], np.sqrt(np.sum(trils[:, :, -1, -1] ** 2, -1)), rtol=1e-12)


def test_invariant_functionals_do_not_see_the_labels(chains, three_groups, trace_of):
    orders = np.random.default_rng(3).permuted(np.tile(np.arange(3), (4, 100, 1)), axis=-1)
    moved = trace_of(three_groups, apply(orders, chains.answer), draws=100)
    one, other = invariant_convergence(chains, three_groups), invariant_convergence(moved, three_groups)
    # Sums in another order: ranks move only where two draws agree to the last digits.
    np.testing.assert_allclose(other.r_hat, one.r_hat, rtol=1e-3)
    np.testing.assert_allclose(other.ess, one.ess, rtol=0.05)
