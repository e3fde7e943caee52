"""What is used of NumPyro beyond its documented interface still is what it is used as."""

import jax
import jax.numpy as jnp
import numpy as np

from workbench.engine.compat import numpyro


def test_hmc_gives_a_start_and_a_step_that_keeps_a_normal() -> None:
    begin, step = numpyro.hmc(potential_fn=lambda z: 0.5 * jnp.sum(z**2), algo="NUTS")
    state = begin(jnp.zeros(2), num_warmup=50, rng_key=jax.random.key(0))
    step = jax.jit(step)
    for _ in range(60):
        state = step(state)
    # The fields that `methods/nuts.py` reads.
    assert {"z", "potential_energy", "num_steps", "diverging", "energy", "i"} <= set(state._fields)
    assert np.isfinite(state.potential_energy) and int(state.i) == 60


def test_any_changed_compares_discrete_sites() -> None:
    before, after = {"z": jnp.asarray([0, 1])}, {"z": jnp.asarray([0, 2])}
    assert not numpyro.any_changed(before, before)
    assert numpyro.any_changed(before, after)


def test_is_prng_key_tells_one_key_from_many() -> None:
    assert numpyro.is_prng_key(jax.random.key(0))
    assert not numpyro.is_prng_key(jax.random.split(jax.random.key(0), 3))
