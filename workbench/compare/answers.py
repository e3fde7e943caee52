"""The answer of a comparison: its best sound mixture, and the labels that it gives to rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from workbench.compare.comparison import Comparison
from workbench.errors import InputError
from workbench.mixture import Mixture
from workbench.mixture.saved import SavedMixture
from workbench.table import Table

# Rows that are labelled together.
BLOCK = 100_000


@dataclass(frozen=True)
class Answer:
    """The best sound mixture of the methods that climb, with its components in the order of `Mixture.canonical`."""

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
        why = comparison.failures.get(method)
        known = f"it failed: {why}" if why else f"is not in the experiment; it has {', '.join(comparison) or 'none'}"
        raise InputError(f"--method: {method}: {known}")
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
    return replace(best, mixture=jax.tree.map(jnp.asarray, best.mixture).canonical())


def labels_of(
    saved: SavedMixture, x: NDArray[np.float64], ids: Mapping[str, Sequence[str]] | None = None
) -> Iterator[Table]:
    """The component of each row with its probability, its log density, and all responsibilities, block by block.

    Components count from 1, in the order in which the mixture holds them.

    Args:
        saved: the mixture.
        x: points [N, D], or rows in a file.
        ids: columns of text [N] that come first, such as ids and known classes; without them comes the row's number.

    Raises:
        InputError: a point is not finite, or so far out that no component has a density there.
    """
    mixture, first = saved.mixture, 0
    names = [f"p{k + 1}" for k in range(mixture.num_components)]
    while first < len(x):
        block = np.asarray(x[first : first + BLOCK])
        shares, density = np.asarray(mixture.responsibilities(block)), np.asarray(mixture.log_density(block))
        rows = []
        for n, (share, value) in enumerate(zip(shares.tolist(), density.tolist(), strict=True), first):
            about: dict[str, Any] = {name: texts[n] for name, texts in ids.items()} if ids else {"row": n + 1}
            place = int(np.argmax(share))
            about |= {"component": place + 1, "probability": share[place], "log_density": value}
            rows.append(about | dict(zip(names, share, strict=True)))
        yield Table(tuple(rows[0]), tuple(rows))
        first += len(block)


def cross_table(classes: Sequence[str], components: NDArray[np.int_], number: int, name: str) -> Table:
    """How many rows of each known class each component holds. `components` [N] count from 0."""
    known = sorted(set(classes))
    counts = {one: np.bincount(components[np.asarray(classes) == one], minlength=number) for one in known}
    heads = (name, *(f"component {k + 1}" for k in range(number)))
    return Table.of_lines(
        heads, [(one, *map(int, counts[one])) for one in known], title="Known classes and components", words=(name,)
    )
