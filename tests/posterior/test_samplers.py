"""Every sampler against every exact posterior, and a broken one that is found out."""

import numpy as np
import pytest

from workbench.keys import named_key
from workbench.methods import METHODS, NUTS, Approximation, Method, nuts
from workbench.model import mixture_of_sites
from workbench.posterior import Reference, read_reference, reference_names, z_scores
from workbench.run import run
from workbench.starts import RandomPoints, draw_starts

# Approximations draw as well, but of another density.
SAMPLERS = sorted(
    name for name, method in METHODS.items() if method().schedule().draws and not issubclass(method, Approximation)
)

pytestmark = pytest.mark.slow  # each compiles and runs a sampler


def _worst(method: Method, reference: Reference) -> float:
    """The largest z-score of a sampler's draws."""
    problem = reference.problem
    starts = draw_starts(RandomPoints(), problem, method.num_restarts(4), seed=0)
    trace = run(method, problem, starts, named_key(0, "sampler"))
    scores = z_scores(reference.posterior, trace.answer, problem)
    return max(float(np.max(np.abs(score))) for score in scores.values())


@pytest.mark.parametrize("reference", reference_names())
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_is_within_four_standard_errors_of_the_exact_posterior(sampler, reference):
    # The largest of some 30 to 200 correlated scores: beyond 4 one time in a few hundred, and the key is fixed.
    assert _worst(METHODS[sampler](), read_reference(reference)) < 4


def test_a_sampler_that_forgets_the_jacobian_is_found_out(monkeypatch: pytest.MonkeyPatch):
    def forgetful(problem, unconstrained):
        return -problem.log_joint(mixture_of_sites(problem, unconstrained))

    monkeypatch.setattr(nuts, "potential", forgetful)
    # Of another number of draws than elsewhere, so that no compiled program is at hand.
    assert _worst(NUTS(num_warmup=300, num_samples=701), read_reference("three_groups")) > 10
