"""Checks: named functions that decide claims, looked up in `CHECKS`. For each, a test shows that it can fail.

No check holds a threshold: a number on which a verdict rests stands in the ledger, with its reason, and is named here.
"""

from workbench.claims.checks import climbs, equations, optima, posterior, rates, starts, uncertainty
from workbench.claims.evidence import Check, over_experiment, over_experiments, over_study
from workbench.methods import EM

CHECKS: dict[str, Check] = {
    # of stored runs
    "log_exceeds_sum": over_experiment(
        "the log of the sum against the sum of the logs", climbs.log_exceeds_sum, "rounding"
    ),
    "indicators_are_no_probabilities": over_experiment(
        "responsibilities that no indicator takes", climbs.indicators_are_no_probabilities, "rounding", "fraction"
    ),
    "updates_are_averages": over_experiment(
        "EM's step and weighted averages in NumPy", climbs.updates_are_averages, "rounding"
    ),
    "old_mean_is_no_m_step": over_experiment(
        "what a covariance about the old mean loses of the M-step", climbs.old_mean_is_no_m_step, "rounding", "starts"
    ),
    "direct_ascent_cannot": over_experiments(
        "data sets on which direct ascent misses EM's best", climbs.direct_ascent_cannot, "within"
    ),
    "em_never_falls": over_experiments(
        "steps of EM that lowered the objective",
        climbs.em_never_falls,
        "rounding",
        besides=("collapse", "bad_optima"),
        of=EM,
    ),
    "em_ends_on_maxima": over_experiment("what EM's ends are, by gradient and Hessian", optima.em_ends_on_maxima),
    "several_maxima": over_experiment("distinct strict maxima up to labels", optima.several_maxima),
    "best_start_is_a_spike": over_experiment(
        "the highest end that is not sound against the best sound one", optima.best_start_is_a_spike, "within"
    ),
    "ascent_needs_fewer_passes": over_experiment(
        "passes of L-BFGS for each of EM", climbs.ascent_needs_fewer_passes, "within"
    ),
    "em_ends_higher": over_experiments(
        "starts from which EM ends higher than L-BFGS, or lower", climbs.em_ends_higher, "within"
    ),
    "draws_stay_below_best": over_experiment(
        "draws above the best optimum", posterior.draws_stay_below_best, "agree", "rounding"
    ),
    "chain_keeps_one_labelling": over_experiment(
        "chains that change labels, by two relabellings", posterior.chain_keeps_one_labelling, "agree"
    ),
    "labels_alone_part_the_chains": over_experiment(
        "R-hat of raw means and of what is blind to labels", posterior.labels_alone_part_the_chains, "agree", "r_hat"
    ),
    "overlap_joins_the_labellings": over_experiments(
        "passes for an effective draw where groups overlap, and where not",
        posterior.overlap_joins_the_labellings,
        "agree",
    ),
    "finds_the_tutorials_point": over_experiment(
        "the stationary point and its loss beside those printed", optima.finds_the_tutorials_point, "printed"
    ),
    "weak_prior_keeps_the_spikes": over_experiments(
        "ends in spikes, and their exact probability, under a weak prior and a sensible one",
        posterior.weak_prior_keeps_the_spikes,
        "narrow",
        "much",
        "few",
    ),
    # of studies
    "equations_are_coupled": over_study(
        "coupling", "the Hessian's share between the equations", equations.equations_are_coupled, "nothing"
    ),
    "clusters_are_coupled": over_study(
        "coupling", "the Hessian's share between the components", equations.clusters_are_coupled, "nothing"
    ),
    "one_gaussian_is_uncoupled": over_study(
        "coupling",
        "the same of one Gaussian, in two parametrisations",
        equations.one_gaussian_is_uncoupled,
        "nothing",
    ),
    "no_step_solves_it": over_study(
        "coupling", "what one step leaves of the score", equations.no_step_solves_it, "nothing"
    ),
    "escape_has_slope_of_theory": over_study(
        "escape", "slopes against log sigma and the theory's", equations.escape_has_slope_of_theory, "slope"
    ),
    "step_size_must_be_chosen": over_study(
        "stability", "edges of stability between data sets", equations.step_size_must_be_chosen, "ratio", "same"
    ),
    "em_keeps_its_path": over_study(
        "affine", "paths in other units of the data", equations.em_keeps_its_path, "same_path"
    ),
    "floor_breaks_monotonicity": over_study(
        "collapse", "steps that lower the likelihood, with and without the floor", starts.floor_breaks_monotonicity
    ),
    "em_slows_with_overlap": over_study("rate", "passes of EM by overlap", rates.em_slows_with_overlap, "tolerance"),
    "ascent_overtakes_em": over_study(
        "rate", "passes of L-BFGS and of EM by overlap", rates.ascent_overtakes_em, "tolerance"
    ),
    "acceleration_beats_ascent": over_study(
        "rate", "passes of accelerated EM and of L-BFGS by overlap", rates.acceleration_beats_ascent, "tolerance"
    ),
    "ascent_is_dearer_on_clear_groups": over_study(
        "rate",
        "passes where little information is missing",
        rates.ascent_is_dearer_on_clear_groups,
        "missing",
        "tolerance",
    ),
    "stopping_when_it_stabilises": over_study(
        "stopping", "how far from the optimum a rule stops", rates.stopping_when_it_stabilises, "off", "usual"
    ),
    "equal_weights_give_a_quarter": over_study(
        "overspecified", "the slope of the error in N", rates.equal_weights_give_a_quarter, "slope", "usual"
    ),
    "successes_fall_exponentially": over_study(
        "bad_optima", "failing random starts by the number of groups", starts.successes_fall_exponentially
    ),
    "kmeans_starts_fail_less": over_study("bad_optima", "failing starts by their rule", starts.kmeans_starts_fail_less),
    "information_by_em_agrees": over_study(
        "standard_errors",
        "EM's standard errors beside those of the Hessian",
        uncertainty.information_by_em_agrees,
        "louis",
        "supplemented",
    ),
    "wald_covers_clear_groups": over_study(
        "coverage", "Wald intervals that hold the truth, groups clear", uncertainty.wald_covers_clear_groups, "near"
    ),
    "wald_falls_short_on_overlap": over_study(
        "coverage",
        "Wald intervals that hold the truth, groups near",
        uncertainty.wald_falls_short_on_overlap,
        "near",
    ),
    "samplers_are_calibrated": over_study(
        "calibration",
        "p-values of the ranks of the truth among draws, and their power",
        posterior.samplers_are_calibrated,
        "scale",
        "shift",
        "power",
        "false_alarm",
    ),
}

__all__ = ["CHECKS", "Check", "over_experiment", "over_experiments", "over_study"]
