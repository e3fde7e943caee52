"""One candidate is climbed and sampled side by side, and whoever interrupts it does not wait for the other."""

import threading
from pathlib import Path

import pytest
from patience import MOMENTS

from workbench.experiment import parse_experiment
from workbench.selection import criteria


def test_an_interrupted_climb_does_not_wait_for_the_sampler(tiny, monkeypatch) -> None:
    experiment, released, ended = parse_experiment(tiny, "tiny"), threading.Event(), threading.Event()
    train, _ = experiment.data.load(experiment.seed, Path())

    def climb(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(criteria, "climbed", climb)

    def sample(*args: object) -> None:
        released.wait(MOMENTS)
        ended.set()

    monkeypatch.setattr(criteria, "sampled", sample)
    with pytest.raises(KeyboardInterrupt):
        criteria.scored(experiment, train)
    assert not ended.is_set()
    released.set()
