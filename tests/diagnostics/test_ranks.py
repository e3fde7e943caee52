"""R-hat and effective sample sizes of many quantities at once: ArviZ's numbers, and what has no variance."""

import numpy as np
import pytest
from arviz_stats.base import array_stats  # type: ignore[attr-defined]
from scipy.signal import lfilter

from workbench.diagnostics.convergence import TAILS, rank_statistics, tail_sizes

# From nearly independent draws to chains that hardly move, and antithetic ones.
MEMORIES = (0.0, 0.5, 0.9, 0.99, 0.999, -0.5, -0.9)


def chains(num_chains: int, num_draws: int) -> np.ndarray:
    """Columns of every memory, of tied values, of a rare event and of one chain elsewhere. [R, S, Q]"""
    rng = np.random.default_rng(num_draws)
    noise = rng.normal(size=(num_chains, num_draws, len(MEMORIES)))
    walks = [lfilter([1.0], [1.0, -memory], noise[..., q], axis=1) for q, memory in enumerate(MEMORIES)]
    more = rng.normal(size=(3, num_chains, num_draws))
    more[2, 0] += 3.0
    return np.stack([*walks, np.round(more[0]), np.tanh(9 * more[1]), more[2]], axis=-1)


@pytest.mark.parametrize(("num_chains", "num_draws"), [(4, 1000), (2, 999), (2, 10), (3, 9), (2, 4), (2, 5)])
def test_they_are_those_of_arviz(num_chains: int, num_draws: int) -> None:
    draws = chains(num_chains, num_draws)
    r_hats, sizes = rank_statistics(draws)
    tails = tail_sizes(draws)
    for q in range(draws.shape[-1]):
        column = draws[..., q]
        if np.any(np.ptp(column, axis=1) == 0):
            continue
        options = {"chain_axis": 0, "draw_axis": 1}
        told = (
            array_stats.rhat(column, **options),
            array_stats.ess(column, method="bulk", **options),
            array_stats.ess(column, method="tail", prob=TAILS, **options),
        )
        # Rounding of Fourier transforms.
        np.testing.assert_allclose((r_hats[q], sizes[q], tails[q]), told, rtol=1e-10)


def test_the_halves_of_a_lone_chain_stand_in_for_two() -> None:
    draws = chains(1, 401)
    two = draws[:, :400].reshape(2, 200, -1)
    np.testing.assert_array_equal(rank_statistics(draws), rank_statistics(two))


def test_a_draw_that_is_no_number_and_a_chain_that_never_moves_are_the_worst_there_is() -> None:
    draws = chains(2, 100)[..., :3]
    draws[0, 7, 0] = np.inf
    draws[1, :, 1] = 2.0
    r_hats, sizes = rank_statistics(draws)
    assert np.all(np.isinf(r_hats[:2])) and np.isfinite(r_hats[2])
    assert np.all(sizes[:2] == 0) and np.all(tail_sizes(draws)[:2] == 0) and sizes[2] > 0
