"""Says where a command stands that has done one and the same thing for a minute."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

# Seconds in one place before the first word; the next ones come after two, four, eight times as many.
PATIENCE = 60.0

_PACKAGE = str(Path(__file__).parents[1])


@contextmanager
def watching(say: Callable[[str], object], patience: float = PATIENCE) -> Iterator[Callable[[str], None]]:
    """While it lasts, say where the calling thread stands if it stays there for so long.

    A thread moves on if another line of this package runs in it. A loop of compiled code that is advanced in calls of a
    second moves on with every call; one program that never ends does not.

    Args:
        say: takes one line.
        patience: seconds.

    Yields:
        A function that takes what the command has come to, in words.
    """
    come_to = ["started"]
    ended = threading.Event()

    def watch(thread: int) -> None:
        place, since, used, due = _place_of(thread), time.monotonic(), time.process_time(), patience
        while not ended.wait(min(1.0, patience / 4)):
            here = _place_of(thread)
            if here != place:
                place, since, used, due = here, time.monotonic(), time.process_time(), patience
            elif (waited := time.monotonic() - since) >= due:
                busy = time.process_time() - used
                say(f"{come_to[0]}: no progress for {waited:.0f} s, {here[0]}; {busy:.0f} s of CPU time used since")
                due *= 2

    watcher = threading.Thread(target=watch, args=(threading.get_ident(),), daemon=True)
    watcher.start()
    try:
        yield lambda words: come_to.__setitem__(0, words)
    finally:
        ended.set()
        watcher.join()


def _place_of(thread: int) -> tuple[str, int]:
    """The innermost function of this package in a thread, in words, and the instruction it is at."""
    frame: FrameType | None = sys._current_frames().get(thread)
    while frame is not None and not frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "outside of this package", 0
    module = Path(frame.f_code.co_filename).relative_to(_PACKAGE).with_suffix("").as_posix().replace("/", ".")
    return f"in workbench.{module}.{frame.f_code.co_qualname}, line {frame.f_lineno}", frame.f_lasti
