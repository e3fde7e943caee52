"""The claim ledger: textbook claims as rows, each decided by a named check over what is stored."""

from workbench.claims.decision import Decision, Verdict
from workbench.claims.ledger import Claim, Entry, is_ledger, read_ledger

__all__ = ["Claim", "Decision", "Entry", "Verdict", "is_ledger", "read_ledger"]
