"""Programs are let go before a process has no memory maps left, wherever a user's loop compiles."""

import sys
from collections.abc import Callable

import jax
import numpy as np
import pytest

from tests.conftest import random_mixture_near
from workbench.compare import compare
from workbench.memory_maps import make_room
from workbench.methods import EM
from workbench.mixture import Mixture
from workbench.problem import Problem

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory maps of a process")


def counted() -> tuple[Callable[[float], jax.Array], list[object]]:
    """A compiled program, and a list that grows whenever it is traced."""
    traced: list[object] = []

    @jax.jit
    def program(x: jax.Array) -> jax.Array:
        traced.append(x)
        return x + 1

    return program, traced


def test_programs_are_forgotten_only_where_room_is_short() -> None:
    program, traced = counted()
    program(1.0)
    make_room(share=1.0, every=0.0)
    program(1.0)
    assert len(traced) == 1
    make_room(share=0.0)
    program(1.0)
    assert len(traced) == 1  # the last count is less than `every` seconds old
    make_room(share=0.0, every=0.0)
    program(1.0)
    assert len(traced) == 2


def test_nothing_is_forgotten_within_a_trace() -> None:
    program, traced = counted()
    program(1.0)
    jax.jit(lambda x: (make_room(share=0.0, every=0.0), x)[1])(1.0)
    program(1.0)
    assert len(traced) == 1


X = np.random.default_rng(0).normal(size=(9, 2))
HOLED = np.where(np.arange(18).reshape(9, 2) == 3, np.nan, X)

# What compiles for each number of rows or draws.
CALLS: dict[str, Callable[[Mixture], object]] = {
    "sample": lambda mixture: mixture.sample(jax.random.key(0), 9),
    "log_density": lambda mixture: mixture.log_density(X),
    "component_log_joint": lambda mixture: mixture.component_log_joint(X),
    "predict": lambda mixture: mixture.predict(X),
    "responsibilities": lambda mixture: mixture.responsibilities(X),
    "conditional": lambda mixture: mixture.conditional({0: X[:, 0]}),
    "regression": lambda mixture: mixture.regression({0: X[:, 0]}),
    "complete": lambda mixture: mixture.complete(HOLED),
    "kl_divergence": lambda mixture: mixture.kl_divergence(mixture, jax.random.key(0), 9),
    "Problem": lambda mixture: Problem(X, 2),
    "compare": lambda mixture: compare(Problem(X, 2), [EM(max_iterations=1)], restarts=1),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_takes_any_number_of_rows_makes_room_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = random_mixture_near(X, 2, "full", 0)
    program, traced = counted()
    program(1.0)
    # Any number of maps is too many, and each call counts them.
    monkeypatch.setattr(make_room, "__defaults__", (0.0, 0.0))
    CALLS[name](mixture)
    program(1.0)
    assert len(traced) == 2
