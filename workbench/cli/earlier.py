"""What an answer that is to be replaced came from, as far as it differs from the new one."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.errors import VALUE, InputError, cut, one_line
from workbench.mixture.saved import load_mixture

# Differences that a message lists one by one.
SHOWN = 3


def replaced(model: Path, about: Mapping[str, Any]) -> str:
    """A sentence on an earlier answer that came from other settings, data or method; empty if there is none.

    Args:
        model: the file that is to be replaced, which need not exist.
        about: what the new answer comes from: its `method`, `source` and `settings`.
    """
    try:
        earlier = load_mixture(model).about
    except InputError:
        return ""
    # A file of an earlier version does not say its settings.
    told = {key: about[key] for key in ("settings", "method", "source") if key in earlier}
    changes = [change for key in told for change in _changes("" if key == "settings" else key, earlier[key], told[key])]
    if not changes:
        return ""
    more = [f"and {len(changes) - SHOWN} more"] if len(changes) > SHOWN else []
    return f"Replaced the answer of an earlier fit, of other settings: {'; '.join([*changes[:SHOWN], *more])}."


def _changes(key: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            yield from _changes(f"{key}.{name}" if key else str(name), old.get(name), new.get(name))
    elif old != new:
        yield f"{one_line(key, VALUE)} was {'not set' if old is None else cut(json.dumps(old), VALUE)}"
