"""The ledger: each claim is a sentence with its source, the configs that test it and the check that decides it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from workbench.claims.checks import CHECKS
from workbench.claims.decision import Decision, undecided
from workbench.claims.evidence import Ran
from workbench.config import Config
from workbench.errors import VALUE, InputError, one_line
from workbench.experiment import Experiment, read_experiment
from workbench.experiment.provenance import provenance_of
from workbench.experiment.reading import explain, read_toml
from workbench.provenance import Provenance
from workbench.studies import Findings, Study
from workbench.studies.reading import is_study, read_study

Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[
    tuple[Text, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else (v,) if isinstance(v, str) else v)
]


class Claim(Config):
    """One table of the ledger, [claims.NAME]."""

    sentence: Text = Field(description="the claim, in one sentence")
    source: Text = Field(description="who says so: paper or book, with section or equation")
    config: Texts = Field(min_length=1, description="the study or the experiments that test it, relative to the ledger")
    check: Text = Field(description="the named function that decides it")
    quick: Texts = Field((), description="key.path=value settings that make a quick variant of the config")


@dataclass(frozen=True)
class Entry:
    """A claim with its name and its configs."""

    name: str
    claim: Claim
    files: tuple[Path, ...]  # of the configs
    configs: tuple[Experiment | Study, ...]

    @property
    def rests_on(self) -> list[tuple[Path, Experiment | Study]]:
        """Each config with its file."""
        return list(zip(self.files, self.configs, strict=True))

    @property
    def made_by(self) -> Provenance:
        """The present code of the check, and of everything that it reads."""
        roots = list(Provenance.of(CHECKS[self.claim.check].decide).roots)
        for config in self.configs:
            runs = [provenance_of(config, name) for name in config.methods] if isinstance(config, Experiment) else []
            roots += [root for made_by in runs or [Provenance.of(config)] for root in made_by.roots]
        return Provenance.from_roots(roots)

    def decide(self, evidence: Sequence[Ran | Findings]) -> Decision:
        """The decision of the check on complete results; undecided if other code made some of them.

        Args:
            evidence: the results of each config.

        Raises:
            Exception: any error that the check raises.
        """
        check = CHECKS[self.claim.check]
        stale = "; ".join(dict.fromkeys(each.stale for each in evidence if each.stale is not None))
        if stale:
            return undecided(f"It rests on runs that other code made ({stale}); run them again.")
        try:
            return check.decide(list(evidence) if check.several else evidence[0])
        except InputError as error:
            # The error concerns only this claim, not the input of the command.
            raise RuntimeError(f"{self.claim.check}: {error}") from error


def is_ledger(path: Path | str) -> bool:
    """Whether a TOML file holds claims rather than an experiment or a study.

    Raises:
        InputError: the file cannot be read, or is not TOML.
    """
    return "claims" in read_toml(path)


def read_ledger(path: Path | str, *, quick: bool = False) -> list[Entry]:
    """The claims of a TOML ledger in its order, with their configs.

    Args:
        path: of the ledger.
        quick: apply each claim's quick settings to its configs.

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
            entries.append(_entry(name, table, path.parent, quick))
        except InputError as error:
            problems += [f"{path}: claims.{one_line(str(name), VALUE)}{line}" for line in str(error).splitlines()]
    if problems:
        raise InputError("\n".join(problems))
    return entries


def _entry(name: str, table: Any, folder: Path, quick: bool) -> Entry:
    """Raises InputError with one line for each mistake, each beginning with the rest of its key path."""
    if not isinstance(table, Mapping):
        raise InputError(f": must be a table, got {table!r}")
    try:
        claim = Claim.model_validate(table)
    except ValidationError as error:
        raise InputError("\n".join(f".{explain(each, Claim)}" for each in error.errors())) from None
    files = tuple(folder / config for config in claim.config)
    problems, configs = [], []
    for file in files:
        try:
            configs.append(_read(file, claim.quick if quick else ()))
        except InputError as error:
            problems += [f".config: {line}" for line in str(error).splitlines()]
    if claim.check not in CHECKS:
        near = get_close_matches(claim.check, CHECKS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        problems.append(f".check: unknown {claim.check!r} ({hint}allowed: {', '.join(CHECKS)})")
    elif not problems:
        problems += _misfit(claim, configs)
    if problems:
        raise InputError("\n".join(problems))
    return Entry(name, claim, files, tuple(configs))


def _read(file: Path, settings: tuple[str, ...]) -> Experiment | Study:
    return read_study(file, settings) if is_study(file) else read_experiment(file, settings)


def _misfit(claim: Claim, configs: list[Experiment | Study]) -> list[str]:
    """The reasons why the check cannot read these configs; empty if it can."""
    check = CHECKS[claim.check]
    if not check.several and len(configs) > 1:
        return [f".config: {claim.check} reads one file, got {len(configs)}"]
    wanted = _kind(check.study)
    found = [config.study if isinstance(config, Study) else None for config in configs]
    misfits = [(file, name) for file, name in zip(claim.config, found, strict=True) if name != check.study]
    return [f".config: {claim.check} reads {wanted}, and {file} is {_kind(name)}" for file, name in misfits]


def _kind(study: str | None) -> str:
    return "an experiment" if study is None else f"the study {study}"
