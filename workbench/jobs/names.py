"""The names and ids that tell the jobs of a results folder apart, and the choice of one by what `--job` says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from workbench.errors import InputError, nearest, shown
from workbench.experiment.reading import parse_experiment
from workbench.experiment.sweep import tell_apart
from workbench.jobs.base import MOST_NAMED
from workbench.jobs.store import Store


class HasName(Protocol):
    """Results of a job that has an id and a name."""

    @property
    def id(self) -> str:
        """The name of the job's file, as `workbench status` shows it."""
        ...

    @property
    def name(self) -> str:
        """The name of the results."""
        ...


Results = TypeVar("Results")
Named = TypeVar("Named", bound=HasName)


@dataclass(frozen=True)
class Stored(Generic[Results]):
    """Results with the id of their job, and the name that tells them apart from others."""

    id: str
    name: str
    results: Results


@dataclass(frozen=True)
class StoredJob:
    """A job as a folder keeps it: its file, its content, and its name with what differs from others of that name."""

    file: Path
    record: Mapping[str, Any]
    name: str

    @property
    def id(self) -> str:
        """The name of the file."""
        return self.file.stem

    @property
    def kind(self) -> str:
        """The kind of the job."""
        return str(self.record["kind"])


def jobs_of(store: Store, kind: str | None = None) -> list[StoredJob]:
    """The jobs of a folder, oldest first; those of one kind and name have the settings that differ in their names.

    Raises:
        DamagedJobError: none of them is sound.
        InputError: a newer workbench wrote one.
    """
    jobs = store.jobs(kind)
    groups: dict[tuple[str, str], list[int]] = {}
    for i, (_, job) in enumerate(jobs):
        groups.setdefault((job["kind"], job["name"]), []).append(i)
    names = [str(job["name"]) for _, job in jobs]
    for places in groups.values():
        if len(places) > 1:
            for i, words in zip(places, tell_apart([_settings(jobs[i][1]["config"]) for i in places]), strict=True):
                names[i] += f" ({words})"
    return [StoredJob(file, job, name) for (file, job), name in zip(jobs, names, strict=True)]


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a job: of its experiment with defaults that its file does not state, and its own."""
    own = {key: value for key, value in config.items() if key not in ("experiment", "data_digest", "families")}
    if "families" in config:
        own["covariances"] = list(config["families"])
    if "experiment" not in config:
        return own
    try:
        return parse_experiment(config["experiment"], "").resolved() | own
    except InputError:  # such as of a method of a module that is not imported
        return dict(config["experiment"]) | own


def named(found: Sequence[Named], job: str | None, folder: Path | str) -> list[Named]:
    """The results of the job of that name or id, or of those whose names hold it or whose ids begin with it.

    Args:
        found: all results.
        job: the name or the id of a job, or a part of it; None for all results.
        folder: where they lie, for messages.

    Raises:
        InputError: there is none, and the message lists those that there are; or it names one and is the id of another.
    """
    if job is None or not found:
        return list(found)
    called = [each for each in found if each.name == job]
    others = [each for each in found if job in (each.id, each.id.rpartition("-")[2]) and each.name != job]
    if called and others:
        own, other = called[-1], others[-1]
        raise InputError(
            f"--job: in {folder}, {shown(job)} is the name of {own.id} and the id of {shown(other.name)}; give "
            f"--job {own.id} or the other's name"
        )
    for fits in (
        lambda each: job in (each.name, each.id),
        lambda each: job and job in each.name,
        lambda each: job and (each.id.startswith(job) or each.id.rpartition("-")[2].startswith(job)),
    ):
        if some := [each for each in found if fits(each)]:
            return some
    near = nearest(job, [word for each in found for word in (each.name, each.id)])
    suggestion = f" Did you mean {near!r}?" if near else ""
    listed = [f"{each.id} ({each.name})" for each in reversed(found[-MOST_NAMED:])]
    more = f", and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    raise InputError(f"--job: {folder} has no job {shown(job)}.{suggestion} It has {', '.join(listed)}{more}")


def newest_of(found: Sequence[Named], job: str | None, folder: Path) -> tuple[Named, str]:
    """The newest of the results of a job of that name, or of any job, and what to say of the others; empty if none.

    Whoever tries one setting after another asks for the last of them.

    Args:
        found: all results, oldest first.
        job: the name or the id of a job, or a part of it.
        folder: where they lie, for messages.

    Raises:
        InputError: there is no such job.
    """
    some = named(found, job, folder)
    *others, newest = some
    if not others:
        return newest, ""
    names = list(dict.fromkeys(repr(each.name) for each in reversed(others) if each.name != newest.name))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    which = f"; --job NAME shows another: {', '.join(names[:MOST_NAMED])}{more}" if names else ""
    return newest, f"{folder}: the newest of {len(some)} jobs, {newest.name!r}{which}"
