"""Reports where a command stands if it has done the same thing for a minute."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

# Seconds in one place before the first message; the next ones come after two, four, eight times as many.
PATIENCE = 60.0

Place = tuple[str, int]  # a function, and the instruction it is at

# The share of CPU time above which a command computes and does not wait.
BUSY = 0.1

_PACKAGE = str(Path(__file__).parents[1])


@contextmanager
def watching(say: Callable[[str], object], patience: float = PATIENCE) -> Iterator[Callable[[str], None]]:
    """Within this context, report where the calling thread stands if it stays in one place and reports nothing new.

    A run that steps reports progress every second. A thread that does not, and is found at the same instruction of this
    package each time, is busy with one operation or waits for one; the CPU time says which.

    Args:
        say: takes one line.
        patience: seconds.

    Yields:
        A function that takes, in words, what the command is doing now.
    """
    reports = ["started"]
    ended = threading.Event()

    def watch(thread: int) -> None:
        stand = Stand(patience)
        while not ended.wait(min(1.0, patience / 4)):
            line = stand.look(_place_of(thread), reports, time.monotonic(), time.process_time())
            if line is not None:
                say(line)

    watcher = threading.Thread(target=watch, args=(threading.get_ident(),), daemon=True)
    watcher.start()
    try:
        yield reports.append
    finally:
        ended.set()
        watcher.join()


class Stand:
    """Where a thread was last found, and since when.

    Args:
        patience: seconds in one place before the first message; the next come after two, four, eight times as many.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.met: tuple[Place, int] | None = None

    def look(self, place: Place, reports: Sequence[str], now: float, used: float) -> str | None:
        """A line if the thread has stood in one place for long; None if it moves, or no line is due.

        Args:
            place: where it is found now.
            reports: everything that it has reported.
            now: seconds of a clock.
            used: seconds of CPU time.
        """
        if self.met != (place, len(reports)):
            self.met, self.since, self.used, self.due = (place, len(reports)), now, used, self.patience
            return None
        waited = now - self.since
        if waited < self.due:
            return None
        self.due *= 2
        busy = used - self.used
        what = "waiting" if busy < BUSY * waited else "computing"
        return f"{reports[-1]}: nothing new for {waited:.0f} s; {what} ({busy:.0f} s of CPU time used since)"


def _place_of(thread: int) -> Place:
    """The innermost function of this package in a thread, and the instruction it is at."""
    frame: FrameType | None = sys._current_frames().get(thread)
    while frame is not None and not frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "", 0
    return f"{frame.f_code.co_filename}: {frame.f_code.co_qualname}", frame.f_lasti
