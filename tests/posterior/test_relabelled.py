"""Relabelling a sampler's trace by name."""

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.posterior.relabelling import RELABELLINGS, apply
from workbench.posterior.switching import relabel


@pytest.fixture(scope="module")
def shuffled(draws_of, shuffles, three_groups, trace_of):
    """Chains whose labels were shuffled draw by draw."""
    return trace_of(three_groups, apply(shuffles, draws_of()[0]), draws=shuffles.shape[1])


@pytest.mark.parametrize("algorithm", RELABELLINGS)
def test_shuffled_labels_are_found_again_in_the_order_of_the_mean_of_means(
    shuffled, draws_of, three_groups, shuffles, algorithm
):
    found = relabel(shuffled, three_groups, algorithm)
    # The groups lie far apart and were made in the order of their first coordinate.
    np.testing.assert_array_equal(found.mixtures.means, draws_of()[0].means)
    np.testing.assert_array_equal(np.take_along_axis(shuffles, found.permutations, -1)[0, 0], np.arange(3))
    assert found.algorithm == algorithm


def test_what_cannot_be_relabelled_is_refused(shuffled, three_groups, trace_of):
    with pytest.raises(InputError, match="unknown algorithm 'stephen'; allowed: ordering, ecr"):
        relabel(shuffled, three_groups, "stephen")
    estimates = trace_of(three_groups, shuffled.answer)
    with pytest.raises(InputError, match="give the trace of a sampler"):
        relabel(estimates, three_groups)
