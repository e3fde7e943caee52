"""A covariance family is one file and one line: a fifth one passes what the shipped four pass.

The family is mclust's EEI (`fifth_family.py`): none of its functions but its shape, its number of parameters and its
two maps between entries and dense matrices are its own.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fifth_family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from climbs import all_climbed
from fifth_family import SharedDiagonal
from scipy.special import logsumexp
from scipy.stats import norm

import workbench as wb
from workbench.charts import Chart
from workbench.geometry.curvature import curvature, raveled
from workbench.geometry.standard_errors import covariance_of, delta, deviations
from workbench.loop.run import run
from workbench.mixture import COVARIANCES, ConjugatePrior, Mixture
from workbench.soundness import Soundness
from workbench.starts import draw_starts

ROOT = Path(wb.__file__).parents[1]
NAME = SharedDiagonal.name


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """No longer than these tests last: others list the families."""
    COVARIANCES[NAME] = SharedDiagonal()
    yield
    del COVARIANCES[NAME]


@pytest.fixture(scope="module")
def problem() -> wb.Problem:
    """Two groups of equal variances, 4 and 0.25."""
    x = np.random.default_rng(0).normal(size=(60, 2)) * [2.0, 0.5] + np.repeat([[-3.0, 0.0], [3.0, 1.0]], 30, axis=0)
    return wb.Problem(x, 2, NAME)


@pytest.fixture(scope="module")
def starts(problem: wb.Problem) -> Mixture:
    return draw_starts(wb.starts.Alternating(), problem, 3, seed=0)


@pytest.fixture(scope="module")
def climbed(problem: wb.Problem, starts: Mixture) -> wb.Trace:
    return run(wb.EM(), problem, starts, jax.random.key(0))


def em_by_scipy(x: np.ndarray, mixture: Mixture) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Weights, means and variances [D] after one step, and the log-likelihood before it."""
    weights, means, deviation = (np.asarray(leaf) for leaf in (mixture.weights, mixture.means, mixture.scales))
    joint = np.log(weights) + norm.logpdf(x[:, None], means, deviation).sum(-1)  # [N, K]
    r = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    moved = r.T @ x / r.sum(0)[:, None]
    variances = np.einsum("nk,nkd->d", r, (x[:, None] - moved) ** 2) / len(x)
    return r.mean(0), moved, variances, float(logsumexp(joint, axis=1).sum())


