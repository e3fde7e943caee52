"""The ledger: each claim is a sentence with its source, the configs that test it and the check that decides it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, ValidationError

from workbench.claims.checks import CHECKS
from workbench.claims.decision import Decision, Exact, Interval, Varied, across, number, undecided
from workbench.claims.evidence import Evidence, Limits
from workbench.config import Config, Listed
from workbench.errors import VALUE, InputError, nearest, one_line
from workbench.experiment import Experiment, read_experiment
from workbench.experiment.provenance import provenance_of
from workbench.experiment.reading import explain, read_toml
from workbench.provenance import Provenance
from workbench.studies import Study
from workbench.studies.reading import is_study, read_study

Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[
    tuple[Text, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else (v,) if isinstance(v, str) else v)
]


class Threshold(Config):
    """A number on which the verdict rests, [claims.NAME.thresholds]."""

    value: float = Field(description="the number")
    reason: Text = Field(description="why it has this value")
    tried: Annotated[tuple[float, ...], Listed] = Field(
        (), description="other values, decided as well and shown beside"
    )


class Variation(Config):
    """Another setting under which the claim is decided as well, [[claims.NAME.vary]]."""

    what: Text = Field(description='what is varied: "seed", "family", "data set"')
    at: Text = Field(description="its value, as the table shows it")
    set: Texts = Field((), description="key.path=value settings of the configs")
    config: Texts = Field((), description="other configs, in place of the claim's")
    within: bool = Field(True, description="whether the sentence speaks of this setting, so that it must hold here too")


class Claim(Config):
    """One table of the ledger, [claims.NAME].

    An *identity* follows from definitions, and a *theorem* is proved for all that the sentence speaks of. Their runs
    test the code, not the world. Everything else is *measured*.
    """

    sentence: Text = Field(description="the claim, in one sentence")
    source: Text = Field(description="who says so: paper or book, with section or equation")
    kind: Literal["measured", "identity", "theorem"] = Field(
        "measured", description="whether a run tests the world, or the code by what is known"
    )
    settings: str = Field("", description="what the claim's own run is, as the table of sensitivity calls it")
    config: Texts = Field(
        min_length=1,
        description='the study or the experiments that test it, relative to the ledger; "*": all of the other claims '
        "that the check can read, in all of their settings",
    )
    check: Text = Field(description="the named function that decides it")
    thresholds: dict[str, Threshold] = Field({}, description="the numbers that the check needs, by name")
    vary: Annotated[tuple[Variation, ...], Listed] = Field((), description="other settings; left out of quick variants")
    quick: Texts = Field((), description="key.path=value settings that make a quick variant of the config")
    quick_config: Texts = Field((), description="the configs of the quick variant, if they are others")

    @property
    def limits(self) -> dict[str, float]:
        """The values of the thresholds."""
        return {name: threshold.value for name, threshold in self.thresholds.items()}


# In place of the names of configs: every config of the other claims that the check can read.
EVERY = ("*",)

Configs: TypeAlias = list[tuple[Path, Experiment | Study]]  # each with its file


@dataclass(frozen=True)
class Entry:
    """A claim with its name and its configs."""

    name: str
    claim: Claim
    own: Configs
    varied: tuple[Configs, ...] = ()  # for each variation that is run; none in quick variants

    @property
    def rests_on(self) -> Configs:
        """Each config with its file: the claim's own, then those of its variations."""
        return [each for configs in (self.own, *self.varied) for each in configs]

    @property
    def is_test(self) -> bool:
        """Whether it counts among the tests whose family-wise level is controlled."""
        return self.claim.kind == "measured"

    @property
    def made_by(self) -> Provenance:
        """The present code of the check, and of everything that it reads."""
        roots = list(Provenance.of(CHECKS[self.claim.check].decide).roots)
        for _, config in self.rests_on:
            runs = [provenance_of(config, name) for name in config.methods] if isinstance(config, Experiment) else []
            roots += [root for made_by in runs or [Provenance.of(config)] for root in made_by.roots]
        return Provenance.from_roots(roots)

    def decide(self, evidence: Sequence[Evidence | str]) -> Decision:
        """The decision of the check on complete results, with its sensitivity to settings and thresholds.

        It is undecided if other code made some of the results.

        Args:
            evidence: the results of each config of `rests_on`, or the reason why there are none; the claim's own
                must be there.

        Raises:
            Exception: any error that the check raises.
        """
        stale = dict.fromkeys(each.stale for each in evidence if not isinstance(each, str) and each.stale is not None)
        if stale:
            return undecided(f"It rests on runs that other code made ({'; '.join(stale)}); run them again.")
        groups, rest = [], list(evidence)
        for configs in (self.own, *self.varied):
            groups.append(rest[: len(configs)])
            rest = rest[len(configs) :]
        base, rows = self._decide(groups[0], self.claim.limits), []
        for name, threshold in self.claim.thresholds.items():
            for value in threshold.tried:
                other = self._decide(groups[0], self.claim.limits | {name: value})
                rows.append(Varied.of(other, name.replace("_", " "), number(value), within=True))
        for variation, group in zip(self.claim.vary, groups[1:], strict=False):
            lost = [each for each in group if isinstance(each, str)]
            other = undecided("; ".join(lost)) if lost else self._decide(group, self.claim.limits)
            rows.append(Varied.of(other, variation.what, variation.at, within=variation.within))
        return across(base, rows, at=self.claim.settings or "as stated")

    def _decide(self, evidence: Sequence[Evidence | str], limits: Limits) -> Decision:
        check = CHECKS[self.claim.check]
        try:
            decision = check.decide(list(evidence) if check.several else evidence[0], limits)
        except InputError as error:
            # The error concerns only this claim, not the input of the command.
            raise RuntimeError(f"{self.claim.check}: {error}") from error
        proved = isinstance(decision.error, Exact) and decision.error.proved
        if proved and self.claim.kind == "measured":
            raise RuntimeError(f"{self.claim.check} rests on a proof: its claim is an identity or a theorem")
        if self.claim.kind != "measured" and isinstance(decision.error, Interval):
            raise RuntimeError(f"{self.claim.check}: an interval says nothing of an {self.claim.kind}")
        return decision


def is_ledger(path: Path | str) -> bool:
    """Whether a TOML file holds claims rather than an experiment or a study.

    Raises:
        InputError: the file cannot be read, or is not TOML.
    """
    return "claims" in read_toml(path)


def read_ledger(path: Path | str, *, quick: bool = False, seed: int | None = None) -> list[Entry]:
    """The claims of a TOML ledger in its order, with their configs.

    Args:
        path: of the ledger.
        quick: apply each claim's quick settings to its configs.
        seed: root seed of every config, in place of its own; a variation that states another keeps it.

    Raises:
        InputError: the file cannot be read; a key is wrong, unknown or missing; a check is unknown or reads something
            else than the config; a config is missing or wrong. All of them are named at once.
    """
    path = Path(path)
    values = read_toml(path)
    tables = values.get("claims")
    problems = [f"{path}: {one_line(key)}: unknown key (allowed: claims)" for key in values if key != "claims"]
    if not isinstance(tables, dict) or not tables:
        raise InputError("\n".join([*problems, f"{path}: claims: missing; give tables [claims.NAME]"]))
    entries = []
    for name, table in tables.items():
        try:
            entries.append(_entry(name, table, path.parent, quick, () if seed is None else (f"seed={seed}",)))
        except InputError as error:
            problems += [f"{path}: claims.{one_line(str(name), VALUE)}{line}" for line in str(error).splitlines()]
    if problems:
        raise InputError("\n".join(problems))
    return [each if each.own else replace(each, own=_gathered(each, entries)) for each in entries]


def _gathered(entry: Entry, ledger: Sequence[Entry]) -> Configs:
    """The configs of a ledger that the check of a claim can read, each once."""
    check = CHECKS[entry.claim.check]
    found: Configs = []
    for each in (each for other in ledger for each in other.rests_on):
        if each not in found and check.gathers(each[1]):
            found.append(each)
    return found


def _entry(name: str, table: Any, folder: Path, quick: bool, seeded: tuple[str, ...]) -> Entry:
    """Raises InputError with one line for each mistake, each beginning with the rest of its key path."""
    if not isinstance(table, Mapping):
        raise InputError(f": must be a table, got {table!r}")
    try:
        claim = Claim.model_validate(table)
    except ValidationError as error:
        raise InputError("\n".join(f".{explain(each, Claim)}" for each in error.errors())) from None
    problems: list[str] = []
    names, settings = (claim.quick_config or claim.config, claim.quick) if quick else (claim.config, ())
    own = [] if names == EVERY else _configs(names, folder, seeded + settings, problems)
    each = () if quick else claim.vary
    varied = tuple(_configs(v.config or claim.config, folder, seeded + v.set, problems) for v in each)
    if claim.check not in CHECKS:
        near = nearest(claim.check, tuple(CHECKS))
        hint = f"did you mean {near!r}? " if near else ""
        problems.append(f".check: unknown {claim.check!r} ({hint}allowed: {', '.join(CHECKS)})")
    else:
        problems += _misfit_of_thresholds(claim)
        if not problems:
            problems += [line for configs in (own, *varied) for line in _misfit(claim, configs)]
    if problems:
        raise InputError("\n".join(problems))
    return Entry(name, claim, own, varied)


def _configs(names: Sequence[str], folder: Path, settings: tuple[str, ...], problems: list[str]) -> Configs:
    """The configs of these files; what is wrong with them is added to `problems`."""
    found: Configs = []
    for name in names:
        try:
            found.append((folder / name, _read(folder / name, settings)))
        except InputError as error:
            problems += [f".config: {line}" for line in str(error).splitlines()]
    return found


def _read(file: Path, settings: tuple[str, ...]) -> Experiment | Study:
    return read_study(file, settings) if is_study(file) else read_experiment(file, settings)


def _misfit_of_thresholds(claim: Claim) -> list[str]:
    """The thresholds that the check needs and the claim lacks, and those that it does not know."""
    wanted = CHECKS[claim.check].thresholds
    lacking = [
        f".thresholds.{name}: missing; {claim.check} needs it" for name in wanted if name not in claim.thresholds
    ]
    known = f"allowed: {', '.join(wanted) or 'none'}"
    return lacking + [f".thresholds.{name}: unknown ({known})" for name in claim.thresholds if name not in wanted]


def _misfit(claim: Claim, configs: Configs) -> list[str]:
    """The reasons why the check cannot read these configs; empty if it can."""
    check = CHECKS[claim.check]
    if not check.several and (len(configs) > 1 or claim.config == EVERY):
        return [f".config: {claim.check} reads one file, got {len(configs) or 'all'}"]
    wanted, allowed = _kind(check.study), (check.study, *check.besides)
    found = [(file, config.study if isinstance(config, Study) else None) for file, config in configs]
    misfits = [(file.name, name) for file, name in found if name not in allowed]
    return [f".config: {claim.check} reads {wanted}, and {file} is {_kind(name)}" for file, name in misfits]


def _kind(study: str | None) -> str:
    return "an experiment" if study is None else f"the study {study}"
