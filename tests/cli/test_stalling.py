"""A command that stays in one place says so, and one that moves on does not."""

import re
import threading
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from patience import MOMENTS

from workbench.cli import shared
from workbench.cli.shared import Stand, watching

# Seconds until the first word, where a thread waits for it.
PATIENCE = 0.1

HERE, THERE = ("here", 1), ("there", 1)


def test_one_that_stays_is_told_with_what_it_came_to_and_ever_more_rarely() -> None:
    stand, told = Stand(patience=10.0), ["em at 3 of 5"]
    said = {second: stand.look(HERE, told, 100.0 + second, 7.0 + second / 2) for second in range(100)}
    spoken = {second: line for second, line in said.items() if line is not None}
    # After one, two, four and eight times the patience.
    assert list(spoken) == [10, 20, 40, 80]
    assert spoken[20] == "em at 3 of 5: nothing new for 20 s; computing (10 s of CPU time used since)"


def test_one_that_uses_no_processor_waits() -> None:
    stand = Stand(patience=10.0)
    assert stand.look(HERE, ["started"], 0.0, 1.0) is None
    assert (
        stand.look(HERE, ["started"], 10.0, 1.5)
        == "started: nothing new for 10 s; waiting (0 s of CPU time used since)"
    )


def test_of_workers_nothing_is_said_that_this_process_cannot_know() -> None:
    stand = Stand(patience=10.0)
    assert stand.look(HERE, ["rate at 0 of 128"], 0.0, None) is None
    said = stand.look(HERE, ["rate at 0 of 128"], 10.0, None)
    assert said == "rate at 0 of 128: nothing new for 10 s; its workers are at their cells"


@pytest.mark.parametrize("moves", ["to another place", "by telling something new"])
def test_one_that_moves_on_is_left_alone(moves: str) -> None:
    stand, told = Stand(patience=10.0), ["em at 0 of 14"]
    for second in range(100):
        if second % 9 == 0 and moves == "by telling something new":
            told.append("em at 1 of 14")
        place = THERE if moves == "to another place" and second // 9 % 2 else HERE
        assert stand.look(place, told, float(second), 0.0) is None


class Listener:
    """Hears what is said, and lets the thread that is talked about wait for it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.heard = threading.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self.heard.set()


def test_one_function_of_the_package_is_one_place_whatever_it_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    # This file as the package.
    monkeypatch.setattr(shared, "_PACKAGE", str(Path(__file__).parent))
    listener = Listener()

    def waits() -> None:
        np.apply_along_axis(lambda _: listener.heard.wait(MOMENTS), 0, np.zeros(1))

    with watching(listener, PATIENCE):
        waits()
    (said, *_) = listener.lines
    # For people: no name of a function, no line of a source.
    assert re.match(r"started: nothing new for \d+ s; ", said)
    assert "lambda" not in said and "line" not in said


def test_commands_say_it_on_standard_error_also_where_that_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener()

    @click.command()
    def slow() -> None:
        with shared.progress(quiet=False) as watch:
            assert watch is not None
            count = watch("em")
            assert count is not None
            count(3, 5)
            listener.heard.wait(MOMENTS)

    def both(say: object) -> object:
        return watching(lambda line: (say(line), listener(line)), PATIENCE)

    monkeypatch.setattr(shared, "watching", both)
    result = CliRunner().invoke(slow, catch_exceptions=False)
    assert result.stdout == ""
    assert result.stderr.startswith("em at 3 of 5: nothing new for")
