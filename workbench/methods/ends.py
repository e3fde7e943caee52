"""A method that keeps nothing of its climb but the end: for thousands of starts, whose paths nobody looks at."""

from typing import ClassVar

from pydantic import SerializeAsAny

from workbench.methods.base import Algorithm, Climber, Method, Schedule
from workbench.problem import Problem


class EndsOnly(Method):
    """Another method, step by step, with one row after the start, recorded where it stops.

    It runs no race: where the starts lead that a race would drop is asked as well.
    """

    method: str = "ends_only"
    inner: SerializeAsAny[Climber]

    summary: ClassVar[str] = "another method's end, without the way to it"

    def check(self, problem: Problem) -> None:
        """What the other method refuses."""
        self.inner.check(problem)

    def schedule(self) -> Schedule:
        """The other method's last mark alone."""
        whole = self.inner.schedule()
        return Schedule(whole.marks[-1:], whole.clock, whole.max_steps)

    def bind(self, problem: Problem) -> Algorithm:
        """The other method's steps."""
        return self.inner.bind(problem)
