"""The group of all commands. It sets up JAX and turns wrong input into one message."""

import errno
import gc
import importlib
import os
import signal
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import click
import jax

import workbench
from workbench import syntax
from workbench.engine.compat.compilation import cache_folder, keep_compiled_programs
from workbench.engine.devices import check_environment
from workbench.engine.hosts import is_supervised
from workbench.errors import RUN, VALUE, InputError, cut, nearest, one_line, with_short_runs
from workbench.experiment.own import import_method

BAD_INPUT = 2
# 128 and the number of the signal, as shells report it.
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

# Objects allocated between two garbage collections.
OBJECTS_BETWEEN = 200_000


# The file of each command. It is loaded when the command is called, so that no command waits for another's imports.
FILES = {
    "atlas": "jobs",
    "claims": "jobs",
    "clean": "upkeep",
    "compare": "inspect",
    "describe": "describe",
    "diff": "upkeep",
    "doctor": "describe",
    "errors": "estimates",
    "estimates": "estimates",
    "export": "upkeep",
    "fit": "answers",
    "init": "answers",
    "list": "inspect",
    "merge": "upkeep",
    "plot": "plot",
    "posterior": "inspect",
    "predict": "predict",
    "report": "inspect",
    "run": "run",
    "schema": "inspect",
    "select": "jobs",
    "status": "upkeep",
    "table": "upkeep",
    "validate": "inspect",
    "verify": "upkeep",
}


class _Stop(click.ClickException):
    """A message without a traceback, and an exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_code = status  # type: ignore[misc]  # click declares it for classes and reads it of instances


class Terminated(KeyboardInterrupt):
    """The process was asked to end; it is cleaned up as after Ctrl-C."""


class _Group(click.Group):
    """Loads commands, and turns wrong input and interruption into one message and the right exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, loaded or not."""
        return sorted(FILES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, which joins the group when its file is loaded; None if there is no such command."""
        if cmd_name in FILES:
            importlib.import_module(f"workbench.cli.{FILES[cmd_name]}")
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names; of an unknown one, the nearest is named."""
        near = nearest(args[0], sorted(FILES))
        if near not in (None, args[0]) and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near!r}?")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words of the command line, which messages repeat."""
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            message = str(error)
            for word in ctx.meta[_WORDS]:
                # The name of a file may hold a line break, and a message is one line.
                message = message.replace(word, one_line(word)) if "\n" in word else message
            raise _Stop(message, BAD_INPUT) from None
        except click.UsageError as error:
            command = (error.ctx or ctx).command_path
            message = error.format_message()
            for word in ctx.meta[_WORDS]:
                message = message.replace(word, cut(word, VALUE)) if len(word) > RUN else message
            message = one_line(with_short_runs(message)).rstrip(".")
            raise _Stop(f"{message}; `{command} --help` shows what it takes", BAD_INPUT) from None
        except OSError as error:
            if error.errno not in (*_DISK, *_IN_THE_WAY):
                raise
            place = error.filename2 or error.filename
            where = f"{one_line(with_short_runs(str(place)))}: " if place else ""
            said = f"{where}cannot be written ({error.strerror}); "
            if error.errno in _IN_THE_WAY:
                said += f"move away what is in its place: {_KEPT}"
            else:
                said += f"{_KEPT} elsewhere with --out, or once there is room"
            raise _Stop(said, BAD_INPUT) from None
        except Terminated:
            raise _Stop(f"terminated; {_KEPT}", TERMINATED) from None
        except KeyboardInterrupt:
            raise _Stop(f"interrupted; {_KEPT}", INTERRUPTED) from None


# Where the words of the command line are kept.
_WORDS = "workbench.words"

# Error numbers of a disk that is full or cannot be written to.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)

# Error numbers of a file in the place of a folder, or a folder in the place of a file.
_IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ENAMETOOLONG)

_KEPT = "finished runs are kept, and the same command goes on"


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(workbench.__version__, prog_name="workbench")
@click.option(
    "--import",
    "imported",
    multiple=True,
    metavar="MODULE:CLASS",
    help="Execute a module of your own, in this folder or on PYTHONPATH, and register its method; needed to read the "
    "results that it made.",
)
def cli(imported: tuple[str, ...]) -> None:
    """Compare EM, gradient ascent and MCMC on Gaussian mixtures on the same terms."""
    check_environment()
    for home in imported:
        try:
            import_method(home, Path())
        except InputError as error:
            raise InputError(f"--import {cut(home, VALUE)}: {error}") from None
    # float64 unless the user's environment decides.
    if "JAX_ENABLE_X64" not in os.environ:
        jax.config.update("jax_enable_x64", True)


def main() -> None:
    """The `workbench` command."""
    # Until now, while modules were imported, Ctrl-C ended the process at once.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.showwarning = _warn
    keep_compiled_programs()
    syntax.keep_in(cache_folder(os.environ, sys.platform, Path.home()).parent / "syntax.json")

    # Tracing a program allocates many objects that stay. Imported objects are never garbage, and collecting after every
    # 700 objects, as Python does, takes a fifth of the time until the first step.
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN, 10, 10)
    # Compiled programs do not record the source lines that their parts come from.
    jax.config.update("jax_traceback_in_locations_limit", 0)
    if not is_supervised():
        # One of several hosts ends at once: it may be waiting for the others in a call in which no Python runs.
        signal.signal(signal.SIGTERM, _terminate)
    try:
        cli(prog_name="workbench")
    except SystemExit as ended:
        if ended.code in (INTERRUPTED, TERMINATED) and not is_supervised():
            # Exit at once: a thread may be in a call in which no Python runs, and the interpreter would wait for it.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(ended.code))
        raise
    finally:
        syntax.save_kept()
        # An interruption from here on has nothing left to report.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _warn(message: Warning | str, *place: Any, **more: Any) -> None:
    """A library's warning as one line, without the place in its source; each is said once."""
    text = one_line(str(message))
    if "missing from font" in text or "missing from current font" in text:
        text = "the font of the figures lacks some characters of the names, and shows boxes in their place"
    if text not in _warned:
        _warned.add(text)
        click.echo(f"Warning: {text}", err=True)


_warned: set[str] = set()


def _terminate(number: int, frame: FrameType | None) -> None:
    """End as after Ctrl-C; a second signal ends the process at once."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated
