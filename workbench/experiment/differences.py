"""What sets experiments apart from each other, in words for a title."""

import json
from typing import Any

from workbench.experiment.config import Experiment


def tell_apart(experiments: list[Experiment]) -> list[str]:
    """What sets each experiment apart from the others: "seed = 3", or nothing where there is only one."""
    flat = [_flat(experiment.resolved()) for experiment in experiments]
    shared = set.intersection(*(set(one) for one in flat))
    # A key that only some have follows from another that all have (the family of the prior), or is a method's, and
    # methods have columns of their own.
    differing = sorted(key for key in shared if len({json.dumps(one[key]) for one in flat}) > 1)
    names = [", ".join(f"{key} = {one[key]}" for key in differing) for one in flat]
    # What is left is a difference of data or of a method's settings: numbered, oldest first.
    same = [[i for i, other in enumerate(names) if other == name] for name in names]
    return [
        ", ".join(filter(None, [name, f"{places.index(i) + 1} of {len(places)}" if len(places) > 1 else ""]))
        for i, (name, places) in enumerate(zip(names, same, strict=True))
    ]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    pairs = [_flat(v, f"{prefix}.{k}" if prefix else k) for k, v in value.items()]
    return {key: v for part in pairs for key, v in part.items()}
