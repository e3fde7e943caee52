"""The differences between experiments, in words for a title."""

import json
from typing import Any

from workbench.experiment.config import Experiment


def tell_apart(experiments: list[Experiment]) -> list[str]:
    """For each experiment, the settings that differ between them, such as "seed = 3"; empty for a single one."""
    flat = [_flat(experiment.resolved()) for experiment in experiments]
    shared = set.intersection(*(set(one) for one in flat))
    # A key that only some experiments have depends on a key that all have (the family of the prior), or belongs to a
    # method, and methods have columns of their own.
    differing = sorted(key for key in shared if len({json.dumps(one[key]) for one in flat}) > 1)
    names = [", ".join(f"{key} = {one[key]}" for key in differing) for one in flat]
    # Experiments that differ only in data or in a method's settings are numbered, oldest first.
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
