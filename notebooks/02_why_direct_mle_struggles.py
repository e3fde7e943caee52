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
# # Why direct maximum likelihood struggles
#
# Textbooks say of a Gaussian mixture that the logarithm cannot pass the sum, that the equations are coupled, that there is no closed form, that
# the problem is not convex, that the likelihood is unbounded, and that EM climbs at every step to a local optimum. Below, each of these
# sentences has a number and a picture, and so has the other half: where a direct method is as good as EM, or better. Each claim links its row
# in the [ledger](#ledger) at the end, with the verdict, its error and the run that it comes from.
#
# This notebook computes nothing: it reads what `make why` has stored in `results/`.

# %%
import os
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML

import workbench as wb
from workbench.geometry.surface import surface_of
from workbench.jobs.judged import load_claims
from workbench.plots.atlas import surface
from workbench.report import atlas_figures, ledger_table, study_figures

jax.config.update("jax_enable_x64", True)
results = Path(os.environ.get("WORKBENCH_RESULTS", "../results"))


def study(name):
    """The figures of a stored study, by name."""
    return study_figures(wb.load_studies(results / name)[0])


def largest(name):
    """The stored experiment of most runs."""
    return max(wb.load_results(results / name), key=lambda comparison: sum(t.num_restarts for t in comparison.values()))


# %% [markdown]
# ## The sum inside the log
#
# One Gaussian: the logarithm meets the exponential, and what is left is a parabola whose top can be written down. Two Gaussians: the
# logarithm of a *sum*. Between the groups the log-density is neither component's parabola, and it lies above the average of the two that
# the responsibilities weigh: by their entropy, which is zero only where a point belongs to one component alone
# ([log_of_sum](#log_of_sum)).

# %%
waiting = largest("faithful_waiting")
best = waiting["em"].best(waiting.problem).canonical()
x = np.linspace(35, 105, 400)
logs = np.asarray(best.component_log_joint(x))
r = np.asarray(best.responsibilities(x))
fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
ax.plot(x, logs[:, 0], color="0.6", lw=1, label="ln(π N) of each component: parabolas")
ax.plot(x, logs[:, 1], color="0.6", lw=1)
ax.plot(x, np.asarray(best.log_density(x)), color="C0", lw=2.2, label="ln of the sum")
ax.plot(x, np.sum(r * logs, 1), color="C1", lw=1.6, ls="--", label="sum of the logs, weighed by the responsibilities")
ax.set(xlabel="waiting time (minutes)", ylabel="log density", ylim=(-14, -2))
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0))

# %% [markdown]
# ## The equations are coupled
#
# The Hessian at the optimum, each equation's own block whitened. One Gaussian has nothing between its equations: each is solved on its
# own, in one step. Two groups that overlap fill the picture: to know the mean of one component is to need the weight, the mean and the
# covariance of the other ([coupled](#coupled)).

# %%
coupling = study("coupling")
coupling["blocks"]

# %% [markdown]
# How much lies between the equations falls with separation and never reaches zero. On the right, what one step leaves of the score from a
# nat below the optimum, where each equation is solved with the responsibilities held fixed (an EM step) and where all of them are solved at once,
# linearised (a Newton step). K = 1 is solved by either in one step; a mixture by neither in any fixed number: there is no closed form
# ([no_closed_form](#no_closed_form)).

# %%
coupling["curves"]

# %% [markdown]
# ## The surface
#
# Two means, the other parameters at their best for each pair. The surface has a ridge along the diagonal, where the two components are
# one, and its maxima come in K! copies: the components have no names. EM and the ascents take different paths over it from the same starts;
# which top they reach, the start decides.

# %%
fig, ax = plt.subplots(figsize=(6.4, 6.8), layout="constrained")
surface(ax, waiting, surface_of(waiting.problem))

