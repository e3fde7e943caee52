"""The restart pool: all restarts of a run between calls of the compiled loop, which of them make up the batch, and
what is recorded.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from workbench.loop.batch import Advanced, RecordedRow, RestartState, begin
from workbench.methods import Method
from workbench.mixture import Mixture
from workbench.problem import Problem

# Sizes of a batch. A larger one would save no time per restart, and need more memory.
BATCH_SIZES = (1, 2, 4, 8, 16)

# Once a batch has wasted this much work, in the units of `work_of`, what is left of it is worth a smaller program: the
# waste took about as long as compiling one takes, 2 seconds. Counted and not timed, so that equal runs give equal bits.
WORTH_COMPILING = 3 * 10**10


@dataclass
class RestartPool:
    """NumPy arrays, brought up to date in place; a checkpoint holds them all."""

    states: RestartState  # leaves [R, ...]
    rows: RecordedRow  # leaves [R, T, ...]
    slots: np.ndarray  # [L]   the restart in each slot of the batch, L the largest; -1 beyond the batch
    finished: np.ndarray  # [R]   stopped, or recorded the last row
    wasted: np.ndarray  # []   work in slots that doubled another, since the batch last shrank
    clock: np.ndarray  # []   seconds of stepping
    dropped: np.ndarray  # [R]   lost the race
    races: np.ndarray  # []   races run so far
    steps_per_call: np.ndarray  # []   that the next call may take; it changes no number

    @classmethod
    def at_starts(cls, method: Method, problem: Problem, starts: Mixture, key: Array) -> "RestartPool":
        """Every restart at its start, none in the batch."""
        restarts = len(starts.weights)
        size = batch_size(restarts)
        blocks = []
        for first in range(0, restarts, size):
            batch = np.minimum(np.arange(first, first + size), restarts - 1)
            blocks.append(jax.device_get(begin(method, problem, _at(starts, batch), key, batch)))
        states = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:restarts].copy(), *blocks)
        num_rows = 1 + len(method.schedule().marks)

        def first_row(leaf: Any) -> np.ndarray:
            # Zeros take no memory before they are written to.
            rows = np.zeros((restarts, num_rows, *leaf.shape[1:]), leaf.dtype)
            rows[:, 0] = leaf
            return rows

        return cls(
            states=states,
            rows=jax.tree.map(first_row, RecordedRow(starts, states.passes, states.ok, states.energy)),
            slots=np.full(BATCH_SIZES[-1], -1),
            finished=np.zeros(restarts, bool),
            wasted=np.asarray(0),
            clock=np.asarray(0.0),
            dropped=np.zeros(restarts, bool),
            races=np.asarray(0),
            steps_per_call=np.asarray(16),
        )

    @property
    def in_batch(self) -> np.ndarray:
        """The restart in each slot of the batch. [L]"""
        return self.slots[self.slots >= 0]

    @property
    def idle(self) -> int:
        """Slots that double another."""
        return len(self.in_batch) - len(np.unique(self.in_batch))

    @property
    def batch(self) -> RestartState:
        """The states of the restarts in the batch, leaves [L, ...]."""
        return _at(self.states, self.in_batch)

    @property
    def can_shrink(self) -> bool:
        """Whether a smaller batch would hold all that still go on, and the present one has wasted enough."""
        needed = batch_size(int(np.sum(~self.finished)))
        return bool(self.wasted >= WORTH_COMPILING and needed < len(self.in_batch))

    def digest(self) -> str:
        """A hash of the states and the rows' first mixtures: of the starts, the key and the problem they came from."""
        leaves = jax.tree.leaves((self.states, jax.tree.map(lambda leaf: leaf[:, 0], self.rows)))
        return hashlib.sha256(b"".join(np.ascontiguousarray(leaf).tobytes() for leaf in leaves)).hexdigest()

    def fill_batch(self) -> bool:
        """Choose the restarts of the next call, and say whether any still goes on.

        A restart keeps its slot until it has finished; then the next takes it. Where none waits, the slot doubles
        another until the batch can shrink.
        """
        going = np.nonzero(~self.finished)[0]
        if len(going) == 0:
            return False
        slots = self.in_batch
        if len(slots) == 0 or self.can_shrink:
            self.wasted[...] = 0
            slots = np.full(batch_size(len(going)), -1)
        slots = np.where((slots >= 0) & ~self.finished[slots], slots, -1)
        waiting, free = np.setdiff1d(going, slots), np.nonzero(slots < 0)[0]
        count = min(len(waiting), len(free))
        slots[free[:count]] = waiting[:count]
        self.slots[:] = -1
        self.slots[: len(slots)] = np.where(slots < 0, np.max(slots), slots)
        return True

    def write(self, advanced: Advanced) -> None:
        """Keep the rows that a call recorded, and the states that it ended in."""
        restarts, places = np.unique(self.in_batch, return_index=True)
        filled, rows = np.asarray(advanced.filled), jax.tree.map(np.asarray, advanced.rows)
        for restart, place in zip(restarts, places, strict=True):
            first, count = 1 + self.states.rows[restart], filled[place]
            for kept, new in zip(jax.tree.leaves(self.rows), jax.tree.leaves(rows), strict=True):
                kept[restart, first : first + count] = new[place, :count]
        for kept, new in zip(jax.tree.leaves(self.states), jax.tree.leaves(advanced.states), strict=True):
            kept[restarts] = np.asarray(new)[places]
        self.finished[restarts] = np.asarray(advanced.done)[places]

    @property
    def ends(self) -> Mixture:
        """The last recorded mixture of every restart: leaves [R, 1, ...]."""
        place = np.arange(len(self.finished))[:, None], self.states.rows[:, None]
        return jax.tree.map(lambda leaf: leaf[place], self.rows.mixture)

    def drop(self, log_joint: np.ndarray, keep: int) -> None:
        """Let those that have not stopped go on if they are among the best. Scoring cost each restart a pass."""
        order = np.argsort(-np.nan_to_num(log_joint, nan=-np.inf), kind="stable")
        self.finished[:] = self.states.stopped
        self.dropped[order[keep:]] = ~self.finished[order[keep:]]
        self.finished |= self.dropped
        self.states.passes[...] += 1
        ended = np.nonzero(self.finished)[0]
        self.rows.passes[ended, self.states.rows[ended]] += 1
        self.slots[:] = -1
        self.races += 1

    def recorded(self) -> RecordedRow:
        """Rows up to the last of any restart; one that has stopped repeats its last. Leaves [R, T, ...]"""
        last = self.states.rows
        places = np.minimum(np.arange(1 + np.max(last)), last[:, None])  # [R, T]
        return RecordedRow(*jax.tree.map(lambda leaf: leaf[np.arange(len(last))[:, None], places], tuple(self.rows)))


def work_of(problem: Problem) -> int:
    """The work of a pass, in operations of some 0.1 ns: a component's part for a row is D^2 products and the rest."""
    return problem.num_points * problem.components * (problem.num_dimensions**2 + 16)


def batch_size(restarts: int) -> int:
    """The smallest batch that holds so many restarts, or the largest there is."""
    return next((size for size in BATCH_SIZES if size >= restarts), BATCH_SIZES[-1])


def _at(tree: Any, index: np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree)
