"""A command that stays in one place says so, and one that moves on does not."""

import time
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from workbench.cli import shared, stalling
from workbench.cli.stalling import watching

# Seconds; a busy machine may take as long for a step of Python.
PATIENCE = 0.4


def test_a_thread_that_stays_in_one_place_is_told_with_what_it_came_to_and_ever_more_rarely() -> None:
    said: list[str] = []
    with watching(said.append, PATIENCE) as come_to:
        come_to("em at 3 of 5")
        time.sleep(PATIENCE * 5)
    # After one, two and four times the patience: 3 words where every second one of a clock would be 5.
    assert 1 <= len(said) <= 3
    assert said[0].startswith("em at 3 of 5: nothing new for ")
    assert "of CPU time used since" in said[0]


def test_the_place_is_the_innermost_function_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    # This file as the package.
    monkeypatch.setattr(stalling, "_PACKAGE", str(Path(__file__).parent))

    def waits() -> None:
        np.apply_along_axis(lambda _: time.sleep(PATIENCE * 3), 0, np.zeros(1))

    with watching(said.append, PATIENCE):
        waits()
    assert "in workbench.test_stalling.test_the_place_is" in said[0] and "waits.<locals>.<lambda>, line" in said[0]


def test_a_thread_that_tells_something_new_is_left_alone() -> None:
    said: list[str] = []
    with watching(said.append, 5 * PATIENCE) as come_to:
        for number in range(14):
            come_to(f"em at {number} of 14")
            time.sleep(PATIENCE / 2)
    assert said == []


def test_commands_say_it_on_standard_error_also_where_that_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def slow() -> None:
        with shared.progress(quiet=False) as watch:
            assert watch is not None
            count = watch("em")
            assert count is not None
            count(3, 5)
            time.sleep(PATIENCE * 3)

    monkeypatch.setattr(shared, "watching", lambda say: watching(say, PATIENCE))
    result = CliRunner().invoke(slow, catch_exceptions=False)
    assert result.stdout == ""
    assert result.stderr.startswith("em at 3 of 5: nothing new for")
