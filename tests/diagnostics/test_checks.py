from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from workbench.diagnostics import checks
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.problem import Problem

Doctor = Callable[[Trace], dict[str, Any]]


def _spoil(array: Any, place: tuple[int, ...], value: Any) -> np.ndarray:
    copy = np.array(array)
    copy[place] = value
    return copy


def _mixtures(trace: Trace, **leaves: np.ndarray) -> dict[str, Any]:
    return {"mixtures": replace(trace.mixtures, **leaves)}


# For each check, a change of the trace that it alone must notice.
DOCTORS: dict[str, Doctor] = {
    "begins_at_the_starts": lambda t: _mixtures(t, means=_spoil(t.mixtures.means, (1, 0, 0, 0), 1e-300)),
    "scores_are_finite": lambda t: {"log_joint": _spoil(t.log_joint, (1, 1), np.nan)},
    "passes_never_fall": lambda t: {"passes": _spoil(t.passes, (0, 1), 9)},
    "weights_are_distributions": lambda t: _mixtures(t, weights=_spoil(t.mixtures.weights, (0, 1), [0.5, 0.6])),
    "score_agrees_point_by_point": lambda t: {"log_likelihood": t.log_likelihood + 1e-4},
    "promise_was_kept": lambda t: {"ok": _spoil(t.ok, (1, 2), False)},
}


@pytest.fixture(scope="module")
def trace(two_groups: Problem, shapes: dict[str, Mixture], trace_of: Callable[..., Trace]) -> Trace:
    rows = [[shapes["start"], shapes["better"], shapes["good"]], [shapes["start"], shapes["good"], shapes["good"]]]
    return trace_of(two_groups, rows)


@pytest.fixture(scope="module")
def starts(shapes: dict[str, Mixture]) -> Mixture:
    return jax.tree.map(lambda leaf: np.stack([leaf, leaf]), shapes["start"])


def test_an_honest_trace_passes_every_check(trace, two_groups, starts):
    assert all(checks(trace, two_groups, starts).values())


def test_every_check_has_a_doctored_trace(trace, two_groups, starts):
    assert set(checks(trace, two_groups, starts)) == set(DOCTORS)


@pytest.mark.parametrize("name", DOCTORS)
def test_a_check_fails_on_its_doctored_trace_and_no_other_does(trace, two_groups, starts, name):
    found = checks(replace(trace, **DOCTORS[name](trace)), two_groups, starts)
    assert [check for check, kept in found.items() if not kept] == [name]


def test_a_negative_weight_is_no_distribution(trace, two_groups, starts):
    doctored = replace(trace, **_mixtures(trace, weights=_spoil(trace.mixtures.weights, (0, 1), [-0.1, 1.1])))
    assert not checks(doctored, two_groups, starts)["weights_are_distributions"]


def test_nothing_agrees_with_scores_that_are_not_numbers(trace, two_groups, starts):
    doctored = replace(trace, log_likelihood=np.full_like(trace.log_likelihood, np.nan))
    assert not checks(doctored, two_groups, starts)["score_agrees_point_by_point"]


def test_agreement_is_judged_at_the_best_end_that_has_a_score(trace, two_groups, starts):
    doctored = replace(trace, log_likelihood=_spoil(trace.log_likelihood, (0, 2), np.nan))
    assert checks(doctored, two_groups, starts)["score_agrees_point_by_point"]


def test_checks_are_plain_booleans(trace, two_groups, starts):
    assert {type(kept) for kept in checks(trace, two_groups, starts).values()} == {bool}
