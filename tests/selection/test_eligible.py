"""Ordinary data on which criteria of draws that disagree were once chosen: the right answer, or none."""

from typing import Any

import numpy as np
import pytest

from workbench.data import Dataset, load_dataset
from workbench.engine.keys import named_key
from workbench.experiment import parse_experiment
from workbench.loop.run import run
from workbench.methods import Gibbs, TemperedSMC
from workbench.methods.parts import Sampler
from workbench.selection import CRITERIA
from workbench.selection.candidate import Candidate
from workbench.selection.posterior import Missing, Posterior, chains_of
from workbench.starts import draw_starts

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


def candidate_of(x: np.ndarray, components: int, sampler: Sampler | None = None) -> Candidate:
    """Sampled under the default conjugate prior, by a sampler or the chains that are tried first."""
    values: dict[str, Any] = {
        "data": {"dataset": "iris"},
        "model": {"components": components},
        "prior": {"family": "conjugate"},
        "methods": {"em": {}},
        "run": {"devices": 1},
    }
    experiment = parse_experiment(values, "here")
    train = Dataset("points", x, tuple(f"x{d}" for d in range(x.shape[1])), None, "", "")
    problem = experiment.problem(train)
    method = chains_of(experiment, problem) if sampler is None else sampler
    assert method is not None
    starts = draw_starts(experiment.starts, problem, method.num_chains, 0)
    trace = run(method, problem, starts, named_key(0, method.method))
    found = Posterior.of(method.method, trace, problem, experiment.soundness)
    return Candidate(experiment, train, problem, Missing("not climbed"), found, found)


def test_loo_of_iris_is_that_of_chains_that_agree() -> None:
    candidate = candidate_of(load_dataset("iris").x, 2)
    assert isinstance(candidate.posterior, Posterior) and candidate.posterior.agrees
    # -251.7 by another run of Gibbs, and -252.8 held out; particles of runs that disagree said -318.7.
    assert CRITERIA["loo"].score(candidate).value == pytest.approx(-251.7, abs=0.5)


def test_chains_that_agree_score_three_species_and_particles_that_disagree_do_not() -> None:
    x = table_of_three_species()
    chains = candidate_of(x, 3)
    assert isinstance(chains.posterior, Posterior) and chains.posterior.agrees
    assert CRITERIA["waic"].score(chains).value is not None
    # 200 particles of 44 parameters: each run keeps a mode of its own.
    particles = candidate_of(x, 3, TemperedSMC(num_samples=200))
    assert isinstance(particles.posterior, Posterior) and not particles.posterior.agrees
    for name in ("waic", "loo"):
        score = CRITERIA[name].score(particles)
        assert score.value is None and score.rejected is not None and score.why is not None
    evidence = CRITERIA["evidence"].score(particles)
    assert (evidence.value is None) == particles.posterior.is_carried
    assert evidence.notes


def test_short_chains_on_more_components_than_groups_are_not_eligible() -> None:
    # Of faithful in two columns, four components: R-hat 1.06 after 1,000 sweeps.
    candidate = candidate_of(load_dataset("faithful").x, 4, Gibbs(num_samples=1000))
    assert isinstance(candidate.posterior, Posterior) and not candidate.posterior.agrees
    for name in ("waic", "loo"):
        score = CRITERIA[name].score(candidate)
        assert score.value is None and score.rejected is not None
