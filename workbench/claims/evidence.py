"""What checks read (the runs of an experiment, or the rows of a study), and the interface of checks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from workbench.claims.decision import Decision
from workbench.compare import Comparison
from workbench.experiment import Experiment
from workbench.loop.trace import Trace
from workbench.methods import Method
from workbench.posterior import invariant_convergence
from workbench.problem import Problem
from workbench.studies import Findings, Study


@dataclass(frozen=True)
class Ran:
    """An experiment and the comparison of its stored runs."""

    experiment: Experiment
    comparison: Comparison
    name: str = ""  # of its file, shown in tables

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
    def samplers(self) -> dict[str, Trace]:
        """The traces of samplers, by name, whether or not their chains agree."""
        return {name: trace for name, trace in self.comparison.items() if trace.is_sampler}

    def agreeing(self, r_hat: float) -> dict[str, Trace]:
        """The traces of the samplers whose chains agree: the only draws that a check may count.

        Args:
            r_hat: chains agree if the R-hat of every label-invariant functional is below it.
        """
        return {n: t for n, t in self.samplers.items() if invariant_convergence(t, self.problem).r_hat_max < r_hat}

    def sound_ends(self, trace: Trace) -> np.ndarray:
        """Whether each restart of a climb ended on a sound mixture. [R]"""
        healths = self.comparison.rule.check_all(self.problem, trace.ends)
        sound = np.asarray([health.sound for health in healths])
        return np.asarray(sound & ~trace.collapsed & np.isfinite(trace.log_joint[:, -1]))


Evidence: TypeAlias = Ran | Findings
Limits: TypeAlias = Mapping[str, float]  # the thresholds of a claim, by name


def settings_of(*evidence: Evidence) -> str:
    """The settings of what a verdict rests on: names, seeds, and the keys that differ from their defaults.

    Of more than `MOST_FILES` results the names and seeds alone.
    """
    texts = []
    for each in evidence:
        config = each.experiment if isinstance(each, Ran) else each.study
        name = each.name if isinstance(each, Ran) else each.study.study
        keys = config.model_dump(mode="json", exclude_defaults=True, exclude={"study", "run", "seed"})
        # The rule of starts and the family of a prior are defaults of their tables, and the methods have names.
        whole = config.model_dump(mode="json", exclude_none=True, include=set(keys) & {"starts", "prior"})
        keys |= whole | {name: list(keys[name]) for name in ("methods",) if name in keys}
        told = [f"{key.replace('_', ' ')} {_told(value)}" for key, value in keys.items()]
        named = f"{name}, seed {config.seed}".removeprefix(", ")
        texts.append("; ".join([named, *told]) if len(evidence) <= MOST_FILES else named)
    return ". ".join(texts)


# Lists of more numbers than this are told by their length, and the keys of no more files than this.
MOST_NUMBERS, MOST_FILES = 12, 6


def _told(value: Any) -> str:
    """A value of a config in words: tables that have names by these."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_told(each)}" for key, each in value.items())
    if isinstance(value, list):
        if len(value) > MOST_NUMBERS:
            return f"{len(value)} values"
        return ", ".join(str(v["name"]) if isinstance(v, Mapping) and "name" in v else _told(v) for v in value)
    # Where a file lies is no setting.
    return Path(value).name if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Check:
    """A function of stored results, and the kind of results that it needs.

    Attributes:
        about: what is counted or compared, in one line.
        decide: maps results and the claim's thresholds to a decision. The results are the rows of a study, the runs of
            an experiment, or a list if the check reads several.
        study: the study whose rows it reads; None if it reads experiments.
        several: whether it reads any number of experiments, as a list.
        besides: the studies whose rows it may read after the experiments.
        of: the class of method that a config must have, if a claim rests on every config of the ledger.
        thresholds: the names of the thresholds that a claim must give, with their reasons.
    """

    about: str
    decide: Callable[[Any, Limits], Decision]
    study: str | None = None
    several: bool = False
    besides: tuple[str, ...] = ()
    of: type[Method] | None = None
    thresholds: tuple[str, ...] = ()

    def gathers(self, config: Experiment | Study) -> bool:
        """Whether it can read a config, and this has a method of its class."""
        study = config.study if isinstance(config, Study) else None
        methods: Mapping[str, Method] = getattr(config, "methods", {})
        return study in (self.study, *self.besides) and (
            self.of is None or any(isinstance(each, self.of) for each in methods.values())
        )


def over_experiment(about: str, decide: Callable[[Ran, Limits], Decision], *thresholds: str) -> Check:
    """A check that reads the stored runs of one experiment."""
    return Check(about, decide, thresholds=thresholds)


def over_experiments(
    about: str,
    decide: Callable[[Sequence[Any], Limits], Decision],
    *thresholds: str,
    besides: tuple[str, ...] = (),
    of: type[Method] | None = None,
) -> Check:
    """A check that reads the stored runs of any number of experiments together, and of some kinds of study besides."""
    return Check(about, decide, several=True, besides=besides, of=of, thresholds=thresholds)


def over_study(study: str, about: str, decide: Callable[[Findings, Limits], Decision], *thresholds: str) -> Check:
    """A check that reads the rows of one study."""
    return Check(about, decide, study, thresholds=thresholds)
