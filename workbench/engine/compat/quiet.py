"""Keeps XLA's log off the terminal, whether JAX is imported before this module or after.

When XLA reads a program from the persistent cache, it logs as an error that the program was compiled for "features"
that the machine lacks (+prefer-no-gather). These are hints to its own compiler, and the message appears even on the
machine that compiled the program: two long lines each, besides a warning. Programs of other processors are kept in
another folder (`compilation.py`), so no valid warning is hidden.

XLA reads TF_CPP_MIN_LOG_LEVEL once, when it is loaded. After that only JAX's setting changes XLA's level; it also
silences JAX's messages in Python, which must then be enabled again. JAX sets the variable to 1, so a process started
from a notebook or script that uses JAX inherits that value; here 1 counts as unset. Any other value, and a level that
the user has set in JAX, take precedence.
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
            # This resets JAX's Python loggers only; the level of XLA stays.
            jax.config.update("jax_logging_level", "NOTSET")
