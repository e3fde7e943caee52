"""The atlases of an experiment: one of each optimising method from each rule of starts, run where missing, and stored.

results/NAME/atlas-HASH/atlas.json holds one of them whole, with its config; what is stored is not run again.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from workbench.compare import Comparison
from workbench.compare.comparison import Watch
from workbench.diagnostics.atlas import Atlas, Basin
from workbench.diagnostics.stationary import Kind
from workbench.diagnostics.survey import atlas, numbered
from workbench.errors import InputError
from workbench.execution import FAILURES
from workbench.experiment import Experiment, parse_experiment
from workbench.files import replacing
from workbench.manifest import FORMAT, check_format
from workbench.methods import Climber, Method
from workbench.methods.base import check_smooth
from workbench.problem import Problem
from workbench.provenance import Provenance, announce_stale
from workbench.starts import STARTS, Start, Stated
from workbench.store import Points, Store, assemble

# What a stored atlas that is damaged raises when it is read.
_DAMAGED = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


@dataclass(frozen=True, eq=False)
class Atlases:
    """Atlases of one problem, by rule of starts and method, with the traces of it that are stored."""

    comparison: Comparison  # of what `workbench run` has stored of the experiment; perhaps of nothing
    atlases: tuple[Atlas, ...]
    left_out: tuple[str, ...] = ()  # methods that are samplers
    failures: dict[str, str] = field(default_factory=dict)
    stale: str | None = None  # what other code made atlases, if any did

    @property
    def numbers(self) -> list[list[int]]:
        """A number for each optimum of each atlas, the same for the same optimum."""
        found = numbered(self.atlases, self.comparison.problem.num_points) if self.atlases else []
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
        """Which method reaches the best maximum of all how often."""
        text = self._reading
        return (
            text
            if self.stale is None
            else f"{text} Beware: some atlases are STALE: other code made them ({self.stale})."
        )

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


# Nats between polished values of one maximum: rounding alone.
BEST = 1e-6


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
    watch: Watch | None = None,
) -> Atlases:
    """Map every optimising method of an experiment from every rule of starts; what is stored is loaded.

    An atlas that raises is reported in `failures` and the others are kept.

    Args:
        experiment: the config; its own number of restarts and its races play no part.
        starts: of each atlas.
        rules: names of rules of starts; the experiment's own unless given.
        name: shown in pages.
        out: the results folder.
        folder: what a relative `data.file` is relative to.
        only: names of methods; all that are no samplers unless given.
        force: run again what is stored.
        keep_stale: take stored atlases that other code made as they are, and say so.
        watch: gives a progress callback for each atlas that runs.

    Raises:
        InputError: the data cannot be had, or a method cannot solve the problem. Nothing has run then.
    """
    methods = _climbers(experiment, only)
    chosen = _rules(experiment, rules)
    train, heldout = experiment.data.load(experiment.seed, Path(folder))
    points, problem = Points(train, heldout), experiment.problem(train)
    check_smooth(problem)
    for rule in chosen:
        altered = {"methods": {m: experiment.methods[m] for m in methods}, "starts": rule}
        experiment.model_copy(update=altered).check(problem)
    experiment = experiment.located(Path(folder))
    store = Store(Path(out))
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); give another folder with --out") from None
    found: list[Atlas] = []
    failures: dict[str, str] = {}
    pairs = [(method, rule) for rule in chosen for method in methods]
    places = [_place(store, experiment, method, rule, starts, points.digest) for method, rule in pairs]
    stored = [None if force else _load(place) for place in places]
    announce_stale([each.stale for each in stored if each is not None], "stored atlases", kept=keep_stale)
    used = [each if each is not None and (keep_stale or each.stale is None) else None for each in stored]
    for (method, rule), place, each in zip(pairs, places, used, strict=True):
        try:
            made = _map(experiment, method, rule, starts, problem, place, watch) if each is None else each.atlas
        except FAILURES as error:
            failures[f"{method} from {_name(rule)}"] = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            found.append(made)
    names = [m for m in experiment.methods if store.is_complete(store.cell(experiment, m, points.digest))]
    traces = {m: store.load_trace(store.cell(experiment, m, points.digest), problem) for m in names}
    left_out = tuple(m for m, method in experiment.methods.items() if not isinstance(method, Climber))
    whys = {m: store.why_stale(store.cell(experiment, m, points.digest), experiment, m) for m in names}
    comparison = replace(
        assemble(experiment, name, points, problem, traces),
        stale={m: why for m, why in whys.items() if why is not None},
    )
    return Atlases(comparison, tuple(found), left_out, failures, _all_stale(used))


def load_atlases(folder: Path | str) -> Atlases:
    """Every atlas of a results folder, with the runs of the experiment that has most of them there.

    Raises:
        InputError: the folder holds no atlas, or no run.
    """
    places = sorted(Path(folder).glob("atlas-*/atlas.json"))
    found = [each for place in places if (each := _load(place)) is not None]
    if not found:
        raise InputError(f"{folder}: holds no atlas; run `workbench atlas FILE --out {folder}`")
    runs = [comparison for comparison, _ in Store(Path(folder)).load_all()]
    most = max(runs, key=lambda runs: sum(trace.num_restarts for trace in runs.values()))
    return Atlases(most, tuple(each.atlas for each in found), stale=_all_stale(found))


def _map(
    experiment: Experiment, method: str, rule: Start, starts: int, problem: Problem, place: Path, watch: Watch | None
) -> Atlas:
    config = experiment.methods[method]
    assert isinstance(config, Climber)
    progress = None if watch is None else watch(f"{method} from {_name(rule)}")
    made = atlas(
        problem,
        config,
        starts=starts,
        rule=rule,
        seed=experiment.seed,
        name=method,
        soundness=experiment.soundness,
        progress=progress,
    )
    resolved = experiment.resolved()
    record = {
        "format": FORMAT,
        "config": resolved | {"methods": {method: resolved["methods"][method]}, "starts": _plain(rule)},
        "made_by": _made_by(config, rule, experiment).to_dict(),
        "atlas": made.to_dict(),
    }
    with replacing(place) as temporary:
        temporary.write_text(json.dumps(record, allow_nan=False) + "\n", encoding="utf-8")
    return made


class Stored(NamedTuple):
    """An atlas, and what other code made it, if any did."""

    atlas: Atlas
    stale: str | None


def _load(place: Path) -> Stored | None:
    """The stored atlas; None where there is none, or a damaged one, which is run again."""
    try:
        record = json.loads(place.read_text(encoding="utf-8"))
        check_format(record, str(place))
        config = parse_experiment(record["config"], str(place))
        (method,) = config.methods.values()
        made_by = _made_by(method, config.starts, config)
        return Stored(Atlas.from_dict(record["atlas"]), made_by.why_stale(record.get("made_by")))
    except InputError:
        raise
    except _DAMAGED:
        return None


def _made_by(method: Method, rule: Start, experiment: Experiment) -> Provenance:
    """The present code of what computes an atlas."""
    parts = (method, rule, experiment.prior, experiment.soundness)
    return Provenance.of(atlas, *parts, alone=("atlases", "experiment.config"))


def _all_stale(stored: Iterable[Stored | None]) -> str | None:
    """What other code made any of these."""
    return "; ".join(dict.fromkeys(each.stale for each in stored if each is not None and each.stale)) or None


def _place(store: Store, experiment: Experiment, method: str, rule: Start, starts: int, digest: str) -> Path:
    """Where an atlas is kept: its hash covers all that its numbers depend on."""
    cell = store.cell(experiment.model_copy(update={"starts": rule, "restarts": starts}), method, digest)
    identity = f"{cell.name} {experiment.soundness.model_dump_json()}"
    return store.folder / f"atlas-{hashlib.sha256(identity.encode()).hexdigest()[:10]}" / "atlas.json"


def _climbers(experiment: Experiment, only: Collection[str] | None) -> list[str]:
    unknown = [name for name in only or () if name not in experiment.methods]
    if unknown or (only is not None and not only):
        raise InputError(
            f"--methods: {', '.join(unknown) or 'none given'}: not in the experiment; "
            f"it has {', '.join(experiment.methods)}"
        )
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
        raise InputError(f"--rules: {', '.join(unknown) or 'none given'}: allowed are all, {', '.join(drawn)}")
    wanted = drawn if "all" in names else list(dict.fromkeys(names))
    own = experiment.starts
    return [own if _name(own) == name else STARTS[name]() for name in wanted]


def _name(rule: Start) -> str:
    return str(_plain(rule)["rule"])


def _plain(rule: Start) -> dict[str, Any]:
    return dict(rule.model_dump(mode="json"))
