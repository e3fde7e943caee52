"""The native random pass draws what the one in JAX draws, from the same numbers, and skips rows that do not count."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from workbench.engine import native
from workbench.engine.one_pass import _plain_allocated_statistics, allocated_statistics
from workbench.engine.rows import Rows
from workbench.kernel import library
from workbench.mixture import COVARIANCES, Mixture, Statistics

# A family of a user's own takes the pass in JAX.
SERVED = sorted(name for name, family in COVARIANCES.items() if type(family) in native.FAMILIES)
FAMILIES = pytest.mark.parametrize("family", SERVED)
pytestmark = pytest.mark.skipif(library() is None, reason="the native pass is not built")

plain, drawn = jax.jit(_plain_allocated_statistics), jax.jit(native.allocated_statistics)


def problem(n: int, d: int, family: str, width: float = 1.0, **rows: Any) -> tuple[Mixture, Rows]:
    """A mixture of four components, one of them without weight, whose components overlap."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)) + 3.0
    kind = COVARIANCES[family]
    scales = kind.broadcast(jnp.eye(d) * width**2, 4)
    weights = jnp.asarray([0.5, 0.3, 0.0, 0.2])
    return Mixture(weights, jnp.asarray(x[:4]), scales, kind), Rows.of(x, kind, 4, **rows)


def alike(found: Statistics, expected: Statistics) -> None:
    """The same rows in each component; sums differ by rounding."""
    np.testing.assert_array_equal(found.counts, expected.counts)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10 * float(jnp.max(jnp.abs(other))))


@FAMILIES
@pytest.mark.parametrize(("n", "d", "width"), [(83, 1, 1.0), (1201, 3, 1.0), (1201, 3, 1e-3)])
def test_it_draws_what_the_pass_in_jax_draws(family: str, n: int, d: int, width: float) -> None:
    mixture, rows = problem(n, d, family, width)
    key = jax.random.key(3)
    found = drawn(key, mixture, rows)
    alike(found, plain(key, mixture, rows))
    assert float(found.counts[2]) == 0.0 and float(jnp.sum(found.counts)) == n
    # Another key, another draw, unless components are so narrow that every row has its own.
    assert width < 1 or np.any(np.asarray(drawn(jax.random.key(4), mixture, rows).counts) != np.asarray(found.counts))


def test_each_mixture_of_a_batch_draws_by_its_own_key() -> None:
    mixture, rows = problem(300, 2, "full")
    keys = jax.random.split(jax.random.key(0), 3)
    grid = jax.vmap(jax.vmap(lambda key: native.allocated_statistics(key, mixture, rows)))(keys[:, None])
    for place, key in enumerate(keys):
        for one, other in zip(grid, drawn(key, mixture, rows), strict=True):
            np.testing.assert_array_equal(one[place, 0], other)
    assert len({tuple(np.asarray(counts[0]).tolist()) for counts in grid.counts}) == 3


def test_float32_draws_as_the_pass_in_jax_does() -> None:
    with jax.enable_x64(False):
        mixture, rows = problem(500, 2, "full")
        key = jax.random.key(1)
        found, expected = drawn(key, mixture, rows), plain(key, mixture, rows)
    # A row whose number falls on an edge between two components, to 1e-7, may go either way.
    assert found.counts.dtype == np.float32
    np.testing.assert_allclose(found.counts, expected.counts, atol=1)


def test_streamed_rows_are_drawn_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    key = jax.random.key(2)
    monkeypatch.setattr("workbench.engine.rows.RESIDENT_BYTES", 0)
    mixture, streamed = problem(3_000, 2, "full")
    assert streamed.stream is not None
    alike(drawn(key, mixture, streamed), plain(key, mixture, streamed))


@FAMILIES
def test_rows_beyond_those_that_count_are_left_out(family: str) -> None:
    mixture, rows = problem(1201, 2, family)
    size = rows.z.shape[-1]
    counted = np.asarray([min(max(700 - size * c, 0), size) for c in range(len(rows.counted))])
    x = np.asarray(rows.at(jnp.arange(700)))
    total = np.asarray(rows.inverse) @ (x - np.asarray(rows.shift)).T
    part = replace(rows, counted=jnp.asarray(counted), total=jnp.asarray(total @ total.T))
    key = jax.random.key(5)
    alike(drawn(key, mixture, part), plain(key, mixture, part))
    # Rows that do not count may hold anything.
    spoiled = replace(part, z=jnp.where(jnp.arange(len(rows.counted))[:, None, None] * size >= 700, jnp.nan, part.z))
    alike(drawn(key, mixture, spoiled), drawn(key, mixture, part))
    value, statistics = jax.jit(native.statistics)(mixture, spoiled)
    assert np.isfinite(value) and all(bool(jnp.all(jnp.isfinite(part))) for part in statistics)
    none = replace(part, counted=jnp.zeros_like(part.counted), total=jnp.zeros_like(part.total))
    assert float(jnp.sum(jnp.abs(drawn(key, mixture, none).counts))) == 0.0


def test_rows_with_weights_take_the_pass_in_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Array] = []
    monkeypatch.setattr(native, "allocated_statistics", lambda key, *_: asked.append(key))
    mixture, rows = problem(60, 2, "full", weights=np.full(60, 2.0))
    assert float(jnp.sum(allocated_statistics(jax.random.key(0), mixture, rows).counts)) == 120.0
    assert not asked
