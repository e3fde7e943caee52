"""Keeps XLA's log off the terminal, whether JAX is imported before this or after.

XLA reports, as errors, that a program of the persistent cache was compiled for "features" of the machine that are
hints to its own compiler (+prefer-no-gather), on the very machine that compiled it: two long lines a program. It warns
of each program that it reads besides. Those of other processors are kept apart (`compilation.py`), so nothing true is
hidden.

XLA reads the environment when it is loaded and not again; later JAX's own setting changes its level, and JAX's messages
in Python must be let through again. JAX sets the variable to 1: that is what a process inherits that is begun from a
notebook or a script with JAX in it, and it counts as nothing said. What else is said, by the environment or by JAX's
setting, goes first.
"""

import logging
import os
import sys

if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # fatal errors only
    if "jax" in sys.modules:
        import jax

        if logging.getLogger("jax").level == logging.NOTSET:
            jax.config.update("jax_logging_level", "CRITICAL")
            # Of JAX's own loggers alone: the level of XLA stays.
            jax.config.update("jax_logging_level", "NOTSET")
