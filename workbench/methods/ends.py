"""A method that records only the start and the end of each climb, for thousands of starts whose paths nobody needs."""

from typing import ClassVar

from pydantic import SerializeAsAny

from workbench.methods.base import Algorithm, Climber, Method, Schedule
from workbench.problem import Problem


class EndsOnly(Method):
    """Runs another method's steps and records one row after the start, where it stops.

    It runs no race, because it must also show where those starts lead that a race would drop.
    """

    method: str = "ends_only"
    inner: SerializeAsAny[Climber]

    summary: ClassVar[str] = "another method's end, without the way to it"

    def check(self, problem: Problem) -> None:
        """Refuses what the other method refuses."""
        self.inner.check(problem)

    def schedule(self) -> Schedule:
        """Only the other method's last mark."""
        whole = self.inner.schedule()
        return Schedule(whole.marks[-1:], whole.clock, whole.max_steps)

    def bind(self, problem: Problem) -> Algorithm:
        """The other method's steps."""
        return self.inner.bind(problem)
