"""Keeps XLA's log off the terminal; imported before JAX, because XLA reads this when it is loaded and not again.

XLA reports, as errors, that a program of the persistent cache was compiled for "features" of the machine that are
hints to its own compiler (+prefer-no-gather), on the very machine that compiled it: two long lines a program. Those of
other processors are kept apart (`compilation.py`), so nothing true is hidden. JAX sets the same variable in the same
way, to 1: that is what a process inherits that is begun from a notebook or a script with JAX in it, and it counts as
nothing said. What else the environment says goes first.
"""

import os

if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # fatal errors only
