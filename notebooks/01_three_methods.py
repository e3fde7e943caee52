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
# the log, and by MCMC: NUTS, and Gibbs beside it. All begin at the same starts, pay the same price for a pass over the data, and are scored by the same function.
#
# This notebook computes nothing: it reads what `make demo` has stored in `results/old_faithful`. [00_em_step_by_step](00_em_step_by_step.ipynb)
# derives EM.
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
import jax
import matplotlib.pyplot as plt
from stored import experiment

import workbench as wb

jax.config.update("jax_enable_x64", True)
comparison = experiment("old_faithful", "make demo")
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
# The price is a *pass* over the data: an EM iteration, a trial of the line search, a leapfrog step of NUTS and a sweep of Gibbs all cost one. These
# groups are well separated and little information is missing, which is when EM is fast. Near its end each EM step leaves a fixed share $r$ of the distance,
# $\lVert \theta_{t+1} - \theta^* \rVert \approx r \, \lVert \theta_t - \theta^* \rVert$, and $r$ is the largest fraction of missing information. Some starts of both end on a worse optimum; that is
# the problem's doing, not the method's.

# %%
fig, axes = plt.subplots(1, 2, figsize=(12, 5), sharey=True, layout="constrained")
wb.plots.score(axes[0], comparison, against="passes")
wb.plots.score(axes[1], comparison, against="seconds", legend=False)

# %% [markdown]
# ## What the posterior adds
#
# A sampler pays more and answers another question: not which mixture is best, but which are credible. What a draw costs depends on the sampler. The fair unit is the
# *effective* draw, of which $S$ correlated draws are worth $S / (1 + 2 \sum_t \rho_t)$, where $\rho_t$ is the autocorrelation at lag $t$; the table takes the label-invariant
# quantity that mixes worst.

# %%
figures = {each.method: each for each in wb.summarise(comparison)}
climb = figures["em"].passes_to_best
print(f"em: {climb:.0f} passes to the best, the median of its starts")
for name, trace in comparison.items():
    if trace.is_sampler:
        passes, ess = figures[name].passes, figures[name].ess_min
        print(
            f"{name}: {passes:,.0f} passes, {ess:,.0f} effective draws at {passes / ess:.1f} passes each; {passes / climb:,.0f} times em's climb"
        )

# %% [markdown]
# Draws lie a few nats below the optimum, because nearly all of the posterior's volume does: if the posterior is close to normal in $d$ dimensions, twice the distance is
# $\chi^2_d$, so that it is $d / 2$ nats on average. Averaged, the draws predict held-out eruptions. Two methods are compared on the *same* held-out points, so that the error of the difference
# is that of the mean of the differences $\ln p_A(x_n) - \ln p_B(x_n)$, which is far smaller than the error of either score:

# %%
for name in comparison:
    each = figures[name]
    score = f"{each.heldout_log_density:.3f} ± {each.heldout_standard_error:.3f}"
    paired = (
        "" if each.heldout_gain is None else f", minus em's {each.heldout_gain:+.3f} ± {each.heldout_gain_error:.3f}"
    )
    print(f"{name:7} held-out log density per point {score}{paired}")

# %%
fig, ax = plt.subplots(figsize=(7, 5), layout="constrained")
wb.plots.posterior(ax, comparison)

# %% [markdown]
# ## Where every start ended

# %%
fig, ax = plt.subplots(figsize=(7, 5), layout="constrained")
wb.plots.waterfall(ax, comparison)
