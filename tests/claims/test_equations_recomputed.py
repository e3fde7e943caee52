"""The claims on the likelihood equations: their figures again by derivatives, steps and paths in plain NumPy.

Points, truths, starts and seeds are those of the studies; the directions of starts near an optimum are JAX's draws for
these seeds. Optima, Hessians, steps and paths are computed anew.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from plain_mixture import (
    Array,
    Information,
    Plain,
    Units,
    component_log_joint,
    coordinates_of,
    em_step,
    gradient,
    height_at,
    hessian,
    log_density,
    mixture_at,
    moved,
    optimum_near,
    plain_of,
)

from workbench.claims import read_ledger
from workbench.claims.decision import Decision
from workbench.data import Simulator
from workbench.engine.keys import named_key, restart_keys
from workbench.jobs.study import run_study
from workbench.starts import RandomPoints, draw_starts
from workbench.studies import Study
from workbench.studies.coordinates import Affine, Stability
from workbench.studies.coupling import Coupling

LEDGER = Path(__file__).parents[2] / "experiments" / "claims.toml"

# Ten digits of a Hessian by differences of the fourth order are left, and some are lost where it is solved with.
DIGITS = 1e-7


def decided(name: str, out: Path, **smaller: Any) -> tuple[Study, list[dict[str, Any]], Decision]:
    """The quick variant of a claim's study, with smaller settings if given: its rows, and the ledger's decision."""
    (entry,) = (entry for entry in read_ledger(LEDGER, quick=True) if entry.name == name)
    ((file, study),) = entry.own
    assert isinstance(study, Study)
    study = study.model_copy(update=smaller)
    findings = run_study(study, out=out, folder=file.parent)
    return study, findings.rows, entry.decide([findings])


# Coupling


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def coupled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Coupling, dict[str, Decision]]:
    """The claims on coupling, for so many components and for the one Gaussian of the waiting times."""
    out, names = tmp_path_factory.mktemp("coupling"), ("coupled", "clusters_coupled", "no_closed_form")
    found = {name: decided(name, out, components=(request.param,)) for name in names}
    study = found[names[0]][0]
    assert isinstance(study, Coupling)
    return study, {name: decision for name, (_, _, decision) in found.items()}


@pytest.fixture(scope="module")
def optima(coupled: tuple[Coupling, Any]) -> list[tuple[Array, Array]]:
    """Points in units of zero mean and unit covariance and the coordinates of the optimum, by separation."""
    study, found = coupled[0], []
    for separation in study.separations:
        data = Simulator(study.components[0], study.dimensions, study.points, separation).draw(study.seed)
        units = Units.of(data.x)
        z = units.points(data.x)
        found.append((z, coordinates_of(optimum_near(units.mixture(plain_of(data.truth)), z))))
    return found


def outside(matrix: Array, blocks: Array) -> float:
    """The share of the Frobenius norm outside the diagonal blocks, after each of these is made the identity."""
    own = blocks[:, None] == blocks
    half = np.linalg.inv(np.linalg.cholesky(np.where(own, matrix, 0.0)))
    white = half @ matrix @ half.T
    return float(np.sqrt(np.sum(white[~own] ** 2) / np.sum(white**2)))


@pytest.mark.parametrize("name", ["coupled", "clusters_coupled"])
def test_share_of_the_hessian_is_that_of_differences(
    name: str, coupled: tuple[Coupling, dict[str, Decision]], optima: list[tuple[Array, Array]]
) -> None:
    study, decisions = coupled
    (k,) = study.components
    # In the order of the coordinates: log-ratios, means of two numbers, factors of three.
    of_means, of_factors = np.repeat(np.arange(k), 2), np.repeat(np.arange(k), 3)
    blocks = np.concatenate([np.full(k - 1, -1), of_means, of_factors + (k if name == "coupled" else 0)])
    shares = [outside(-hessian(height_at(z, k), u), blocks) for z, u in optima]
    assert study.separations[0] == min(study.separations)
    assert decisions[name].value == pytest.approx(shares[0], rel=DIGITS)
    assert decisions[name].note.endswith(f"it goes from {min(shares):.3g} to {max(shares):.3g}.")


def test_what_a_step_leaves_of_the_score_is_that_of_steps_in_numpy(
    coupled: tuple[Coupling, dict[str, Decision]], optima: list[tuple[Array, Array]]
) -> None:
    study, decisions = coupled
    (k,), left = study.components, []
    for z, u in optima:
        known = Information.at(u, z, k)
        keys = restart_keys(named_key(study.seed, "near"), study.restarts)
        starts = [mixture_at(u + known.away(np.asarray(jax.random.normal(key, u.shape))), k, 2) for key in keys]
        ratios = np.asarray(
            [[score_norm(end, z) / score_norm(s, z) for end in (em_step(s, z)[0], newton(s, z))] for s in starts]
        )
        # Newton's step need not end at a mixture; its median is over the starts from which it does.
        left.append(np.min(np.nanmedian(ratios, axis=0)))
    assert decisions["no_closed_form"].value == pytest.approx(np.median(left), rel=DIGITS)


def score_norm(mixture: Plain, x: Array) -> float:
    """`sqrt(g' F^-1 g)`, g the score and F the information of the labelled points; NaN where there is no mixture."""
    k, d = mixture.means.shape
    if np.any(mixture.weights <= 0) or np.any(np.linalg.eigvalsh(mixture.covariances) <= 0):
        return np.nan
    u = coordinates_of(mixture)
    slopes = [gradient(lambda v, part=part: mixture_at(v, k, d)[part], u) for part in range(3)]
    precisions = np.linalg.inv(mixture.covariances)
    # Of a multinomial, of a mean and of a covariance (Magnus & Neudecker 1988, ch. 15), by the chain rule.
    fisher = np.einsum("kp,k,kq->pq", slopes[0], 1 / mixture.weights, slopes[0])
    fisher += np.einsum("k,kap,kab,kbq->pq", mixture.weights, slopes[1], precisions, slopes[1])
    turned = np.einsum("kab,kbcp->kacp", precisions, slopes[2])
    fisher += 0.5 * np.einsum("k,kabp,kbaq->pq", mixture.weights, turned, turned)
    score = gradient(height_at(x, k), u)
    return float(np.sqrt(score @ np.linalg.solve(len(x) * fisher, score)))


def newton(mixture: Plain, x: Array) -> Plain:
    """A step of Newton's method on `M(t) - t = 0`, with t the mean statistics of labelled points and M the EM map."""
    k, d = mixture.means.shape
    lower = np.tril_indices(d)

    def place(r: Array, first: Array, second: Array) -> Array:
        return np.concatenate([r, first.ravel(), second[:, lower[0], lower[1]].ravel()])

    def there(t: Array) -> Plain:
        weights, first, entries = t[:k], t[k : k + k * d].reshape(k, d), t[k + k * d :].reshape(k, -1)
        second = np.zeros((k, d, d), t.dtype)
        second[:, lower[0], lower[1]] = second[:, lower[1], lower[0]] = entries
        means = first / weights[:, None]
        return Plain(weights, means, second / weights[:, None, None] - means[:, :, None] * means[:, None])

    def image(t: Array) -> Array:
        r = np.exp(component_log_joint(there(t), x) - log_density(there(t), x)[:, None])
        return place(r.mean(axis=0), r.T @ x / len(x), np.einsum("nk,na,nb->kab", r, x, x) / len(x))

    spread = mixture.covariances + mixture.means[:, :, None] * mixture.means[:, None]
    t = place(mixture.weights, *(mixture.weights.reshape(-1, *[1] * (m.ndim - 1)) * m for m in (mixture.means, spread)))
    return there(t + np.linalg.solve(np.eye(len(t)) - gradient(image, t), image(t) - t))


