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
# # Three methods, one mixture
#
# A mixture of two Gaussians for the eruptions of Old Faithful, estimated by EM, by direct gradient ascent (L-BFGS) on the sum inside
# the log, and by NUTS. All three begin at the same starts, pay the same price for a pass over the data, and are scored by the same function.
#
# This notebook computes nothing: it reads what `make demo` has stored in `results/old_faithful`.
#
# ## The mathematics
#
# The parameters are $\theta = (\pi_k, \mu_k, \Sigma_k)_{k=1}^K$, the points $x_n \in \mathbb{R}^D$, and the objective of every method is the *log-joint*, the log-likelihood
# plus the logarithm of the prior:
#
# $$\mathcal{J}(\theta) = \underbrace{\sum_{n=1}^{N} \ln \sum_{k=1}^{K} \pi_k \, \mathcal{N}(x_n \mid \mu_k, \Sigma_k)}_{\ell(\theta)} + \ln p(\theta).$$
#
# The indicator $z_{nk} \in \{0, 1\}$ says which component point $n$ comes from. Its expectation, given the point, is the *responsibility*
#
# $$\gamma_{nk} = \mathbb{E}[z_{nk} \mid x_n, \theta] = \frac{\pi_k \, \mathcal{N}(x_n \mid \mu_k, \Sigma_k)}{\sum_j \pi_j \, \mathcal{N}(x_n \mid \mu_j, \Sigma_j)}.$$
#
# The three kinds of method do different things with the same pass over the data, which yields $\ell$ and $\gamma$:
#
# - **EM** holds $\gamma$ fixed and solves for the parameters. Without a prior each update is a weighted average, with $N_k = \sum_n \gamma_{nk}$:
#
# $$\pi_k' = \frac{N_k}{N}, \qquad \mu_k' = \frac{1}{N_k} \sum_n \gamma_{nk} \, x_n, \qquad \Sigma_k' = \frac{1}{N_k} \sum_n \gamma_{nk} \, (x_n - \mu_k')(x_n - \mu_k')^{\top}.$$
#
#   The conjugate prior adds a few points' worth of its own to each average. No step lowers $\mathcal{J}$.
# - **Ascent** follows the gradient, which is made of the same sums, $\partial \ell / \partial \mu_k = \Sigma_k^{-1} \sum_n \gamma_{nk} (x_n - \mu_k)$, in coordinates without
#   constraints.
# - **MCMC** draws from $p(\theta \mid x) \propto e^{\mathcal{J}(\theta)}$. NUTS follows the gradient too, one pass for each leapfrog step; Gibbs draws the indicators $z_n$ from
#   $\gamma_n$ and then the parameters given $z$, one pass for each draw.

# %%
import os
from pathlib import Path

import jax
import matplotlib.pyplot as plt

import workbench as wb

jax.config.update("jax_enable_x64", True)
results = Path(os.environ.get("WORKBENCH_RESULTS", "../results"))
comparison = wb.load_results(results / "old_faithful")[0]
wb.table(comparison)

# %% [markdown]
# ## What they find
#
# EM and L-BFGS end on the same mixture: they maximise the same function. What they print as *best* is the best **sound** end, because
# the likelihood of a mixture has no maximum without a prior; here the conjugate prior keeps it bounded.

# %%
best = comparison["em"].best(comparison.problem).canonical()
for weight, mean in zip(best.weights, best.means, strict=True):
    length, wait = mean
    print(f"{weight:.3f} of the eruptions: {length:.2f} minutes long, {wait:.1f} minutes to the next")

# %%
fig, ax = plt.subplots(figsize=(7, 5), layout="constrained")
wb.plots.fit(ax, comparison)

# %% [markdown]
# ## What it costs
#
# The price is a *pass* over the data: an EM iteration, a trial of the line search and a leapfrog step of NUTS all cost one. On these well
# separated groups EM needs a dozen: little information is missing, which is when EM is fast. L-BFGS needs a few times as many. Some starts of both end on a worse optimum; that is the problem's doing, not the method's.

# %%
fig, axes = plt.subplots(1, 2, figsize=(12, 5), sharey=True, layout="constrained")
wb.plots.score(axes[0], comparison, against="passes")
wb.plots.score(axes[1], comparison, against="seconds")

# %% [markdown]
# ## What the posterior adds
#
# NUTS pays a thousand times as much and answers another question: not which mixture is best, but which are credible. Its draws lie a few
# nats below the optimum, because nearly all of the posterior's volume does; averaged, they predict held-out eruptions
# about as well as the best single mixture, and they say how uncertain it is.

# %%
fig, ax = plt.subplots(figsize=(7, 5), layout="constrained")
wb.plots.posterior(ax, comparison)

# %% [markdown]
# ## Where every start ended

# %%
fig, ax = plt.subplots(figsize=(7, 5), layout="constrained")
wb.plots.waterfall(ax, comparison)