# %% [markdown]
# ## An atlas of optima
#
# Three components on 82 galaxies: thousands of starts, their ends merged up to labels, each end classified by its gradient and its exact
# Hessian. Several strict maxima, and some of what a restart ends on is no maximum at all ([non_convex](#non_convex),
# [em_ends_on_a_maximum](#em_ends_on_a_maximum)).

# %%
atlases = wb.load_atlases(results / "galaxies")
maps = atlas_figures(atlases)
print(atlases.reading)
maps["ends"]

# %% [markdown]
# The optima on the data. Both answers below the best are sound, strict maxima that an analyst could believe.

# %%
maps["optima"]

# %% [markdown]
# ## The spike
#
# Put a component on a point and let it shrink: the log-likelihood rises by one nat for each point, dimension and e-fold, without end
# ([unbounded](#unbounded)). So the best of many starts is a spike more often than one would like
# ([best_is_a_spike](#best_is_a_spike)); every ranking of the workbench passes through a rule of soundness for that reason.

# %%
study("escape")["escapes"]

# %% [markdown]
# How often EM falls in, and what each remedy does. Under a prior, the Chen-Tan penalty and Hathaway's bound no climb collapses, though a component can
# be left fewer points than a covariance needs (dashes): there that is a mode like others. All three are part of an objective, which EM
# then climbs. The habitual floor under the covariances is not: at its usual size it changes hardly anything, and with it EM is monotone in nothing
# ([floor_is_monotone_in_nothing](#floor_is_monotone_in_nothing)), while without it EM never fell in the stored experiments
# ([em_is_monotone](#em_is_monotone)).

# %%
study("remedies")["axes"]

# %% [markdown]
# ## The edge of stability
#
# A fixed step of gradient ascent converges below two over the largest curvature and nowhere above; the edge is a number of the
# chart and of the data, known only once the optimum is. EM has no step size ([no_step_size](#no_step_size)), and its path is the same in any units
# ([affine](#affine)).

# %%
study("stability")["step_sizes"]

# %% [markdown]
# Coordinates and optimisers, from the same starts. Raw coordinates leave the set of mixtures. Among the others L-BFGS and Newton do well nearly
# everywhere: what makes direct ascent hard is its step and its coordinates, and both have good answers.

# %%
study("coordinates")["passes"]

# %% [markdown]
# ## The rate of EM, and where it loses
#
# EM's rate is the largest fraction of missing information. As groups overlap it tends to one, and EM slows down
# ([slows_with_overlap](#slows_with_overlap)). L-BFGS slows down less, and overtakes ([ascent_overtakes](#ascent_overtakes)): on Pearson's crabs it needs a
# fraction of EM's passes ([ascent_is_cheaper_on_overlap](#ascent_is_cheaper_on_overlap)). On clear groups it is the other way round
# ([ascent_is_cheaper_on_clear_groups](#ascent_is_cheaper_on_clear_groups)).

# %%
study("rate")["rates"]

# %% [markdown]
# Slow optimisation has a statistical twin: with one component too many and equal weights, the error itself falls as the fourth root of N only
# ([overspecified](#overspecified)).

# %%
study("overspecified")["errors"]

# %% [markdown]
# ## Bad optima
#
# The more groups there are, the more random starts miss one of them, whatever climbs from there
# ([random_starts_fail](#random_starts_fail)). Seeding by k-means++ helps ([kmeans_starts_help](#kmeans_starts_help)); neither method is to
# blame and neither is a cure ([em_ends_higher](#em_ends_higher)).

# %%
study("bad_optima")["failures"]

# %% [markdown]
# ## What MCMC sees
#
# Draws of NUTS lie below the best optimum, all of them ([draws_stay_below](#draws_stay_below)): a posterior has its bulk where there is volume. And
# of the K! copies of its mode a chain visits one ([one_mode_per_chain](#one_mode_per_chain)).

# %% [markdown]
# <a id="ledger"></a>
# ## The ledger
#
# Every claim, the verdict, the figure and its error, and the run. A claim that turned out false stays.

# %%
HTML(ledger_table(load_claims(results)))
