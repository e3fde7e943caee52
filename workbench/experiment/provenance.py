"""The code that a method's run depends on: the loop, the scores, and the parts of the config that it uses."""

from workbench.compare.comparison import starts_of
from workbench.diagnostics import adjusted_rand_index, checks, mixing_of, restart_statuses
from workbench.experiment.config import Experiment
from workbench.loop.run import run
from workbench.provenance import Provenance

# Modules that hand the settings of the config to the code that computes.
GLUE = ("jobs.setting", "experiment.config")


def provenance_of(experiment: Experiment, method: str) -> Provenance:
    """The present code and packages that would run a method of the experiment."""
    parts = (experiment.starts, experiment.prior, experiment.soundness, experiment.methods[method])
    return Provenance.of(run, starts_of, restart_statuses, checks, mixing_of, adjusted_rand_index, *parts, alone=GLUE)
