"""Every method on rows with weights: a row of weight w is w equal rows, or the method says why it cannot be."""

from typing import Any

import jax
import numpy as np
import pytest
from common_shape import D, N

from workbench.errors import InputError
from workbench.loop.run import run
from workbench.methods import METHODS
from workbench.methods.base import Method
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts import Hierarchical, draw_starts

K, R = 2, 2
ROWS = N // 2
BATCH = 15

# Long enough to leave the start; minibatches have as many steps on fewer rows, each of which costs more of a pass.
SAMPLES = {"num_warmup": 8, "num_samples": 4, "num_chains": R}
SETTINGS: dict[str, dict[str, Any]] = {
    "nuts": {**SAMPLES, "max_tree_depth": 4},
    "gibbs": SAMPLES,
    "mixed": {**SAMPLES, "max_tree_depth": 4},
    # Rounding errors grow along trajectories, and in the end decide whether a move is accepted.
    "tempered_smc": {"num_warmup": 40, "num_samples": 8, "num_chains": R, "num_moves": 2},
    "ibis": {"num_warmup": 60, "num_samples": 8, "num_chains": R},
    "permuted": {"of": {"method": "ibis", "num_warmup": 60, "num_samples": 8, "num_chains": R}},
    "cavi": {"max_iterations": 30, "num_samples": 4},
    "variational": {"max_iterations": 100, "num_samples": 4},
    "online_em": {"batch": BATCH, "max_passes": 5.0},
    "stochastic_ascent": {"batch": BATCH, "max_passes": 5.0},
}
FAMILIES = {"riemannian": "full"}

# The allocations of a row's observations are drawn at once, from one multinomial.
OTHER_DRAWS = ("gibbs",)

# Each needs whole observations, which it allocates.
ALLOCATES = ("gibbs", "mixed", "ibis", "permuted")

EVERYDAY = ("em", "online_em", "cavi")
EVERY = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in EVERYDAY else pytest.mark.slow)
        for name in METHODS
        if name not in OTHER_DRAWS
    ],
)


def configured(name: str, **more: Any) -> Method:
    return METHODS[name].model_validate({**SETTINGS.get(name, {}), **more})


def data() -> tuple[np.ndarray, np.ndarray]:
    """Two groups, and how often each row counts: N observations in half as many rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, D))
    x[: ROWS // 2] += 3.0
    weights = 1 + np.bincount(rng.integers(0, ROWS, N - ROWS), minlength=ROWS)
    return x, weights.astype(float)


def problems(name: str, known: bool) -> tuple[Problem, Problem]:
    """The weighted rows, and the rows repeated, without or with known components of a third of the rows."""
    x, weights = data()
    own = np.where(known & (np.arange(ROWS) % 3 == 0), np.arange(ROWS) < ROWS // 2, -1)
    family, times = FAMILIES.get(name, "diagonal"), weights.astype(int)
    ours = Problem(x, K, family, "conjugate", weights=weights, label_known=own)
    return ours, Problem(np.repeat(x, times, axis=0), K, family, "conjugate", label_known=np.repeat(own, times))


def starts_of(problem: Problem) -> Mixture:
    return draw_starts(Hierarchical(), problem, R, seed=0)


@pytest.mark.parametrize("known", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "known"])
@EVERY
def test_a_row_of_weight_w_is_as_many_equal_rows(name: str, known: bool) -> None:
    weighted, repeated = problems(name, known)
    starts, key = starts_of(repeated), jax.random.key(3)
    batches = "batch" in SETTINGS.get(name, {})
    # As many steps, each of which costs twice as much of a pass over half as many rows.
    ours = run(configured(name, max_passes=10.0) if batches else configured(name), weighted, starts, key)
    theirs = run(configured(name), repeated, starts, key)
    # Sums have other orders. The longest path, of tempered SMC's thousand steps, multiplies their rounding to 1e-9.
    close = 1e-7 if name == "tempered_smc" else 1e-9
    np.testing.assert_allclose(ours.log_joint[:, -1], theirs.log_joint[:, -1], rtol=0, atol=100 * close)
    for one, other in zip(jax.tree.leaves(ours.ends), jax.tree.leaves(theirs.ends), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=100 * close)
    if ours.log_evidence is not None and theirs.log_evidence is not None:
        np.testing.assert_allclose(ours.log_evidence, theirs.log_evidence, rtol=0, atol=100 * close)
    assert np.max(np.abs(ours.log_joint[:, -1] - ours.log_joint[:, 0])) > 0.01


@pytest.mark.parametrize("name", METHODS)
def test_methods_that_allocate_observations_refuse_fractions_and_others_take_them(name: str) -> None:
    x, weights = data()
    problem = Problem(x, K, FAMILIES.get(name, "diagonal"), "conjugate", weights=weights * 1.5)
    if name not in ALLOCATES:
        configured(name).check(problem)
        return
    with pytest.raises(InputError, match=r"weights: .* needs whole observations, and the weight of row 1 is 1\.5"):
        configured(name).check(problem)


def test_the_objective_takes_fractions_as_powers_of_densities() -> None:
    x, weights = data()
    problem = Problem(x, K, "diagonal", "conjugate", weights=weights * 0.7)
    mixture = jax.tree.map(lambda leaf: leaf[0], starts_of(problem))
    expected = float(np.sum(0.7 * weights * np.asarray(mixture.log_density(x))))
    assert float(problem.log_likelihood(mixture)) == pytest.approx(expected, rel=1e-12)
    assert problem.num_points == pytest.approx(0.7 * N)