# Step sizes and units


def optimum_of_halves(z: Array) -> Plain:
    """The maximum to which EM leads from the two halves of the points by their first column."""
    upper = z[:, 0] > np.median(z[:, 0])
    halves = [z[~upper], z[upper]]
    covariances = np.asarray([np.atleast_2d(np.cov(half.T, bias=True)) for half in halves])
    return optimum_near(Plain(np.full(2, 0.5), np.asarray([half.mean(axis=0) for half in halves]), covariances), z)


def ascended(x: Array, u: Array, rate: float, steps: int) -> list[Array]:
    """Coordinates after 1, 2, ... steps along the gradient per point, until one is no number."""
    height, path = height_at(x, 2), list[Array]()
    for _ in range(steps):
        with np.errstate(all="ignore"):
            u = u + rate * gradient(height, u) / len(x)
        path.append(u)
        if not np.all(np.isfinite(u)):
            break
    return path


def test_stable_step_is_two_over_the_largest_curvature_of_differences(tmp_path: Path) -> None:
    study, rows, decision = decided("no_step_size", tmp_path)
    assert isinstance(study, Stability)
    edges = []
    for subject in study.subjects:
        x = np.asarray(subject.dataset(study.seed, LEDGER.parent).x)
        z = Units.of(x).points(x)
        u = coordinates_of(optimum_of_halves(z))
        height = height_at(z, 2)
        curvatures, directions = np.linalg.eigh(-hessian(height, u) / len(x))
        edges.append(2 / curvatures[-1])
        # Just below the edge the steepest direction comes back; just above it goes on to leave.
        away = u + 1e-4 * directions[:, -1]
        gaps = [np.abs(directions[:, -1] @ (ascended(z, away, f * edges[-1], 20)[-1] - u)) for f in (0.9, 1.1)]
        assert gaps[0] < 0.1 * 1e-4 < 10 * 1e-4 < gaps[1]
        # EM comes back from as far along any direction, either way, in no fewer passes than the study found one way.
        own = [row for row in rows if row["subject"] == subject.name]
        assert own[0]["predicted_edge"] == pytest.approx(edges[-1], rel=DIGITS)
        steps = directions * np.sqrt(2 * study.displacement / (len(x) * curvatures))
        both = [passes_back(z, u + sign * step, height(u) - study.within) for step in steps.T for sign in (-1, 1)]
        assert 0 < own[0]["em_passes"] <= max(both) <= own[0]["em_passes"] + 2
    # Of the steps that were tried, .95 of an edge is the largest that comes back and 1.05 the smallest that does not.
    assert decision.value == pytest.approx(max(edges) / min(edges) * 0.95 / 1.05, rel=DIGITS)


