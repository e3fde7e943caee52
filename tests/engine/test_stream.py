"""Streamed rows give the same results as rows in memory, for any block size, from an array or a memory map."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.data import moments
from workbench.engine import layout, rows
from workbench.engine.keys import named_key
from workbench.engine.one_pass import log_likelihood, one_pass
from workbench.engine.rows import Rows
from workbench.loop.run import run
from workbench.methods import EM, GradientAscent
from workbench.mixture import COVARIANCES, Mixture
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts

FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
Points = NDArray[np.float64]


@pytest.fixture
def many() -> Points:
    """5,003 points of two columns in three groups; they do not fill a whole number of blocks. [N, D]"""
    rng = np.random.default_rng(11)
    return np.asarray(rng.normal(size=(5003, 2)) + 4.0 * rng.normal(size=(3, 2))[rng.integers(3, size=5003)])


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shrink the limits: all data are streamed, blocks hold a chunk, and a thousand rows on the host."""
    monkeypatch.setattr(moments, "BLOCK_BYTES", 16_000)
    monkeypatch.setattr(rows, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(rows, "SAMPLED_ROWS", 500)
    monkeypatch.setattr(layout, "READ_BYTES", 16_000)


@FAMILIES
def test_a_streamed_pass_is_a_pass_in_memory(
    family: str, many: Points, random_mixture: Callable[..., Mixture], request: pytest.FixtureRequest
) -> None:
    resident = Rows.of(many, COVARIANCES[family], 3)
    request.getfixturevalue("streaming")
    streamed = Rows.of(many, COVARIANCES[family], 3)
    assert streamed.stream is not None and streamed.stream.num_blocks == 10
    mixture = random_mixture(many, 3, family, seed=0)
    both = jax.jit(lambda mixture, r: (one_pass(mixture, r), jax.grad(log_likelihood)(mixture, r)))
    got, expected = (both(mixture, r) for r in (streamed, resident))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        # The same sums of 5,003 terms in another order.
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11 * np.max(np.abs(b)))


@pytest.mark.parametrize(
    "method", [pytest.param(EM(), id="em"), pytest.param(GradientAscent(), id="ascent", marks=pytest.mark.slow)]
)
def test_methods_end_where_they_end_in_memory(
    method: EM | GradientAscent, many: Points, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    problem = Problem(many, 3)
    starts = draw_starts(RandomPoints(), problem, 2, seed=0)
    expected = run(method, problem, starts, named_key(0, "method"))
    np.save(tmp_path / "many.npy", many)
    request.getfixturevalue("streaming")
    mapped = Problem(np.load(tmp_path / "many.npy", mmap_mode="r"), 3)
    assert not mapped.x.flags.owndata and mapped.rows.stream is not None
    trace = run(method, mapped, starts, named_key(0, "method"))
    np.testing.assert_allclose(trace.log_joint[:, -1], expected.log_joint[:, -1], rtol=1e-10)


@pytest.mark.usefixtures("streaming")
def test_starts_of_streamed_rows_are_drawn_from_an_even_sample(many: Points) -> None:
    problem = Problem(many, 3)
    assert problem.rows.num_resident == 500 and problem.num_points == 5003
    sample = problem.rows.at(np.arange(500))
    expected = many[np.linspace(0, 5002, 500).astype(int)]
    # A product with a matrix and its inverse.
    np.testing.assert_allclose(sample, expected, rtol=0, atol=1e-13)
    means = np.asarray(draw_starts(RandomPoints(), problem, 4, seed=0).means).reshape(-1, 2)
    assert all(np.min(np.abs(expected - mean).sum(1)) < 1e-12 for mean in means)


@pytest.mark.parametrize("place", ["memory", "streamed"])
def test_minibatches_are_rows_and_differ_by_key(place: str, many: Points, request: pytest.FixtureRequest) -> None:
    if place == "streamed":
        request.getfixturevalue("streaming")
    every = Rows.of(many, COVARIANCES["full"], 3)
    batches = [every.minibatch(jax.random.key(seed), 64) for seed in (0, 0, 1)]
    assert all(batch.num_points == 64 and batch.z.shape == (1, 2, 64) for batch in batches)
    np.testing.assert_array_equal(batches[0].z, batches[1].z)
    assert not np.array_equal(batches[0].z, batches[2].z)
    for row in np.asarray(batches[0].at(np.arange(64))):
        assert np.min(np.abs(many - row).sum(1)) < 1e-12
    np.testing.assert_allclose(batches[0].total, batches[0].z[0] @ batches[0].z[0].T, rtol=1e-12)
