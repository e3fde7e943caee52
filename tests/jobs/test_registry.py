"""One of several jobs of a folder is chosen by its name, or by a part of it that no other has."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from workbench.errors import InputError
from workbench.jobs.registry import named, one_of


@dataclass(frozen=True)
class Job:
    name: str


JOBS = [Job("iris (seed = 0)"), Job("iris (seed = 1)"), Job("iris"), Job("galaxies")]
FOLDER = Path("results/all")


def test_a_whole_name_comes_before_parts_of_others() -> None:
    assert named(JOBS, None, FOLDER) == JOBS
    assert named(JOBS, "iris", FOLDER) == [JOBS[2]]
    assert named(JOBS, "seed", FOLDER) == JOBS[:2]
    assert one_of(JOBS, "seed = 1", FOLDER) == JOBS[1]
    assert one_of(JOBS[3:], None, FOLDER) == JOBS[3]


def test_several_or_none_are_one_message() -> None:
    with pytest.raises(InputError, match=r"results/all: holds 4 jobs \('iris \(seed = 0\)', .*; say which with --job"):
        one_of(JOBS, None, FOLDER)
    with pytest.raises(InputError, match="holds 2 jobs"):
        one_of(JOBS, "seed", FOLDER)
    with pytest.raises(InputError, match=r"--job: unknown job 'galaxy'\. Did you mean 'galaxies'"):
        named(JOBS, "galaxy", FOLDER)
