"""Python's garbage collector, paused while the package is imported: nothing that an import makes is garbage.

Python collects after every 700 new objects, and an import makes hundreds of thousands. Collecting took a fifth of the
time of the import.
"""

import gc

_WAS_ON = gc.isenabled()
gc.disable()


def resume() -> None:
    """Let it collect again, if it did before the import."""
    if _WAS_ON:
        gc.enable()
