"""Checks: named functions that decide claims, found by name in `CHECKS`. Each can fail, and a test makes it."""

from workbench.claims.checks.base import Check, over_experiment, over_experiments, over_study
from workbench.claims.checks.chains import chain_keeps_one_order, draws_stay_below_best
from workbench.claims.checks.climbs import (
    ascent_needs_fewer_passes,
    best_end_is_unsound,
    em_ends_higher,
    em_never_falls,
    log_exceeds_sum,
)

CHECKS: dict[str, Check] = {
    "em_never_falls": over_experiments("steps of EM that lowered the objective", em_never_falls),
    "log_exceeds_sum": over_experiment("the log of the sum against the sum of the logs", log_exceeds_sum),
    "best_end_is_unsound": over_experiment("the highest end against the highest sound one", best_end_is_unsound),
    "ascent_needs_fewer_passes": over_experiment("passes of L-BFGS for each of EM", ascent_needs_fewer_passes),
    "em_ends_higher": over_experiments("starts from which EM ends higher than L-BFGS, or lower", em_ends_higher),
    "draws_stay_below_best": over_experiment("the highest draw against the best optimum", draws_stay_below_best),
    "chain_keeps_one_order": over_experiment("orders of the components along a chain", chain_keeps_one_order),
}

__all__ = ["CHECKS", "Check", "over_experiment", "over_experiments", "over_study"]
