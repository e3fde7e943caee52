"""One of several jobs of a folder is chosen by its name, or by a part of it that no other has."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from workbench.errors import InputError
from workbench.jobs.registry import named, newest_of


@dataclass(frozen=True)
class Job:
    name: str


JOBS = [Job("iris (seed = 0)"), Job("iris (seed = 1)"), Job("iris"), Job("galaxies")]
FOLDER = Path("results/all")


def test_a_whole_name_comes_before_parts_of_others() -> None:
    assert named(JOBS, None, FOLDER) == JOBS
    assert named(JOBS, "iris", FOLDER) == [JOBS[2]]
    assert named(JOBS, "seed", FOLDER) == JOBS[:2]
    assert newest_of(JOBS, "seed = 1", FOLDER) == (JOBS[1], "")
    assert newest_of(JOBS[3:], None, FOLDER) == (JOBS[3], "")


def test_of_several_the_newest_is_shown_and_the_others_are_named() -> None:
    found, others = newest_of(JOBS, None, FOLDER)
    assert found == JOBS[3]
    assert others == (
        "results/all: the newest of 4 jobs, 'galaxies'; --job NAME shows another: 'iris', 'iris (seed = 1)', "
        "'iris (seed = 0)'"
    )
    assert newest_of(JOBS, "seed", FOLDER)[0] == JOBS[1]
    # Two choices of K of one experiment have one name.
    assert newest_of([JOBS[2], JOBS[2]], None, FOLDER)[1] == "results/all: the newest of 2 jobs, 'iris'"


def test_a_name_that_is_not_there_is_one_message() -> None:
    with pytest.raises(InputError, match=r"--job: unknown job 'galaxy'\. Did you mean 'galaxies'"):
        named(JOBS, "galaxy", FOLDER)
