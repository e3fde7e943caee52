"""A setting: one experiment with its points, which is everything that a run of one of its methods needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from workbench.compare import Comparison, Reference
from workbench.compare.comparison import starts_of
from workbench.diagnostics import mixing_of, restart_statuses
from workbench.engine.files import DAMAGED
from workbench.engine.keys import named_key
from workbench.errors import InputError
from workbench.experiment.config import Experiment
from workbench.experiment.provenance import provenance_of
from workbench.experiment.reading import parse_experiment
from workbench.jobs.base import Cell, Progress, Record, Value
from workbench.jobs.points import Points, load_points
from workbench.jobs.traces import record_of_trace
from workbench.loop.pool import Checkpoint
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import Method
from workbench.mixture import Mixture
from workbench.problem import Problem


@dataclass(frozen=True)
class Setting:
    """An experiment and its points: everything that its cells need."""

    experiment: Experiment
    points: Points
    drawn: dict[int, Mixture] = field(
        default_factory=dict, compare=False, repr=False
    )  # starts, by the number of restarts

    def __getstate__(self) -> dict[str, Any]:
        """The state that is sent to a worker, without cached values, which it can compute again."""
        return {"experiment": self.experiment, "points": self.points, "drawn": {}}

    @classmethod
    def of(cls, experiment: Experiment, folder: Path | str) -> "Setting":
        """The setting of an experiment, whose points are read from its data.

        Args:
            experiment: the config.
            folder: what a relative `data.file` is relative to.

        Raises:
            InputError: the data cannot be read.
        """
        points = Points(*experiment.data.load(experiment.seed, Path(folder)))
        return cls(experiment.located(Path(folder)), points)

    @classmethod
    def stored(cls, folder: Path, record: Mapping[str, Any], where: str) -> "Setting":
        """The setting of an experiment that a results folder keeps.

        Raises:
            InputError: its file or its points are damaged.
        """
        try:
            values, digest = dict(record["config"]["experiment"]), str(record["config"]["data_digest"])
        except DAMAGED as error:
            raise InputError(f"{where}: is damaged ({error}); delete it and run the job again") from None
        experiment = parse_experiment(values, where)
        return cls(experiment, load_points(folder, digest, experiment, str(record["name"])))

    @cached_property
    def problem(self) -> Problem:
        """The problem that is solved.

        Raises:
            InputError: the points do not suit the model or the prior.
        """
        return self.experiment.problem(self.points.train)

    @cached_property
    def digest(self) -> str:
        """The digest of the points."""
        return self.points.digest

    @property
    def reference(self) -> Reference:
        """The reference by which answers are judged."""
        return Reference.of(self.points.train, self.points.heldout, self.experiment.soundness)

    def cell(self, method: str, coordinates: Mapping[str, Value] | None = None) -> Cell:
        """The cell of one method. Its identity covers the data, the model, the starts, the seed and the method."""
        experiment = self.experiment
        resolved = experiment.resolved()
        identity = {key: resolved[key] for key in ("seed", "model", "prior", "starts")}
        identity |= {
            "data": self.digest,
            "dtype": str(jnp.result_type(float)),
            "restarts": experiment.methods[method].num_restarts(experiment.restarts),
            "name": method,
            "method": resolved["methods"][method],
        }
        config = resolved | {"methods": {method: resolved["methods"][method]}}
        own = {"data": named_data(experiment), "points": self.digest[:8], "method": method, **flat(identity)}
        return Cell(method, identity, provenance_of(experiment, method), own | dict(coordinates or {}), config)

    def run(self, method: str, checkpoint: Checkpoint, progress: Progress | None) -> tuple[Trace, Record]:
        """Run one method."""
        experiment, problem = self.experiment, self.problem
        config = experiment.methods[method]
        starts = self._starts(config)
        key = named_key(experiment.seed, method)
        trace = run(config, problem, starts, key, checkpoint=checkpoint, progress=progress)
        statuses = restart_statuses(trace, problem, experiment.soundness, mixing_of(trace, problem))
        return trace, record_of_trace(trace, problem, starts, statuses, self.reference)

    def _starts(self, method: Method) -> Mixture:
        """The starts of a method; starts that another method with as many restarts has used are not drawn again."""
        experiment, number = self.experiment, method.num_restarts(self.experiment.restarts)
        if number not in self.drawn:
            drawn = starts_of(method, self.problem, experiment.starts, experiment.restarts, experiment.seed)
            self.drawn[number] = drawn
        return self.drawn[number]

    def comparison(self, name: str, traces: Mapping[str, Trace]) -> Comparison:
        """The comparison of traces of this setting."""
        train = self.points.train
        return Comparison(
            self.problem,
            traces,
            self.reference,
            name=name,
            columns=train.columns,
            units=train.units,
            starts=self.experiment.starts,
        )


def named_data(experiment: Experiment) -> str:
    """A short name of the data."""
    data = experiment.data
    return data.dataset or ("simulated" if data.file is None else Path(data.file).name)


def flat(value: Any, prefix: str = "") -> dict[str, Value]:
    """Settings as columns: `model.components` is `model_components`. Lists and the name of the method are left out."""
    if isinstance(value, Mapping):
        pairs = [flat(inner, f"{prefix}_{key}" if prefix else str(key)) for key, inner in value.items()]
        return {key: inner for part in pairs for key, inner in part.items()}
    if isinstance(value, list | tuple) or prefix in ("name", "data", "method_method"):
        return {}
    return {prefix: value}
