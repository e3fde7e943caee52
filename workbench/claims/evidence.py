"""The stored runs of an experiment that checks read, with the config that names the methods."""

from dataclasses import dataclass

import numpy as np

from workbench.compare import Comparison
from workbench.experiment import Experiment
from workbench.loop.trace import Trace
from workbench.methods import Method
from workbench.problem import Problem


@dataclass(frozen=True)
class Ran:
    """An experiment and the comparison of its stored runs."""

    experiment: Experiment
    comparison: Comparison

    @property
    def problem(self) -> Problem:
        """The problem that was solved."""
        return self.comparison.problem

    def of(self, kind: type[Method]) -> dict[str, Trace]:
        """The traces of the methods of a class, by name."""
        methods = self.experiment.methods
        return {name: trace for name, trace in self.comparison.items() if isinstance(methods[name], kind)}

    @property
    def stale(self) -> str | None:
        """The code that made runs, where it is not the present one; None if there are none."""
        return "; ".join(dict.fromkeys(self.comparison.stale.values())) or None

    @property
    def climbs(self) -> dict[str, Trace]:
        """The traces of point estimates, by name."""
        return {name: trace for name, trace in self.comparison.items() if not trace.is_sampler}

    @property
    def chains(self) -> dict[str, Trace]:
        """The traces of samplers, by name."""
        return {name: trace for name, trace in self.comparison.items() if trace.is_sampler}

    def sound_ends(self, trace: Trace) -> np.ndarray:
        """Whether each restart of a climb ended on a sound mixture. [R]"""
        healths = self.comparison.rule.check_all(self.problem, trace.ends)
        sound = np.asarray([health.sound for health in healths])
        return np.asarray(sound & ~trace.collapsed & np.isfinite(trace.log_joint[:, -1]))
