"""One candidate is climbed and sampled side by side, and whoever interrupts it does not wait for the other."""

import threading
import time
from pathlib import Path

import pytest

from workbench.experiment import parse_experiment
from workbench.selection import scoring


def test_an_interrupted_climb_does_not_wait_for_the_sampler(tiny, monkeypatch) -> None:
    experiment, released = parse_experiment(tiny, "tiny"), threading.Event()
    train, _ = experiment.data.load(experiment.seed, Path())

    def climb(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scoring, "climbed", climb)
    monkeypatch.setattr(scoring, "sampled", lambda *args: released.wait(60))
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        scoring.scored(experiment, train)
    released.set()
    # Far less than the sampler takes.
    assert time.monotonic() - begun < 30
