"""Padding mixtures with components changes no number that is computed from them."""

import jax
import numpy as np
import pytest

from workbench.engine.one_pass import one_pass
from workbench.engine.rows import Rows
from workbench.mixture import COVARIANCES, Mixture
from workbench.mixture.filled import COMPONENTS, filled


def some_mixture(family: str, components: int, dimensions: int) -> Mixture:
    rng = np.random.default_rng(5)
    weights = rng.dirichlet(np.ones(components))
    roots = rng.normal(size=(components, dimensions, dimensions)) + 3 * np.eye(dimensions)
    dense = roots @ np.swapaxes(roots, 1, 2)
    shaped = COVARIANCES[family].nearest(dense)
    return Mixture.from_covariances(weights, 5 * rng.normal(size=(components, dimensions)), shaped, family)


# For D = 1, full covariances are padded as variances.
@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("family", COVARIANCES)
def test_densities_and_statistics_are_those_of_the_mixture_itself(family, dimensions):
    mixture = some_mixture(family, 3, dimensions)
    more = filled(mixture)
    # Some points are near, some so far away that their density is less than the added weight.
    x = np.random.default_rng(6).normal(size=(60, dimensions)) * np.where(np.arange(60) % 9, 5, 300)[:, None]
    assert more.num_components == COMPONENTS
    # The added terms are below rounding; only the order of the sum can differ.
    np.testing.assert_allclose(more.log_density(x), mixture.log_density(x), rtol=1e-14)
    rows = Rows.of(x, mixture.covariance, 3)
    value, statistics = one_pass(mixture, rows)
    found, filled_statistics = one_pass(more, rows)
    # Far rows have log-densities of 1e4, whose rounding error is 1e-12.
    np.testing.assert_allclose(found, value, rtol=1e-13)
    np.testing.assert_allclose(filled_statistics.counts[:3], statistics.counts, rtol=1e-9)
    assert np.all(np.asarray(filled_statistics.counts[3:]) == pytest.approx(0.0, abs=1e-290))


@pytest.mark.parametrize("family", COVARIANCES)
def test_each_mixture_of_a_batch_is_filled_up_by_itself(family):
    one, two = some_mixture(family, 3, 2), some_mixture(family, 3, 2).permute([2, 1, 0])
    batch = filled(jax.tree.map(lambda *leaves: np.stack(leaves)[:, None], one, two))
    for r, alone in enumerate((one, two)):
        jax.tree.map(lambda a, b, r=r: np.testing.assert_array_equal(a[r, 0], b), batch, filled(alone))


def test_what_has_enough_components_is_left_as_it_is():
    mixture = some_mixture("full", 3, 2)
    assert filled(mixture, 3) is mixture
