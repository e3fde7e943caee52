"""The crew: all restarts of a run between calls of the compiled loop, who sits in which lane, and what is recorded."""

import hashlib
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from workbench.loop.batch import Row, Stretch, Walker, begin
from workbench.methods import Method
from workbench.mixture import Mixture
from workbench.problem import Problem

# Sizes of a batch. More lanes than the largest would save no time per restart, and need more memory.
LANES = (1, 2, 4, 8, 16)

# Once a batch has wasted this much work, in the units of `work_of`, what is left of it is worth a smaller program: the
# waste took about as long as compiling one takes, 2 seconds. Counted and not timed, so that equal runs give equal bits.
WORTH_COMPILING = 3 * 10**10


@dataclass
class Crew:
    """NumPy arrays, brought up to date in place; a checkpoint holds them all."""

    walkers: Walker  # leaves [R, ...]
    rows: Row  # leaves [R, T, ...]
    seats: np.ndarray  # [L]   the restart in each lane, L the largest batch; -1 beyond the batch
    finished: np.ndarray  # [R]   stopped, or recorded the last row
    wasted: np.ndarray  # []   work in lanes that doubled another, since the batch last shrank
    clock: np.ndarray  # []   seconds of stepping
    dropped: np.ndarray  # [R]   lost the race
    heat: np.ndarray  # []   races run so far
    pace: np.ndarray  # []   steps that the next call may take; it changes no number

    @classmethod
    def at_starts(cls, method: Method, problem: Problem, starts: Mixture, key: Array) -> "Crew":
        """Every restart at its start, none in a lane."""
        restarts = len(starts.weights)
        size = lanes_for(restarts)
        blocks = []
        for first in range(0, restarts, size):
            batch = np.minimum(np.arange(first, first + size), restarts - 1)
            blocks.append(jax.device_get(begin(method, problem, _at(starts, batch), key, batch)))
        walkers = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:restarts].copy(), *blocks)
        num_rows = 1 + len(method.schedule().marks)

        def first_row(leaf: Any) -> np.ndarray:
            # Zeros take no memory before they are written to.
            rows = np.zeros((restarts, num_rows, *leaf.shape[1:]), leaf.dtype)
            rows[:, 0] = leaf
            return rows

        return cls(
            walkers=walkers,
            rows=jax.tree.map(first_row, Row(starts, walkers.passes, walkers.ok, walkers.energy)),
            seats=np.full(LANES[-1], -1),
            finished=np.zeros(restarts, bool),
            wasted=np.asarray(0),
            clock=np.asarray(0.0),
            dropped=np.zeros(restarts, bool),
            heat=np.asarray(0),
            pace=np.asarray(16),
        )

    @property
    def seated(self) -> np.ndarray:
        """The restart in each lane of the batch. [L]"""
        return self.seats[self.seats >= 0]

    @property
    def idle(self) -> int:
        """Lanes that double another."""
        return len(self.seated) - len(np.unique(self.seated))

    @property
    def lanes(self) -> Walker:
        """The walkers in the lanes, leaves [L, ...]."""
        return _at(self.walkers, self.seated)

    @property
    def can_shrink(self) -> bool:
        """Whether a smaller batch would hold all that still go on, and the present one has wasted enough."""
        needed = lanes_for(int(np.sum(~self.finished)))
        return bool(self.wasted >= WORTH_COMPILING and needed < len(self.seated))

    def digest(self) -> str:
        """A hash of the walkers and the rows' first mixtures: of the starts, the key and the problem they came from."""
        leaves = jax.tree.leaves((self.walkers, jax.tree.map(lambda leaf: leaf[:, 0], self.rows)))
        return hashlib.sha256(b"".join(np.ascontiguousarray(leaf).tobytes() for leaf in leaves)).hexdigest()

    def take_seats(self) -> bool:
        """Seat restarts for the next call, and say whether any still goes on.

        A restart keeps its lane until it has finished; then the next takes it. Where none waits, the lane doubles
        another until the batch can shrink.
        """
        going = np.nonzero(~self.finished)[0]
        if len(going) == 0:
            return False
        seats = self.seated
        if len(seats) == 0 or self.can_shrink:
            self.wasted[...] = 0
            seats = np.full(lanes_for(len(going)), -1)
        seats = np.where((seats >= 0) & ~self.finished[seats], seats, -1)
        waiting, free = np.setdiff1d(going, seats), np.nonzero(seats < 0)[0]
        count = min(len(waiting), len(free))
        seats[free[:count]] = waiting[:count]
        self.seats[:] = -1
        self.seats[: len(seats)] = np.where(seats < 0, np.max(seats), seats)
        return True

    def write(self, stretch: Stretch) -> None:
        """Keep the rows that a call recorded, and its walkers."""
        restarts, lanes = np.unique(self.seated, return_index=True)
        filled, rows = np.asarray(stretch.filled), jax.device_get(stretch.rows)
        for restart, lane in zip(restarts, lanes, strict=True):
            first, count = 1 + self.walkers.rows[restart], filled[lane]
            for kept, new in zip(jax.tree.leaves(self.rows), jax.tree.leaves(rows), strict=True):
                kept[restart, first : first + count] = new[lane, :count]
        for kept, new in zip(jax.tree.leaves(self.walkers), jax.tree.leaves(stretch.lanes), strict=True):
            kept[restarts] = np.asarray(new)[lanes]
        self.finished[restarts] = np.asarray(stretch.done)[lanes]

    @property
    def ends(self) -> Mixture:
        """The last recorded mixture of every restart: leaves [R, 1, ...]."""
        place = np.arange(len(self.finished))[:, None], self.walkers.rows[:, None]
        return jax.tree.map(lambda leaf: leaf[place], self.rows.mixture)

    def drop(self, log_joint: np.ndarray, keep: int) -> None:
        """Let those that have not stopped go on if they are among the best. Judging cost each restart a pass."""
        order = np.argsort(-np.nan_to_num(log_joint, nan=-np.inf), kind="stable")
        self.finished[:] = self.walkers.stopped
        self.dropped[order[keep:]] = ~self.finished[order[keep:]]
        self.finished |= self.dropped
        self.walkers.passes[...] += 1
        ended = np.nonzero(self.finished)[0]
        self.rows.passes[ended, self.walkers.rows[ended]] += 1
        self.seats[:] = -1
        self.heat += 1

    def recorded(self) -> Row:
        """Rows up to the last of any restart; one that has stopped repeats its last. Leaves [R, T, ...]"""
        last = self.walkers.rows
        places = np.minimum(np.arange(1 + np.max(last)), last[:, None])  # [R, T]
        return Row(*jax.tree.map(lambda leaf: leaf[np.arange(len(last))[:, None], places], tuple(self.rows)))


def work_of(problem: Problem) -> int:
    """The work of a pass, in operations of some 0.1 ns: a component's part for a row is D^2 products and the rest."""
    return problem.num_points * problem.components * (problem.num_dimensions**2 + 16)


def lanes_for(restarts: int) -> int:
    """The smallest batch that holds so many restarts, or the largest there is."""
    return next((size for size in LANES if size >= restarts), LANES[-1])


def _at(tree: Any, index: np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree)
