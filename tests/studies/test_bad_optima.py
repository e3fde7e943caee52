"""Claims about bad local optima: what counts as one, and that starts find more of them as groups are added."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from workbench.data.simulate import ring
from workbench.jobs.study import run_study
from workbench.plots.atlas import failures
from workbench.studies import Findings
from workbench.studies.bad_optima import BadOptima
from workbench.studies.reading import read_study

CONFIG = Path(__file__).parents[2] / "experiments" / "bad_optima.toml"

# Compiles many programs.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quick() -> BadOptima:
    """Two and five groups, by EM alone: few programs to compile."""
    values = {
        "components": [2, 5],
        "points": 30,
        "separation": 8.0,
        "restarts": 40,
        "methods": {"em": {"max_iterations": 500}},
    }
    return BadOptima.model_validate(values)


@pytest.fixture(scope="module")
def found(quick: BadOptima, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return run_study(quick, out=tmp_path_factory.mktemp("bad_optima"))


@pytest.mark.parametrize("components", [3, 4, 9])
def test_neighbours_on_the_ring_are_as_far_apart_whatever_their_number(components: int) -> None:
    _, truth = ring(components, 3, 6.0, seed=0)
    gaps = np.linalg.norm(truth.means[:, None] - truth.means, axis=-1) + 99 * np.eye(components)
    # Rounding of sines.
    np.testing.assert_allclose(gaps.min(axis=1), 6.0, rtol=1e-12)


def test_points_of_the_ring_belong_to_their_group_by_order() -> None:
    x, truth = ring(4, 500, 20.0, seed=1)
    centres = x.reshape(4, 500, 2).mean(axis=1)
    # Six standard errors of a mean of 500 points, so that chance does not break it.
    np.testing.assert_allclose(centres, truth.means, atol=6 / np.sqrt(500))


def test_random_starts_fail_more_often_when_there_are_more_groups(found: Findings) -> None:
    two, five = (found.where(components=k, rule="random_points").rows[0] for k in (2, 5))
    assert two["failures"] == 0
    assert five["low"] > two["high"]


def test_kmeans_starts_fail_less_than_random_points(found: Findings) -> None:
    random, seeded = (found.where(components=5, rule=rule).rows[0] for rule in ("random_points", "kmeans++"))
    assert seeded["failures"] < random["failures"]


def test_the_margin_decides_nothing_because_a_missed_group_costs_more_than_a_nat_a_point(found: Findings) -> None:
    row = found.where(components=5, rule="random_points").rows[0]
    assert row["smallest_failing_gap"] > 30
    # EM stops when a step rises by less than 1e-10 of 1,000 nats; what is left is a few such steps.
    assert abs(row["largest_passing_gap"]) < 1e-5


def test_a_climb_that_failed_has_wrong_means_and_one_that_passed_has_not(found: Findings) -> None:
    for row in found.rows:
        assert row["mismatches"] == row["failures"]


def test_the_chance_of_a_miss_is_that_of_as_many_balls_in_as_many_boxes(found: Findings) -> None:
    drawn = np.random.default_rng(0).integers(5, size=(20_000, 5))
    missed = np.mean([len(set(line)) < 5 for line in drawn.tolist()])
    # Four standard errors of a share near 0.96 in 20,000 draws.
    assert found.where(components=5).rows[0]["chance_of_a_miss"] == pytest.approx(missed, abs=0.006)


def test_every_method_and_rule_has_a_curve_through_its_shares(found: Findings) -> None:
    ax = Figure().subplots()
    failures(ax, found)
    assert len(ax.containers) == 2
    for bars, rule in zip(ax.containers, ("random_points", "kmeans++"), strict=True):
        np.testing.assert_array_equal(bars.lines[0].get_ydata(), found.where(rule=rule).column("failure_share"))
    assert [text.get_text() for text in ax.get_legend().get_texts()][-1].startswith("em")


def test_the_shipped_study_has_the_curve_that_the_issue_asks_for() -> None:
    study = read_study(CONFIG)
    assert isinstance(study, BadOptima)
    assert min(study.components) == 2 and max(study.components) == 10
    assert {"random_points", "kmeans++"} == {cell["rule"] for cell in study.cells()}
    assert {getattr(method, "optimizer", "em") for method in study.methods.values()} == {"em", "lbfgs", "gradient"}
