"""The comparison: all methods on one problem from the same starts, together with the references that score them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import ModuleType, UnionType
from typing import Any

import jax
import numpy as np

from workbench.config import MOST_RESTARTS
from workbench.data import Dataset, Truth, as_points, by_name, check_weights, finite_points, points_or_missing
from workbench.data.dataset import check_seed
from workbench.data.names import unknown_name
from workbench.data.observed import MissingCells
from workbench.data.points import check_plain
from workbench.display import as_html, short
from workbench.engine.keys import named_key
from workbench.errors import VALUE, InputError, UnknownError, checks_arguments, cut, shown, whole_number
from workbench.loop.run import Progress, run
from workbench.loop.trace import Trace
from workbench.methods import Method, method_of
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import Soundness
from workbench.starts import STARTS, Alternating, Given, Start, Stated, draw_starts

# Called with the name of the method that runs; returns the callback for its progress.
Watch = Callable[[str], Progress | None]

# Methods, by themselves or by name.
Methods = Sequence[Method | str] | Mapping[str, Method | str | Mapping[str, Any]] | Method | str


HELDOUT = "reference.heldout"

# The most methods that the text of a comparison lists.
MOST_LINES = 6


@dataclass(frozen=True)
class Reference:
    """What results are scored by besides the objective: known answers, where there are any, and the soundness rule."""

    heldout: np.ndarray | None = None  # [N', D]   points that no method saw
    labels: np.ndarray | None = None  # [N]   known classes of the fitted points
    truth: Truth | None = None  # the mixture that simulated the data
    rule: Soundness = field(default_factory=Soundness)
    heldout_weights: np.ndarray | None = None  # [N']   how often each of these points counts; once unless given
    missing: MissingCells = "refuse"  # what becomes of NaN in these points

    __repr__ = short
    _repr_html_ = as_html

    def check(self, problem: Problem) -> None:
        """Refuse a reference that does not fit a problem, before anything runs.

        Raises:
            InputError: held-out points that are not finite or have other columns, or not one label for each row.
        """
        if self.heldout is not None:
            check = finite_points if self.missing == "refuse" else points_or_missing
            check(self.heldout, problem.num_dimensions, HELDOUT)
        if self.heldout is not None and self.heldout_weights is not None:
            check_weights(self.heldout_weights, len(self.heldout), "reference.heldout_weights")
        if self.labels is not None:
            check_plain(self.labels, "reference.labels")
        if self.labels is not None and np.shape(self.labels) != (problem.num_rows,):
            shape, counting = list(np.shape(self.labels)), "" if problem.weights is None else " that count"
            raise InputError(
                f"reference.labels: shape is {shape}; give one for each of {problem.num_rows} rows{counting}"
            )

    @classmethod
    @checks_arguments
    def of(cls, train: Dataset, test: Dataset | None = None, rule: Soundness | None = None) -> "Reference":
        """The reference of a data set: its labels and truth, its held-out part, and a rule other than the default."""
        known = None if test is None or len(test.x) == 0 else test.counted
        x, weights = (None, None) if known is None else (known.x, known.weights)
        return cls(x, train.counted.labels, train.truth, Soundness() if rule is None else rule, weights, train.missing)


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Mapping[str, Trace]):
    """Traces by the name of their method, all of one problem and from the same starts."""

    problem: Problem
    traces: Mapping[str, Trace]
    reference: Reference = field(default_factory=Reference)
    name: str = ""
    columns: tuple[str, ...] = ()
    units: str = ""
    failures: Mapping[str, str] = field(default_factory=dict)  # methods that raised an error, and the error
    missing: Mapping[str, str] = field(default_factory=dict)  # methods of the experiment without a stored run, and why
    stale: Mapping[str, str] = field(default_factory=dict)  # methods whose stored runs other code made, and which code
    starts: Start | None = None  # the rule of the starts, where it is known
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # of samplers, where known: `sizes_of`

    def __repr__(self) -> str:
        """The problem, and a line for each trace; `table(comparison)` has the figures."""
        name = f"{self.name}: " if self.name else ""
        lines = [f"{method}: {trace!r}" for method, trace in self.traces.items()]
        lines += [f"{method}: failed: {cut(why, VALUE)}" for method, why in self.failures.items()]
        more = [f"... and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
        return "\n  ".join([f"Comparison({name}{self.problem!r})", *lines[:MOST_LINES], *more])

    def _repr_html_(self) -> str:
        """What `wb.table` shows, in a notebook."""
        return str(_tables().table(self)._repr_html_())

    def to_dataframe(self) -> Any:
        """A row for each method, with the figures of `wb.table` as numbers; pandas, polars or Arrow."""
        return _tables().table(self).to_dataframe()

    @property
    def rule(self) -> Soundness:
        """The rule of soundness that is applied in every ranking."""
        return self.reference.rule

    def searches_of(self, trace: Trace, restarts: Sequence[int]) -> int | None:
        """How many independent searches the starts of some restarts come from; None where the rule is not known."""
        if self.starts is None or trace.is_sampler:
            return None
        return len(set(self.starts.searches(trace.num_restarts)[list(restarts)].tolist()))

    def __getitem__(self, method: str) -> Trace:
        try:
            return self.traces[method]
        except (KeyError, TypeError):
            raise UnknownError(f"comparison: no run of {shown(method)}; it has {', '.join(self.traces)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.traces)

    def __len__(self) -> int:
        return len(self.traces)


@checks_arguments
def compare(
    problem: Problem,
    methods: Methods,
    *,
    restarts: int = 8,
    seed: int = 0,
    starts: Start | Mixture | str | None = None,
    reference: Reference | None = None,
    watch: Watch | None = None,
) -> Comparison:
    """Run every method on the problem from the same starts.

    Args:
        problem: the problem to solve.
        methods: a list (named by their `method`), a mapping from names of your own, or one method. A name, such as
            "em", stands for the method with its defaults.
        restarts: number of starts for each method; the chains of a sampler begin at the same starts.
        seed: root seed. A start depends only on the seed and the restart.
        starts: a rule or its name, or one mixture at which all restarts begin; by default `Alternating()`.
        reference: held-out points, labels, truth and rule of soundness by which results are scored. Without labels of
            its own it has those of the `Dataset` that the problem was made from.
        watch: gives a progress callback for each method.

    Raises:
        InputError: an argument has the wrong type or value, two methods have one name, a method cannot solve the
            problem, or the reference does not fit it. It is raised before anything runs.
    """
    rule = _rule(starts)
    named = name_methods(methods)
    restarts = whole_number("restarts", restarts, most=MOST_RESTARTS)
    check_seed(seed)
    for method in named.values():
        method.admit(problem)
    known = Reference() if reference is None else reference
    if known.labels is None:
        known = replace(known, labels=problem.classes)
    if known.heldout is not None:
        known = replace(known, heldout=as_points(by_name(known.heldout, problem.columns, HELDOUT), HELDOUT))
    known.check(problem)
    traces = {}
    for name, method in named.items():
        begun = starts_of(method, problem, rule, restarts, seed)
        progress = None if watch is None else watch(name)
        traces[name] = run(method, problem, begun, named_key(seed, name), progress=progress)
    about: dict[str, Any] = {"columns": problem.columns, "units": problem.units, "starts": rule}
    return Comparison(problem, traces, known, **about, sizes=sizes_of(named))


def sizes_of(methods: Mapping[str, Method]) -> dict[str, dict[str, int]]:
    """The keys by which samplers run longer, with their values; those of a sampler within another begin with `of.`."""
    found = {}
    for name, method in methods.items():
        inner = getattr(method, "of", None)
        whose, prefix = (method, "") if inner is None else (inner, "of.")
        keys = [key for key in ("num_warmup", "num_samples") if hasattr(whose, key)]
        found[name] = {f"{prefix}{key}": int(getattr(whose, key)) for key in keys}
    return {name: sizes for name, sizes in found.items() if sizes}


def starts_of(method: Method, problem: Problem, rule: Start, restarts: int, seed: int) -> Mixture:
    """The starts that a method uses, which are the first R of the experiment's. Leaves [R, ...]"""
    used = method.num_restarts(restarts)
    drawn = draw_starts(rule, problem, max(restarts, used), seed)
    return jax.tree.map(lambda leaf: leaf[:used], drawn)


