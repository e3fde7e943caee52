"""What holds while the package is imported, which takes a second or two.

Python's garbage collector is paused: nothing that an import makes is garbage. Python collects after every 700 new
objects, and an import makes hundreds of thousands; collecting took a fifth of the time.

Ctrl-C ends the `workbench` command, which has done nothing yet, without the traceback of whatever was being imported.
"""

import gc
import signal
import sys
import threading
from pathlib import Path

_WAS_ON = gc.isenabled()
gc.disable()


def _is_command() -> bool:
    """Whether this process is the `workbench` command, or `python -m workbench`."""
    if "-m" in sys.orig_argv[:-1] and sys.argv[0] == "-m":
        return sys.orig_argv[sys.orig_argv.index("-m") + 1] == "workbench"
    return Path(sys.argv[0] if sys.argv else "").stem == "workbench"


if _is_command() and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def resume() -> None:
    """Let it collect again, if it did before the import.

    What the import made is old by now: its next collection of young objects would go over a million of them, in .15 s.
    """
    if gc.get_freeze_count() == 0:
        # What was frozen becomes old, and is collected with the old.
        gc.freeze()
        gc.unfreeze()
    if _WAS_ON:
        gc.enable()
