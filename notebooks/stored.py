"""What the notebooks read: stored results, or a message that names the command that makes them.

`WORKBENCH_RESULTS` names another folder of results. Without it, `results/` of the repository is read, and where a
result is not there, its small variant in `results/quick/`, which `make notebooks-data` makes in minutes.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

import workbench as wb
from workbench.jobs.judged import Judged, load_claims
from workbench.report import study_figures

RESULTS = Path(os.environ.get("WORKBENCH_RESULTS", Path(__file__).resolve().parents[1] / "results"))
QUICK = RESULTS / "quick"


def folder(name: str, made_by: str) -> Path:
    """Where a result lies: in full if it is stored, else its small variant, and then it says so.

    Args:
        name: the folder in the results.
        made_by: the command that makes it in full.

    Raises:
        FileNotFoundError: neither is stored; the message names the commands.
    """
    if (RESULTS / name).is_dir():
        return RESULTS / name
    if (QUICK / name).is_dir():
        print(f"{name}: the small variant of `make notebooks-data`; its numbers are not those of the full run")
        return QUICK / name
    raise FileNotFoundError(
        f"{RESULTS / name}: nothing is stored there. In the repository, run `make notebooks-data` "
        f"(small variants of all, in minutes) or `{made_by}` (in full), and this cell again"
    )


def experiment(name: str, made_by: str) -> wb.Comparison:
    """The stored experiment of most runs."""
    found = wb.load_results(folder(name, made_by))
    return max(found, key=lambda comparison: sum(trace.num_restarts for trace in comparison.values()))


def study(name: str, made_by: str) -> Mapping[str, Figure]:
    """The figures of the stored study of most rows, by name."""
    found = wb.load_studies(folder(name, made_by))
    return study_figures(max(found, key=lambda findings: len(findings.rows)))


def claims(made_by: str) -> list[Judged]:
    """The decisions of the ledger of claims."""
    return load_claims(folder("claims", made_by).parent)
