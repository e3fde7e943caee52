"""Every check of a posterior decides made-up chains in both directions, and reports missing input."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from math import gamma
from typing import Any

import jax
import numpy as np
import pytest
from ledger_limits import limits_of
from scipy.stats import invgamma

from workbench.claims import Verdict
from workbench.claims.checks import CHECKS
from workbench.claims.checks.optima import TUTORIAL_LOSS
from workbench.claims.evidence import Ran
from workbench.mixture import ConjugatePrior, IndependentPrior, Mixture
from workbench.posterior.spikes import exact_spikes
from workbench.problem import Problem

HOLDS, FAILS, DEPENDS, UNDECIDED = Verdict
Make = Callable[..., Any]

# Draws of a chain, in rounds of one and the same handful: every half of a chain has the same distribution.
DRAWS, HANDFUL = 96, 12


def decide(name: str, evidence: Any, **limits: float) -> Any:
    return CHECKS[name].decide(evidence, limits_of(name, **limits))


@pytest.fixture(scope="module")
def chains(two_groups: Problem, shapes: dict[str, Mixture], trace_of: Make, ran_of: Make) -> Make:
    """Two chains about `good`: chain r's draw s keeps its labels where `swapped[r, s]` is False."""
    noise = np.random.default_rng(0).normal(scale=0.02, size=(HANDFUL, 2, 2))

    def make(swapped: np.ndarray, stay: int = 1) -> Ran:
        good = shapes["good"]
        rows = jax.tree.map(lambda leaf: np.tile(leaf, (len(swapped), 1 + DRAWS, *[1] * leaf.ndim)), good)
        means = rows.means + noise[np.arange(1 + DRAWS) // stay % HANDFUL]
        order = np.where(np.pad(swapped, ((0, 0), (1, 0)))[..., None], [1, 0], [0, 1])  # [R, T, K]
        rows = jax.vmap(jax.vmap(Mixture.permute))(replace(rows, means=means), order)
        return ran_of(two_groups, {"nuts": trace_of(two_groups, rows, draws=DRAWS)})

    return make


NONE = np.zeros((2, DRAWS), bool)
APART = NONE | np.array([[False], [True]])
# Two draws in one labelling, two in the other.
TURNS = NONE | (np.arange(DRAWS) // 2 % 2 == 1)


def test_labels_alone_part_chains_that_are_equal_but_for_their_labels(chains: Make) -> None:
    apart = chains(APART)
    found = decide("labels_alone_part_the_chains", apart)
    assert found.verdict == HOLDS and found.value > 10
    # By ranks two chains are at most 1.83 apart, wherever they lie; here a mean has 24 values and no continuum of them.
    ranks = float(found.note.removesuffix(".").rsplit(" ", 1)[1])
    assert ranks == pytest.approx(np.sqrt(1 + 8 / (3 * np.pi) / (1 - 2 / np.pi)), abs=0.05)
    alike = decide("labels_alone_part_the_chains", chains(NONE))
    assert alike.verdict == FAILS and alike.value < 1.01


def test_chains_that_diverge_or_differ_in_more_than_labels_are_at_fault(chains: Make, run: Make) -> None:
    apart = chains(APART)
    trace = apart.comparison["nuts"]
    diverged = replace(trace, ok=np.zeros_like(trace.ok))
    moved = replace(trace, log_joint=trace.log_joint + np.array([[0.0], [10.0]]))
    for broken in (diverged, moved):
        ran = replace(apart, comparison=replace(apart.comparison, traces={"nuts": broken}))
        assert decide("labels_alone_part_the_chains", ran).verdict == FAILS
    assert decide("labels_alone_part_the_chains", run(em=[["start", "good"]])).verdict == UNDECIDED


def test_chains_keep_their_labelling_or_are_seen_to_leave_it(chains: Make, run: Make) -> None:
    # Two chains are too few to show anything; twelve that stay show it, and twelve that turn the contrary.
    assert decide("chain_keeps_one_labelling", chains(APART)).verdict == UNDECIDED
    assert decide("chain_keeps_one_labelling", chains(np.tile(APART, (6, 1)))).verdict == HOLDS
    found = decide("chain_keeps_one_labelling", chains(np.tile(TURNS, (6, 1))))
    assert found.verdict == FAILS and found.value == 0
    assert found.p_value == pytest.approx(2 / 2**12)
    assert decide("chain_keeps_one_labelling", run(em=[["start", "good"]])).verdict == UNDECIDED


def test_draws_of_chains_that_disagree_are_not_counted(chains: Make) -> None:
    apart = chains(np.tile(APART, (6, 1)))
    trace = apart.comparison["nuts"]
    moved = replace(trace, log_joint=trace.log_joint + np.repeat([[0.0], [10.0]], 6, axis=0))
    ran = replace(apart, comparison=replace(apart.comparison, traces={"nuts": moved}))
    for check, evidence in (("chain_keeps_one_labelling", ran), ("overlap_joins_the_labellings", [ran, ran])):
        found = decide(check, evidence)
        assert found.verdict == UNDECIDED and "do not" in found.note


def test_overlap_joins_labellings_where_chains_swap_labels_and_draws_are_dearer(chains: Make) -> None:
    clear, joined, slow = chains(APART), chains(TURNS), chains(TURNS, stay=8)

    def joined_by(evidence: list[Ran]) -> Any:
        # The slow chains are of a handful of effective draws, and do not agree to within hundredths.
        return decide("overlap_joins_the_labellings", evidence, agree=3.0)

    found = joined_by([clear, slow])
    assert found.verdict == HOLDS
    # Each draw eight times over is worth an eighth, but for the noise of an estimated effective sample size.
    assert 4 < found.value < 16
    assert "change labels 47 to 47 times" in found.note
    assert joined_by([slow, clear]).verdict == FAILS
    assert joined_by([clear, chains(APART, stay=8)]).verdict == FAILS
    assert joined_by([joined, slow]).verdict == FAILS
    assert joined_by([clear]).verdict == UNDECIDED


@pytest.fixture(scope="module")
def five_points() -> Problem:
    prior = IndependentPrior(
        concentration=0.5, mean_location=(0.0,), mean_scale=(10.0,), deviation="log_normal", deviation_scale=(1.0,),
        deviation_spread=2.0,
    )  # fmt: skip
    return Problem(np.array([0.0, 1.0, 10.0, 11.0, 12.0]), 2, "tied", prior)


def test_the_mode_that_is_printed_is_the_tutorials_and_another_is_not(
    five_points: Problem, trace_of: Make, ran_of: Make
) -> None:
    def mixture(first: float) -> Mixture:
        return Mixture.from_covariances([0.625, 0.375], [[10.98446], [first]], [[0.65143**2]], "tied")

    mode, off = mixture(0.49894), mixture(0.5)
    found = decide("finds_the_tutorials_point", ran_of(five_points, {"em": trace_of(five_points, [[off, mode]] * 2)}))
    assert found.verdict == HOLDS
    assert found.value < 1e-5 and str(TUTORIAL_LOSS) in found.note
    missed = ran_of(five_points, {"em": trace_of(five_points, [[mode, off]])})
    assert decide("finds_the_tutorials_point", missed).verdict == FAILS
    sampled = ran_of(five_points, {"nuts": trace_of(five_points, [[mode, mode]], draws=1)})
    assert decide("finds_the_tutorials_point", sampled).verdict == UNDECIDED


def spiked_problem(shrinkage: float, scatter: float) -> Problem:
    """Six points in two groups, one of them of two close points, under a conjugate prior that is weak or is not."""
    prior = ConjugatePrior(mean_shrinkage=shrinkage, degrees_of_freedom=0.5, scatter=((scatter,),))
    return Problem(np.array([-2.0, -1.2, 0.1, 3.0, 3.0001, 4.2]), 2, "spherical", prior)


def by_enumeration(problem: Problem, variance: float) -> tuple[float, float]:
    """Exact probabilities of narrow components by plain Python over all allocations: on points, and of any.

    Normal-inverse-gamma formulas of Murphy (2007), sec. 6, with one column.
    """
    h = {name: float(np.squeeze(np.asarray(value))) for name, value in problem.hyperparameters.items()}
    x, a0, b0, k0 = np.asarray(problem.x)[:, 0], 0.5 * h["degrees"], 0.5 * h["scatter"], h["mean_shrinkage"]
    m0 = h["mean_location"]
    total = held = both = 0.0
    for z in product((0, 1), repeat=len(x)):
        weight, wide_held, wide = 1.0, 1.0, 1.0
        for k in (0, 1):
            own = x[np.asarray(z) == k]
            n = len(own)
            mean = own.mean() if n else 0.0
            a, kn = a0 + 0.5 * n, k0 + n
            b = b0 + 0.5 * np.sum((own - mean) ** 2) + 0.5 * k0 * n / kn * (mean - m0) ** 2
            weight *= gamma(n + h["concentration"]) / gamma(h["concentration"])
            weight *= gamma(a) / gamma(a0) * b0**a0 / b**a * np.sqrt(k0 / kn) * (2 * np.pi) ** (-0.5 * n)
            above = 1.0 - invgamma.cdf(variance, a, scale=b)
            wide, wide_held = wide * above, wide_held * (above if n else 1.0)
        total, held, both = total + weight, held + weight * (1 - wide_held), both + weight * (1 - wide)
    return held / total, both / total


def test_the_share_of_spikes_is_that_of_plain_enumeration() -> None:
    problem = spiked_problem(1e-3, 1e-4)
    variance = 1e-4 * float(np.var(problem.x))
    on_points, narrow = by_enumeration(problem, variance)
    found = exact_spikes(problem, variance)
    assert (found.on_points, found.empty) == pytest.approx((on_points, narrow - on_points), rel=1e-8)
    assert 0.01 < found.on_points < 0.99 and found.empty > 0 and found.allocations == 2**6


def test_spikes_are_weighed_exactly_and_must_be_gone_under_the_other_prior(trace_of: Make, ran_of: Make) -> None:
    def ran(problem: Problem, *widths: float) -> Ran:
        start = Mixture.from_covariances([0.5, 0.5], [[-1.0], [3.4]], [1.0, 1.0], "spherical")
        ends = [Mixture.from_covariances([0.6, 0.4], [[-1.0], [3.00005]], [1.0, w], "spherical") for w in widths]
        return ran_of(problem, {"em": trace_of(problem, [[start, end] for end in ends])})

    weak, sensible = spiked_problem(1e-6, 1e-6), spiked_problem(0.05, 2.0)
    spiked, spared = ran(weak, 1.0, 1e-6), ran(sensible, 1.0, 1.0)
    limits = {"narrow": 1e-5, "much": 0.01}
    found = decide("weak_prior_keeps_the_spikes", [spiked, spared], **limits)
    assert found.verdict == HOLDS and found.error.terms == 2**6
    assert found.value == pytest.approx(100 * by_enumeration(weak, 1e-5 * float(np.var(weak.x)))[0], rel=1e-8)
    assert decide("weak_prior_keeps_the_spikes", [spiked, spiked], **limits).verdict == FAILS
    assert decide("weak_prior_keeps_the_spikes", [spared, spared], **limits).verdict == FAILS
    assert decide("weak_prior_keeps_the_spikes", [spiked], **limits).verdict == UNDECIDED
