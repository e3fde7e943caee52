"""Every slow test has its day, and none delays a run without bound."""

import datetime
import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import LONG
from slow_part import DAYS, day_and_days, part_of, place_of

NAMES = [f"tests/test_{file}.py::test_{name}[{case}]" for file in "abc" for name in "defg" for case in range(40)]
DAY = datetime.date(2026, 11, 29)


@pytest.mark.parametrize("days", [1, 4, DAYS])
def test_the_parts_of_successive_days_are_all_tests_each_once(days: int) -> None:
    parts = [part_of(NAMES, DAY + datetime.timedelta(later), days) for later in range(days)]
    assert sorted(name for part in parts for name in part) == sorted(NAMES)
    # None is more than twice its share of 480 names.
    assert max(map(len, parts)) <= 2 * len(NAMES) / days
    assert part_of(NAMES, DAY + datetime.timedelta(days), days) == parts[0]


def test_a_tests_day_is_its_own_whatever_other_tests_there_are() -> None:
    assert part_of(NAMES[::3], DAY, 4) == [name for name in part_of(NAMES, DAY, 4) if name in NAMES[::3]]


def test_no_file_is_late_on_every_day_of_its_own() -> None:
    files = [f"tests/test_{name}.py" for name in range(60)]
    days = [DAY + datetime.timedelta(later) for later in range(0, 40 * DAYS, DAYS)]
    firsts = {file for day in days for file in sorted(files, key=lambda file: place_of(file, day))[:30]}
    # In the first half at least once in forty cycles; by chance a file is not once in 2^40.
    assert firsts == set(files)


def test_a_part_is_named_by_a_date_and_by_how_many_days_there_are() -> None:
    assert day_and_days("2026-11-29") == (DAY, DAYS)
    assert day_and_days("2026-11-29/4") == (DAY, 4)
    for wrong in ("29.11.2026", "2026-11-29/0", "2026-11-29/"):
        with pytest.raises(ValueError, match=r"."):
            day_and_days(wrong)


SLEEPER = """
import time
import pytest

@pytest.mark.slow
def test_that_sleeps_for_ever():
    time.sleep(1e4)

@pytest.mark.slow
def test_that_comes_too_late():
    raise AssertionError

def test_of_every_day():
    pass
"""


def test_when_their_minutes_are_over_slow_tests_are_ended_and_counted(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import slow_part\nslow_part.GRACE = 0.0\n", encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n", encoding="utf-8")
    (tmp_path / "test_sleep.py").write_text(SLEEPER, encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-p", "slow_part", "-rs", "--slow-minutes", "0.1", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=LONG, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 2 skipped" in done.stdout
    # Where beginning takes longer than the minutes, the first comes too late as well.
    assert "2 of 2 slow tests were not run: the 0.1 minutes for slow tests were over" in done.stdout
