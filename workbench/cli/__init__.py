"""The command line, which runs jobs and reads stored results; one file for each group of commands.

Exit status: 0, all went well; 1, a method failed and the other results are kept; 2, bad input, with one clear message;
3, one of several hosts was lost.
"""

from workbench.cli.group import cli, main

__all__ = ["cli", "main"]
