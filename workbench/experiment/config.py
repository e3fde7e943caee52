"""The experiment: one strict, frozen config for data, model, prior, starts and methods."""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import BeforeValidator, Field, SerializeAsAny, WrapSerializer, WrapValidator, model_validator

from workbench.config import Config, Listed, Points, Restarts, Whole
from workbench.data import Dataset, Missing, Simulator, load_dataset, read_file
from workbench.data.dataset import centre_and_scale
from workbench.data.known import Known
from workbench.data.reading import WantedOfConfig
from workbench.errors import InputError
from workbench.experiment.own import CLASS, validate_own, with_classes
from workbench.loop.pool import INTERVAL
from workbench.methods import METHODS, Method
from workbench.mixture import COVARIANCES, PRIORS, Fixed, FlatPrior, Mixture, Prior
from workbench.mixture.prior.checks import Labels
from workbench.problem import Problem
from workbench.soundness import Soundness
from workbench.starts import STARTS, Alternating, Start
from workbench.starts.saved import saved_start

Names = Annotated[tuple[str, ...], Listed]
Ratio = Annotated[float, Field(ge=1, allow_inf_nan=False)]

if TYPE_CHECKING:
    AnyPrior: TypeAlias = Prior
    AnyStart: TypeAlias = Start
    AnyMethod: TypeAlias = Method
    FamilyName: TypeAlias = str
else:
    # Tagged unions over the registries, so that every registered class can be configured.
    AnyPrior = Annotated[reduce(or_, PRIORS.values()), Field(discriminator="family")]
    AnyStart = Annotated[reduce(or_, STARTS.values()), Field(discriminator="rule")]
    AnyMethod = Annotated[reduce(or_, METHODS.values()), Field(discriminator="method"), WrapValidator(validate_own)]
    FamilyName = Literal[tuple(COVARIANCES)]


class SimulateConfig(Config):
    """Points drawn from a mixture of known parameters; see `Simulator` for what the numbers mean."""

    components: Whole = Field(description="components that are drawn, K")
    dimensions: Whole = Field(description="columns, D")
    points: Points = Field(description="points, N")
    separation: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        description="smallest distance of two means, in average deviations of a component"
    )
    imbalance: Ratio = Field(1.0, description="the largest weight over the smallest")
    anisotropy: Ratio = Field(1.0, description="the largest over the smallest deviation along a component's axes")


class DataConfig(Config):
    """Where the points come from: exactly one of `dataset`, `file` and `simulate`."""

    dataset: str | None = Field(None, description="a data set by name; `workbench list` shows them")
    file: str | None = Field(
        None, description="a CSV, TSV, NPY, NPZ, Parquet or XLSX file, relative to the config's folder"
    )
    simulate: SimulateConfig | None = Field(None, description="a simulated mixture, drawn with the seed")
    columns: Names | None = Field(None, description="columns to use, in this order; all unless given")
    exclude: Names | None = Field(None, description="columns of a file that are not used")
    label: str | None = Field(None, description="column of known classes in a file; never fitted")
    units: str | None = Field(None, description="the unit of a file's columns, for axes; give it if all have the same")
    id: str | None = Field(None, description="column of a table that names the rows; never fitted")
    weights: str | None = Field(
        None, description="column of a file that says how many equal observations each row stands for; never fitted"
    )
    label_known: str | None = Field(
        None,
        description="column of a file that says which component a row comes from, where it is known: a number from 0, "
        "or the name of a class (names in sorted order stand for components 0, 1, ...); empty or -1 where it is not. "
        "Tables and labels.csv count components from 1",
    )
    missing: Missing = Field(
        "refuse",
        description='what becomes of a row with a missing cell: "refuse" is an error, "drop" leaves the row out, '
        '"marginal" lets it count by its other cells',
    )
    divide_by: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        1.0, description="the unit of the analysis, in units of the data: 1000 for km/s in 1000 km/s"
    )
    standardize: bool = Field(False, description="shift and scale every column to mean 0 and deviation 1")
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of rows held out to score predictions"
    )

    @model_validator(mode="after")
    def _one_source(self) -> "DataConfig":
        given = [name for name in ("dataset", "file", "simulate") if getattr(self, name) is not None]
        if len(given) != 1:
            found = "none" if not given else " and ".join(given)
            raise ValueError(f"give exactly one of dataset, file and simulate, got {found}")
        for name in ("label", "units"):
            if getattr(self, name) is not None and self.file is None:
                raise ValueError(f"{name} goes with file; named data sets and simulations bring their own")
        of_files = [
            name
            for name in ("exclude", "id", "missing", "weights", "label_known")
            if getattr(self, name) not in (None, "refuse")
        ]
        if self.file is None and of_files:
            raise ValueError(
                f"{of_files[0]} goes with file; a named data set has no ids, weights, known rows or missing cells"
            )
        if self.columns is not None and self.exclude is not None:
            raise ValueError("give columns or exclude, not both: the columns to use, or those to leave out")
        return self

    def load(self, seed: int, folder: Path) -> tuple[Dataset, Dataset]:
        """The points to fit and those held out.

        Args:
            seed: root seed, for simulation and for the split.
            folder: the folder that a relative `file` is relative to.

        Raises:
            InputError: the data cannot be read or cannot be fitted.
        """
        try:
            return self._load(seed, folder)
        except InputError as error:
            source = next(name for name in ("dataset", "file", "simulate") if getattr(self, name) is not None)
            raise InputError(f"data.{source}: {error}") from None

    def _load(self, seed: int, folder: Path) -> tuple[Dataset, Dataset]:
        if self.simulate is not None:
            data = Simulator(**self.simulate.model_dump()).draw(seed)
        elif self.file is not None:
            apart = (self.exclude or (), self.missing, self.weights, self.label_known)
            wanted = WantedOfConfig(self.columns, self.label, self.id, *apart)
            data = read_file(folder / self.file, wanted=wanted)
            data = replace(data, units=data.units if self.units is None else self.units)
        else:
            data = load_dataset(str(self.dataset))
        if self.columns is not None and self.file is None:
            data = data.select(self.columns)
        if self.divide_by != 1.0:
            data = data.divide(self.divide_by)
        if self.standardize:
            data = data.standardise()
        return data.split(self.test_fraction, seed)

    def units_of_source(self, source: Dataset) -> tuple[np.ndarray, np.ndarray]:
        """The centre and the scale by which points of `load` return to the units of their source. [D], [D]"""
        if self.standardize:
            return centre_and_scale(np.asarray(source.x), source.weights)
        d = source.x.shape[1]
        return np.zeros(d), np.full(d, self.divide_by)

    def in_units_of_source(self, mixture: Mixture, source: Dataset) -> Mixture:
        """A mixture that was fitted in the units of `load`, in those of the points' source.

        Where columns were standardised and the family holds no such mixture (spherical), the result is of the diagonal
        family, or of the full one if there are correlations.
        """
        centre, scale = self.units_of_source(source)
        if mixture.covariance.admits(np.diag(scale)):
            return mixture.affine(scale, centre)
        dense = np.asarray(mixture.covariances) * scale[:, None] * scale
        family = "full" if mixture.covariance.has_correlations else "diagonal"
        moved = Mixture.from_covariances(mixture.weights, np.asarray(mixture.means) * scale + centre, dense, family)
        if mixture.background is None:
            return moved
        return replace(moved, background=mixture.background.affine(scale, centre))


