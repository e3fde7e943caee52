"""What is to be said of a comparison besides what its methods found: sentences for the end of the reading."""

from workbench.compare.comparison import Comparison


def remarks_on(comparison: Comparison) -> tuple[str, ...]:
    """A sentence for each thing that is worth a word, in a fixed order."""
    missing = [f"{name} is not in this table: {why}." for name, why in comparison.missing.items()]
    stale = [
        f"Beware: the run of {name} is STALE: other code made it ({why})." for name, why in comparison.stale.items()
    ]
    return (*missing, *stale)
