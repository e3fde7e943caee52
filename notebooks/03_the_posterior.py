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
# reads what `make posterior` has stored in `results/` (`make notebooks-data` makes small variants in minutes), and samples nothing itself. Claims link their rows in the [ledger](#ledger)
# at the end.
#
# ## The mathematics
#
# **Posterior.** With the likelihood and a prior of the parameters $\theta = (\pi_k, \mu_k, \Sigma_k)_{k=1}^K$,
#
# $$p(\theta \mid x) = \frac{p(\theta) \prod_n \sum_k \pi_k \, \mathcal{N}(x_n \mid \mu_k, \Sigma_k)}{p(x)}, \qquad
# p(x) = \int p(\theta) \prod_n \sum_k \pi_k \, \mathcal{N}(x_n \mid \mu_k, \Sigma_k) \, d\theta.$$
#
# **Indicator and responsibility.** $z_{nk} \in \{0, 1\}$ says whether point $n$ comes from component $k$. Given the parameters its expectation is the responsibility, and with a posterior of the parameters
# this is averaged over the draws:
#
# $$\gamma_{nk} = \mathbb{E}[z_{nk} \mid x_n, \theta] = \frac{\pi_k \, \mathcal{N}(x_n \mid \mu_k, \Sigma_k)}{\sum_j \pi_j \, \mathcal{N}(x_n \mid \mu_j, \Sigma_j)}, \qquad
# P(z_{nk} = 1 \mid x) = \mathbb{E}[\gamma_{nk} \mid x].$$
#
# Gibbs draws $z_n$ from $\gamma_n$, where EM takes the expectation $\gamma_n$ itself, and then the parameters given $z$, where EM takes the weighted averages.
#
# **Labels.** Likelihood and prior do not change when a permutation $\tau$ renames the components. Therefore
#
# $$p(\theta \mid x) = p(\tau \theta \mid x) \quad \text{for all } K! \text{ permutations } \tau, \qquad
# \mathbb{E}[\mu_1 \mid x] = \dots = \mathbb{E}[\mu_K \mid x], \quad P(z_{nk} = 1 \mid x) = 1 / K.$$
#
# Means of labelled quantities say nothing until a rule names the components in every draw. Quantities that are symmetric in the components (the log-joint, the density at a point,
# whether two points share a component) need no rule.

# %%
# %matplotlib inline
from functools import partial

import jax
import matplotlib.pyplot as plt
import numpy as np
import stored as store
from IPython.display import HTML

import workbench as wb
from workbench.posterior import read_reference, z_scores
from workbench.report import figures_of, ledger_table, selection_figure

jax.config.update("jax_enable_x64", True)
stored = partial(store.experiment, made_by="make posterior")
study = partial(store.study, made_by="make posterior")

# %% [markdown]
# ## Label switching
#
# A thousand points in two groups, 5.5 deviations apart, and two chains of NUTS, begun in the two labellings of the same mixture: the example of
# Betancourt (2017), *Identifying Bayesian Mixture Models*. Read by component, the chains have nothing in common; with the labels matched they are one
# ([labels_part_chains](#labels_part_chains)). Chains are compared by the variance between them, $B$, and within them, $W$, of $S$ draws each:
#
# $$\hat R^2 = \frac{S - 1}{S} + \frac{B}{S \, W}.$$
#
# It is close to 1 where chains agree. Between two chains that stay in two labellings $B$ grows with the squared distance of the means, and $\hat R$ with the separation.

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
# A relabelling returns a permutation $\tau_s$ for every draw $\theta_s$, the one that brings the draw closest to a reference. Stephens (2000), for one, takes the responsibilities and minimises
# the divergence from their mean $q$, in turn over $\tau$ and $q$:
#
# $$\min_{\tau, q} \; \sum_s \sum_n \sum_k \gamma_{nk}(\tau_s \theta_s) \, \ln \frac{\gamma_{nk}(\tau_s \theta_s)}{q_{nk}}.$$
#
# Seven algorithms, on the same draws, can be held against each other by the share of draws on which two of them agree. On clear groups all agree; on the ridge they need not, and
# a table of parameters is then a statement about the algorithm as much as about the posterior.

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
# Under the conjugate prior the parameters can be integrated out given the indicators, so that for few points the posterior is a finite sum over all $K^N$ allocations:
#
# $$p(x) = \sum_{z} p(z) \, p(x \mid z), \qquad \mathbb{E}[f \mid x] = \sum_z \frac{p(z) \, p(x \mid z)}{p(x)} \, \mathbb{E}[f \mid x, z].$$
#
# Here are the samplers on such a problem: how far the mean of each label-invariant quantity lies from the exact one, in Monte-Carlo standard errors,
#
# $$\frac{\bar f - \mathbb{E}[f \mid x]}{\operatorname{sd}(f) / \sqrt{S_{\text{eff}}}}.$$
#
# A right sampler stays within 4, up to one quantity in 16,000; variational Bayes, which looks like a sampler in every plot, is not one.

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
# Tempered SMC estimates the evidence $p(x)$ too, once for each run, by the product of its stages' mean weights from the prior to the posterior:

# %%
print(f"exact      {exact.posterior.log_evidence:.3f}")
print("estimated ", *(f"{value:.3f}" for value in overlapping["tempered_smc"].log_evidence))

# %% [markdown]
# Where no exact answer is to be had, there is calibration: draw $\theta$ from the prior and points from $\theta$, and rank $f(\theta)$ among $f(\theta_1), \dots, f(\theta_L)$ of draws from the posterior given these points. Because
# $\theta$ and the draws then have the same distribution given the points, the rank is uniform on $0, \dots, L$, whatever $f$ is
# ([samplers_are_calibrated](#samplers_are_calibrated)).

# %%
study("calibration")["ranks"]

# %% [markdown]
# ## Points and posteriors on one scale
#
# Seven standard errors of the same estimate. That of the observed information is the root of the diagonal of its inverse, and the information is what complete points would hold less what is missing (Louis 1982),
# where $\partial f_{nk}$ is the derivative of $\ln \pi_k \mathcal{N}(x_n \mid \mu_k, \Sigma_k)$:
#
# $$I_{\text{obs}} = I_{\text{com}} - I_{\text{mis}}, \qquad
# I_{\text{mis}} = \sum_n \operatorname{Cov}_{z_n \mid x_n} \Bigl( \sum_k z_{nk} \, \partial f_{nk} \Bigr), \qquad
# \hat\theta \pm 1.96 \sqrt{\operatorname{diag} I_{\text{obs}}^{-1}}.$$
#
# Whether such 95 % intervals hold what they promise over repeated data sets is a matter of clear groups and many points ([wald_covers](#wald_covers)) or of overlap and few
# ([wald_falls_short](#wald_falls_short)).

# %%
study("standard_errors")["ways"]

# %%
study("coverage")["coverage"]

# %% [markdown]
# ## How many components
#
# The galaxies under the conjugate prior, by seven criteria. All values are in nats and larger is better; the mark is the number that a criterion
# would choose. With $d$ free parameters,
#
# $$\text{AIC} = \ell(\hat\theta) - d, \qquad \text{BIC} = \ell(\hat\theta) - \tfrac{d}{2} \ln N, \qquad
# \text{ICL} = \text{BIC} + \sum_n \sum_k \hat\gamma_{nk} \ln \hat\gamma_{nk},$$
#
# $$\text{evidence} = \ln p(x), \qquad \text{WAIC, LOO and cross-validation} \approx \sum_n \ln p(x_n \mid x_{-n}).$$
#
# They answer different questions: BIC and the evidence ask which model made the data, AIC, cross-validation, WAIC and LOO which predicts best, ICL which clusters well.

# %%
selection = wb.load_selections(store.folder("galaxies", "make posterior"))[-1]
selection_figure(selection)

# %% [markdown]
# <a id="ledger"></a>
# ## The ledger

# %%
HTML(ledger_table(store.claims("make why")))
