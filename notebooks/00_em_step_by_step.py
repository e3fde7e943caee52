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
# # EM, step by step
#
# This notebook fits a mixture of two Gaussians to eight numbers, first by hand in NumPy and then with the package, and checks that the two
# agree to $10^{-12}$. It needs no stored results and runs in under a minute. A cell near the end takes
# [numbers of your own](#your-own-numbers).
#
# **The mixture.** A point $x$ comes from one of $K$ components. The *indicator* $z_k$ is 1 for the component that it comes from and 0 for
# the others; nobody observes it. Component $k$ is chosen with probability $P(z_k = 1) = \pi_k$, where $\pi_k \ge 0$ and $\sum_k \pi_k = 1$, so that
#
# $$p(x) = \sum_{k=1}^{K} \pi_k \, \mathcal{N}(x \mid \mu_k, \sigma_k^2), \qquad
# \mathcal{N}(x \mid \mu, \sigma^2) = \frac{1}{\sqrt{2 \pi \sigma^2}} \exp\Bigl(-\frac{(x - \mu)^2}{2 \sigma^2}\Bigr).$$
#
# **The likelihood.** For $N$ independent points and parameters $\theta = (\pi_k, \mu_k, \sigma_k^2)_{k=1}^K$,
#
# $$\ell(\theta) = \ln \prod_{n=1}^{N} p(x_n)
# = \sum_{n=1}^{N} \ln \sum_{k=1}^{K} \pi_k \, \mathcal{N}(x_n \mid \mu_k, \sigma_k^2).$$
#
# The logarithm stands before a *sum*, and cannot pass it. For $K = 1$ it meets the exponential, a parabola in $\mu$ is left, and its top is the
# mean of the points. For $K > 1$ no such simplification exists.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import workbench as wb

jax.config.update("jax_enable_x64", True)

x = np.array([1.0, 1.6, 2.3, 3.1, 4.4, 5.2, 5.9, 6.7])

# %% [markdown]
# ## The derivative, and where it couples
#
# By the chain rule, with $\partial \mathcal{N} / \partial \mu_k = \mathcal{N} \, (x - \mu_k) / \sigma_k^2$,
#
# $$\frac{\partial \ell}{\partial \mu_k}
# = \sum_n \underbrace{\frac{\pi_k \, \mathcal{N}(x_n \mid \mu_k, \sigma_k^2)}{\sum_j \pi_j \, \mathcal{N}(x_n \mid \mu_j, \sigma_j^2)}}_{\textstyle \gamma_{nk}}
# \, \frac{x_n - \mu_k}{\sigma_k^2}.$$
#
# **Indicator and responsibility.** By Bayes' theorem the fraction is the probability of component $k$ given the point. It is the *expectation* of
# the indicator, not the indicator itself:
#
# $$\gamma_{nk} = P(z_{nk} = 1 \mid x_n) = \mathbb{E}[z_{nk} \mid x_n], \qquad z_{nk} \in \{0, 1\}, \quad \gamma_{nk} \in [0, 1], \quad \sum_k \gamma_{nk} = 1.$$
#
# Setting the derivative to zero gives $\mu_k = \sum_n \gamma_{nk} x_n / \sum_n \gamma_{nk}$. This looks like a solution and is none: the
# denominator of $\gamma_{nk}$ holds *all* parameters of *all* components. The equations are coupled through it, and through nothing
# else. Between the two means, for instance, where $j \ne k$,
#
# $$\frac{\partial^2 \ell}{\partial \mu_j \, \partial \mu_k}
# = - \sum_n \gamma_{nj} \, \gamma_{nk} \, \frac{(x_n - \mu_j)(x_n - \mu_k)}{\sigma_j^2 \, \sigma_k^2},$$
#
# and $-\gamma_{nj} \gamma_{nk}$ is the covariance of the two indicators of a point. It vanishes exactly where every point belongs to one component for certain.
#
# EM breaks the circle: it holds $\gamma$ fixed, solves the equations that are left, and computes $\gamma$ again.

# %% [markdown]
# ## Step 1: start
#
# EM needs some parameters to begin with. Any will do, as long as no two components are the same; which maximum EM reaches depends on
# them.

# %%
weights = np.array([0.5, 0.5])  # pi_k
means = np.array([2.0, 4.0])  # mu_k
variances = np.array([1.0, 1.0])  # sigma_k^2


def joint(x, weights, means, variances):
    """pi_k N(x_n | mu_k, sigma_k^2). [N, K]"""
    deviations = x[:, None] - means
    return weights * np.exp(-(deviations**2) / (2 * variances)) / np.sqrt(2 * np.pi * variances)


def log_likelihood(x, weights, means, variances):
    """The sum over the points of the log of the sum over the components."""
    return np.sum(np.log(np.sum(joint(x, weights, means, variances), axis=1)))


before = log_likelihood(x, weights, means, variances)
print(f"log-likelihood of the start: {before:.6f}")

# %% [markdown]
# ## Step 2: the E-step
#
# The parameters are held fixed, and the expectation of each indicator is computed:
#
# $$\gamma_{nk} = \frac{\pi_k \, \mathcal{N}(x_n \mid \mu_k, \sigma_k^2)}{\sum_j \pi_j \, \mathcal{N}(x_n \mid \mu_j, \sigma_j^2)}.$$

# %%
p = joint(x, weights, means, variances)
gamma = p / p.sum(axis=1, keepdims=True)
print("  x_n   gamma_n1  gamma_n2")
for point, row in zip(x, gamma, strict=True):
    print(f"{point:5.1f}   {row[0]:8.4f}  {row[1]:8.4f}")

# %% [markdown]
# With $\gamma$ the derivative is a plain sum. It agrees with the difference quotient of the log-likelihood, and so does the coupling of the two
# means, which is not zero:

# %%
score = np.sum(gamma * (x[:, None] - means) / variances, axis=0)
h = 1e-5
for k in range(2):
    step = h * np.eye(2)[k]
    difference = (
        log_likelihood(x, weights, means + step, variances) - log_likelihood(x, weights, means - step, variances)
    ) / (2 * h)
    print(f"derivative by mu_{k + 1}: {score[k]:+.6f} by the formula, {difference:+.6f} by differences")
    # The error of a central difference: h^2 from the third derivative, and rounding of l over h.
    np.testing.assert_allclose(score[k], difference, atol=1e-7)

coupling = -np.sum(gamma[:, 0] * gamma[:, 1] * np.prod((x[:, None] - means) / variances, axis=1))
print(f"second derivative by mu_1 and mu_2: {coupling:+.6f}")

# %% [markdown]
# ## Step 3: the M-step
#
# With $\gamma$ held fixed the equations no longer couple, and each has a closed form. Each update is a **weighted average**. With
# $N_k = \sum_n \gamma_{nk}$, the number of points that component $k$ accounts for,
#
# $$\pi_k' = \frac{1}{N} \sum_n \gamma_{nk}, \qquad
# \mu_k' = \frac{1}{N_k} \sum_n \gamma_{nk} \, x_n, \qquad
# \sigma_k'^2 = \frac{1}{N_k} \sum_n \gamma_{nk} \, (x_n - \mu_k')^2.$$
#
# The weight is the average of $\gamma$, the mean is the average of the points, and the variance is the average of the squared deviations from the
# *new* mean. About the old mean the average is larger, by $(\mu_k' - \mu_k)^2$. Such a step is no M-step, since it does not maximise, but a
# *generalised* one: it loses nothing either, and has the same fixed points.

# %%
counts = gamma.sum(axis=0)  # N_k
new_weights = np.average(gamma, axis=0)
new_means = np.array([np.average(x, weights=gamma[:, k]) for k in range(2)])
new_variances = np.array([np.average((x - new_means[k]) ** 2, weights=gamma[:, k]) for k in range(2)])
about_old = np.array([np.average((x - means[k]) ** 2, weights=gamma[:, k]) for k in range(2)])
np.testing.assert_allclose(about_old - new_variances, (new_means - means) ** 2, atol=1e-12)

after = log_likelihood(x, new_weights, new_means, new_variances)
generalised = log_likelihood(x, new_weights, new_means, about_old)
print("weights  ", new_weights)
print("means    ", new_means)
print("variances", new_variances, " about the old means", about_old)
print(f"log-likelihood: {before:.6f}, then {after:.6f}; with variances about the old means {generalised:.6f}")

