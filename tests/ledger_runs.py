"""Runs what a claim of the shipped ledger rests on, in its quick variant or in a smaller one, and decides it."""

from pathlib import Path
from typing import Any

from ledger_limits import LEDGER

from workbench.claims import read_ledger
from workbench.claims.decision import Decision
from workbench.claims.evidence import Evidence, Ran
from workbench.experiment import read_experiment
from workbench.jobs.experiment import run_experiment
from workbench.jobs.study import run_study
from workbench.studies import Study
from workbench.studies.reading import read_study


def decided(name: str, out: Path, *settings: str) -> tuple[Decision, list[Any]]:
    """The decision on a claim, and its evidence: one for each config, with these settings besides the quick ones."""
    (entry,) = (each for each in read_ledger(LEDGER, quick=True) if each.name == name)
    evidence = list[Evidence]()
    for file, config in entry.own:
        home = {"out": out / file.stem, "folder": file.parent, "name": file.stem}
        if isinstance(config, Study):
            evidence.append(run_study(read_study(file, (*entry.claim.quick, *settings)), **home))  # type: ignore[arg-type]
        else:
            experiment = read_experiment(file, (*entry.claim.quick, *settings))
            evidence.append(Ran(experiment, run_experiment(experiment, **home), file.stem))  # type: ignore[arg-type]
    return entry.decide(evidence), evidence