def test_em_takes_the_steps_of_scipy_and_never_falls(problem: wb.Problem, starts: Mixture, em_step) -> None:
    mixture, values = jax.tree.map(lambda leaf: leaf[0], starts), []
    for _ in range(5):
        weights, means, variances, value = em_by_scipy(np.asarray(problem.x), mixture)
        mixture, found = em_step(problem, mixture)
        # Sums of 60 terms.
        np.testing.assert_allclose(mixture.weights, weights, rtol=1e-11)
        np.testing.assert_allclose(mixture.means, means, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(mixture.scales**2, variances, rtol=1e-11)
        assert float(found) == pytest.approx(value, rel=1e-12)
        values.append(float(found))
    assert np.all(np.diff(values) > -1e-12 * np.abs(values[1:]))


def test_starts_lead_em_and_ascent_to_one_sound_optimum(
    problem: wb.Problem, starts: Mixture, climbed: wb.Trace
) -> None:
    assert starts.scales.shape == (3, 2)
    ascended, *_ = all_climbed(wb.GradientAscent(), problem, starts)
    best = climbed.log_joint[:, -1].max()
    # Both stop where a step gains less than about 1e-8 nats a point.
    assert float(jax.jit(jax.vmap(problem.log_joint))(ascended).max()) == pytest.approx(best, abs=1e-4)
    end = jax.tree.map(lambda leaf: leaf[int(np.argmax(climbed.log_joint[:, -1]))], climbed.ends)
    assert Soundness().check(problem, end).sound
    # 5 deviations of a variance from 60 points, sqrt(2 / 60) of it.
    np.testing.assert_allclose(np.asarray(end.scales) ** 2, [4.0, 0.25], rtol=0.9)
    assert end.num_parameters == 1 + 4 + 2


@pytest.mark.slow
def test_standard_errors_are_those_of_finite_differences(problem: wb.Problem, climbed: wb.Trace) -> None:
    mixture = jax.tree.map(lambda leaf: jnp.asarray(leaf[int(np.argmax(climbed.log_joint[:, -1]))]), climbed.ends)
    chart = Chart.of(problem, weights="log_ratio")
    u, constrain = raveled(mixture, chart)
    value = jax.jit(lambda v: problem.log_likelihood(constrain(v)))
    # Second differences over all pairs of coordinates, of the value alone.
    step, units, signs = 1e-3, np.eye(len(u)), [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    hessian = np.zeros((len(u), len(u)))
    for i, j in np.ndindex(hessian.shape):
        corners = [a * b * float(value(u + step * (a * units[i] + b * units[j]))) for a, b in signs]
        hessian[i, j] = sum(corners) / (4 * step**2)
    exact, differences = -curvature(problem, mixture, chart).hessian, -jnp.asarray(hessian)
    found, expected = (deviations(delta(mixture, chart, covariance_of(each))) for each in (exact, differences))
    # The fourth derivative times the step squared.
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
def test_nuts_and_gibbs_draw_from_one_posterior(problem: wb.Problem, starts: Mixture) -> None:
    posterior = wb.Problem(problem.x, 2, NAME, ConjugatePrior(), labels="ordered")
    settings = {"num_chains": 2, "num_warmup": 300, "num_samples": 1000}
    two = jax.tree.map(lambda leaf: leaf[:2], starts)
    draws = [run(method(**settings), posterior, two, jax.random.key(1)) for method in (wb.NUTS, wb.Gibbs)]
    means = [np.mean(np.log(trace.mixtures.scales[:, -1000:]), axis=(0, 1)) for trace in draws]
    # 5 errors of a mean of some 400 independent draws, of which each deviates by about sqrt(1 / 120).
    np.testing.assert_allclose(*means, atol=5 * np.sqrt(2 / 400 / 120))


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """This repository with the family in it: one file, and its line in the registry."""
    left_out = shutil.ignore_patterns(".*", "results", "build", "dist", "__pycache__", "notebooks")
    shutil.copytree(ROOT, tmp_path / "house", ignore=left_out)
    folder = tmp_path / "house" / "workbench" / "mixture" / "covariance"
    shutil.copy(fifth_family.__file__, folder / f"{NAME}.py")
    registry = folder / "__init__.py"
    text = registry.read_text(encoding="utf-8").replace("Spherical())", "Spherical(), SharedDiagonal())")
    place = "from workbench.mixture.covariance.spherical"
    line = f"from workbench.mixture.covariance.{NAME} import SharedDiagonal\n"
    registry.write_text(text.replace(place, line + place), encoding="utf-8")
    return tmp_path / "house"


def called(house: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=house,
        env=os.environ | {"PYTHONPATH": str(house)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_every_claim_about_all_families_holds_of_a_fifth(house: Path) -> None:
    found = called(house, "pytest", "-q", "-k", NAME, "-p", "no:cacheprovider", "tests")
    assert found.returncode == 0 and " passed" in found.stdout, found.stdout[-3000:]


@pytest.mark.slow
def test_bic_chooses_the_family_that_the_points_come_from(house: Path, problem: wb.Problem) -> None:
    np.savetxt(house / "points.csv", problem.x, delimiter=",", header="a,b", comments="")
    (house / "grid.toml").write_text('[data]\nfile = "points.csv"\n[model]\ncomponents = 2\n', encoding="utf-8")
    families = ",".join(COVARIANCES)
    asked = ("--components", "1:3", "--covariance", families, "--format", "json", "--out", str(house / "results"))
    found = called(house, "workbench", "select", "grid.toml", *asked)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["best"]["bic"] == {"covariance": NAME, "components": 2}