# %% [markdown]
# ## Why no step loses
#
# The logarithm is concave, so by Jensen's inequality the logarithm of an average is at least the average of the logarithms. For any parameters $\theta'$, with $\gamma$
# from the *current* ones $\theta$,
#
# $$\ell(\theta') = \sum_n \ln \sum_k \gamma_{nk} \, \frac{\pi_k' \, \mathcal{N}(x_n \mid \mu_k', \sigma_k'^2)}{\gamma_{nk}}
# \;\ge\; \sum_n \sum_k \gamma_{nk} \ln \frac{\pi_k' \, \mathcal{N}(x_n \mid \mu_k', \sigma_k'^2)}{\gamma_{nk}} =: F(\gamma, \theta').$$
#
# At $\theta' = \theta$ every fraction of point $n$ equals $p(x_n)$, so that the two sides are equal. The M-step maximises $F$, in which the logarithm stands before each
# Gaussian alone. Therefore
#
# $$\ell(\theta') \;\ge\; F(\gamma, \theta') \;\ge\; F(\gamma, \theta) \;=\; \ell(\theta).$$
#
# The figure shows both along one mean, with all other parameters held: the bound touches the log-likelihood at the current value, lies below it
# elsewhere, and its top, which is known in closed form, is where the M-step puts the mean.


# %%
def bound(x, gamma, weights, means, variances):
    """F(gamma, theta): the lower bound of the log-likelihood that touches it where gamma was computed."""
    return np.sum(gamma * (np.log(joint(x, weights, means, variances)) - np.log(gamma)))


grid = np.linspace(2.5, 7.0, 200)
along = [(weights, np.array([means[0], mu]), variances) for mu in grid]
fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
ax.plot(grid, [log_likelihood(x, *theta) for theta in along], lw=2, label=r"log-likelihood $\ell$")
ax.plot(grid, [bound(x, gamma, *theta) for theta in along], "--", label=r"bound $F$, with $\gamma$ of the start")
ax.plot(means[1], before, "o", color="black", label="start: the two touch")
top = bound(x, gamma, weights, np.array([means[0], new_means[1]]), variances)
ax.plot(new_means[1], top, "^", color="C1", ms=9, label=r"top of the bound: $\mu_2'$ of the M-step")
ax.set(xlabel=r"$\mu_2$", ylabel="nats")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, fontsize="small")
assert before <= generalised <= after

# %% [markdown]
# ## Step 4: convergence
#
# Steps 2 and 3 are repeated until the log-likelihood rises no more. The package stops at the first step on which
#
# $$\ell_t - \ell_{t-1} \le \varepsilon \, |\ell_t|, \qquad \varepsilon = 10^{-10}.$$
#
# A small rise does not mean that little is left to gain. Near the end each rise is a fixed share $r$ of the one before, so that $r / (1 - r)$
# times the last rise is still to come (Aitken). Where groups overlap, $r$ is close to 1, and a loose tolerance stops far too early. The
# E-step yields the log-likelihood of the parameters *before* the step, so that a rise is known one step after it was made.


# %%
def em_step(x, weights, means, variances):
    """The E-step and the M-step: new parameters, and the log-likelihood of the old ones."""
    p = joint(x, weights, means, variances)
    total = p.sum(axis=1, keepdims=True)
    gamma = p / total
    counts = gamma.sum(axis=0)
    new_means = gamma.T @ x / counts
    new_variances = np.sum(gamma * (x[:, None] - new_means) ** 2, axis=0) / counts
    return (counts / len(x), new_means, new_variances), np.sum(np.log(total))


def em(x, theta, tolerance=1e-10, most=5000):
    """EM from a start: the parameters before the first step and after each [T + 1], and their log-likelihoods [T + 1]."""
    path, values = [theta], []
    for _ in range(most):
        new, value = em_step(x, *path[-1])
        path.append(new)
        values.append(value)
        if len(values) > 1 and value - values[-2] <= tolerance * abs(value):
            break
    return path, np.array([*values, log_likelihood(x, *path[-1])])


path, values = em(x, (weights, means, variances))
rises = np.diff(values)
ratio = rises[-2] / rises[-3]
print(f"{len(rises)} steps, log-likelihood {values[-1]:.9f}; no step fell: {bool(np.all(rises > -1e-12))}")
print(f"each rise is {ratio:.3f} of the one before")
for tolerance in (1e-3, 1e-6):
    small = int(np.argmax(rises <= tolerance * np.abs(values[1:])))  # the first small rise
    left, estimate = values[-1] - values[small + 1], rises[small] * ratio / (1 - ratio)
    print(
        f"tolerance {tolerance:.0e}: the first small rise is {rises[small]:.1e}; {left:.1e} are left, by Aitken {estimate:.1e}"
    )

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
axes[0].semilogy(values[-1] - values[:-1], ".-")
axes[0].set(xlabel="steps", ylabel="nats below the end", title="What is left after each step")
axes[1].plot([theta[1] for theta in path], ".-")
axes[1].plot(np.full(len(x), -1), x, "_", color="0.4", ms=14)
axes[1].set(xlabel="steps", ylabel=r"$\mu_k$", title="The means; the points are marked at the left")
for ax in axes:
    ax.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# ## The package's EM
