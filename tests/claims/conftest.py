"""Fixtures for the tests of claims: made-up results, so that each verdict is known by construction."""

from collections.abc import Callable
from typing import Any

import pytest

from workbench.claims.evidence import Ran
from workbench.compare import Comparison
from workbench.experiment import parse_experiment
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.studies import Findings, Row
from workbench.studies.bad_optima import BadOptima


@pytest.fixture(scope="session")
def ran_of() -> Callable[..., Ran]:
    """An experiment of EM, L-BFGS and NUTS with the traces that are given by name."""

    def make(problem: Problem, traces: dict[str, Trace]) -> Ran:
        values: dict[str, Any] = {
            "data": {"dataset": "faithful"},
            "model": {"components": problem.components, "covariance": problem.covariance.name},
            "methods": {"em": {}, "ascent": {}, "nuts": {}},
        }
        return Ran(parse_experiment(values, "made up"), Comparison(problem, traces))

    return make


@pytest.fixture(scope="session")
def findings_of() -> Callable[[list[Row]], Findings]:
    """Rows as a study would find them; checks read nothing but rows."""
    study = BadOptima.model_validate({"components": [2], "separation": 1.0, "methods": {"em": {}}})
    return lambda rows: Findings(study, rows)


@pytest.fixture(scope="session")
def run(
    two_groups: Problem, shapes: dict[str, Mixture], trace_of: Callable[..., Any], ran_of: Callable[..., Any]
) -> Callable[..., Any]:
    """An experiment whose methods went through the named shapes, a list of restarts each."""

    def make(draws: int = 0, **methods: list[list[str]]) -> Ran:
        traces = {}
        for name, restarts in methods.items():
            rows = [[shapes[shape] for shape in restart] for restart in restarts]
            traces[name] = trace_of(two_groups, rows, draws=draws if name == "nuts" else 0)
        return ran_of(two_groups, traces)

    return make
