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
# This notebook computes nothing: it reads what `make why` has stored in `results/`; `make notebooks-data` makes small
# variants of all of it in minutes. [00_em_step_by_step](00_em_step_by_step.ipynb) does on eight points what is stated here for any.
#
# ## The mathematics
#
# **Mixture and likelihood.** With parameters $\theta = (\pi_k, \mu_k, \Sigma_k)_{k=1}^K$ and points $x_1, \dots, x_N \in \mathbb{R}^D$,
#
# $$p(x \mid \theta) = \sum_{k=1}^{K} \pi_k \, \mathcal{N}(x \mid \mu_k, \Sigma_k), \qquad
# \ell(\theta) = \sum_{n=1}^{N} \ln \sum_{k=1}^{K} \pi_k \, \mathcal{N}(x_n \mid \mu_k, \Sigma_k).$$
#
# **Indicator and responsibility.** The indicator $z_{nk} \in \{0, 1\}$ says whether point $n$ comes from component $k$. It is never observed. The
# responsibility is its expectation, by Bayes' theorem:
#
# $$\gamma_{nk} = \mathbb{E}[z_{nk} \mid x_n, \theta]
# = \frac{\pi_k \, \mathcal{N}(x_n \mid \mu_k, \Sigma_k)}{\sum_j \pi_j \, \mathcal{N}(x_n \mid \mu_j, \Sigma_j)}, \qquad \sum_k \gamma_{nk} = 1.$$
#
# **The derivative, and where it couples.** Write $f_{nk} = \ln \pi_k + \ln \mathcal{N}(x_n \mid \mu_k, \Sigma_k)$, and let $\theta_k$ be the parameters of component $k$. The derivative of the logarithm of a
# sum is the average of the derivatives of its terms, with weights $\gamma$:
#
# $$\frac{\partial \ell}{\partial \theta_k} = \sum_n \gamma_{nk} \, \frac{\partial f_{nk}}{\partial \theta_k}, \qquad
# \frac{\partial^2 \ell}{\partial \theta_j \, \partial \theta_k^{\top}}
# = - \sum_n \gamma_{nj} \, \gamma_{nk} \, \frac{\partial f_{nj}}{\partial \theta_j} \, \frac{\partial f_{nk}}{\partial \theta_k^{\top}} \quad (j \ne k).$$
#
# If $\gamma$ were known, each equation could be solved by itself. But $\gamma_{nk}$ holds the parameters of all components, and $-\gamma_{nj} \gamma_{nk}$ is the covariance of the indicators
# $z_{nj}$ and $z_{nk}$: two components are coupled by the points that could belong to both.
#
# **EM.** Hold $\gamma$ fixed, solve, compute $\gamma$ again. Each update is a weighted average; with $N_k = \sum_n \gamma_{nk}$,
#
# $$\pi_k' = \frac{1}{N} \sum_n \gamma_{nk}, \qquad \mu_k' = \frac{1}{N_k} \sum_n \gamma_{nk} \, x_n, \qquad
# \Sigma_k' = \frac{1}{N_k} \sum_n \gamma_{nk} \, (x_n - \mu_k')(x_n - \mu_k')^{\top}.$$
#
# **Why no step loses.** By Jensen's inequality, with $\gamma$ from $\theta$ and for any $\theta'$,
#
# $$\ell(\theta') \;\ge\; F(\gamma, \theta') = \sum_n \sum_k \gamma_{nk} \, (f_{nk}' - \ln \gamma_{nk}), \qquad F(\gamma, \theta) = \ell(\theta).$$
#
# The updates maximise $F(\gamma, \cdot)$; hence $\ell(\theta') \ge F(\gamma, \theta') \ge F(\gamma, \theta) = \ell(\theta)$ ([em_is_monotone](#em_is_monotone)).
#
# **Stopping.** EM stops at the first step that gains $\ell_t - \ell_{t-1} \le \varepsilon \, |\ell_t|$. Near an optimum each gain is a share $r^2$ of the one before, where $r$ is EM's rate (below),
# so that about $r^2 / (1 - r^2)$ times the last gain is still to come. A small gain alone does not say that the end is near.

# %%
from functools import partial

import jax
import matplotlib.pyplot as plt
import numpy as np
import stored
from IPython.display import HTML

import workbench as wb
from workbench.geometry.surface import surface_of
from workbench.plots.atlas import surface
from workbench.report import atlas_figures, ledger_table