def passes_back(x: Array, u: Array, goal: float) -> int:
    """Steps of EM until the log-likelihood is at the goal."""
    mixture, passes = mixture_at(u, 2, x.shape[1]), 0
    while np.sum(log_density(mixture, x)) < goal:
        mixture, passes = em_step(mixture, x)[0], passes + 1
    return passes


def test_paths_in_other_units_part_as_they_do_in_numpy(tmp_path: Path) -> None:
    study, rows, decision = decided("affine", tmp_path)
    assert isinstance(study, Affine)
    matrices = {
        "columns rescaled": np.diag([1.0, 1000.0]),
        "axes rotated": np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2),
    }
    gaps, found = list[float](), dict[tuple[str, str, str], float]()
    for subject in study.subjects:
        problem = subject.problem(study.seed, LEDGER.parent)
        x = np.asarray(problem.x)
        drawn = draw_starts(RandomPoints(), problem, 1, study.seed)
        start = Plain(*(np.asarray(part)[0] for part in (drawn.weights, drawn.means, drawn.covariances)))
        for change, matrix in matrices.items():
            both = [(x, start), (x @ matrix.T, moved(start, matrix, np.zeros(2)))]
            gaps.append(gap_between([heights_of_em(points, begin, study.steps) for points, begin in both]))
            for kind in ("working", "data"):
                found[subject.name, change, kind] = gap_of_ascent(both, study, working=kind == "working")
    # The paths of EM are the same to rounding, in either implementation: some eps of five nats, grown in ten steps.
    assert decision.value is not None
    assert 0 <= decision.value < 1e-12
    assert max(gaps) < 1e-12
    told = {(r["subject"], r["change"], r["units"]): r["gap"] for r in rows if r["method"] == "ascent"}
    for key, gap in found.items():
        # Rounding grows along a path, and most where a step is too long.
        assert told[key] == pytest.approx(gap, rel=1e-5, abs=1e-11)
    parted = min(gap for (*_, kind), gap in found.items() if kind == "data")
    inside = max(gap for (*_, kind), gap in found.items() if kind == "working")
    assert f"part by {parted:.3g} or more in units of the data (0 of 4" in decision.note
    assert f"by up to {inside:.3g} in working units" in decision.note


def heights_of_em(x: Array, mixture: Plain, steps: int) -> Array:
    """Log-likelihood per point after each step of EM. [T]"""
    heights = [em_step(mixture, x)[1]]
    for _ in range(steps):
        mixture, _ = em_step(mixture, x)
        heights.append(float(np.sum(log_density(mixture, x))))
    return np.asarray(heights[1:]) / len(x) + 0.5 * np.linalg.slogdet(np.cov(x.T, bias=True))[1]


def gap_between(paths: list[Array]) -> float:
    return float(np.max(np.abs(paths[0] - paths[1])))


def gap_of_ascent(both: list[tuple[Array, Plain]], study: Affine, *, working: bool) -> float:
    """The largest gap between the paths of ascent in either units of the data, with the step of the first."""
    rate, paths = None, []
    for x, start in both:
        units, identity = Units.of(x), Units(np.zeros(2), np.eye(2))
        own = units if working else identity
        z = own.points(x)
        if rate is None:
            best = optimum_of_halves(units.points(x))
            at = best if working else moved(best, units.matrix, units.shift)
            curvatures = np.linalg.eigvalsh(-hessian(height_at(z, 2), coordinates_of(at)) / len(x))
            rate = study.step * 2 / float(curvatures[-1])
        path = ascended(z, coordinates_of(own.mixture(start)), rate, study.steps)
        heights = np.asarray([height_at(z, 2)(u) for u in path]) / len(x)
        paths.append(heights + 0.5 * np.linalg.slogdet(np.cov(z.T, bias=True))[1])
    return gap_between(paths)
