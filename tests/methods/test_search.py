"""The line search: the points that it accepts, and its end if there is no such point."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench.methods.line_search import CURVATURE, SUFFICIENT, TRIALS, Found, weak_wolfe

# Functions of the length with a slope of -1 or so at zero; the best length is 1e-3 to 50 times the first one tried.
FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "quadratic": lambda t: (t - 1.0) ** 2,
    "far": lambda t: (t / 50.0 - 1.0) ** 2,
    "near": lambda t: (1e3 * t - 1.0) ** 2,
    "wall": lambda t: -t - 0.1 * jnp.log(0.7 - t),  # no number beyond
    "wavy": lambda t: -jnp.sin(t) + 0.01 * t**2,
}


def searched(function: Callable[[jax.Array], jax.Array], length: float = 1.0) -> Found:
    """The search from zero along the line itself."""
    evaluate = jax.value_and_grad(lambda x: function(x[0]))
    start = evaluate(jnp.zeros(1))
    return weak_wolfe(lambda t: evaluate(t[None]), start, jnp.ones(1), jnp.asarray(length))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_step_found_falls_enough_and_has_flattened_enough(name: str) -> None:
    function = FUNCTIONS[name]
    found = searched(function)
    t, slope = float(found.length), float(jax.grad(function)(0.0))
    assert t > 0 and 1 <= int(found.trials) < TRIALS
    assert float(found.value) == pytest.approx(float(function(t)), rel=1e-12)
    assert float(function(t)) <= float(function(0.0)) + SUFFICIENT * t * slope
    assert float(jax.grad(function)(t)) >= CURVATURE * slope
    # Where interpolation finds the minimum, the gradient is what rounding leaves of its terms.
    np.testing.assert_allclose(found.gradient[0], jax.grad(function)(t), rtol=1e-12, atol=1e-12 * abs(slope))


def test_a_first_length_that_is_good_costs_one_trial() -> None:
    assert int(searched(FUNCTIONS["quadratic"]).trials) == 1


def test_where_nothing_falls_the_step_is_none_and_every_trial_is_paid() -> None:
    # The slope says down, the values say up.
    found = weak_wolfe(lambda t: (t, -jnp.ones(1)), (jnp.asarray(0.0), -jnp.ones(1)), jnp.ones(1), jnp.asarray(1.0))
    assert float(found.length) == 0.0 and float(found.value) == 0.0 and int(found.trials) == TRIALS


def test_an_objective_without_bound_ends_at_the_longest_step_tried() -> None:
    found = searched(lambda t: -t)
    assert int(found.trials) == TRIALS and float(found.length) == 2.0 ** (TRIALS - 1)
