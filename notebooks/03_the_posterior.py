# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The posterior, labels and all
#
# A sampler answers with draws instead of a point. This notebook shows what that takes for a mixture: K! copies of every mode, a rule that gives
# each component one name again, a check against posteriors that are known exactly, and a comparison of models of different size. It
# reads what `make posterior` has stored in `results/`, and samples nothing itself. Claims link their rows in the [ledger](#ledger) at the end.

# %%
# %matplotlib inline
import os
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML

import workbench as wb
from workbench.jobs.judged import load_claims
from workbench.posterior import read_reference, z_scores
from workbench.report import figures_of, ledger_table, selection_figure, study_figures

jax.config.update("jax_enable_x64", True)
results = Path(os.environ.get("WORKBENCH_RESULTS", "../results"))


def stored(name):
    """The stored experiment of most runs."""
    return max(wb.load_results(results / name), key=lambda comparison: sum(t.num_restarts for t in comparison.values()))


def study(name):
    """The figures of a stored study, by name."""
    return study_figures(wb.load_studies(results / name)[0])


# %% [markdown]
# ## Label switching
#
# A thousand points in two groups, 5.5 deviations apart, and two chains of NUTS, begun in the two labellings of the same mixture: the example of
# Betancourt (2017), *Identifying Bayesian Mixture Models*. Neither chain ever leaves its labelling. Read by component, they have nothing in common;
# with the labels matched they are one ([labels_part_chains](#labels_part_chains)).

# %%
two = stored("two_labelings")
figures_of(two)["labels"]

# %% [markdown]
# R-hat of the raw parameters cries failure; that of quantities which do not know of labels does not, and after relabelling neither do the
# parameters. So the workbench judges chains by the first kind, tells parameters after relabelling, and shows the raw figure beside them as an exhibit.

# %%
summary = wb.posterior_summary(two["nuts"], two.problem)
print(f"{'':22}{'R-hat':>10}{'raw R-hat':>12}{'ESS':>8}")
for estimate in summary.functionals[:2] + summary.parameters:
    raw = "" if estimate.raw_r_hat is None else f"{estimate.raw_r_hat:.2f}"
    print(f"{estimate.name:22}{estimate.r_hat:10.3f}{raw:>12}{estimate.ess_bulk:8.0f}")
print(f"labellings visited by each chain, of {summary.labellings}: {summary.modes_visited}")

# %% [markdown]
# Move the groups to 1.5 deviations apart, and the two modes join into one ridge: chains do switch, and an effective draw costs many more passes
# ([overlap_makes_a_ridge](#overlap_makes_a_ridge)). Where labels switch like this there is no one right way to match them.

# %%
ridge = stored("collapsed_ridge")
figures_of(ridge)["labels"]

# %%
figure, panels = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
for ax, (comparison, title) in zip(
    panels, [(two, "5.5 deviations apart"), (ridge, "1.5 deviations apart")], strict=True
):
    means = np.asarray(comparison["nuts"].answer.means)[..., 0]
    for chain in means:
        ax.plot(*chain.T, ".", markersize=2, alpha=0.4)
    ax.axline((0, 0), slope=1, color="0.7", linewidth=0.8, zorder=0)
    ax.set(title=title, xlabel="mean of component 1", ylabel="mean of component 2", aspect="equal")
panels[0].legend(["chain 1", "chain 2"], markerscale=5, frameon=False)
plt.close(figure)
figure

# %% [markdown]
# ## Relabelling
#
# Seven algorithms, on the same draws. Each returns a permutation for every draw, so that they can be held against each other: the share of draws on
# which two of them agree. On clear groups all agree; on the ridge they do not, and a table of parameters is then a statement about the algorithm
# as much as about the posterior.

# %%
figure, panels = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for ax, (comparison, title) in zip(
    panels, [(two, "5.5 deviations apart"), (ridge, "1.5 deviations apart")], strict=True
):
    compared = wb.posterior_summary(comparison["nuts"], comparison.problem).compared
    ax.imshow(compared.agreement, cmap="Blues", vmin=0.5, vmax=1)
    names = [name.replace("_", " ") for name in compared.names]
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right")
    ax.set_yticks(range(len(names)), names)
    for (i, j), share in np.ndenumerate(compared.agreement):
        ax.text(
            j, i, f"{100 * share:.0f}", ha="center", va="center", color="white" if share > 0.8 else "black", fontsize=8
        )
    ax.set_title(f"{title}: agreement in %")
plt.close(figure)
figure

# %% [markdown]
# ## Exact against sampled
#
# Under the conjugate prior, and for few points, the posterior can be summed over all K^N allocations. Here are the samplers on such a problem: how
# far the mean of each label-invariant quantity lies from the exact one, in Monte-Carlo standard errors. A right sampler stays within 4;
# variational Bayes, which looks like a sampler in every plot, does not.

# %%
exact = read_reference("two_overlapping")
overlapping = stored("two_overlapping")
np.testing.assert_array_equal(overlapping.problem.x, exact.problem.x)
figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
for place, trace in enumerate(overlapping.values()):
    if trace.is_sampler:
        scores = z_scores(exact.posterior, trace.answer, overlapping.problem)
        found = np.concatenate([score.ravel() for score in scores.values()])
        ax.plot(found, np.full(len(found), place) + np.linspace(-0.3, 0.3, len(found)), ".", markersize=3)
for edge in (-4, 4):
    ax.axvline(edge, color="0.6", linewidth=0.8, linestyle="--")
ax.set_yticks(range(len(overlapping)), list(overlapping))
ax.set_xscale("symlog", linthresh=5)
ax.set_xlabel("distance from the exact posterior, in Monte-Carlo standard errors")
plt.close(figure)
figure

# %% [markdown]
# Tempered SMC tells the evidence too, once for each run:

# %%
print(f"exact      {exact.posterior.log_evidence:.3f}")
print("estimated ", *(f"{value:.3f}" for value in overlapping["tempered_smc"].log_evidence))

# %% [markdown]
# Where no exact answer is to be had, there is calibration: draw a mixture from the prior and points from the mixture, and rank the mixture among the draws
# that a sampler makes of it from the points. Ranks are uniform if the sampler is right ([samplers_are_calibrated](#samplers_are_calibrated)).

# %%
study("calibration")["ranks"]

# %% [markdown]
# ## Points and posteriors on one scale
#
# Seven standard errors of the same estimate, and whether 95 % intervals hold what they promise over repeated data sets: where groups are clear they do
# ([wald_covers](#wald_covers)), where they overlap those of the observed information are too narrow ([wald_falls_short](#wald_falls_short)).

# %%
study("standard_errors")["ways"]

# %%
study("coverage")["coverage"]

# %% [markdown]
# ## How many components
#
# The galaxies under the conjugate prior, by seven criteria. All values are in nats and larger is better; the mark is the number that a criterion
# would choose. They answer different questions: BIC and the evidence ask which model made the data, AIC, cross-validation, WAIC and LOO which predicts best, ICL which clusters well.

# %%
(selection,) = wb.load_selections(results / "galaxies")
selection_figure(selection)

# %% [markdown]
# <a id="ledger"></a>
# ## The ledger

# %%
HTML(ledger_table(load_claims(results)))