jax.config.update("jax_enable_x64", True)
study = partial(stored.study, made_by="make why")
largest = partial(stored.experiment, made_by="make why")

# %% [markdown]
# ## The sum inside the log
#
# One Gaussian: the logarithm meets the exponential, and what is left is a parabola whose top can be written down. Two Gaussians: the
# logarithm of a *sum*. Between the groups the log-density is neither component's parabola, and it lies above the average of the two that
# the responsibilities weigh, by their entropy ([log_of_sum](#log_of_sum)):
#
# $$\ln p(x_n) = \sum_k \gamma_{nk} \, f_{nk} \; + \; \Bigl( - \sum_k \gamma_{nk} \ln \gamma_{nk} \Bigr).$$
#
# The entropy is zero only where a point belongs to one component alone.

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
# The Hessian $H$ of $\ell$ at the optimum, in blocks $H_{ab}$, one for each of the textbook's equations (the weights, each mean, each covariance), whitened:
#
# $$C = L^{-1} (-H) L^{-\top}, \qquad L L^{\top} = \text{the diagonal blocks of } -H.$$
#
# The diagonal blocks of $C$ are identities, so that what lies between two equations does not depend on units. For one Gaussian the blocks between its mean and its covariance
# are zero in these coordinates. Two groups that overlap fill the picture: to know the mean of one component is to need the weight, the mean and the
# covariance of the other ([coupled](#coupled)).

# %%
coupling = study("coupling")
coupling["blocks"]

# %% [markdown]
# On the left, how much lies between the equations: the share $\lVert C - I \rVert_F / \lVert C \rVert_F$, against separation. It falls as the products $\gamma_{nj} \gamma_{nk}$ do, and is rounding for
# K = 1. On the right, what one step leaves of the score from a nat below the optimum, where each equation is solved with the responsibilities held fixed (an EM step)
# and where all of them are solved at once, linearised (a Newton step). K = 1 is solved by an EM step ([no_closed_form](#no_closed_form)). That the maximum of a mixture has no closed
# form is a theorem, which no figure can show: Améndola, Drton & Sturmfels (2016) prove that the maximum likelihood estimates are transcendental.

# %%
coupling["curves"]

# %% [markdown]
# ## The surface
#
# Two means, the other parameters at their best for each pair: $\max_{\pi, \Sigma} \ell(\mu_1, \mu_2, \pi, \Sigma)$. The surface has a ridge along the diagonal, where the two components are
# one. It is symmetric about it, because $\ell$ does not change when components swap their names, so that its maxima come in $K!$ copies. EM and the ascents take different paths
# over it from the same starts; which top they reach, the start decides.

# %%
fig, ax = plt.subplots(figsize=(6.4, 6.8), layout="constrained")
surface(ax, waiting, surface_of(waiting.problem))

# %% [markdown]
# ## An atlas of optima
#
# Three components on 82 galaxies: thousands of starts, their ends merged up to labels, each end classified by its gradient and its exact
# Hessian: $\nabla \ell = 0$ and $H \prec 0$ is a strict maximum, an eigenvalue above zero makes a saddle, one at zero a plateau
# ([non_convex](#non_convex), [em_ends_on_a_maximum](#em_ends_on_a_maximum)).

# %%
atlases = wb.load_atlases(stored.folder("galaxies", "make why"))
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
# Put a component on $m$ equal points, $\mu_k = x_1$ and $\Sigma_k = \sigma^2 I$, and let it shrink. Its own points gain, and all others keep at least what the other components give
# them:
#
# $$\ell(\sigma) = - m D \ln \sigma + O(1) \to \infty \qquad (\sigma \to 0).$$
#
# The log-likelihood rises by one nat for each point, dimension and e-fold, without end ([unbounded](#unbounded)). A highest value therefore means nothing by itself
# ([best_is_a_spike](#best_is_a_spike)); every ranking of the workbench passes through a rule of soundness for that reason.

# %%
study("escape")["escapes"]

# %% [markdown]
# How often EM falls in, and what each remedy does. A prior, the Chen-Tan penalty $-a_N \sum_k (\operatorname{tr}(S \Sigma_k^{-1}) + \ln \det \Sigma_k)$, with the data's covariance $S$, and Hathaway's bound on the ratios of
# eigenvalues bound the objective, though a component can be left fewer points than a covariance needs (dashes): there that is a mode like others. All three are part of an
# objective, which EM then climbs. The habitual floor, $\Sigma_k' + \epsilon I$ after every step, is not: it maximises no $F$, so that the argument above does not hold for it
# ([floor_is_monotone_in_nothing](#floor_is_monotone_in_nothing)).

