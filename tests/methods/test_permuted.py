"""The permutation sampler: every chain visits all labellings equally often, and the posterior is invariant."""

from collections.abc import Callable
from math import factorial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from workbench.errors import InputError
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import METHODS, NUTS, Gibbs, Method, Permuted, Sampler
from workbench.methods.permuted import INNER, random_order
from workbench.mixture import ConjugatePrior, Mixture
from workbench.posterior import label_switching, parameter_convergence, read_reference, z_scores
from workbench.posterior.relabelling import ordering
from workbench.posterior.switching import Switching
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts

K, CHAINS, DRAWS = 3, 2, 600
INSIDE = Gibbs(num_warmup=20, num_samples=DRAWS, num_chains=CHAINS)


class Particular(ConjugatePrior):
    """A prior that says of itself that it tells components apart."""

    exchangeable: ClassVar[bool] = False


@pytest.fixture(scope="module")
def problem() -> Problem:
    """Groups so far apart that no chain ever swaps two of them by itself."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(45, 2)) + np.repeat([[-30.0, 0.0], [0.0, 30.0], [30.0, 0.0]], 15, axis=0)
    return Problem(x, K, "spherical", ConjugatePrior())


@pytest.fixture(scope="module")
def trace(problem: Problem) -> Trace:
    """Two chains from one group each for every component, the second in another labelling than the first."""
    start = problem.x[[[0, 15, 30], [15, 0, 30]]]
    starts = Mixture(jnp.full((CHAINS, K), 1 / K), jnp.asarray(start), jnp.ones((CHAINS, K)), problem.covariance)
    return run(Permuted(of=INSIDE), problem, starts, jax.random.key(0))


@pytest.fixture(scope="module")
def switching(trace: Trace, problem: Problem) -> Switching:
    return label_switching(ordering(trace.answer, trace.log_joint, problem))


def test_anchored_components_keep_their_places_and_the_others_take_every_order_alike() -> None:
    anchored = jnp.asarray([False, True, False, False, True])
    drawn = np.asarray(jax.vmap(lambda key: random_order(key, anchored))(jax.random.split(jax.random.key(0), 6000)))
    np.testing.assert_array_equal(drawn[:, [1, 4]], np.broadcast_to([1, 4], (6000, 2)))
    orders, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(orders) == factorial(3) and np.all(np.sort(orders, axis=1) == np.arange(5))
    # Exceeded one time in a thousand, and the key is fixed.
    assert np.sum((counts - 1000) ** 2 / 1000) < chi2.ppf(0.999, 5)


def test_every_chain_visits_each_labelling_alike(switching: Switching) -> None:
    assert np.all(switching.modes_visited == factorial(K))
    expected = DRAWS / factorial(K)
    statistic = np.sum((switching.shares * DRAWS - expected) ** 2 / expected, axis=1)  # [R]
    # Exceeded by one chain in a thousand, and the key is fixed.
    assert np.all(statistic < chi2.ppf(0.999, factorial(K) - 1))


def test_each_labelling_is_drawn_anew(switching: Switching) -> None:
    stay = 1 / factorial(K)
    error = np.sqrt(stay * (1 - stay) / (DRAWS - 1))
    # Independent orders stay with probability 1 / K!; four standard errors.
    assert np.all(np.abs(1 - switching.switches / (DRAWS - 1) - stay) < 4 * error)


def test_chains_of_other_labellings_agree_on_every_raw_parameter(trace: Trace) -> None:
    raw = parameter_convergence(trace.answer)
    # 1,200 nearly independent draws: R-hat scatters by less than a percent, and the ESS of each by some percent.
    assert raw.r_hat_max < 1.02
    assert raw.ess_min > 600


def test_no_permutation_changes_the_score(
    trace: Trace, problem: Problem, log_joint: Callable[[Problem, Mixture], jax.Array]
) -> None:
    for row in range(-6, 0):
        mixture = jax.tree.map(jnp.asarray, trace.at(0, row))
        # A sum over components in another order.
        assert trace.log_joint[0, row] == pytest.approx(float(log_joint(problem, mixture.canonical())), rel=1e-13)


def test_a_permutation_costs_nothing(trace: Trace) -> None:
    assert np.all(np.diff(trace.passes[:, -DRAWS:]) == 1)


def test_schedule_and_chains_are_those_of_the_sampler_inside() -> None:
    method = Permuted(of=INSIDE)
    np.testing.assert_array_equal(method.schedule().marks, INSIDE.schedule().marks)
    assert method.schedule().draws == DRAWS and method.num_restarts(9) == CHAINS


@pytest.mark.slow
@pytest.mark.parametrize("inside", [NUTS(), Gibbs()], ids=["nuts", "gibbs"])
@pytest.mark.parametrize("name", ["five_points", "three_groups", "plane"])
def test_permuted_draws_are_within_four_standard_errors_of_the_exact_posterior(name: str, inside: Sampler) -> None:
    reference = read_reference(name)
    starts = draw_starts(RandomPoints(), reference.problem, 4, seed=0)
    trace = run(Permuted(of=inside), reference.problem, starts, jax.random.key(1))
    scores = z_scores(reference.posterior, trace.answer, reference.problem)
    # As in tests/posterior/test_every_sampler.py: beyond 4 one time in a few hundred, and the key is fixed.
    assert max(float(np.max(np.abs(score))) for score in scores.values()) < 4


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if issubclass(kind, Sampler)])
def test_every_sampler_of_chains_can_be_permuted(name: str) -> None:
    assert METHODS[name] in INNER
    assert Permuted.model_validate({"of": {"method": name}}).of == METHODS[name]()


@pytest.mark.parametrize(
    ("method", "problem_is", "says"),
    [
        (Permuted(), {"labels": "ordered"}, r'model\.labels: .*visits all labellings.*use labels = "free"'),
        (Permuted(), {"prior": Particular()}, r"prior: permuting labels needs a prior that is the same for all comp"),
        (Permuted(), {"prior": None}, "prior: NUTS needs a proper prior"),
        (Permuted(of=Gibbs()), {"prior": None}, "prior: Gibbs needs the conjugate prior"),
    ],
    ids=["ordered", "not exchangeable", "NUTS inside", "Gibbs inside"],
)
def test_what_cannot_be_permuted_is_refused(
    problem: Problem, method: Method, problem_is: dict[str, object], says: str
) -> None:
    given = {"prior": ConjugatePrior(), **problem_is}
    with pytest.raises(InputError, match=says):
        method.check(Problem(problem.x, K, "spherical", **given))  # type: ignore[arg-type]
