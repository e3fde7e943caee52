"""Refits of a bootstrap: short calls make the climbs that one call makes, and a signal is heeded between them."""

import signal
import threading
import time

import jax
import numpy as np
import pytest

import workbench as wb
from workbench.engine.keys import restart_keys
from workbench.geometry import bootstrap
from workbench.geometry.bootstrap import SCHEMES, climb, refits
from workbench.methods import EM
from workbench.mixture import Mixture

EM_AS_RUN = EM(max_iterations=60)


def fitted(rows: int) -> tuple[wb.Problem, Mixture]:
    """A problem of two groups in two columns, and its maximum."""
    x = np.random.default_rng(0).normal(size=(rows, 2)) + 3.0 * (np.arange(rows) < rows / 3)[:, None]
    problem = wb.Problem(x, 2)
    return problem, wb.compare(problem, {"em": wb.EM()})["em"].best(problem)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_refits_in_batches_and_short_calls_are_the_climbs_of_each_replicate(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, estimate = fitted(90)
    monkeypatch.setattr(bootstrap, "TOGETHER", 4)
    monkeypatch.setattr(bootstrap, "BETWEEN", 0.0)  # so that every call is of one step
    found = refits(scheme, problem, estimate, jax.random.key(2), 6, em=EM_AS_RUN)
    plain = jax.jit(lambda key: climb(EM_AS_RUN, SCHEMES[scheme](key, problem, estimate), estimate))
    for b, key in enumerate(restart_keys(jax.random.key(2), 6)):
        one = plain(key)
        assert (int(found.passes[b]), bool(found.converged[b])) == (int(one.passes), bool(one.converged))
        np.testing.assert_allclose(found.mixture.means[b], one.mixture.means, rtol=1e-9)
    assert len(set(found.passes.tolist())) > 1 and np.max(found.passes) > 2


def test_an_interruption_is_heeded_within_seconds() -> None:
    _, estimate = fitted(90)
    problem = wb.Problem(np.random.default_rng(0).normal(size=(200_000, 2)), 2)
    em = EM(max_iterations=100_000, tolerance=0.0)  # hours in one call
    sent = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(6.0, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        refits("weighted", problem, estimate, jax.random.key(0), 30, em=em)
    assert time.monotonic() - sent[0] < 5
