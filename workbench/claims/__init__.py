"""The claim ledger: textbook claims as rows, each decided by a named check over what is stored."""

from workbench.claims.decision import Decision, Verdict
from workbench.claims.ledger import Claim, Entry, is_ledger, read_ledger
from workbench.claims.running import Judged, load_claims, run_claims

__all__ = ["Claim", "Decision", "Entry", "Judged", "Verdict", "is_ledger", "load_claims", "read_ledger", "run_claims"]
