"""What the numbers of one method's run rest on: the loop, its judges, and the parts of the config that it uses."""

from workbench.compare.comparison import starts_of
from workbench.diagnostics import adjusted_rand_index, checks, mixing_of, restart_statuses
from workbench.experiment.config import Experiment
from workbench.loop.run import run
from workbench.provenance import Provenance

# What hands the config's settings to what computes.
GLUE = ("jobs.setting", "experiment.config")


def provenance_of(experiment: Experiment, method: str) -> Provenance:
    """The present code and packages that a run of a method of the experiment would be made by."""
    parts = (experiment.starts, experiment.prior, experiment.soundness, experiment.methods[method])
    return Provenance.of(run, starts_of, restart_statuses, checks, mixing_of, adjusted_rand_index, *parts, alone=GLUE)
