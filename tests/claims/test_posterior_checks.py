"""Every check of a posterior decides made-up chains in both directions, and reports missing input."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from workbench.claims import Verdict
from workbench.claims.checks import CHECKS
from workbench.claims.checks.posterior import TUTORIAL_LOSS
from workbench.claims.evidence import Ran
from workbench.mixture import IndependentPrior, Mixture
from workbench.problem import Problem

HOLDS, FAILS, UNDECIDED = Verdict
Make = Callable[..., Any]

# Draws of a chain, in rounds of one and the same handful: every half of a chain has the same distribution.
DRAWS, HANDFUL = 96, 12


def decide(name: str, evidence: Any) -> Any:
    return CHECKS[name].decide(evidence)


@pytest.fixture(scope="module")
def chains(two_groups: Problem, shapes: dict[str, Mixture], trace_of: Make, ran_of: Make) -> Make:
    """Two chains about `good`: chain r's draw s keeps its labels where `swapped[r, s]` is False."""
    noise = np.random.default_rng(0).normal(scale=0.02, size=(HANDFUL, 2, 2))

    def make(swapped: np.ndarray, stay: int = 1) -> Ran:
        good = shapes["good"]
        rows = jax.tree.map(lambda leaf: np.tile(leaf, (2, 1 + DRAWS, *[1] * leaf.ndim)), good)
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


def test_overlap_joins_labellings_where_chains_swap_labels_and_draws_are_dearer(chains: Make) -> None:
    clear, joined, slow = chains(APART), chains(TURNS), chains(TURNS, stay=8)
    found = decide("overlap_joins_the_labellings", [clear, slow])
    assert found.verdict == HOLDS
    # Each draw eight times over is worth an eighth, but for the noise of an estimated effective sample size.
    assert 4 < found.value < 16
    assert "change labels 47 to 47 times" in found.note
    assert decide("overlap_joins_the_labellings", [slow, clear]).verdict == FAILS
    assert decide("overlap_joins_the_labellings", [clear, chains(APART, stay=8)]).verdict == FAILS
    assert decide("overlap_joins_the_labellings", [joined, slow]).verdict == FAILS
    assert decide("overlap_joins_the_labellings", [clear]).verdict == UNDECIDED


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
    found = decide("finds_the_tutorials_mode", ran_of(five_points, {"em": trace_of(five_points, [[off, mode]] * 2)}))
    assert found.verdict == HOLDS
    assert found.value == pytest.approx(TUTORIAL_LOSS, abs=1e-5)
    missed = ran_of(five_points, {"em": trace_of(five_points, [[mode, off]])})
    assert decide("finds_the_tutorials_mode", missed).verdict == FAILS
    sampled = ran_of(five_points, {"nuts": trace_of(five_points, [[mode, mode]], draws=1)})
    assert decide("finds_the_tutorials_mode", sampled).verdict == UNDECIDED


def test_spikes_are_found_among_ends_and_draws_and_must_be_gone_under_the_other_prior(run: Make) -> None:
    spiked = run(draws=2, em=[["start", "good"], ["start", "spike"]], nuts=[["start", "good", "spike"]])
    spared = run(draws=2, em=[["start", "good"]] * 2, nuts=[["start", "good", "better"]])
    climbed = run(draws=2, em=[["start", "good"], ["start", "spike"]], nuts=[["start", "good", "better"]])
    found = decide("weak_prior_keeps_the_spikes", [spiked, spared])
    assert (found.verdict, found.value) == (HOLDS, 50)
    assert "1 climbs end in a spike, up to" in found.note
    assert decide("weak_prior_keeps_the_spikes", [spiked, spiked]).verdict == FAILS
    assert decide("weak_prior_keeps_the_spikes", [spared, spared]).verdict == FAILS
    assert (found := decide("weak_prior_keeps_the_spikes", [climbed, spared])).verdict == FAILS and found.value == 0
    assert decide("weak_prior_keeps_the_spikes", [spiked]).verdict == UNDECIDED
    assert decide("weak_prior_keeps_the_spikes", [spiked, run(em=[["start", "good"]])]).verdict == UNDECIDED
