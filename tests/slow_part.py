"""Which slow tests a run takes along: those of its day, begun and ended within the minutes that it can spare."""

import datetime
import signal
import threading
import time
import zlib
from collections.abc import Generator, Iterable

import pytest

# So many days until every slow test has had its turn.
DAYS = 4

# A slow test that has begun may take so many minutes beyond those of `--slow-minutes`.
GRACE = 1.0

BEGAN = time.monotonic()
UNDER_WAY = pytest.StashKey[bool]()
CUT_OFF = pytest.StashKey[bool]()
Phase = Generator[None, object, object]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The date is given, and not read from a clock: all workers must choose the same tests."""
    parser.addoption(
        "--slow-part",
        type=day_and_days,
        metavar="YYYY-MM-DD[/DAYS]",
        help=f"with -m slow: only a day's part of the slow tests, one in DAYS [default: {DAYS}]",
    )
    parser.addoption(
        "--slow-minutes",
        type=float,
        metavar="MINUTES",
        help="begin no slow test later than this, and end those under way a minute later; they are counted as skipped",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow tests of other days; files are in another order each day, so that none is always late."""
    asked = config.getoption("--slow-part")
    if asked is None:
        return
    slow = [item.nodeid for item in items if is_slow(item)]
    left_out = set(slow) - set(part_of(slow, *asked))
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
    items[:] = [item for item in items if item.nodeid not in left_out]
    day, _ = asked
    items.sort(key=lambda item: place_of(item.nodeid.partition("::")[0], day))


def is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


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


def place_of(file: str, day: datetime.date) -> int:
    """Where a file stands on a day."""
    return zlib.crc32(f"{day} {file}".encode())


# The end of the minutes


def reason(minutes: float) -> str:
    return f"the {minutes:g} minutes for slow tests were over"


def pytest_sessionstart(session: pytest.Session) -> None:
    """In a process that runs tests, a signal ends the slow test under way when the grace is over."""
    minutes = session.config.getoption("--slow-minutes")
    if minutes is None or session.config.getoption("numprocesses", None):
        return
    config, main = session.config, threading.main_thread().ident
    assert main is not None

    def end(*_: object) -> None:
        if config.stash.get(UNDER_WAY, False):
            config.stash[CUT_OFF] = True
            pytest.skip(f"{reason(minutes)} while it ran")

    signal.signal(signal.SIGUSR1, end)
    left = max(60 * (minutes + GRACE) - (time.monotonic() - BEGAN), 0.0)
    timer = threading.Timer(left, signal.pthread_kill, (main, signal.SIGUSR1))
    timer.daemon = True
    timer.start()
    config.add_cleanup(timer.cancel)


def under_way(item: pytest.Item) -> Phase:
    """While it lasts, the end of the grace ends the test."""
    item.config.stash[UNDER_WAY] = is_slow(item)
    try:
        return (yield)
    finally:
        item.config.stash[UNDER_WAY] = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Phase:
    """Skip a slow test for which no time is left; fixtures belong to the test that makes them."""
    minutes = item.config.getoption("--slow-minutes")
    if minutes is not None and is_slow(item) and time.monotonic() - BEGAN >= 60 * minutes:
        pytest.skip(reason(minutes))
    return (yield from under_way(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Phase:
    """The grace ends a test itself, too."""
    return (yield from under_way(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Whatever the end of the grace made of the test that it met, that test is skipped: JAX may have wrapped it."""
    report = yield
    if report.failed and item.config.stash.get(CUT_OFF, False) and is_slow(item):
        minutes = item.config.getoption("--slow-minutes")
        report.outcome, (file, line, _) = "skipped", item.location
        report.longrepr = (file, line or 0, f"{reason(minutes)} while it ran")
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many slow tests there was no time for."""
    minutes = terminalreporter.config.getoption("--slow-minutes")
    if minutes is None:
        return
    skipped = [report for report in terminalreporter.getreports("skipped") if reason(minutes) in str(report.longrepr)]
    others = [report for name in ("passed", "failed") for report in terminalreporter.getreports(name)]
    number = len(skipped) + sum("slow" in report.keywords and report.when == "call" for report in others)
    terminalreporter.write_line(f"{len(skipped)} of {number} slow tests were not run: {reason(minutes)}")