# %%
study("remedies")["axes"]

# %% [markdown]
# ## The edge of stability
#
# Near a maximum, ascent with a fixed step $\eta$ multiplies the error along an eigenvector of $-H$ with eigenvalue $\lambda$ by $1 - \eta \lambda$ in each step. It converges if and only if
#
# $$|1 - \eta \lambda| < 1 \text{ for all } \lambda, \qquad \text{that is,} \quad 0 < \eta < \frac{2}{\lambda_{\max}},$$
#
# and $\lambda_{\max}$ is a number of the coordinates and of the data, known only once the optimum is. EM has no step size ([no_step_size](#no_step_size)), and its path is the same in any units
# ([affine](#affine)): $\gamma$ does not change if $x$ becomes $Ax + b$, and weighted averages change as the points do.

# %%
study("stability")["step_sizes"]

# %% [markdown]
# Coordinates and optimisers, from the same starts. Raw coordinates leave the set of mixtures. What makes direct ascent hard is its step and its coordinates, and both have
# answers: a line search finds the step, and charts without constraints (softmax weights, log-Cholesky covariances) keep every step a mixture.

# %%
study("coordinates")["passes"]

# %% [markdown]
# ## The rate of EM, and where it loses
#
# Let $I_{\text{com}}$ be the information that the points would hold if their indicators were known, and $I_{\text{obs}} = -H$ what they hold. Near an optimum one EM step is
#
# $$\theta_{t+1} - \theta^* \approx \bigl( I - I_{\text{com}}^{-1} I_{\text{obs}} \bigr) (\theta_t - \theta^*),$$
#
# so that EM's rate $r$ is the largest eigenvalue of $I_{\text{com}}^{-1} (I_{\text{com}} - I_{\text{obs}})$, the largest fraction of missing information. As groups overlap it tends to one, and EM slows down
# ([slows_with_overlap](#slows_with_overlap)). L-BFGS learns the curvature and slows down less; where it overtakes is in the ledger ([ascent_overtakes](#ascent_overtakes),
# [ascent_is_cheaper_on_overlap](#ascent_is_cheaper_on_overlap), [ascent_is_cheaper_on_clear_groups](#ascent_is_cheaper_on_clear_groups)).

# %%
study("rate")["rates"]

# %% [markdown]
# Slow optimisation has a statistical twin. Fit $w \, \mathcal{N}(\vartheta, 1) + (1 - w) \, \mathcal{N}(-\vartheta, 1)$ with $w = \tfrac12$ to points of $\mathcal{N}(0, 1)$: the information about $\vartheta$ vanishes at the
# truth, $\vartheta = 0$, and the error falls as $N^{-1/4}$ instead of $N^{-1/2}$ ([overspecified](#overspecified)).

# %%
study("overspecified")["errors"]

# %% [markdown]
# ## Bad optima
#
# If $K$ points, drawn at random, are to lie one in each of $K$ equal groups, the chance is $K! / K^K \approx \sqrt{2 \pi K} \, e^{-K}$. The more groups there are, the more random starts miss one of them,
# whatever climbs from there ([random_starts_fail](#random_starts_fail)). Seeding by k-means++ helps ([kmeans_starts_help](#kmeans_starts_help)); neither EM nor ascent is to
# blame and neither is a cure ([em_ends_higher](#em_ends_higher)).

# %%
study("bad_optima")["failures"]

# %% [markdown]
# ## What MCMC sees
#
# A sampler draws from $p(\theta \mid x) \propto e^{\ell(\theta)} \, p(\theta)$. Where the posterior is close to normal in $d$ dimensions, a draw lies $\tfrac12 \chi^2_d$ nats below the mode, $d / 2$ on average
# ([draws_stay_below](#draws_stay_below)): a posterior has its bulk where there is volume. How many of the $K!$ copies of its mode a chain visits is for the ledger to say
# ([one_mode_per_chain](#one_mode_per_chain)); [03_the_posterior](03_the_posterior.ipynb) goes on from here.

# %% [markdown]
# <a id="ledger"></a>
# ## The ledger
#
# Every claim, the verdict, the figure and its error, and the run. A claim that turned out false stays.

# %%
HTML(ledger_table(stored.claims("make why")))
