"""Which of the slow tests an everyday run takes along: a part that changes from day to day and meets all in turn."""

import datetime
import zlib
from collections.abc import Iterable

import pytest

# So many days until every slow test has been run once.
DAYS = 16


def pytest_addoption(parser: pytest.Parser) -> None:
    """The date is given, and not read from a clock: all workers must choose the same tests."""
    parser.addoption(
        "--slow-part",
        type=day_and_days,
        metavar="YYYY-MM-DD[/DAYS]",
        help=f"with -m 'slow or not slow': only a day's part of the slow tests, one in DAYS [default: {DAYS}]",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow tests of other days."""
    asked = config.getoption("--slow-part")
    if asked is None:
        return
    slow = [item.nodeid for item in items if item.get_closest_marker("slow") is not None]
    left_out = set(slow) - set(part_of(slow, *asked))
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
    items[:] = [item for item in items if item.nodeid not in left_out]


def day_and_days(text: str) -> tuple[datetime.date, int]:
    """The day of `2026-11-29/16`, and how many parts there are; the part may be left out."""
    date, slash, days = text.partition("/")
    found = datetime.date.fromisoformat(date), int(days) if slash else DAYS
    if found[1] < 1:
        raise ValueError(f"{text}: give at least one part")
    return found


def part_of(names: Iterable[str], day: datetime.date, days: int) -> list[str]:
    """The names whose day it is: each has one in so many days on end, whatever other names there are."""
    return [name for name in names if (zlib.crc32(name.encode()) + day.toordinal()) % days == 0]
