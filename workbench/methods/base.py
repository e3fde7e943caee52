"""The interface of methods: a method is a frozen config that binds to a problem and yields pure functions.

A new method is a class derived from `Method`, and one line in `METHODS`. The registry holds the methods of the package,
which `methods/__init__.py` adds, and those that users register.
"""

import inspect
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field

from workbench.config import Config, Whole
from workbench.data.names import unknown_name
from workbench.data.observed import USE_DROP
from workbench.errors import MOST_WHOLE, InputError, shown
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import NARROWEST

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


# The most steps of a restart, which a method's own stopping rule can end earlier.
Iterations = Annotated[
    int, Field(ge=1, le=MOST_WHOLE, description="steps after which a restart ends, converged or not")
]


class Race(Config):
    """Drop hopeless starts after a short run (small EM: Biernacki, Celeux & Govaert 2003, CSDA 41).

    All restarts run for `after` passes. The harness then scores them, for one pass each, and only the `keep` restarts
    of highest `log_joint` go on.
    """

    after: Whole = Field(description="passes after which the restarts are scored")
    keep: Whole = Field(description="number of restarts that go on")


class Method(Config, ABC):
    """A frozen, validated config. It round-trips through TOML and serves as the key of its compiled programs."""

    summary: ClassVar[str]
    takes_any_size: ClassVar[bool] = False  # whether `bind` accepts N as an array, so that one program serves many N
    # Whether it reads the data through the one pass alone, so that cells may miss, and components of rows be known.
    marginalises: ClassVar[bool] = False
    takes_known: ClassVar[bool] = False  # whether components of rows may be known although it reads them in other ways
    holds: ClassVar[bool] = False  # whether it leaves fixed parameters as they are
    fits_background: ClassVar[bool] = False  # whether it fits the weight of a background beside the components
    # Whether it draws minibatches, takes second derivatives, or computes with rows or particles outside the one pass:
    # the newer of XLA's two ways makes that quicker.
    computes_outside_pass: ClassVar[bool] = False
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

    def admit(self, problem: Problem) -> None:
        """Refuse a problem that the method cannot solve, for what holds for all methods and by its own `check`.

        Raises:
            InputError: saying why, and what to change.
        """
        if problem.missing == "marginal" and not self.marginalises:
            raise InputError(
                f"missing: {self.method} cannot marginalise missing cells; {USE_DROP}, or one of "
                "em, squarem, anderson, ascent, newton, nuts"
            )
        if problem.is_partly_known and not (self.marginalises or self.takes_known):
            raise InputError(
                f"label_known: {self.method} cannot use known components of rows; leave label_known out, or use one of "
                "em, squarem, anderson, ascent, newton, nuts"
            )
        if problem.fixed and not self.holds:
            raise InputError(
                f"fixed: {self.method} cannot hold parameters fixed; leave fixed out, or use one of "
                "em, squarem, anderson, overrelaxed, ascent, newton"
            )
        if problem.background is not None and not self.fits_background:
            raise InputError(
                f"background: {self.method} cannot fit a background; leave it out, or use one of "
                "em, squarem, anderson, ascent, newton, nuts, tempered_smc"
            )
        self.check(problem)

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
            "use EM, or a smooth prior: flat, chen_tan, conjugate, diagonal_loading, independent"
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


METHODS: dict[str, type[Method]] = {}

# Names of the methods that users have registered.
_OWN: set[str] = set()

M = TypeVar("M", bound=Method)


def own_methods() -> tuple[type[Method], ...]:
    """The methods that `register` has added."""
    return tuple(METHODS[name] for name in METHODS if name in _OWN)


def home_of(kind: type[Method]) -> str:
    """Module and name of a method's class, as a config writes them: `my_module:Mine`."""
    return f"{kind.__module__}:{kind.__qualname__}"


