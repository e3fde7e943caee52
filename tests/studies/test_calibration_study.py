"""Claims about the study of calibration: right samplers pass, careless ones fail, what cannot be ranked is refused."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import chi2, norm

from workbench.claims import read_ledger
from workbench.errors import InputError
from workbench.jobs.study import run_study
from workbench.methods import METHODS, NUTS, Approximation, Gibbs
from workbench.methods.base import Algorithm
from workbench.mixture import COVARIANCES, Mixture
from workbench.mixture.prior import PRIORS, Hyperparameters
from workbench.plots.standard_errors import ecdf_differences, words
from workbench.problem import Problem
from workbench.report.study_page import STUDY_FIGURES
from workbench.studies import Findings
from workbench.studies.calibration import FALSE_ALARM, Calibration
from workbench.studies.reading import parse_study, read_study

CONFIG = Path(__file__).parents[2] / "experiments" / "calibration.toml"
COUNTS = {"num_warmup": 30, "num_samples": 50, "num_chains": 4}
PRIOR = {
    "family": "conjugate",
    "concentration": 1.5,
    "mean_location": [0.0],
    "mean_shrinkage": 0.2,
    "degrees_of_freedom": 6.0,
    "scatter": [[3.0]],
}
VALUES: dict[str, Any] = {
    "study": "calibration",
    "model": {"components": 2, "covariance": "spherical"},
    "prior": PRIOR,
    "points": 10,
    "at": [[0.0], [2.0]],
    "replications": 60,
    "draws": 31,
    "bins": 8,
}


class Mistaken(Calibration):
    """A study whose samplers take the prior of the weights for another than the one that mixtures are drawn from."""

    def _hyperparameters(self, scale: float) -> Hyperparameters:
        right = super()._hyperparameters(scale)
        return {**right, "concentration": right["concentration"] / 4.0}


class Unweighted(Gibbs):
    """Gibbs that forgets the weights when it allocates points."""

    def bind(self, problem: Problem) -> Algorithm:
        right = super().bind(problem)

        def step(key: jax.Array, state: Mixture) -> Any:
            even = jnp.full_like(state.weights, 1 / problem.components)
            return right.step(key, Mixture(even, state.means, state.scales, state.covariance))

        return right._replace(step=step)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    out, sampler = tmp_path_factory.mktemp("calibration"), Gibbs(**COUNTS)
    right = run_study(Calibration.model_validate(VALUES | {"methods": {"gibbs": sampler}}), out=out)
    # By the same compiled programs: numbers of the prior are arguments of them.
    wrong = run_study(Mistaken.model_validate(VALUES | {"methods": {"mistaken": sampler}}), out=out)
    return Findings(right.study, right.rows + wrong.rows)


def smallest(found: Findings) -> float:
    """The smallest adjusted p-value."""
    return float(np.min(found.column("p_adjusted")))


def test_gibbs_is_calibrated(found: Findings) -> None:
    gibbs = found.where(method="gibbs")
    assert smallest(gibbs) >= FALSE_ALARM
    assert all(row["uniform"] for row in gibbs.rows)
    # Of a uniform rank: one half, to four standard errors of a mean of 60.
    assert np.all(np.abs(gibbs.column("mean_rank") - 0.5) < 4 * np.sqrt(1 / 12 / 60))


def test_gibbs_under_another_prior_is_found_out_by_the_weights(found: Findings) -> None:
    mistaken = found.where(method="mistaken")
    assert smallest(mistaken) < 1e-4
    (row,) = mistaken.where(quantity="squared_weights").rows
    # Weights that are drawn too even: the truth lies above them.
    assert not row["uniform"] and float(str(row["mean_rank"])) > 0.6


def test_rows_say_how_many_tests_they_are_adjusted_for(found: Findings) -> None:
    for row in found.where(method="gibbs").rows:
        assert row["tests"] == 4 * len(found.values("quantity"))
        least = min(float(str(row[f"p_{name}"])) for name in ("chi_square", "ecdf", "location", "spread"))
        mean, square = float(str(row["mean_score"])), float(str(row["mean_square_score"]))
        assert row["p_location"] == pytest.approx(2 * norm.sf(abs(mean) * np.sqrt(60)))
        assert row["p_spread"] == pytest.approx(2 * min(chi2.cdf(60 * square, 60), chi2.sf(60 * square, 60)))
        assert row["p_adjusted"] == min(1.0, least * float(str(row["tests"])))
        assert np.sum(row["counts"]) == row["replications"] == 60
        assert len(row["counts"]) == row["draws"] + 1 == 32  # type: ignore[arg-type,operator]


def test_every_method_sees_the_same_mixtures_and_points_and_starts_elsewhere() -> None:
    study = Calibration.model_validate(VALUES | {"methods": {"gibbs": COUNTS}})
    truths, starts, points = study._simulated(4)
    assert starts.means.shape == (60, 4, 2, 1) and points.shape == (60, 10, 1)
    assert not np.any(np.isin(starts.means, truths.means))
    # Variances are inverse-gamma(3, 3/2): the mean of the precision is 2, its variance 4 / 3.
    precision = 1 / starts.scales**2
    assert abs(np.mean(precision) - 2) < 4 * np.sqrt(4 / 3 / precision.size)
    again = study._simulated(4)[0]
    np.testing.assert_array_equal(again.means, truths.means)


@pytest.mark.slow
def test_nuts_is_calibrated_and_gibbs_that_forgets_the_weights_is_not(tmp_path: Path) -> None:
    nuts = NUTS(num_warmup=100, num_samples=50, num_chains=4)
    methods = {"nuts": nuts, "unweighted": Unweighted(**COUNTS)}
    found = run_study(Calibration.model_validate(VALUES | {"replications": 150, "methods": methods}), out=tmp_path)
    assert smallest(found.where(method="nuts")) >= FALSE_ALARM
    assert smallest(found.where(method="unweighted")) < 1e-3


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "bins": ({"bins": 7}, "bins: must divide the draws [+] 1 = 32 ranks, got 7"),
    "points": ({"points": 2, "model": {"components": 3}}, "points: must be at least one for each component, got 2"),
    "at": ({"at": [[0.0], [1.0, 2.0]]}, "at: must be points of equally many numbers"),
    "dimensions": ({"at": [[0.0, 1.0]]}, "prior.mean_location: needs 2 numbers"),
    "scaled": ({"prior": {"family": "conjugate"}}, "must not be scaled to data.*; give mean_location, scatter"),
    "improper": ({"prior": {"family": "flat"}}, 'prior: mixtures are drawn from it; use family = "conjugate"'),
    "short": ({"methods": {"gibbs": {"num_samples": 5}}}, "methods.gibbs: gives 20 draws, and .* ranked among 31"),
    "point": ({"methods": {"em": {}}}, "methods.em: gives 0 draws"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_ranked_is_refused(wrong: str) -> None:
    change, message = WRONG[wrong]
    with pytest.raises(InputError, match=message):
        parse_study(VALUES | {"methods": {"gibbs": {}}} | change, "x")


def test_a_curve_for_each_method_ends_where_its_counts_do(found: Findings) -> None:
    ax = Figure().subplots()
    ecdf_differences(ax, found, "squared_weights")
    curves = {line.get_label(): line.get_ydata() for line in ax.lines}
    for method in ("gibbs", "mistaken"):
        (row,) = found.where(method=method, quantity="squared_weights").rows
        counts = np.asarray(row["counts"])
        np.testing.assert_allclose(curves[method][-1], 1 - counts[-1] / 60 - 31 / 32, atol=1e-12)


def test_the_figure_has_a_panel_for_each_quantity_in_words(found: Findings) -> None:
    figure = STUDY_FIGURES["calibration"]["ranks"].draw(found)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == [words(quantity) for quantity in found.values("quantity")]
    assert words("sorted_means[1]") == "first coordinate of ordered mean 2"


def test_the_shipped_study_ranks_every_sampler_and_an_approximation_beside_them() -> None:
    study = read_study(CONFIG)
    assert isinstance(study, Calibration)
    drawing = {name: kind for name, kind in METHODS.items() if kind().schedule().draws}
    samplers = {name for name, kind in drawing.items() if not issubclass(kind, Approximation)}
    shipped = {method.method for method in study.methods.values()}
    assert samplers < shipped <= set(drawing)


def test_the_ledger_calibrates_every_family_and_proper_prior_three_components_and_ordered_labels() -> None:
    (entry,) = (each for each in read_ledger(CONFIG.parent / "claims.toml") if each.name == "samplers_are_calibrated")
    studies = [config for _, config in entry.rests_on if isinstance(config, Calibration)]
    assert {study.model.covariance for study in studies} == set(COVARIANCES)
    assert {type(study.prior) for study in studies} == {prior for prior in PRIORS.values() if prior.proper}
    assert {study.model.components for study in studies} == {2, 3}
    # NUTS moves in the region of ordered means; of Gibbs the loop orders the draws.
    (ordered,) = (study for study in studies if study.model.labels == "ordered")
    assert {"nuts", "gibbs"} <= {method.method for method in ordered.methods.values()}
    for study in studies:
        kinds = [isinstance(method, Approximation) for method in study.methods.values()]
        assert any(kinds) and not all(kinds) and study.replications >= 400
