"""Random keys are split by name, and every kind of draw equals JAX's own."""

import os
import subprocess
import sys
from collections.abc import Callable

import jax
import numpy as np
import pytest

from workbench.engine.compat.generator import GENERATOR, PLAIN
from workbench.engine.keys import named_key, quick, restart_keys

DRAWS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "float64": lambda key: jax.random.uniform(key, (1_003,)),
    "float32": lambda key: jax.random.uniform(key, (3, 5, 7), "float32"),
    "normal": lambda key: jax.random.normal(key, (4, 3)),
    "scalar": jax.random.exponential,
    "gamma": lambda key: jax.random.loggamma(key, np.array([0.1, 5.0, 700.0])),
    "integers": lambda key: jax.random.randint(key, (90,), 0, 1_000),
    "bytes": lambda key: jax.random.bits(key, (50,), "uint8"),
    "permutation": lambda key: jax.random.permutation(key, 40),
    "bernoulli": lambda key: jax.random.bernoulli(key, 0.3, (60,)),
    "split": lambda key: jax.random.key_data(jax.random.split(key, (3, 2))),
    "folded": lambda key: jax.random.key_data(jax.random.fold_in(key, 77)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_numbers_are_jaxs_to_the_bit(name: str) -> None:
    keys = jax.random.split(jax.random.key(5), 4)
    found = jax.jit(jax.vmap(DRAWS[name]))(quick(keys))
    np.testing.assert_array_equal(found, jax.vmap(DRAWS[name])(keys))


@pytest.mark.parametrize("seed", [0, 7, 2**40 + 3])
def test_a_seed_gives_jaxs_key(seed: int) -> None:
    own = jax.random.key(seed, impl=GENERATOR)
    np.testing.assert_array_equal(jax.random.key_data(own), jax.random.key_data(jax.random.key(seed)))


def test_a_key_of_another_generator_draws_one_of_its_own() -> None:
    words = [jax.random.key_data(quick(jax.random.key(seed, impl="rbg"))) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(words[0], words[1])
    assert words[0].shape == (2,) and not np.array_equal(words[0], words[2])


def test_more_numbers_than_a_key_gives_are_refused() -> None:
    with pytest.raises(ValueError, match="split it"):
        jax.jit(lambda key: jax.random.bits(key, (2**17, 2**16), "uint8")).lower(quick(jax.random.key(0)))


def test_names_and_restarts_have_keys_of_their_own() -> None:
    words = jax.random.key_data
    assert not np.array_equal(words(named_key(0, "starts")), words(named_key(0, "em")))
    assert not np.array_equal(words(named_key(0, "em")), words(named_key(1, "em")))
    few, many = restart_keys(named_key(0, "em"), 3), restart_keys(named_key(0, "em"), 5)
    np.testing.assert_array_equal(words(few), words(many)[:3])
    assert len(np.unique(words(many), axis=0)) == 5


def test_jaxs_own_loop_can_be_chosen_and_gives_the_same_numbers() -> None:
    """Another process, because the generator is chosen at import."""
    draw = (
        "import jax; from workbench.engine.keys import named_key; "
        "key = named_key(3, 'em'); print(key.dtype, jax.random.bits(key, (4,), 'uint32').tolist())"
    )
    said = [
        subprocess.run([sys.executable, "-c", draw], env=os.environ | own, capture_output=True, text=True, check=True)
        for own in ({PLAIN: "0"}, {PLAIN: "1"})
    ]
    straight, plain = (each.stdout.split(maxsplit=1) for each in said)
    assert (straight[0], plain[0]) == ("key<straight>", "key<fry>")
    assert straight[1] == plain[1] == f"{jax.random.bits(named_key(3, 'em'), (4,), 'uint32').tolist()}\n"


def test_keys_mix_with_jaxs_own() -> None:
    """A key of JAX's and the same key of the package's own draw the same, side by side in one program."""
    plain = jax.random.key(11)
    both = jax.jit(lambda a, b: (jax.random.normal(a, (5,)), jax.random.normal(b, (5,))))(plain, quick(plain))
    np.testing.assert_array_equal(*both)