#
# `problem.em_step(mixture)` is one E-step and one M-step. From the same start, every step agrees with `em_step` above to $10^{-12}$,
# and so do the responsibilities, the log-likelihood and its derivative.

# %%
problem = wb.Problem(x, components=2)  # no prior: the log-likelihood
start = wb.Mixture.from_covariances(weights, means[:, None], variances[:, None, None])
np.testing.assert_allclose(start.responsibilities(x[:, None]), gamma, rtol=0, atol=1e-12)

mixture, step = start, jax.jit(problem.em_step)
for theta, value in zip(path, values, strict=True):
    for ours, theirs in zip(theta, (mixture.weights, mixture.means, mixture.covariances), strict=True):
        np.testing.assert_allclose(ours, np.ravel(theirs), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(value, problem.log_likelihood(mixture), rtol=1e-12)
    mixture, _ = step(mixture)

slopes = jax.grad(problem.log_likelihood)(start)
np.testing.assert_allclose(score, np.ravel(slopes.means), rtol=1e-12)
print(f"the start and all {len(rises)} steps agree to 1e-12")

# %% [markdown]
# `wb.compare` runs the same steps in its loop, with the same stopping rule, and L-BFGS beside it, which climbs the same function by its derivative.

# %%
comparison = wb.compare(problem, [wb.EM(), wb.GradientAscent()], restarts=1, starts=start)
passes = {name: int(trace.passes[0].max()) for name, trace in comparison.items()}
print("passes:", passes)
for name, trace in comparison.items():
    found = trace.best(problem)
    print(f"{name:7} log-likelihood {float(problem.log_likelihood(found)):.9f}, means {np.ravel(found.means)}")

# %% [markdown]
# <a id="your-own-numbers"></a>
# ## Your own numbers
#
# Change the two lines and run both cells. `own_means` says where the components begin, and how many there are. Two starts worth a try: equal means
# (the components never part), and a start on a point far from all others (its component shrinks onto it and the log-likelihood
# grows without bound; the cell says so).

# %% tags=["own-numbers"]
own = [4.1, 4.9, 5.2, 5.4, 6.2, 6.6, 7.2, 7.5, 7.7, 8.1, 9.4, 12.0, 12.6, 13.5]
own_means = [4.0, 8.0, 12.0]

# %%
y, num = np.asarray(own, float), len(own_means)
begin = (np.full(num, 1 / num), np.asarray(own_means, float), np.full(num, np.var(y) / num**2))
with np.errstate(all="ignore"):
    steps, heights = em(y, begin)
end = steps[-1]
if not np.isfinite(heights[-1]) or np.min(end[2]) < 1e-10 * np.var(y):
    print(
        "A component has collapsed on a point, where the likelihood has no bound, or a point is too far from all components."
    )
else:
    first = wb.Mixture.from_covariances(begin[0], begin[1][:, None], begin[2][:, None, None])
    run = wb.compare(wb.Problem(y, components=num), [wb.EM()], restarts=1, starts=first)["em"]
    print(
        f"{len(steps) - 1} steps, log-likelihood {heights[-1]:.9f}; the package's differs by {abs(heights[-1] - run.log_joint[0, -1]):.0e}"
    )
    for k, (weight, mean, variance) in enumerate(zip(*end, strict=True), start=1):
        print(f"component {k}: weight {weight:.3f}, mean {mean:.3f}, standard deviation {variance**0.5:.3f}")
    grid = np.linspace(y.min() - np.ptp(y) / 5, y.max() + np.ptp(y) / 5, 400)
    fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    ax.plot(grid, joint(grid, *end), lw=1, color="0.6")
    ax.plot(grid, joint(grid, *end).sum(axis=1), lw=2, label="the mixture; thin: its components")
    ax.plot(y, np.zeros_like(y), "|", color="0.3", ms=14, label="the points")
    ax.set(xlabel="x", ylabel="density", ylim=(0, None))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small", loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
