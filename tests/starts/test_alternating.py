"""The default rule: it uses several rules in turn, and finds optima that each of them alone misses."""

from collections.abc import Callable

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.data import load_dataset
from workbench.engine.keys import named_key
from workbench.loop.run import run
from workbench.methods import EM
from workbench.methods.parts import EndsOnly
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts import Alternating, Hierarchical, RandomPoints, RawKMeans, ShortEM, VariedSeeds, draw_starts

Points = NDArray[np.float64]
K = 3


@pytest.mark.parametrize("restarts", [1, 3, 8])
def test_each_rule_has_its_own_starts_in_turn(restarts: int, problem_of: Callable[..., Problem]) -> None:
    problem = problem_of("full")
    starts = draw_starts(Alternating(), problem, restarts, seed=4)
    assert len(starts.weights) == restarts
    rules = (Hierarchical, ShortEM, RawKMeans, VariedSeeds)
    clusters, short, raw, seeds = (draw_starts(rule(), problem, 4, seed=4) for rule in rules)
    own = [(clusters, 0), (short, 0), (raw, 0), (short, 1), (clusters, 1), (short, 2), (seeds, 0), (short, 3)]
    for r, (mixtures, place) in enumerate(own[:restarts]):
        for a, b in zip(jax.tree.leaves(starts), jax.tree.leaves(mixtures), strict=True):
            # The draws are the same; sums over rows may be in another order in a batch of another size.
            np.testing.assert_allclose(a[r], b[place], rtol=1e-13, atol=1e-13)


def best_sound(problem: Problem, starts: Mixture) -> float:
    """Log-likelihood of the best sound end of EM."""
    trace = run(EndsOnly(inner=EM()), problem, starts, named_key(0, "em"))
    best = trace.best(problem)
    assert best is not None
    return float(problem.log_likelihood(best))


# The best that mclust, mixtools or scikit-learn reach, and the starts in which it is found; 30 random points lead to
# wine13's and ruspini's from none. In eight starts the one that takes 16 is found at half of the seeds.
KNOWN = [
    ("wine13", "full", 4, -2654.452, 8),
    ("ruspini", "spherical", 2, -727.573, 8),
    ("acidity", "tied", 5, -175.118, 8),
    ("diabetes", "full", 4, -2892.072, 16),
    ("diabetes", "tied", 5, -3018.927, 8),
    ("synth_tr", "full", 4, -92.847, 8),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "family", "components", "known", "starts"), KNOWN, ids=[case[0] for case in KNOWN])
@pytest.mark.parametrize("seed", [0, 1])
def test_few_starts_reach_the_best_known_optimum(
    name: str, family: str, components: int, known: float, starts: int, seed: int
) -> None:
    problem = Problem(load_dataset(name).x, components, family)
    # Half a unit of the last known digit, plus the error of EM's stopping rule.
    assert best_sound(problem, draw_starts(Alternating(), problem, starts, seed)) >= known - 1e-3


def far_groups(seed: int) -> tuple[Points, NDArray[np.intp]]:
    """40, 25 and 15 points in 20 columns, with centres 4 apart in every column: far apart relative to the noise."""
    labels = np.repeat([0, 1, 2], [40, 25, 15])
    return 4.0 * labels[:, None] + np.random.default_rng(seed).normal(size=(80, 20)), labels


def at_true_partition(problem: Problem, x: Points, labels: NDArray[np.intp]) -> float:
    """Where EM ends from the weights, means and covariance of the true groups."""
    means = np.stack([x[labels == k].mean(0) for k in range(3)])
    within = (x - means[labels]).T @ (x - means[labels]) / len(x)
    truth = Mixture.from_covariances(np.bincount(labels) / len(x), means, within, "tied")
    return best_sound(problem, jax.tree.map(lambda leaf: np.asarray(leaf)[None], truth))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_groups_that_whitening_hides_are_found(seed: int) -> None:
    x, labels = far_groups(seed)
    problem = Problem(x, 3, "tied")
    # To the accuracy of EM's stopping rule: for such clear groups the start is at the optimum.
    found = best_sound(problem, draw_starts(Alternating(), problem, 8, seed))
    assert found >= at_true_partition(problem, x, labels) - 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_points_miss_groups_that_whitening_hides(seed: int) -> None:
    x, labels = far_groups(seed)
    problem = Problem(x, 3, "tied")
    missed = best_sound(problem, draw_starts(RandomPoints(), problem, 8, seed))
    assert missed < at_true_partition(problem, x, labels) - 10
