"""The command line: run experiments, and look again at what is stored. One file for each group of commands.

Exit status: 0, all went well; 1, a method failed and the others' results are kept; 2, bad input, one clear message; 3,
one of several hosts was lost.
"""

from workbench.cli.group import cli, main

__all__ = ["cli", "main"]
