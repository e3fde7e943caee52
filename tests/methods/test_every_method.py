"""What holds for every method: the same start, scoring function and price, and the same result twice."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from workbench.errors import InputError
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import METHODS, Method
from workbench.methods.base import geometric_marks
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts

R = 2
# Long enough to converge, for those that do; NUTS walks a little and shows its mechanics.
SETTINGS: dict[str, dict[str, Any]] = {
    "em": {"tolerance": 1e-13},
    "ascent": {"max_iterations": 300},
    "nuts": {"num_warmup": 10, "num_samples": 6, "num_chains": R, "max_tree_depth": 5},
    "gibbs": {"num_warmup": 10, "num_samples": 6, "num_chains": R},
    "mixed": {"num_warmup": 10, "num_samples": 6, "num_chains": R, "max_tree_depth": 5},
    "tempered_smc": {"num_warmup": 40, "num_samples": 8, "num_chains": R},
    "ibis": {"num_warmup": 60, "num_samples": 8, "num_chains": R},
    "cavi": {"max_iterations": 60, "num_samples": 6},
    "variational": {"max_iterations": 200, "num_samples": 6},
    "permuted": {"of": {"method": "gibbs", "num_warmup": 10, "num_samples": 6, "num_chains": R}},
}
# The family of the problem, where a method does not take diagonal ones.
FAMILIES = {"riemannian": "full"}
# Each compiles for long, and has tests of its own.
DEAR = ("mixed", "tempered_smc", "ibis", "variational", "newton", "natural_gradient", "riemannian")
EVERY = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in DEAR else ()) for name in METHODS]
)
Points = NDArray[np.float64]
TraceOf = Callable[[str], Trace]


def configured(name: str) -> Method:
    return METHODS[name](**SETTINGS.get(name, {}))


@pytest.fixture(scope="module")
def problem_for(problem_of: Callable[..., Problem]) -> Callable[[str], Problem]:
    """The problem of a method: the same for all but those that need another family."""
    return lambda name: problem_of(FAMILIES.get(name, "diagonal"), "conjugate", 2)


@pytest.fixture(scope="module")
def starts_for(problem_for: Callable[[str], Problem]) -> Callable[[str], Mixture]:
    return lambda name: draw_starts(RandomPoints(), problem_for(name), R, seed=0)


@pytest.fixture
def problem(name: str, problem_for: Callable[[str], Problem]) -> Problem:
    return problem_for(name)


@pytest.fixture
def starts(name: str, starts_for: Callable[[str], Mixture]) -> Mixture:
    return starts_for(name)


@pytest.fixture(scope="module")
def trace_of(problem_for: Callable[[str], Problem], starts_for: Callable[[str], Mixture]) -> TraceOf:
    """The trace of each method, run once."""

    @functools.cache
    def trace(name: str) -> Trace:
        return run(configured(name), problem_for(name), starts_for(name), jax.random.key(3))

    return trace


@EVERY
def test_row_zero_is_the_start(name: str, trace_of: TraceOf, starts: Mixture) -> None:
    for kept, start in zip(jax.tree.leaves(trace_of(name).mixtures), jax.tree.leaves(starts), strict=True):
        np.testing.assert_array_equal(kept[:, 0], start)


@EVERY
def test_every_row_is_scored_at_its_own_mixture(
    name: str, trace_of: TraceOf, problem: Problem, log_joint: Callable[[Problem, Mixture], jax.Array]
) -> None:
    trace = trace_of(name)
    for r in range(R):
        for row in {0, 1, trace.num_rows // 2, trace.num_rows - 1}:
            mixture = jax.tree.map(jnp.asarray, trace.at(r, row))
            expected = float(log_joint(problem, mixture))
            assert trace.log_joint[r, row] == pytest.approx(expected, rel=1e-13)
            prior = float(problem.log_prior(mixture))
            assert trace.log_likelihood[r, row] == pytest.approx(expected - prior, rel=1e-12)


@EVERY
def test_every_recorded_mixture_is_proper(name: str, trace_of: TraceOf) -> None:
    trace = trace_of(name)
    np.testing.assert_allclose(np.sum(trace.mixtures.weights, axis=-1), 1.0, rtol=1e-12)
    scales = np.asarray(trace.mixtures.scales)
    if trace.mixtures.covariance.has_correlations:
        scales = np.diagonal(scales, axis1=-2, axis2=-1)
    assert np.all(np.asarray(trace.mixtures.weights) > 0) and np.all(scales > 0)


@EVERY
def test_prices_and_seconds_only_grow(name: str, trace_of: TraceOf) -> None:
    trace = trace_of(name)
    assert np.all(np.diff(trace.passes, axis=1) >= 0) and np.all(np.diff(trace.seconds) >= 0)
    assert trace.seconds[0] == 0.0 and trace.seconds.shape == (trace.num_rows,)
    assert np.all(trace.passes[:, -1] > 0) and trace.compile_seconds > 0 and trace.score_seconds > 0


@EVERY
def test_nothing_moves_where_nothing_is_paid(name: str, trace_of: TraceOf) -> None:
    trace = trace_of(name)
    still = np.diff(trace.passes, axis=1) == 0
    if trace.is_approximation:
        still[:, -trace.draws :] = False  # what has been fitted is drawn from for nothing
    for leaf in jax.tree.leaves(trace.mixtures):
        moves = np.abs(np.diff(leaf, axis=1)).reshape(R, trace.num_rows - 1, -1).max(-1)
        assert np.all(moves[still] == 0)


@EVERY
def test_the_same_config_gives_the_same_bits(name: str, trace_of: TraceOf, problem: Problem, starts: Mixture) -> None:
    again = run(configured(name), problem, starts, jax.random.key(3))
    first = trace_of(name)
    for field in ("mixtures", "log_joint", "log_likelihood", "passes", "ok", "converged", "collapsed"):
        for a, b in zip(jax.tree.leaves(getattr(first, field)), jax.tree.leaves(getattr(again, field)), strict=True):
            np.testing.assert_array_equal(a, b)


@EVERY
def test_the_best_answer_is_better_than_its_start(name: str, trace_of: TraceOf, problem: Problem) -> None:
    trace = trace_of(name)
    place = trace.best_place(problem)
    assert place is not None and trace.log_joint[place] > np.max(trace.log_joint[:, 0])


def test_ascent_reaches_the_optimum_of_em_and_no_draw_lies_above_it(trace_of: TraceOf) -> None:
    em, ascent, nuts = (trace_of(name) for name in ("em", "ascent", "nuts"))
    assert em.converged.all() and ascent.converged.all()
    # L-BFGS stops at a gradient of 1e-6 per point: N g^2 / (2 lambda) is below 1e-6 nats for curvature above 1e-4.
    assert np.max(ascent.log_joint[:, -1]) == pytest.approx(np.max(em.log_joint[:, -1]), abs=1e-6)
    assert np.max(nuts.log_joint) <= np.max(em.log_joint) + 1e-9


# The others' own tests have where they end.
@pytest.mark.parametrize(
    "name", ["relaxed_em", *(pytest.param(name, marks=pytest.mark.slow) for name in ("newton", "natural_gradient"))]
)
def test_other_climbs_reach_the_optimum_of_em(name: str, trace_of: TraceOf) -> None:
    trace, em = trace_of(name), trace_of("em")
    assert trace.converged.all() and trace.ok.all()
    # As for L-BFGS; relaxed EM stops where EM does.
    assert np.max(trace.log_joint[:, -1]) == pytest.approx(np.max(em.log_joint[:, -1]), abs=1e-6)


def test_an_em_step_costs_one_pass(trace_of: TraceOf) -> None:
    # Rows lie at stated numbers of passes: only steps of one pass land on all of them.
    trace = trace_of("em")
    marks = geometric_marks(5000)[: trace.num_rows - 1]
    for r in range(R):
        np.testing.assert_array_equal(trace.passes[r, 1:], np.minimum(marks, trace.passes[r, -1]))


def test_rows_of_a_sampler_are_its_warm_up_and_then_every_draw(trace_of: TraceOf) -> None:
    trace = trace_of("nuts")
    assert trace.draws == 6 and trace.num_rows == 1 + len(geometric_marks(10)) + 6


@EVERY
def test_configs_are_strict_frozen_and_round_trip(name: str) -> None:
    method = configured(name)
    assert method.method == name and METHODS[name](**method.model_dump()) == method
    assert hash(METHODS[name](**method.model_dump())) == hash(method)
    with pytest.raises(ValidationError, match="frozen"):
        method.method = "other"
    with pytest.raises(InputError, match="unknown key"):
        METHODS[name](speed=1.0)  # type: ignore[call-arg]
    for field, info in METHODS[name].model_fields.items():
        if info.annotation is int:
            with pytest.raises(InputError, match=field):
                METHODS[name](**{field: 0})


@EVERY
def test_methods_say_what_they_are(name: str) -> None:
    assert METHODS[name].summary and (METHODS[name].__doc__ or "").strip()


def test_marks_grow_geometrically_and_end_at_the_limit() -> None:
    marks = geometric_marks(5000)
    assert marks[0] == 1 and marks[-1] == 5000 and np.all(np.diff(marks) >= 1)
    ratios = marks[1:-1] / marks[:-2]
    # From 20 on a step of a tenth is two or more, so rounding leaves between 1.07 and 1.13.
    assert np.all(ratios[marks[:-2] >= 20] < 1.13) and np.all(ratios[marks[:-2] >= 20] > 1.07)
    assert geometric_marks(1).tolist() == [1]
