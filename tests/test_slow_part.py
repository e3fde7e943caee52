"""Every slow test has its day."""

import datetime

import pytest
from slow_part import DAYS, day_and_days, part_of

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


def test_a_part_is_named_by_a_date_and_by_how_many_days_there_are() -> None:
    assert day_and_days("2026-11-29") == (DAY, DAYS)
    assert day_and_days("2026-11-29/4") == (DAY, 4)
    for wrong in ("29.11.2026", "2026-11-29/0", "2026-11-29/"):
        with pytest.raises(ValueError, match=r"."):
            day_and_days(wrong)
