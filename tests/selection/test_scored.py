"""One candidate is climbed and sampled side by side, and whoever interrupts it does not wait for the other."""

import threading
from pathlib import Path
from typing import Any

import pytest
from patience import MOMENTS

from workbench.engine.rows import Rows
from workbench.experiment import parse_experiment
from workbench.selection import criteria, fit_criteria
from workbench.selection.asked import with_components
from workbench.selection.posterior import Missing


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


def test_candidates_are_sampled_by_other_threads_while_others_are_scored(tiny, monkeypatch) -> None:
    experiment = parse_experiment(tiny, "tiny")
    train, _ = experiment.data.load(experiment.seed, Path())
    order: list[tuple[int, int]] = []

    def sample(experiment, problem, starts) -> tuple[Missing, Missing]:
        assert len(starts.weights) >= experiment.restarts
        order.append((problem.components, threading.get_ident()))
        return Missing("of chains"), Missing("of particles")

    monkeypatch.setattr(criteria, "sampled", sample)
    monkeypatch.setattr(criteria, "climbed", lambda *_: Missing("no fit"))
    for name in ("all_climbed", "climbed"):
        monkeypatch.setattr(fit_criteria, name, lambda *given: [Missing("no fit")] * 10)
    monkeypatch.setattr(fit_criteria, "_fitted", lambda *_: (Missing("no fit"), ""))
    sampling = criteria.Sampling()
    candidates = {k: with_components(experiment, k, train) for k in (2, 3)}
    begun = {k: sampling.begin(str(k), candidate, train) for k, candidate in candidates.items()}
    assert sampling.begin("2", candidates[2], train) is begun[2]
    for k, candidate in candidates.items():
        made = criteria.scored(candidate, train, begun[k])
        assert made.components == k and made.log_likelihood is None and made.smallest is None
        assert made.scores["waic"].why == "of chains"
        assert made.scores["evidence"].why == "of particles"
        sampling.end(str(k))
    assert sorted(k for k, _ in order) == [2, 3]
    assert threading.get_ident() not in {thread for _, thread in order}


def _most_at_once(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, wait: float) -> int:
    """How many of two candidates are sampled at once, where each waits for the other for so many seconds."""
    experiment = parse_experiment(values, "tiny")
    train, _ = experiment.data.load(experiment.seed, Path())
    both, at_once = threading.Barrier(2), []

    def sample(*_: object) -> tuple[Missing, Missing]:
        try:
            both.wait(wait)
            at_once.append(2)
        except threading.BrokenBarrierError:
            at_once.append(1)
        return Missing("not drawn"), Missing("not drawn")

    monkeypatch.setattr(criteria, "sampled", sample)
    sampling = criteria.Sampling()
    begun = [sampling.begin(str(k), with_components(experiment, k, train), train) for k in (2, 3)]
    for each in begun:
        each.sampled.result(MOMENTS)
    sampling.stop()
    return max(at_once)


def test_two_candidates_are_sampled_at_once_by_gibbs_and_ibis(tiny, monkeypatch) -> None:
    assert _most_at_once(tiny, monkeypatch, MOMENTS) == 2


def test_samplers_that_use_numpyro_take_turns(tiny, monkeypatch) -> None:
    assert _most_at_once(tiny | {"prior": {"family": "independent"}}, monkeypatch, 0.2) == 1
    # Tempered SMC, which an experiment may state for a conjugate prior, draws from the prior by NumPyro.
    assert _most_at_once(tiny | {"methods": {"smc": {"method": "tempered_smc"}}}, monkeypatch, 0.2) == 1


def test_candidates_whose_rows_devices_share_take_turns(tiny, monkeypatch) -> None:
    monkeypatch.setattr(Rows, "shared", property(lambda _: True))
    assert _most_at_once(tiny, monkeypatch, 0.2) == 1
