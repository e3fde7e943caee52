"""Ordered labels: draws of every sampler come from the ordered posterior, whose order statistics are known exactly."""

from collections.abc import Callable
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.special import gammaln, logsumexp, multigammaln
from scipy.stats import t as student

from workbench.engine.keys import named_key
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import METHODS, Method, Sampler
from workbench.mixture.prior.checks import Labels
from workbench.posterior import ReferencePosterior, read_reference, z_scores
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts

Points = NDArray[np.float64]
TraceOf = Callable[[str, Labels], Trace]

# Every sampler of chains; only what is quick to compile among the quick tests.
SAMPLERS = [
    pytest.param(name, marks=() if name == "gibbs" else pytest.mark.slow)
    for name, kind in METHODS.items()
    if issubclass(kind, Sampler)
]
# Less than the defaults where less will do.
SETTINGS = {"gibbs": {"num_warmup": 50, "num_samples": 800}, "mixed": {"num_warmup": 200, "num_samples": 500}}


class Ordered(NamedTuple):
    """Exact posterior means under ordered labels, two components."""

    log_evidence: float
    lower: float  # of the first coordinate of the first mean
    upper: float  # of the second
    weight: float  # of the first component


@pytest.fixture(scope="module")
def plane() -> ReferencePosterior:
    return read_reference("plane")


@pytest.fixture(scope="module")
def exact(plane: ReferencePosterior) -> Ordered:
    """A sum over the 2^8 allocations, by SciPy alone (Murphy 2007, "Conjugate Bayesian analysis of the Gaussian").

    Given the allocation the first coordinates of the two means are independent and Student-t, and the weights
    independent of both.
    """
    problem, prior = plane.problem, plane.problem.prior.model_dump()
    x, (n, d) = problem.x, problem.x.shape
    a, m, kappa = prior["concentration"], np.asarray(prior["mean_location"]), prior["mean_shrinkage"]
    nu, psi = prior["degrees_of_freedom"], np.asarray(prior["scatter"])
    # The prior's own t has five degrees of freedom and a scale of 1.4: beyond lies one part in 10^8.
    grid = np.linspace(-60.0, 60.0, 4_001)
    logs, values = [], []
    for z in product([0, 1], repeat=n):
        log_weight, sides, counts = gammaln(2 * a) - gammaln(2 * a + n), [], []
        for k in (0, 1):
            own = x[np.asarray(z) == k]
            size = len(own)
            pull = own - m
            location = m + pull.sum(0) / (kappa + size)
            scatter = psi + pull.T @ pull - (kappa + size) * np.outer(location - m, location - m)
            degrees = nu + size - d + 1
            log_weight += gammaln(a + size) - gammaln(a) - 0.5 * size * d * np.log(np.pi)
            log_weight += multigammaln(0.5 * (nu + size), d) - multigammaln(0.5 * nu, d)
            log_weight += 0.5 * nu * np.linalg.slogdet(psi)[1] - 0.5 * (nu + size) * np.linalg.slogdet(scatter)[1]
            log_weight += 0.5 * d * np.log(kappa / (kappa + size))
            sides.append(student(degrees, location[0], np.sqrt(scatter[0, 0] / ((kappa + size) * degrees))))
            counts.append(size)
        below = [side.cdf(grid) for side in sides]
        apart = trapezoid(below[0] * (1 - below[1]) + below[1] * (1 - below[0]), grid)  # E|a - b|
        first = trapezoid(sides[0].pdf(grid) * (1 - below[1]), grid)  # P(a < b)
        middle = 0.5 * (sides[0].mean() + sides[1].mean())
        share = (a + counts[0]) / (2 * a + n)
        logs.append(log_weight)
        values.append([middle - 0.5 * apart, middle + 0.5 * apart, first * share + (1 - first) * (1 - share)])
    weights = np.exp(np.asarray(logs) - logsumexp(logs))
    return Ordered(float(logsumexp(logs)), *(float(v) for v in weights @ np.asarray(values)))


@pytest.fixture(scope="module")
def trace_of(plane: ReferencePosterior) -> TraceOf:
    """Chains of a sampler on the plane, once for each kind of labels."""

    @cache
    def trace(name: str, labels: Labels) -> Trace:
        free = plane.problem
        problem = Problem(free.x, free.components, free.covariance.name, free.prior, labels=labels)
        method: Method = METHODS[name](**SETTINGS.get(name, {}))
        starts = draw_starts(RandomPoints(), problem, method.num_restarts(4), seed=0)
        return run(method, problem, starts, named_key(0, "labels"))

    return trace


def test_the_oracle_knows_the_evidence(exact: Ordered, plane: ReferencePosterior) -> None:
    # Sums over 256 terms, each of ten logarithms.
    assert exact.log_evidence == pytest.approx(plane.posterior.log_evidence, rel=1e-10)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_first_coordinates_ascend_in_every_row(sampler: str, trace_of: TraceOf) -> None:
    assert np.all(np.diff(trace_of(sampler, "ordered").mixtures.means[:, :, :, 0], axis=-1) > 0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_ordered_means_and_their_weight_are_order_statistics(sampler: str, trace_of: TraceOf, exact: Ordered) -> None:
    # 0.8 s to import.
    from arviz_stats.base import array_stats

    draws = trace_of(sampler, "ordered").answer
    columns = {"lower": draws.means[..., 0, 0], "upper": draws.means[..., 1, 0], "weight": draws.weights[..., 0]}
    for name, column in columns.items():
        error = array_stats.mcse(np.asarray(column), chain_axis=0, draw_axis=1)
        assert abs(np.mean(column) - getattr(exact, name)) < 4 * error, name


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_no_label_changes_has_the_posterior_of_free_labels(
    sampler: str, trace_of: TraceOf, plane: ReferencePosterior
) -> None:
    scores = z_scores(plane.posterior, trace_of(sampler, "ordered").answer, plane.problem)
    # As for free labels: the largest of some 90 correlated scores, and the key is fixed.
    assert max(float(np.max(np.abs(score))) for score in scores.values()) < 4


@pytest.mark.slow
def test_free_draws_put_in_order_are_the_ordered_draws_of_gibbs(trace_of: TraceOf) -> None:
    free, ordered = trace_of("gibbs", "free"), trace_of("gibbs", "ordered")
    assert np.any(np.diff(free.answer.means[..., 0], axis=-1) < 0)
    order = np.argsort(free.answer.means[..., 0], axis=-1)
    np.testing.assert_array_equal(np.take_along_axis(free.answer.means, order[..., None], axis=2), ordered.answer.means)
    np.testing.assert_array_equal(np.take_along_axis(free.answer.weights, order, axis=2), ordered.answer.weights)
    # The score does not depend on labels, up to the order of sums.
    np.testing.assert_allclose(free.log_joint[:, 1:], ordered.log_joint[:, 1:], rtol=1e-12)
