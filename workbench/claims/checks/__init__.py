"""Checks: named functions that decide claims, looked up in `CHECKS`. For each, a test shows that it can fail."""

from workbench.claims.checks import climbs, posterior, studies, uncertainty
from workbench.claims.evidence import Check, over_experiment, over_experiments, over_study

CHECKS: dict[str, Check] = {
    # of stored runs
    "log_exceeds_sum": over_experiment("the log of the sum against the sum of the logs", climbs.log_exceeds_sum),
    "em_never_falls": over_experiments("steps of EM that lowered the objective", climbs.em_never_falls),
    "em_ends_on_maxima": over_experiment("what EM's ends are, by gradient and Hessian", climbs.em_ends_on_maxima),
    "several_maxima": over_experiment("distinct strict maxima up to labels", climbs.several_maxima),
    "best_start_is_a_spike": over_experiment(
        "the likelihood beyond the brinks against the best sound optimum", climbs.best_start_is_a_spike
    ),
    "ascent_needs_fewer_passes": over_experiment("passes of L-BFGS for each of EM", climbs.ascent_needs_fewer_passes),
    "em_ends_higher": over_experiments("starts from which EM ends higher than L-BFGS, or lower", climbs.em_ends_higher),
    "draws_stay_below_best": over_experiment("the highest draw and the best optimum", posterior.draws_stay_below_best),
    "chain_keeps_one_order": over_experiment("orders of the components along a chain", posterior.chain_keeps_one_order),
    "labels_alone_part_the_chains": over_experiment(
        "R-hat of raw means and of what is blind to labels", posterior.labels_alone_part_the_chains
    ),
    "overlap_joins_the_labellings": over_experiments(
        "passes for an effective draw where groups overlap, and where not", posterior.overlap_joins_the_labellings
    ),
    "finds_the_tutorials_mode": over_experiment(
        "the mode and its loss beside those printed", posterior.finds_the_tutorials_mode
    ),
    "weak_prior_keeps_the_spikes": over_experiments(
        "ends and draws in spikes under a weak prior and a sensible one", posterior.weak_prior_keeps_the_spikes
    ),
    # of studies
    "equations_are_coupled": over_study(
        "coupling", "the Hessian's share between the equations", studies.equations_are_coupled
    ),
    "no_step_solves_it": over_study("coupling", "what one step leaves of the score", studies.no_step_solves_it),
    "escape_has_slope_of_theory": over_study(
        "escape", "slopes against log sigma and the theory's", studies.escape_has_slope_of_theory
    ),
    "floor_breaks_monotonicity": over_study(
        "collapse", "steps that lower the likelihood, with and without the floor", studies.floor_breaks_monotonicity
    ),
    "step_size_must_be_chosen": over_study(
        "stability", "edges of stability of ascent, and EM without", studies.step_size_must_be_chosen
    ),
    "em_keeps_its_path": over_study("affine", "paths in other units of the data", studies.em_keeps_its_path),
    "em_slows_with_overlap": over_study("rate", "passes of EM by overlap", studies.em_slows_with_overlap),
    "ascent_overtakes_em": over_study("rate", "passes of L-BFGS and of EM by overlap", studies.ascent_overtakes_em),
    "equal_weights_give_a_quarter": over_study(
        "overspecified", "the slope of the error in N", studies.equal_weights_give_a_quarter
    ),
    "failures_grow_with_components": over_study(
        "bad_optima", "failing random starts by the number of groups", studies.failures_grow_with_components
    ),
    "kmeans_starts_fail_less": over_study(
        "bad_optima", "failing starts by their rule", studies.kmeans_starts_fail_less
    ),
    "information_by_em_agrees": over_study(
        "standard_errors", "EM's standard errors beside those of the Hessian", uncertainty.information_by_em_agrees
    ),
    "wald_covers_clear_groups": over_study(
        "coverage", "Wald intervals that hold the truth, groups clear", uncertainty.wald_covers_clear_groups
    ),
    "wald_falls_short_on_overlap": over_study(
        "coverage", "Wald intervals that hold the truth, groups blurred", uncertainty.wald_falls_short_on_overlap
    ),
    "samplers_are_calibrated": over_study(
        "calibration", "p-values of the ranks of the truth among draws", posterior.samplers_are_calibrated
    ),
}

__all__ = ["CHECKS", "Check", "over_experiment", "over_experiments", "over_study"]
