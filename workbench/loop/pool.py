"""The restart pool: all restarts of a run between calls of the compiled loop, the batch, and the recorded rows.

Its progress is kept on disk, so that an interrupted run continues to bit-identical results.
"""

import hashlib
import io
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from workbench.engine.hosts import from_first_host, leads
from workbench.files import DAMAGED, regular, replacing
from workbench.loop.batch import Advanced, RecordedRow, RestartState, begin
from workbench.methods import Method
from workbench.mixture import Mixture
from workbench.problem import Problem

# Seconds between checkpoints; writing one takes a small part of that.
INTERVAL = 30.0


class Checkpoint:
    """A file that holds the arrays of an unfinished run.

    It stores any dataclass of NumPy arrays. A file is used only if its identity is that of the run and every shape and
    type fits; a damaged file counts as missing. Of several hosts only the first reads and writes the file, and sends
    the arrays to the others.

    Args:
        path: the file; it is replaced in one step and is never half written.
        interval: seconds of a run between two checkpoints.
        code: digest of the code. A run that other code began is begun again.
    """

    def __init__(self, path: Path, interval: float = INTERVAL, *, code: str = "") -> None:
        self.path = path
        self.interval = interval
        self.code = code
        self._saved = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is older than the interval."""
        return time.monotonic() - self._saved >= self.interval

    def save(self, progress: Any, identity: str) -> None:
        """Write the arrays of a run's progress, with the identity of the run."""
        if leads():
            with replacing(self.path) as temporary, temporary.open("wb") as file:
                np.savez(file, *_arrays(progress), identity=np.asarray(f"{identity}{self.code}"))
        self._saved = time.monotonic()

    def restore(self, progress: Any, identity: str) -> bool:
        """Overwrite the arrays of a run's progress with those on disk; False if there are none, or they do not fit."""
        arrays = _arrays(progress)
        found = self._read(arrays, identity) if leads() else None
        there, values = from_first_host((np.asarray(found is not None), arrays if found is None else found))
        for array, value in zip(arrays, values, strict=True):
            array[...] = value
        return bool(there)

    def remove(self) -> None:
        """Delete the file, after the run has finished."""
        if leads():
            with suppress(IsADirectoryError, PermissionError):
                self.path.unlink(missing_ok=True)

    def _read(self, like: list[np.ndarray], identity: str) -> list[np.ndarray] | None:
        """The arrays on disk; None unless they belong to the same run and have the same shapes and types."""
        try:
            # The file is read into memory first, because NumPy leaves a damaged file open.
            with np.load(io.BytesIO(regular(self.path).read_bytes()), allow_pickle=False) as stored:
                found = [stored[f"arr_{i}"] for i in range(len(stored.files) - 1)]
                same = str(stored["identity"]) == f"{identity}{self.code}"
        except DAMAGED:
            return None
        fits = [(a.shape, a.dtype) for a in found] == [(a.shape, a.dtype) for a in like]
        return found if same and fits else None


def _arrays(progress: Any) -> list[np.ndarray]:
    return jax.tree.leaves(list(vars(progress).values()))


# Sizes of a batch. A larger one would save no time per restart, and would need more memory.
BATCH_SIZES = (1, 2, 4, 8, 16)

# Once a batch has wasted this much work, in the units of `work_of`, a smaller program is worth compiling: the waste has
# taken about as long as compiling takes, 2 seconds. It is counted, not timed, so that equal runs give equal bits.
WORTH_COMPILING = 3 * 10**10


@dataclass
class RestartPool:
    """NumPy arrays that are updated in place; a checkpoint holds all of them."""

    states: RestartState  # leaves [R, ...]
    rows: RecordedRow  # leaves [R, T, ...]
    slots: np.ndarray  # [L]   the restart in each slot of the batch, L the largest; -1 beyond the batch
    finished: np.ndarray  # [R]   stopped, or recorded the last row
    wasted: np.ndarray  # []   work in slots that duplicate another, since the batch last shrank
    clock: np.ndarray  # []   seconds of stepping
    dropped: np.ndarray  # [R]   lost the race
    races: np.ndarray  # []   races run so far
    steps_per_call: np.ndarray  # []   most steps of the next call; results do not depend on it

    @classmethod
    def at_starts(cls, method: Method, problem: Problem, starts: Mixture, key: Array) -> "RestartPool":
        """All restarts at their starts, with none in the batch."""
        restarts = len(starts.weights)
        size = batch_size(restarts)
        blocks = []
        for first in range(0, restarts, size):
            batch = np.minimum(np.arange(first, first + size), restarts - 1)
            blocks.append(jax.device_get(begin(method, problem, _at(starts, batch), key, batch)))
        states = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:restarts].copy(), *blocks)
        num_rows = 1 + len(method.schedule().marks)

        def first_row(leaf: Any) -> np.ndarray:
            # An array of zeros takes no memory until it is written to.
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
        """Number of slots that duplicate another."""
        return len(self.in_batch) - len(np.unique(self.in_batch))

    @property
    def batch(self) -> RestartState:
        """The states of the restarts in the batch, leaves [L, ...]."""
        return _at(self.states, self.in_batch)

    @property
    def can_shrink(self) -> bool:
        """Whether a smaller batch could hold all unfinished restarts, and the present one has wasted enough work."""
        needed = batch_size(int(np.sum(~self.finished)))
        return bool(self.wasted >= WORTH_COMPILING and needed < len(self.in_batch))

    def digest(self) -> str:
        """A hash of the states and of the first rows, which identifies the starts, the key and the problem."""
        leaves = jax.tree.leaves((self.states, jax.tree.map(lambda leaf: leaf[:, 0], self.rows)))
        return hashlib.sha256(b"".join(np.ascontiguousarray(leaf).tobytes() for leaf in leaves)).hexdigest()

    def fill_batch(self) -> bool:
        """Choose the restarts of the next call; False if all have finished.

        A restart keeps its slot until it has finished; then the next waiting restart takes it. If none is waiting, the
        slot duplicates another until the batch can shrink.
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
        """Store the rows that a call recorded and the states in which it ended."""
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
        """Drop all restarts but the `keep` best and those that have stopped, and count the pass that scoring cost."""
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
        """Rows up to the last one of any restart; a restart with fewer rows repeats its last. Leaves [R, T, ...]"""
        last = self.states.rows
        places = np.minimum(np.arange(1 + np.max(last)), last[:, None])  # [R, T]
        return RecordedRow(*jax.tree.map(lambda leaf: leaf[np.arange(len(last))[:, None], places], tuple(self.rows)))


def work_of(problem: Problem) -> int:
    """The work of a pass, in operations of some 0.1 ns: for each row and component, D^2 products and a constant."""
    return problem.num_rows * problem.components * (problem.num_dimensions**2 + 16)


def batch_size(restarts: int) -> int:
    """The smallest size of a batch that holds so many restarts; the largest size if none does."""
    return next((size for size in BATCH_SIZES if size >= restarts), BATCH_SIZES[-1])


def _at(tree: Any, index: np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree)
