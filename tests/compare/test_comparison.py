import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from workbench.compare import Comparison, Reference, compare
from workbench.compare.comparison import starts_of
from workbench.data import Dataset, Simulator
from workbench.errors import InputError
from workbench.experiment import parse_experiment
from workbench.methods import EM, NUTS, GradientAscent
from workbench.mixture import IndependentPrior
from workbench.problem import Problem
from workbench.soundness import Soundness
from workbench.starts import Alternating, RandomPoints

# The settings of the tiny experiment, whose programs other tests need too.
EM_SHORT = EM(max_iterations=200)
SLOPE = GradientAscent(optimizer="gradient", max_iterations=50)
R = 2


@pytest.fixture(scope="module")
def problem(tiny: dict[str, Any]) -> Problem:
    experiment = parse_experiment(tiny, "tiny")
    return experiment.problem(experiment.data.load(0, Path())[0])


@pytest.fixture(scope="module")
def both(problem: Problem) -> Comparison:
    return compare(problem, [EM_SHORT, SLOPE], restarts=R, seed=1)


@pytest.fixture
def no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a method ran")

    # `workbench.compare` is the function as well as the package, so the module is found by its name.
    monkeypatch.setattr(sys.modules["workbench.compare.comparison"], "run", refuse)


def _leaves_equal(one, other) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


def test_a_comparison_is_a_mapping_from_names_to_traces(both):
    assert list(both) == ["em", "ascent"]
    assert len(both) == 2
    assert both["em"].num_restarts == both["ascent"].num_restarts == R
    assert both.rule == Soundness()


def test_every_method_begins_at_the_same_starts(both, problem):
    expected = starts_of(EM_SHORT, problem, Alternating(), R, 1)
    for trace in both.values():
        assert _leaves_equal(jax.tree.map(lambda leaf: leaf[:, 0], trace.mixtures), expected)


def test_the_rows_of_a_method_do_not_depend_on_who_else_is_compared(both, problem):
    alone = compare(problem, {"ascent": SLOPE}, restarts=R, seed=1)
    one, other = both["ascent"], alone["ascent"]
    assert _leaves_equal(one.mixtures, other.mixtures)
    assert np.array_equal(one.log_joint, other.log_joint)
    assert np.array_equal(one.passes, other.passes)


def test_a_name_of_ones_own_changes_nothing_of_a_method_without_randomness(both, problem):
    renamed = compare(problem, {"mine": EM_SHORT}, restarts=R, seed=1)
    assert np.array_equal(renamed["mine"].log_joint, both["em"].log_joint)


@pytest.mark.parametrize(("restarts", "chains"), [(4, 2), (2, 4)])
def test_chains_begin_where_the_first_restarts_of_em_do(problem, restarts, chains):
    sampler = starts_of(NUTS(num_chains=chains), problem, RandomPoints(), restarts, 4)
    restarted = starts_of(EM_SHORT, problem, RandomPoints(), restarts, 4)
    common = min(restarts, chains)
    assert len(sampler.weights) == chains
    first = [jax.tree.map(lambda leaf: leaf[:common], starts) for starts in (sampler, restarted)]
    assert _leaves_equal(*first)


def test_another_seed_gives_other_starts(problem):
    one, other = (starts_of(EM_SHORT, problem, RandomPoints(), R, seed) for seed in (0, 1))
    assert not _leaves_equal(one, other)


@pytest.mark.usefixtures("no_run")
class TestWrongInput:
    def test_two_methods_of_one_name_are_refused_with_the_remedy(self, problem):
        with pytest.raises(InputError, match=r"methods: two have the same name; give a mapping"):
            compare(problem, [EM(), EM(max_iterations=3)])

    @pytest.mark.parametrize("none", [[], {}])
    def test_no_method_is_refused(self, problem, none):
        with pytest.raises(InputError, match="at least one"):
            compare(problem, none)

    @pytest.mark.parametrize("restarts", [0, -1, 2.0, True, "8"])
    def test_restarts_must_be_a_whole_number_of_at_least_one(self, problem, restarts):
        with pytest.raises(InputError, match=r"restarts: must be a whole number of at least 1, got"):
            compare(problem, [EM()], restarts=restarts)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"seed": "x"}, "seed: must be a whole number from 0 to 4294967295, got 'x'"),
            ({"seed": -1}, "seed: must be a whole number"),
            ({"seed": 2**32}, "seed: must be a whole number"),
            ({"methods": {"em": EM}}, r"is the class EM; give methods, as EM\(\)"),
            ({"reference": 3}, "reference must be of type Reference, got 3"),
            ({"problem": [1.0, 2.0]}, r"problem must be of type Problem, got list \(wb\.Problem\(x, components\)"),
        ],
    )
    def test_what_is_of_another_kind_is_named(self, problem, changes, message):
        with pytest.raises(InputError, match=message):
            compare(**{"problem": problem, "methods": [EM()], **changes})

    def test_a_method_that_cannot_solve_the_problem_is_refused_before_any_runs(self, problem):
        with pytest.raises(InputError, match="EM has no closed-form M-step"):
            compare(Problem(problem.x, 2, prior=IndependentPrior()), [SLOPE, EM()])


def test_each_method_is_watched_under_its_name_to_its_last_row(problem):
    seen: dict[str, list[tuple[int, int]]] = {}

    def watch(name: str):
        return lambda done, total: seen.setdefault(name, []).append((done, total))

    compare(problem, {"mine": EM_SHORT}, restarts=R, seed=1, watch=watch)
    assert list(seen) == ["mine"]
    done, totals = np.transpose(seen["mine"])
    assert np.all(np.diff(done) > 0) and done[-1] == totals[-1]
    assert set(totals) == {R * len(EM_SHORT.schedule().marks)}


def test_a_reference_is_what_a_data_set_knows_of_itself():
    data = Simulator(components=2, dimensions=2, points=30, separation=3.0).draw(0)
    train, heldout = data.split(0.2, 0)
    reference = Reference.of(train, heldout)
    assert np.array_equal(reference.heldout, heldout.x)
    assert np.array_equal(reference.labels, train.labels)
    assert reference.truth is data.truth


def test_a_data_set_without_a_held_out_part_has_none():
    data = Dataset("plain", np.arange(6.0).reshape(3, 2), ("a", "b"), None, "", "")
    empty = replace(data, x=data.x[:0])
    assert Reference.of(data) == Reference.of(data, empty) == Reference(None, None, None)