class ModelConfig(Config):
    """The mixture model."""

    components: Whole = Field(description="components of the mixture, K")
    covariance: FamilyName = Field("full", description="family of the covariances; `workbench list` shows them")
    labels: Labels | None = Field(
        None,
        description='which of the K! labellings a mixture may have: "free", all; "ordered", the one in which the first '
        "coordinates of the means ascend. To be stated where a method samples",
    )
    fixed: Annotated[tuple[Fixed, ...], Listed, Field(min_length=1)] | None = Field(
        None,
        description="parameters of components that are held fixed, one table for each component, [[model.fixed]]; in "
        "the units that are fitted (after divide_by and standardize)",
    )
    background: bool = Field(
        False,
        description="whether points may come from a uniform density beside the components, over the smallest box that "
        "holds all points: noise and outliers, which labels call component 0",
    )

    def problem(
        self,
        x: np.ndarray | Dataset,
        prior: Prior,
        devices: int | None = None,
        *,
        columns: Sequence[str] | None = None,
        known: Known | None = None,
    ) -> Problem:
        """The problem of some points; `columns` names their columns in messages, and a data set its own.

        The known components are the data set's own unless given.

        Raises:
            InputError: the points do not suit the model or the prior, or there are too few devices.
        """
        labels = self.labels or "free"
        given: dict[str, Any] = {"devices": devices, "columns": columns, "fixed": self.fixed, "label_known": known}
        given["background"] = self.background
        return Problem(x, self.components, self.covariance, prior, labels=labels, **given)


# A method's name is a column of tables and part of a folder's name.
MethodName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def _schema_of_methods(schema: dict[str, Any]) -> None:
    """The schema that `_infer_methods` accepts: `method` is optional only if the table has the name of a method."""
    ((pattern, branches),) = schema.pop("patternProperties").items()
    schema["propertyNames"] = {"pattern": pattern}
    schema["properties"] = {name: {"$ref": ref} for name, ref in branches["discriminator"]["mapping"].items()}
    own = {
        "type": "object",
        "required": [CLASS],
        "properties": {CLASS: {"type": "string", "pattern": r"^[\w.]+:[\w.]+$"}},
    }
    named = [{"allOf": [branch], "required": ["method"]} for branch in branches["oneOf"]]
    schema["additionalProperties"] = {"oneOf": [*named, own]}


