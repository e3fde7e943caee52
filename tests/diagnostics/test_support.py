"""Real components are distinguished from slivers by their gain in likelihood and their price."""

import numpy as np
import pytest

from workbench.compare import compare
from workbench.data import load_dataset
from workbench.diagnostics.support import _narrowest, slivers
from workbench.methods import EM
from workbench.mixture import Mixture
from workbench.problem import Problem

N, FEW = 200, 14


def groups(x: np.ndarray, few: np.ndarray, family: str = "full") -> tuple[Problem, Mixture]:
    """A problem of two components, and the mixture of some rows [N] and the others at their own moments."""
    parts = [x[few], x[~few]]
    covariances = np.stack([np.cov(part.T, bias=True).reshape((x.shape[1],) * 2) for part in parts])
    if family == "diagonal":
        covariances = covariances * np.eye(x.shape[1])
    mixture = Mixture.from_covariances(
        [len(part) / len(x) for part in parts], np.stack([part.mean(0) for part in parts]), covariances, family
    )
    return Problem(x, 2, family), mixture


@pytest.fixture(params=range(3))
def cloud(request: pytest.FixtureRequest) -> np.ndarray:
    """One Gaussian in the plane. [N, 2]"""
    return np.random.default_rng(request.param).normal(size=(N, 2))


def test_a_component_is_narrow_only_where_every_other_is_wider() -> None:
    wide, narrow = np.diag([1.0, 1.5]), np.diag([1.5, 1.0])
    assert _narrowest(np.stack([wide, narrow])) == [0, 1]  # each along an axis of its own
    assert _narrowest(np.stack([1.5 * wide, wide])) == [1]
    assert _narrowest(np.stack([wide, wide])) == []


@pytest.mark.parametrize("family", ["full", "diagonal"])
def test_points_that_happen_to_lie_in_a_strip_are_a_sliver(cloud: np.ndarray, family: str) -> None:
    # The few rows closest to a line, of those near each other along it.
    near = np.abs(cloud[:, 0]) < 1.0
    few = np.isin(np.arange(N), np.flatnonzero(near)[np.argsort(np.abs(cloud[near, 1] - 0.3))[:FEW]])
    (found,) = slivers(*groups(cloud, few, family))
    assert found.component == 0
    assert found.points == pytest.approx(FEW)
    assert found.gain < found.price


def test_the_price_counts_no_axis_as_wider_than_the_data(cloud: np.ndarray) -> None:
    far = np.abs(cloud[:, 0]) > 0.9
    few = np.isin(np.arange(N), np.flatnonzero(far)[np.argsort(np.abs(cloud[far, 1] - 0.3))[:FEW]])
    (found,) = slivers(*groups(cloud, few))
    white = np.linalg.solve(np.linalg.cholesky(np.cov(cloud.T, bias=True)), cloud.T)
    narrow, wide = np.sqrt(np.linalg.eigvalsh(np.cov(white[:, few], bias=True)))
    assert wide > 1.0
    # Six parameters of its own; one axis is narrow, and the angle turns it into one that is as wide as the data.
    assert found.price == pytest.approx(3 * np.log(FEW) - 2 * np.log(narrow), rel=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_a_small_group_apart_is_none_however_narrow(cloud: np.ndarray, scale: float) -> None:
    x, few = cloud.copy(), np.arange(N) < FEW
    x[few] = 4 + 0.05 * x[few]
    # Units do not matter.
    assert slivers(*groups(x * [1.0, scale], few)) == ()


def test_a_narrow_line_of_many_points_is_none(cloud: np.ndarray) -> None:
    x, few = cloud.copy(), np.arange(N) < 60
    x[few, 1] *= 0.02
    assert slivers(*groups(x, few)) == ()


def test_where_the_covariance_is_shared_no_component_is_narrower_than_others(two_groups, shapes) -> None:
    good = shapes["good"]
    shared = Mixture.from_covariances(good.weights, good.means, np.asarray(good.covariances)[0], "tied")
    assert slivers(Problem(two_groups.x, 2, "tied"), shared) == ()


def test_the_textbooks_spurious_component_of_the_galaxies_is_found() -> None:
    # McLachlan & Peel (2000), Example 3.9: a component on a few velocities near 26.96, two of them 0.035 apart.
    x = load_dataset("galaxies").x
    scaled = x[:, 0] / (1000.0 if x.max() > 1000 else 1.0)
    few = np.abs(scaled - 26.978) < 0.02
    assert few.sum() == 2
    problem, mixture = groups(scaled[:, None], few)
    (found,) = slivers(problem, mixture)
    assert found.component == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "components"),
    [("iris", 3), ("faithful", 2), ("wine13", 3), ("crabs", 4), ("galaxies", 3), ("galaxies", 5)],
)
def test_the_usual_fits_of_shipped_data_have_none(name: str, components: int) -> None:
    problem = Problem(load_dataset(name).x, components)
    best = compare(problem, [EM()], restarts=8)["em"].best(problem)
    assert best is not None
    assert slivers(problem, best) == ()
