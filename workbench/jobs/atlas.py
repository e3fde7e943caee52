"""The atlases of an experiment as a job: a cell is one optimising method from one rule of starts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from workbench.compare import Comparison
from workbench.display import PRINTED, line, page
from workbench.errors import InputError, typed
from workbench.experiment import Experiment
from workbench.experiment.config import AnyStart
from workbench.files import DAMAGED
from workbench.geometry.atlas import Atlas, Basin, atlas, numbered
from workbench.geometry.stationary import Kind, check_mappable
from workbench.jobs.base import Cell, DamagedCellError, Job, Progress, Record
from workbench.jobs.experiment import load_stored
from workbench.jobs.running import Outcome, Reuse, Watch, record_of, run_job
from workbench.jobs.setting import Setting
from workbench.jobs.store import Store
from workbench.loop.pool import Checkpoint
from workbench.methods import Climber, Method
from workbench.provenance import Provenance, why_stale
from workbench.starts import STARTS, Start, Stated
from workbench.wrapping import paragraph


@dataclass(frozen=True, eq=False)
class Atlases:
    """The atlases of one problem, by rule of starts and method, with its stored traces."""

    comparison: Comparison  # of the stored runs of the experiment, of which there may be none
    atlases: tuple[Atlas, ...]
    left_out: tuple[str, ...] = ()  # methods that are samplers
    failures: dict[str, str] = field(default_factory=dict)
    stale: str | None = None  # the code that made stale atlases, if any are stale

    @property
    def numbers(self) -> list[list[int]]:
        """A number for each optimum of each atlas; equal optima have equal numbers."""
        found = numbered(self.atlases, self.comparison.problem) if self.atlases else []
        return [[int(number) for number in each] for each in found]

    @property
    def distinct(self) -> list[tuple[Basin, list[float]]]:
        """Every distinct optimum, sound ones first, with the share of starts that lead to it in each atlas."""
        numbers = self.numbers
        first: dict[int, Basin] = {}
        for each, own in zip(self.atlases, numbers, strict=True):
            for number, basin in zip(own, each.optima, strict=True):
                first.setdefault(number, basin)
        order = sorted(first, key=lambda number: (first[number].kind == Kind.DEGENERATE, number))

        def share(number: int, each: Atlas, own: list[int]) -> float:
            return sum(b.share.share for b, n in zip(each.optima, own, strict=True) if n == number)

        pairs = list(zip(self.atlases, numbers, strict=True))
        return [(first[number], [share(number, each, own) for each, own in pairs]) for number in order]

    @property
    def reading(self) -> str:
        """How often each method reaches the best maximum of all."""
        beware = f" Beware: some atlases are STALE: other code made them ({self.stale})." if self.stale else ""
        return f"{self._reading}{beware}"

    def __str__(self) -> str:
        return "\n\n".join([*map(str, self.atlases), paragraph(self.reading)])

    def __repr__(self) -> str:
        return line("Atlases", self.comparison.name, f"{len(self.atlases)} atlases", self.reading, PRINTED)

    def _repr_html_(self) -> str:
        parts = [part for each in self.atlases for part in (f"{each.method} from {each.rule}", each.table)]
        return page(*parts, self.reading)

    @property
    def _reading(self) -> str:
        tops = [each.best for each in self.atlases]
        best = max((top.log_joint for top in tops if top is not None), default=None)
        if best is None:
            return "No start leads to a strict sound maximum."
        parts = []
        for each, top in zip(self.atlases, tops, strict=True):
            there = top is not None and best - top.log_joint <= BEST
            count = top.count if there and top is not None else 0
            parts.append(f"{each.method} from {each.rule} {100 * count / each.starts:.1f} %")
        return f"Share of starts that end on the best maximum of all, {best:.3f}: {', '.join(parts)}."


# Nats by which polished values of one maximum may differ through rounding.
BEST = 1e-6


class AtlasJob(Job):
    """A job that maps some methods of an experiment from some rules of starts."""

    kind: ClassVar[str] = "atlas"
    plural: ClassVar[str] = "atlases"

    def __init__(
        self, name: str, setting: Setting, methods: Sequence[str], rules: Sequence[Start], starts: int
    ) -> None:
        self.name = name
        self.setting = setting
        self.pairs = [(method, rule) for rule in rules for method in methods]
        self.starts = starts

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        name: str,
        folder: Path | str = ".",
        *,
        starts: int = 1000,
        rules: Collection[str] | None = None,
        only: Collection[str] | None = None,
    ) -> "AtlasJob":
        """The atlases of an experiment, checked; the arguments are those of `map_experiment`.

        Raises:
            InputError: the data cannot be read, or a method cannot solve the problem.
        """
        setting = Setting.of(experiment, folder)
        experiment = setting.experiment
        methods = _climbers(experiment, only)
        chosen = _rules(experiment, rules)
        check_mappable(setting.problem)
        for rule in chosen:
            altered = {"methods": {m: experiment.methods[m] for m in methods}, "starts": rule}
            experiment.model_copy(update=altered).check(setting.problem)
        return cls(name, setting, methods, chosen, starts)

    @classmethod
    def stored(cls, folder: Path, record: Mapping[str, Any], where: str) -> "AtlasJob":
        """The job that a folder keeps, with its points."""
        setting = Setting.stored(folder, record, where)
        try:
            own = record["config"]["atlas"]
            rules = [TypeAdapter(AnyStart).validate_python(dict(rule)) for rule in own["rules"]]
            methods, starts = [str(method) for method in own["methods"]], int(own["starts"])
            if not set(methods) <= set(setting.experiment.methods):
                raise ValueError(f"methods {methods} are not all in the experiment")
        except DAMAGED as error:
            raise InputError(f"{where}: is damaged ({error}); delete it and run the job again") from None
        return cls(str(record["name"]), setting, methods, rules, starts)

    @cached_property
    def _cells(self) -> dict[str, tuple[Cell, str, Start]]:
        found = {}
        experiment = self.setting.experiment
        for method, rule in self.pairs:
            altered = experiment.model_copy(update={"starts": rule, "restarts": self.starts})
            run = Setting(altered, self.setting.points).cell(method)
            identity = {**run.identity, "soundness": experiment.soundness.model_dump(mode="json")}
            about = {"data": run.coordinates["data"], "method": method, "rule": _name(rule), "starts": self.starts}
            made_by = made_by_now(experiment.methods[method], rule, experiment)
            config = {key: value for key, value in (run.config or {}).items() if key != "restarts"}
            cell = Cell(f"atlas-{method}", identity, made_by, about, config)
            found[cell.key] = (cell, method, rule)
        return found

    def cells(self) -> Sequence[Cell]:
        """One for each method and rule."""
        return [cell for cell, _, _ in self._cells.values()]

    def run(self, cell: Cell, checkpoint: Checkpoint, progress: Progress | None) -> Record:
        """The atlas."""
        _, method, rule = self._cells[cell.key]
        experiment = self.setting.experiment
        config = experiment.methods[method]
        assert isinstance(config, Climber)
        made = atlas(
            self.setting.problem,
            config,
            starts=self.starts,
            rule=rule,
            seed=experiment.seed,
            name=method,
            soundness=experiment.soundness,
            progress=progress,
        )
        best = made.best
        row = {"optima": len(made.optima), "log_joint": None if best is None else best.log_joint}
        return Record(made.to_dict(), row=row)

    def config(self) -> dict[str, Any]:
        """The experiment, a digest of its points, and the rules, methods and number of starts."""
        rules = [rule.model_dump(mode="json") for rule in dict.fromkeys(rule for _, rule in self.pairs)]
        resolved = self.setting.experiment.resolved()
        methods = list(dict.fromkeys(method for method, _ in self.pairs))
        own = {"starts": self.starts, "rules": rules, "methods": methods}
        return {"experiment": resolved, "data_digest": self.setting.digest, "atlas": own}

    def prepare(self, folder: Path) -> None:
        """Store the points."""
        self.setting.points.keep(folder)

    def result(self, store: Store, outcomes: Sequence[Outcome]) -> Atlases:
        """All finished atlases, with the stored runs of the experiment."""
        done = [outcome for outcome in outcomes if outcome.failure is None]
        found = tuple(Atlas.from_dict(dict(record_of(store, outcome).values)) for outcome in done)
        failures = {self.label(o.cell): o.failure for o in outcomes if o.failure is not None}
        stale = "; ".join(dict.fromkeys(o.stale for o in done if o.stale is not None)) or None
        methods = self.setting.experiment.methods
        left_out = tuple(name for name, method in methods.items() if not isinstance(method, Climber))
        return Atlases(load_stored(store, self.setting, self.name), found, left_out, failures, stale)

    def label(self, cell: Cell) -> str:
        """The method and the rule."""
        _, method, rule = self._cells[cell.key]
        return f"{method} from {_name(rule)}"


def map_experiment(
    experiment: Experiment,
    *,
    starts: int = 1000,
    rules: Collection[str] | None = None,
    name: str = "experiment",
    out: Path | str = "results/experiment",
    folder: Path | str = ".",
    only: Collection[str] | None = None,
    force: bool = False,
    keep_stale: bool = False,
    retry: bool = False,
    watch: Watch | None = None,
) -> Atlases:
    """Map every optimising method of an experiment from every rule of starts; stored atlases are loaded.

    An atlas that raises is reported in `failures` and the others are kept.

    Args:
        experiment: the config; its own number of restarts and its races are ignored.
        starts: the number of starts of each atlas.
        rules: names of rules of starts; by default the rule of the experiment.
        name: shown in pages.
        out: the results folder.
        folder: what a relative `data.file` is relative to.
        only: names of methods; by default all but samplers.
        force: run stored atlases again.
        keep_stale: use stored atlases that other code made, and mark them as stale.
        retry: run failed atlases again.
        watch: returns a progress callback for each atlas that runs.

    Raises:
        InputError: the data cannot be read, or a method cannot solve the problem; raised before anything runs.
    """
    job, store = AtlasJob.of(experiment, name, folder, starts=starts, rules=rules, only=only), Store(out)
    return job.result(store, run_job(job, store, reuse=Reuse(force, keep_stale, retry), watch=watch))


def load_atlases(folder: Path | str) -> Atlases:
    """Every atlas of a results folder, with the stored runs of the experiment that was mapped last.

    Raises:
        InputError: the folder holds no atlas, or its data are damaged.
    """
    store = Store(folder)
    loaded = [load_atlas_job(store, file, job) for file, job in store.jobs(AtlasJob.kind)]
    found = tuple(atlas for each in loaded for atlas in each.atlases)
    if not found:
        raise InputError(f"{folder}: holds no atlas; run `workbench atlas FILE --out {folder}`")
    failures = {label: why for each in loaded for label, why in each.failures.items()}
    stale = "; ".join(dict.fromkeys(each.stale for each in loaded if each.stale is not None)) or None
    return Atlases(loaded[-1].comparison, found, loaded[-1].left_out, failures, stale)


def load_atlas_job(store: Store, file: Path, job: Mapping[str, Any]) -> Atlases:
    """The stored atlases of one job; failed and damaged ones are named in `failures`.

    Raises:
        InputError: the file or the points are damaged.
    """
    setting = Setting.stored(store.folder, job, str(file))
    found: dict[str, Atlas] = {}
    looked = {key: _look(store, key, found) for key in job["cells"]}
    stale = dict.fromkeys(each.stale for each in looked.values() if each.stale is not None)
    return Atlases(
        load_stored(store, setting, job["name"]),
        tuple(found.values()),
        (),
        {key: each.failure for key, each in looked.items() if each.failure},
        "; ".join(stale) or None,
    )


@dataclass(frozen=True)
class _Looked:
    """Why a stored atlas cannot be used unchanged, if it cannot."""

    failure: str = ""
    stale: str | None = None


def _look(store: Store, key: str, found: dict[str, Atlas]) -> _Looked:
    """Add a stored atlas to `found`, if it is sound."""
    try:
        manifest = store.manifest(key)
        if manifest is None:
            return _Looked()
        if "failure" in manifest:
            return _Looked(str(manifest["failure"]["message"]))
        record = store.load(key)
        try:
            found[key] = Atlas.from_dict(dict(record.values))
        except DAMAGED as error:
            raise store.damaged(key, str(error)) from None
    except DamagedCellError as error:
        return _Looked(str(error))
    return _Looked(stale=why_stale(manifest.get("made_by")))


def made_by_now(method: Method, rule: Start, experiment: Experiment) -> Provenance:
    """The present code that computes an atlas."""
    parts = (method, rule, experiment.prior, experiment.soundness)
    return Provenance.of(atlas, *parts, alone=("jobs.atlas", "experiment.config"))


def _climbers(experiment: Experiment, only: Collection[str] | None) -> list[str]:
    unknown = [name for name in only or () if name not in experiment.methods]
    if unknown or (only is not None and not only):
        raise InputError(f"--methods: {typed(unknown)}: not in the experiment; it has {', '.join(experiment.methods)}")
    wanted = [name for name in experiment.methods if only is None or name in only]
    climbers = [name for name in wanted if isinstance(experiment.methods[name], Climber)]
    if not climbers:
        raise InputError(f"methods: an atlas is of methods that climb to a point; {', '.join(wanted)} only sample")
    return climbers


def _rules(experiment: Experiment, names: Collection[str] | None) -> list[Start]:
    if names is None:
        return [experiment.starts]
    drawn = [name for name, start in STARTS.items() if not issubclass(start, Stated)]
    unknown = [name for name in names if name not in (*drawn, "all", _name(experiment.starts))]
    if unknown or not names:
        raise InputError(f"--rules: {typed(unknown)}: allowed are all, {', '.join(drawn)}")
    wanted = drawn if "all" in names else list(dict.fromkeys(names))
    own = experiment.starts
    return [own if _name(own) == name else STARTS[name]() for name in wanted]


def _name(rule: Start) -> str:
    return str(rule.model_dump()["rule"])