def register(kind: type[M]) -> type[M]:
    """Add a user's own method to `METHODS`, so that configs can name it. It can be used as a class decorator.

    A class from the same module with the same name replaces the earlier one, as when a notebook cell is run again.

    Args:
        kind: a class derived from `Method`, whose field `method` is a literal with that literal as its default.

    Raises:
        InputError: the class is not a complete method, or another class already has the name.
    """
    if not (isinstance(kind, type) and issubclass(kind, Method)) or inspect.isabstract(kind):
        raise InputError(f"{shown(kind)} is no method; give a class derived from workbench.methods.Method")
    name = kind.model_fields["method"].default
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise InputError(f'{home_of(kind)}: method: give it a name, as in `method: Literal["mine"] = "mine"`')
    if not isinstance(getattr(kind, "summary", None), str):
        raise InputError(f'{home_of(kind)}: summary: say in a line what it is, as in `summary: ClassVar[str] = "..."`')
    if name in METHODS and home_of(METHODS[name]) != home_of(kind):
        raise InputError(f"{home_of(kind)}: method: {name} is the name of {home_of(METHODS[name])}; take another")
    METHODS[name] = kind
    _OWN.add(name)
    return kind


def method_of(given: object) -> Method:
    """A method, by itself or by its registered name, which stands for the method with its defaults.

    Raises:
        InputError: it is neither.
    """
    if isinstance(given, str):
        if given not in METHODS:
            raise InputError(f"methods: {unknown_name('method', given, tuple(METHODS))}")
        return METHODS[given].model_validate({})
    if not isinstance(given, Method):
        actual = f"the class {given.__name__}" if isinstance(given, type) else f"of type {type(given).__name__}"
        raise InputError(f"methods: {shown(given)} is {actual}; give methods, as EM()")
    return given


def is_usable(mixture: Mixture, problem: Problem) -> Array:
    """Whether all parameters are finite and no component is narrower than `NARROWEST` in working units. []"""
    finite = reduce(operator.and_, (jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(mixture)))
    inverse = mixture.covariance.whitener(mixture.covariance.transform(mixture.scales, problem.rows.inverse))
    # The Frobenius norm of L^-1 is the reciprocal of the smallest width, to within a factor of sqrt(D).
    axes = (-2, -1) if mixture.covariance.has_correlations else ()
    steepest = jnp.max(jnp.sqrt(jnp.sum(inverse**2, axis=axes)))
    return finite & (steepest < 1.0 / NARROWEST)


Carry = TypeVar("Carry")


def only_where(predicate: Array, change: Callable[[Carry], Carry], carry: Carry) -> Carry:
    """`change(carry)` where the predicate holds, else the carry.

    It is a loop of at most one turn, so that nothing is computed unless the predicate holds for some restart of the
    batch. Under `vmap`, a `cond` computes both sides.
    """

    def turn(state: tuple[Array, Carry]) -> tuple[Array, Carry]:
        return jnp.zeros_like(state[0]), change(state[1])

    return jax.lax.while_loop(lambda state: state[0], turn, (predicate, carry))[1]


def one_by_one(predicate: Array, change: Callable[[Carry], Carry], carry: Carry) -> Carry:
    """`change(carry)` where the predicate holds, else the carry; the restarts of a batch run one after the other.

    It suits a change whose arrays are long vectors for a single restart. Run together, the restarts would not fit into
    the processor's cache, each loop inside the change would last as long as that of the slowest restart, and every turn
    of such a loop would copy its whole carry by a select. Besides the carry, the change may read only arrays that all
    restarts share.
    """

    @jax.custom_batching.custom_vmap
    def alone(predicate: Array, carry: Carry) -> Carry:
        return only_where(predicate, change, carry)

    @alone.def_vmap
    def in_order(size: int, batched: Any, predicate: Array, carry: Carry) -> tuple[Carry, Any]:
        assert all(jax.tree.leaves(batched)), "the restarts of a batch share none of what they carry"

        def turn(place: Array, carries: Carry) -> Carry:
            own = jax.tree.map(lambda leaf: leaf[place], carries)
            changed = only_where(predicate[place], change, own)
            return jax.tree.map(lambda leaf, new: leaf.at[place].set(new), carries, changed)

        end = only_where(jnp.any(predicate), lambda now: jax.lax.fori_loop(0, size, turn, now), carry)
        return end, jax.tree.map(lambda _: True, carry)

    return alone(predicate, carry)
