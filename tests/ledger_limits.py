"""The thresholds of the shipped ledger, for tests of checks."""

from functools import cache
from pathlib import Path

from workbench.claims import read_ledger

LEDGER = Path(__file__).parent.parent / "experiments" / "claims.toml"


@cache
def _ledger() -> dict[str, dict[str, float]]:
    return {entry.claim.check: entry.claim.limits for entry in read_ledger(LEDGER)}


def limits_of(check: str, **others: float) -> dict[str, float]:
    """The thresholds with which the shipped ledger calls a check, and others in place of some."""
    return _ledger().get(check, {}) | others
