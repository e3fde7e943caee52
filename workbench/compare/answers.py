"""The answer of a comparison: its best sound mixture, and the labels that it gives to rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from workbench.compare.comparison import Comparison
from workbench.data.known import UNKNOWN, Known
from workbench.data.points import default_columns
from workbench.engine.devices import dtype_name, precision_note
from workbench.errors import InputError, checks_arguments, shown
from workbench.mixture import Mixture
from workbench.mixture.background import BACKGROUND
from workbench.mixture.density import out_of_reach
from workbench.mixture.saved import SavedMixture
from workbench.table import Table

# Rows that are labelled together.
BLOCK = 100_000


@dataclass(frozen=True)
class Answer:
    """The best sound mixture of the methods that climb, its components in the order of `Problem.presented`."""

    method: str
    mixture: Mixture
    log_likelihood: float
    log_joint: float


def answer_of(comparison: Comparison, method: str | None = None) -> Answer:
    """The best sound end of all methods that climb, or of one of them.

    Args:
        comparison: of the methods.
        method: the name of the method; by default the one that ends highest.

    Raises:
        InputError: there is no such method, it samples, or no end is sound.
    """
    if method is not None and method not in comparison:
        raise InputError(f"{method}: failed: {comparison.failures.get(method, 'it has no run')}")
    climbs = {name: trace for name, trace in comparison.items() if not trace.is_sampler}
    if method is not None:
        if method not in climbs:
            raise InputError(
                f"--method: {method} samples, and labels need one mixture; give a method that climbs, as em"
            )
        climbs = {method: climbs[method]}
    if not climbs:
        raise InputError("methods: none that climbs has an answer; add one, as [methods.em]")
    answers = []
    for name, trace in climbs.items():
        place = trace.best_place(comparison.problem, comparison.rule)
        if place is not None:
            best = Answer(name, trace.at(*place), float(trace.log_likelihood[place]), float(trace.log_joint[place]))
            answers.append(best)
    if not answers:
        raise InputError(
            f"{', '.join(climbs)}: no end is sound, so that there is no answer to save; "
            "`workbench run` says why, and what to try"
        )
    best = max(answers, key=lambda each: each.log_joint)
    mixture = comparison.problem.presented(jax.tree.map(jnp.asarray, best.mixture))
    return replace(best, mixture=mixture.named(comparison.problem.columns))


def labels_of(
    saved: SavedMixture,
    x: NDArray[np.float64],
    ids: Mapping[str, Sequence[str]] | None = None,
    known: Known | None = None,
) -> Iterator[Table]:
    """The component of each row with its probability, its log density, and all responsibilities, block by block.

    Components count from 1, in the order in which the mixture holds them; component 0 is the background, if there is
    one. A row of which cells are missing is judged by the others.

    Args:
        saved: the mixture.
        x: points [N, D], or rows in a file; NaN where a cell is missing.
        ids: columns of text [N] that come first, such as ids and known classes; without them comes the row's number.
            A column with a name that stands for something here is called "NAME (of the file)".
        known: components of rows that are known, whose probability is 1; the density is that of the row alone.

    Raises:
        InputError: a point is not finite, or so far out that no component has a density there, or that rounding hides
            which one is the nearest.
    """
    mixture = saved.mixture
    first_number = 1 if mixture.background is None else 0
    numbered = range(first_number, mixture.num_components + 1)
    own = ("component", "probability", "log_density", *(f"p{number}" for number in numbered))
    heads = tuple(f"{name} (of the file)" if name in own else name for name in ids or ("row",))
    for first in range(0, len(x), BLOCK):
        block = np.asarray(x[first : first + BLOCK])
        density = np.asarray(mixture.log_density(block, missing="marginal"))
        for far, why in out_of_reach(mixture.component_log_joint(block, missing="marginal")):
            raise InputError(f"{_named(ids, first + int(far[0]))}: so far out that {why}; check its units")
        shares = np.asarray(mixture.responsibilities(block, missing="marginal"))
        if known is not None:
            shares = known.some(np.arange(first, first + len(block))).shares(shares)
        if mixture.background is not None:
            shares = np.concatenate([np.maximum(1.0 - np.sum(shares, axis=1, keepdims=True), 0.0), shares], axis=1)
        places = np.argmax(shares, axis=1) + first_number
        last = first + len(block)
        texts = [column[first:last] for column in ids.values()] if ids else [range(first + 1, last + 1)]
        numbers = [places.tolist(), np.max(shares, axis=1).tolist(), density.tolist(), *shares.T.tolist()]
        yield Table.of_lines((*heads, *own), zip(*texts, *numbers, strict=True))


def completed(
    saved: SavedMixture, x: NDArray[np.float64], ids: Mapping[str, Sequence[str]] | None = None
) -> Iterator[Table]:
    """The rows with missing cells filled in (`completion.complete`) and how many these were, block by block.

    Args:
        saved: the mixture.
        x: points [N, D], or rows in a file; NaN where a cell is missing.
        ids: columns of text [N] that come first; without them comes the row's number.

    Raises:
        InputError: as for `complete`.
    """
    d = saved.mixture.num_dimensions
    names = saved.columns or default_columns(d)
    own = ("completed", *names)
    heads = tuple(f"{name} (of the file)" if name in own else name for name in ids or ("row",))
    for first in range(0, len(x), BLOCK):
        block = np.asarray(x[first : first + BLOCK])
        last = first + len(block)
        counts = np.sum(np.isnan(block), axis=1)
        texts = [column[first:last] for column in ids.values()] if ids else [range(first + 1, last + 1)]
        numbers = saved.mixture.complete(block).T.tolist()
        yield Table.of_lines((*heads, *own), zip(*texts, counts.tolist(), *numbers, strict=True))


def _named(ids: Mapping[str, Sequence[str]] | None, place: int) -> str:
    """A row in a message: by its number in the file, or by its id if it has one."""
    if not ids:
        return f"data row {place + 1}"
    name, values = next(iter(ids.items()))
    return f"data row {values[place]}" if name == "row" else f"row with {name} = {shown(values[place])}"


@checks_arguments
def cross_table(comparison: Comparison, method: str | None = None) -> Table:
    """How many rows of each known class each component of the answer holds, as `workbench fit` prints it.

    Components count from 1, as in all tables; a row whose component is known is in that one.

    Args:
        comparison: of methods, with known classes: those of a `Dataset` with labels, or of its reference.
        method: the name of the method; by default the one that ends highest.

    Raises:
        InputError: no classes are known, or as for `answer_of`.
    """
    labels, problem = comparison.reference.labels, comparison.problem
    if labels is None:
        raise InputError("labels: no classes are known; compare wb.Problem(dataset, K) of a Dataset with labels")
    mixture = answer_of(comparison, method).mixture
    components = np.asarray(mixture.predict(problem.x, missing=problem.missing))
    if problem.known is not None:
        components = np.where(problem.known.components == UNKNOWN, components, problem.known.components)
    texts = np.asarray(labels).astype(np.str_).tolist()
    found = counts_by_class(texts, components, mixture.num_components, "class", problem.weights)
    return replace(found, note=precision_note(dtype_name(mixture.means)))


def counts_by_class(
    classes: Sequence[str],
    components: NDArray[np.int_],
    number: int,
    name: str,
    weights: NDArray[np.float64] | None = None,
) -> Table:
    """How many rows of each known class each component holds; rows of weights [N] if given count as often as these say.

    `components` [N] count from 0; rows of the background, -1, have a column of their own if there are any.
    """
    known = sorted(set(classes))
    counted = np.ones(len(components)) if weights is None else weights
    inside = {one: np.asarray(classes) == one for one in known}
    first = BACKGROUND if np.any(components == BACKGROUND) else 0
    places, size = components - first, number - first
    counts = {one: np.bincount(places[own], counted[own], minlength=size) for one, own in inside.items()}
    heads = (name, *(["background"] if first else []), *(f"component {k + 1}" for k in range(number)))
    return Table.of_lines(
        heads,
        [(one, *map(_plain, counts[one].tolist())) for one in known],
        title="Known classes and components",
        words=(name,),
    )


def _plain(count: float) -> int | float:
    """A count, as a whole number if it is one."""
    return int(count) if count.is_integer() else count