def name_methods(methods: Methods) -> dict[str, Method]:
    """Methods by name; the name of a registered method stands for the method with its defaults.

    Text may be several names between commas, as on the command line, and a mapping may hold the keys of each method,
    as the table `methods` of a config does.

    Raises:
        InputError: there are none, one is not a method, or two have the same name.
    """
    if isinstance(methods, str):
        methods = [name.strip() for name in methods.split(",")]
    elif isinstance(methods, Method):
        methods = [methods]
    _expect("methods", methods, Mapping | list | tuple, "a list, as [EM(), GradientAscent()]")
    if isinstance(methods, Mapping):
        methods = {
            name: type(method_of(each.get("method", name)))(**each) if isinstance(each, Mapping) else each
            for name, each in methods.items()
        }
    given = [method_of(each) for each in (methods.values() if isinstance(methods, Mapping) else methods)]
    if isinstance(methods, Mapping):
        named = dict(zip(methods, given, strict=True))
    else:
        named = {method.method: method for method in given}
        if len(named) != len(given):
            raise InputError('methods: two have the same name; give a mapping, as {"adam": GradientAscent(...)}')
    if not named:
        raise InputError("methods: give at least one")
    return named


def _rule(given: Start | Mixture | str | None) -> Start:
    """A rule of starts, by itself, by its name, or as the mixture at which all restarts begin."""
    _expect("starts", given, Start | Mixture | str | None, "a rule, as KMeans(), its name, or a Mixture")
    if isinstance(given, Start | None):
        return Alternating() if given is None else given
    if isinstance(given, Mixture):
        return Given.of(given)
    if given not in STARTS or issubclass(STARTS[given], Stated):
        named = tuple(name for name, rule in STARTS.items() if not issubclass(rule, Stated))
        raise InputError(f"starts: {unknown_name('rule', given, named)}")
    return STARTS[given].model_validate({})


def _expect(name: str, value: object, kind: type | UnionType, remedy: str) -> None:
    """Refuse an argument of another type."""
    if not isinstance(value, kind):
        actual = f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"
        raise InputError(f"{name}: {shown(value)} is {actual}; give {remedy}")


def _tables() -> ModuleType:
    """The module that makes tables. It is named and not imported, because no number of a run depends on it."""
    return import_module("workbench.compare.table")
