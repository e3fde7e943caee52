"""The interface of methods: a method is a frozen config that binds to a problem and yields pure functions.

A new method is a new file beside this one with a class derived from `Method`, and one line in `METHODS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from jax import Array
from pydantic import Field

from workbench.config import Config
from workbench.errors import InputError
from workbench.mixture import Mixture
from workbench.problem import Problem

State = Any  # private to each method; a pytree

# Passes at the first row of a method whose steps cost fractions of a pass. Where a step costs more than the distance
# between two marks, several rows show the same state at the same price.
FIRST_FRACTION = 0.01

NEVER: Any = np.False_


class Info(NamedTuple):
    """What one step reports; construct it by keyword."""

    passes: Array  # []   passes over the data that the step cost; a minibatch of B of the N rows costs B / N
    ok: Array  # []   False where the step broke a promise of the method's theory
    converged: Array = NEVER  # []   the method's own stopping rule is met
    collapsed: Array = NEVER  # []   the next mixture has a singular covariance or an empty component
    stopped: Array = NEVER  # []   no further step is possible or useful


class Algorithm(NamedTuple):
    """A method bound to a problem, for one restart. Batching is `vmap` at the call site."""

    init: Callable[[Array, Mixture], State]  # (key, start) -> state
    step: Callable[[Array, State], tuple[State, Info]]  # (key, state) -> state, info
    mixture: Callable[[State], Mixture]  # in constrained parameters, so that traces of all methods are comparable
    log_evidence: Callable[[State], Array] | None = None  # estimate of ln p(x), where the method has one
    energy: Callable[[State], Array] | None = None  # the Hamiltonian of a draw, where the method has one
    evidence_bound: Callable[[State], Array] | None = None  # lower bound of ln p(x), where the method climbs one


@dataclass(frozen=True)
class Schedule:
    """What to record, and when to end.

    `marks` are in units of `clock`. A row of a restart is recorded when its clock reaches a mark. The last `draws`
    rows are posterior draws.
    """

    marks: np.ndarray  # [T - 1]   row 0 is the start
    clock: str  # "passes" or "steps"
    max_steps: int | None  # None: the run ends at the last mark
    draws: int = 0


class Race(Config):
    """Drop hopeless starts after a short run (small EM: Biernacki, Celeux & Govaert 2003, CSDA 41).

    All restarts run for `after` passes. The harness then scores them, for one pass each, and only the `keep` restarts
    of highest `log_joint` go on.
    """

    after: Annotated[int, Field(ge=1)] = Field(description="passes after which the restarts are scored")
    keep: Annotated[int, Field(ge=1)] = Field(description="number of restarts that go on")


class Method(Config, ABC):
    """A frozen, validated config. It round-trips through TOML and serves as the key of its compiled programs."""

    summary: ClassVar[str]
    takes_any_size: ClassVar[bool] = False  # whether `bind` accepts N as an array, so that one program serves many N
    method: str

    @abstractmethod
    def bind(self, problem: Problem) -> Algorithm:
        """Pure functions for this problem. It is called inside `jit`, so it must not depend on the values of arrays."""

    @abstractmethod
    def schedule(self) -> Schedule:
        """What to record, and when to end."""

    def as_compiled(self) -> "Method":
        """The config but for what its steps do not depend on, so that one program serves several; as it is, unless so.

        Marks are no part of a program, and its schedule has the same clock and the same `max_steps`.
        """
        return self

    def check(self, problem: Problem) -> None:
        """Refuse a problem that the method cannot solve.

        Raises:
            InputError: saying why, and what to change.
        """

    def racing(self) -> Race | None:
        """When to drop the worst restarts; None where all of them run to the end."""
        return None

    def num_restarts(self, restarts: int) -> int:
        """How many of the experiment's restarts the method uses."""
        return restarts


class Climber(Method, ABC):
    """A method whose result is its last mixture, so that its restarts can race."""

    race: Race | None = Field(None, description="drop hopeless restarts after a short run; none unless given")

    def racing(self) -> Race | None:
        """The config's race."""
        return self.race


def check_smooth(problem: Problem) -> None:
    """Refuse a prior under which a maximum need not be stationary; gradient methods need one that is.

    Raises:
        InputError: the prior bounds the mixtures, and a maximum can lie on the bound.
    """
    if not problem.prior.smooth:
        raise InputError(
            f"prior: a gradient does not vanish at a maximum on the bound of the {type(problem.prior).__name__}; "
            "use EM, or a smooth prior: flat, chen_tan, conjugate, independent"
        )


@lru_cache
def geometric_marks(limit: int, ratio: float = 1.1) -> np.ndarray:
    """Marks 1, 2, 3, ... up to `limit`, each `ratio` times the last once that adds more than one; read-only. [T - 1]"""
    marks = [1]
    while marks[-1] < limit:
        marks.append(min(limit, max(marks[-1] + 1, round(marks[-1] * ratio))))
    frozen = np.asarray(marks)
    frozen.setflags(write=False)
    return frozen


def fractional_marks(limit: float, ratio: float = 1.1) -> np.ndarray:
    """Marks from `FIRST_FRACTION` of a pass up to `limit`, each `ratio` times the last. [T - 1]"""
    growths = max(0, int(np.ceil(np.log(limit / FIRST_FRACTION) / np.log(ratio) - 0.5)))
    return np.append(FIRST_FRACTION * ratio ** np.arange(growths), limit)