def _infer_methods(value: Any) -> Any:
    """Add `method` to the tables whose own name is that of a method, such as [methods.em]."""
    if not isinstance(value, dict):
        return value
    named = {}
    for name, table in value.items():
        infer = isinstance(table, dict) and not {"method", CLASS} & set(table) and name in METHODS
        named[name] = {"method": name, **table} if infer else table
    return named


# Methods by name; a file has one table for each.
AnyMethods = Annotated[
    dict[MethodName, SerializeAsAny[AnyMethod]],
    Field(min_length=1, description="methods by name, a table for each", json_schema_extra=_schema_of_methods),
    BeforeValidator(_infer_methods),
    WrapSerializer(with_classes),
]


class RunConfig(Config):
    """How the work is shared out. It is not part of a run's identity: the numbers are the same but for rounding."""

    devices: Whole | None = Field(
        None, description="JAX devices that share the rows or the restarts, over all hosts; all there are unless given"
    )
    hosts: Whole = Field(1, description="processes of this command that share the rows")
    checkpoint_seconds: Annotated[float, Field(gt=0)] = Field(
        INTERVAL, description="seconds between two checkpoints of an unfinished run"
    )

    @model_validator(mode="after")
    def _as_many_for_each(self) -> "RunConfig":
        if self.devices is not None and self.devices % self.hosts:
            raise ValueError(f"devices: must be a multiple of hosts = {self.hosts}, got {self.devices}")
        return self

    @property
    def devices_per_host(self) -> int | None:
        """The number of devices of each host; None for all that it has."""
        return None if self.devices is None else self.devices // self.hosts


class Experiment(Config):
    """One experiment: the data, the model, and the methods that are compared on them.

    It is made from Python by `Experiment.model_validate(mapping)`, and from TOML by `read_experiment(path)`.
    """

    # The upper bound is the largest seed that a key takes on every platform.
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(0, description="root seed of data, starts and methods")
    restarts: Restarts = Field(8, description="starts, the same for every method")
    data: DataConfig = Field(description="where the points come from")
    model: ModelConfig = Field(description="the mixture that is fitted")
    prior: AnyPrior = Field(FlatPrior(), description="prior of the parameters; flat for maximum likelihood")
    starts: AnyStart = Field(Alternating(), description="rule of the starts")
    methods: AnyMethods
    soundness: Soundness = Field(Soundness(), description="when a mixture counts as a result")
    run: RunConfig = Field(RunConfig(), description="how the work is shared out; changes no number")

    def located(self, folder: Path) -> "Experiment":
        """The same experiment, so that it can be run from any folder.

        `data.file` is made absolute. Values of `starts.file` take its place: the identity of a run is that of the
        values, wherever they come from, and a stored run does not need the file.

        Raises:
            InputError: the file of the starts cannot be read, or is of another model or other columns.
        """
        changes: dict[str, Any] = {}
        if self.data.file is not None:
            file = str((folder / self.data.file).resolve())
            changes["data"] = self.data.model_copy(update={"file": file})
        if (file_of_starts := getattr(self.starts, "file", None)) is not None:
            changes["starts"] = self._with_values(folder / file_of_starts, folder)
        return self.model_copy(update=changes) if changes else self

    def _with_values(self, path: Path, folder: Path) -> Start:
        """The rule of the starts with the values of a saved mixture, in the units that are fitted."""
        as_they_are = {"standardize": False, "divide_by": 1.0, "test_fraction": 0.0}
        source, _ = self.data.model_copy(update=as_they_are).load(self.seed, folder)
        changed = self.data.standardize or self.data.divide_by != 1.0
        units = self.data.units_of_source(source) if changed else None
        rule: Any = self.starts
        return rule.of(saved_start(path, self.model.components, self.model.covariance, source.columns, units))

    def problem(self, train: Dataset, known: Known | None = None) -> Problem:
        """The problem of the points to fit; their known components are those of the data set unless given.

        Raises:
            InputError: the points do not suit the model or the prior, or there are fewer devices than the run asks for.
        """
        return self.model.problem(train, self.prior, self.run.devices, known=known)

    def check(self, problem: Problem) -> None:
        """Refuse methods that cannot solve the problem, samplers without stated labels, and starts that do not fit.

        Raises:
            InputError: says why, and what to change.
        """
        samplers = [name for name, method in self.methods.items() if method.schedule().draws]
        if samplers and self.model.labels is None:
            raise InputError(
                f"model.labels: must be stated where a method samples ({', '.join(samplers)}); "
                'give "free" (all K! labellings of a mixture, between which chains may switch) '
                'or "ordered" (the one in which the first coordinates of the means ascend)'
            )
        for method in self.methods.values():
            method.admit(problem)
        self.starts.check(problem)

    def resolved(self) -> dict[str, Any]:
        """Every setting, given or default, as TOML values; settings that are None are left out.

        `run` is left out too: it does not affect the numbers, and must not bind a reader on another machine.
        """
        return dict(self.model_dump(mode="json", exclude_none=True, exclude={"run"}))
