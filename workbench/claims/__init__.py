"""The claim ledger: each row is a textbook claim, which a named check decides from stored results."""

from workbench.claims.decision import Decision, Verdict
from workbench.claims.ledger import Claim, Entry, is_ledger, read_ledger

__all__ = ["Claim", "Decision", "Entry", "Verdict", "is_ledger", "read_ledger"]
