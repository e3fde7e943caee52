"""The shipped ledger's quick variants are run: every claim is decided, and the cheap ones as they are known to be."""

from pathlib import Path

import pytest

from workbench.claims import Verdict, read_ledger
from workbench.jobs.claims import run_claims

LEDGER = Path(__file__).parents[2] / "experiments" / "claims.toml"

# One program of EM each, on data that are shipped. The third is a claim that is false: some starts end on a plateau.
CHEAP = {
    "log_of_sum": Verdict.HOLDS,
    "non_convex": Verdict.HOLDS,
    "em_ends_on_a_maximum": Verdict.FAILS,
}

# Too small samples to decide them, alone or among all tests of the ledger.
TOO_SMALL = {
    "em_ends_higher", "ascent_is_cheaper_on_overlap", "ascent_is_cheaper_on_clear_groups", "random_starts_fail",
    "kmeans_starts_help", "floor_is_monotone_in_nothing", "draws_stay_below", "one_mode_per_chain", "wald_covers",
    "labels_part_chains", "overlap_makes_a_ridge", "overspecified", "samplers_are_calibrated", "acceleration",
}  # fmt: skip


def test_cheap_claims_are_decided_as_they_are_known_to_be(tmp_path: Path) -> None:
    judged = run_claims(read_ledger(LEDGER, quick=True), only=CHEAP, out=tmp_path, quick=True)
    assert {each.name: each.decision.verdict for each in judged} == CHEAP
    assert all((tmp_path / folder).is_dir() for each in judged for folder in each.folders)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: claims rest on runs in common."""
    return tmp_path_factory.mktemp("claims")


@pytest.mark.slow
@pytest.mark.parametrize("name", [claim.name for claim in read_ledger(LEDGER, quick=True)])
def test_every_quick_claim_runs_and_is_decided(name: str, shared: Path) -> None:
    (judged,) = run_claims(read_ledger(LEDGER, quick=True), only=[name], out=shared, quick=True)
    assert judged.failure is None
    assert judged.decision.verdict != Verdict.UNDECIDED or name in TOO_SMALL
