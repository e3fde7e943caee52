"""Ordinary data on which criteria of draws that disagree were once chosen: the right answer, or none."""

from typing import Any

import numpy as np
import pytest

from workbench.data import Dataset, load_dataset
from workbench.experiment import parse_experiment
from workbench.selection import CRITERIA, posterior
from workbench.selection.candidate import Candidate
from workbench.selection.posterior import Missing, Posterior, sampled

# Compiles and samples.
pytestmark = pytest.mark.slow


def table_of_three_species() -> np.ndarray:
    """272 rows of four columns on scales of a few millimetres to kilograms, in three overlapping groups. [272, 4]"""
    rng = np.random.default_rng(0)
    roots = 0.35 * rng.normal(size=(3, 4, 4)) + np.eye(4)
    centres = np.array([[0, 0, 0, 0], [3, -3, 2, 3], [2.5, 0.5, -0.5, 0.6]])
    groups = rng.choice(3, 272, p=[0.44, 0.36, 0.2])
    z = np.einsum("nij,nj->ni", roots[groups], rng.normal(size=(272, 4))) + centres[groups]
    return z * [5, 2, 14, 800] + [43, 17, 200, 4200]


def candidate_of(x: np.ndarray, components: int, monkeypatch: pytest.MonkeyPatch) -> Candidate:
    """Sampled under the default conjugate prior, with particles that do not grow."""
    monkeypatch.setattr(posterior, "MOST_PARTICLES", 0)
    values: dict[str, Any] = {
        "data": {"dataset": "iris"},
        "model": {"components": components},
        "prior": {"family": "conjugate"},
        "methods": {"tempered_smc": {"num_samples": 200}},
        "run": {"devices": 1},
    }
    experiment = parse_experiment(values, "here")
    train = Dataset("points", x, tuple(f"x{d}" for d in range(x.shape[1])), None, "", "")
    problem = experiment.problem(train)
    return Candidate(experiment, train, problem, Missing("not climbed"), *sampled(experiment, problem))


def test_loo_of_iris_is_that_of_chains_that_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = candidate_of(load_dataset("iris").x, 2, monkeypatch)
    assert isinstance(candidate.posterior, Posterior) and candidate.posterior.sampler == "gibbs"
    # -251.7 by another run of Gibbs, and -252.8 held out; the particles of runs that disagree said -318.7.
    assert CRITERIA["loo"].score(candidate).value == pytest.approx(-251.7, abs=0.5)
    assert isinstance(candidate.particles, Posterior)
    if not candidate.particles.agrees:
        evidence = CRITERIA["evidence"].score(candidate)
        assert evidence.value is None and evidence.rejected is not None


def test_three_species_are_scored_by_chains_where_particles_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = candidate_of(table_of_three_species(), 3, monkeypatch)
    assert isinstance(candidate.posterior, Posterior) and isinstance(candidate.particles, Posterior)
    assert candidate.posterior.sampler == "gibbs" and candidate.posterior.agrees
    assert CRITERIA["waic"].score(candidate).value is not None
    # 200 particles of 44 parameters: runs of other evidence and other modes.
    assert not candidate.particles.agrees
    assert CRITERIA["evidence"].score(candidate).value is None


@pytest.mark.parametrize("components", [3, 4])
def test_more_components_than_groups_of_faithful_are_eligible_only_by_draws_that_agree(
    components: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = candidate_of(load_dataset("faithful").x, components, monkeypatch)
    assert isinstance(candidate.posterior, Posterior)
    for name in ("waic", "loo"):
        score = CRITERIA[name].score(candidate)
        assert candidate.posterior.agrees or score.value is None
        assert score.value is not None or score.why
