"""The five points of NumPyro's tutorial: one mode, by three routes that share nothing but the model.

The mode is that of the density over the weights on the simplex, the means and the deviation itself. There the weights
are `(n_k - 1/2) / (N - 1)`; over logits or the log deviation the density, and so its mode, is another.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from climbs import all_climbed
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoDelta
from numpyro.infer.initialization import init_to_value
from numpyro.optim import Minimize
from scipy.optimize import brentq

from workbench.errors import InputError
from workbench.methods import EM, GradientAscent
from workbench.mixture import IndependentPrior, Mixture
from workbench.numpyro_model import mixture_model
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts

X = np.array([0.0, 1.0, 10.0, 11.0, 12.0])

# As the tutorial prints them, to five decimals.
LOSS, WEIGHTS, MEANS, DEVIATION = 17.44325, [0.375, 0.625], [0.49894, 10.98446], 0.65143
PRINTED = 1e-5
LOG_JOINT = jax.jit(Problem.log_joint)


@pytest.fixture(scope="module")
def problem() -> Problem:
    prior = IndependentPrior(
        concentration=0.5, mean_location=(0.0,), mean_scale=(10.0,),
        deviation="log_normal", deviation_scale=(1.0,), deviation_spread=2.0,
    )  # fmt: skip
    return Problem(X, 2, "tied", prior)


def mixture_of(weights: object, means: object, deviation: float) -> Mixture:
    return Mixture.from_covariances(weights, np.reshape(means, (2, 1)), [[deviation**2]], "tied")


def assert_is_the_mode(problem: Problem, mixture: Mixture) -> None:
    found = mixture.canonical()
    np.testing.assert_allclose(found.weights, WEIGHTS, rtol=0, atol=PRINTED)
    np.testing.assert_allclose(found.means[:, 0], MEANS, rtol=0, atol=PRINTED)
    assert float(found.scales[0, 0]) == pytest.approx(DEVIATION, abs=PRINTED)
    assert -float(LOG_JOINT(problem, found)) == pytest.approx(LOSS, abs=PRINTED)


def test_ascent_reaches_the_mode_from_every_start(problem: Problem) -> None:
    starts = draw_starts(RandomPoints(), problem, 4, seed=0)
    ends, *_ = all_climbed(GradientAscent(), problem, starts)
    for r in range(4):
        assert_is_the_mode(problem, jax.tree.map(lambda leaf, r=r: leaf[r], ends))


@pytest.mark.slow
def test_numpyros_point_guide_reaches_the_same_mode(problem: Problem) -> None:
    begin = {"weights": jnp.array([0.5, 0.5]), "means": jnp.array([[1.0], [10.0]]), "deviations": jnp.ones(1)}
    guide = AutoDelta(mixture_model, init_loc_fn=init_to_value(values=begin))
    svi = SVI(mixture_model, guide, Minimize(), Trace_ELBO())
    state = svi.init(jax.random.key(0), problem, jnp.asarray(problem.x))
    state, _ = svi.update(state, problem, jnp.asarray(problem.x))  # one update is a whole search by BFGS
    loss = svi.evaluate(state, problem, jnp.asarray(problem.x))
    sites = guide.median(svi.get_params(state))
    assert float(loss) == pytest.approx(LOSS, abs=1e-4)
    found = mixture_of(sites["weights"], sites["means"], float(np.squeeze(sites["deviations"])))
    assert_is_the_mode(problem, found)
    # The same density, to rounding of some twenty terms.
    assert float(loss) == pytest.approx(-float(problem.log_joint(found)), abs=1e-10)


@pytest.mark.slow
def test_em_with_a_root_for_its_m_step_reaches_it_and_em_in_closed_form_is_refused(problem: Problem) -> None:
    # Weights and means have closed forms given the deviation s; at the maximum over s, with t = ln s and S the scatter,
    # -(N + 1) - t / 4 + S exp(-2 t) = 0, which has none.
    weights, means, s = np.array([0.5, 0.5]), np.array([1.0, 10.0]), 2.0
    for _ in range(200):
        joint = weights * np.exp(-0.5 * ((X[:, None] - means) / s) ** 2)
        member = joint / joint.sum(1, keepdims=True)
        counts = member.sum(0)
        weights = (counts - 0.5) / (len(X) - 1)
        means = X @ member / (counts + s**2 / 100)
        scatter = np.sum(member * (X[:, None] - means) ** 2)
        s = np.exp(brentq(lambda t, scatter=scatter: -(len(X) + 1) - t / 4 + scatter * np.exp(-2 * t), -5, 5))
    assert_is_the_mode(problem, mixture_of(weights, means, s))
    with pytest.raises(InputError, match="no closed-form M-step under the IndependentPrior"):
        EM().check(problem)
