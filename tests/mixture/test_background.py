"""The uniform background: SciPy's densities, draws, units, files, and what is refused beside it."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from workbench.data import Dataset
from workbench.errors import InputError
from workbench.mixture import Background, Fixed, Mixture
from workbench.mixture.background import BACKGROUND, START
from workbench.mixture.saved import load_mixture
from workbench.problem import Problem

WEIGHT, LOW, HIGH = 0.2, np.array([-4.0, -2.0]), np.array([6.0, 3.0])


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    """Two components beside a background of weight 0.2 over a box of area 50."""
    components = Mixture.from_covariances(
        [0.25, 0.75], [[0.0, 0.0], [3.0, 1.0]], [[[1.0, 0.3], [0.3, 0.5]], [[0.4, 0.0], [0.0, 0.2]]]
    )
    return replace(components, background=Background(*map(jnp.asarray, (WEIGHT, LOW, HIGH))))


def by_scipy(mixture: Mixture, x: np.ndarray) -> np.ndarray:
    """The terms of the density at points whose cells are all there, the background's last. [N, K + 1]"""
    inside = np.all((x >= LOW) & (x <= HIGH), axis=1)
    terms = [
        (1 - WEIGHT) * float(w) * multivariate_normal.pdf(x, m, c)
        for w, m, c in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    ]
    return np.stack([*terms, WEIGHT * inside / np.prod(HIGH - LOW)], axis=1)


def test_the_density_is_that_of_the_components_and_of_a_box(mixture: Mixture) -> None:
    x = np.random.default_rng(0).uniform(LOW - 1, HIGH + 1, (40, 2))
    terms = by_scipy(mixture, x)
    assert 0 < np.sum(terms[:, -1] == 0) < len(x)
    np.testing.assert_allclose(mixture.log_density(x), np.log(terms.sum(1)), rtol=1e-12)
    np.testing.assert_allclose(mixture.component_log_joint(x), np.log(terms[:, :-1]), rtol=1e-12)
    np.testing.assert_allclose(mixture.responsibilities(x), terms[:, :-1] / terms.sum(1, keepdims=True), rtol=1e-11)
    most = np.argmax(terms, axis=1)
    np.testing.assert_array_equal(mixture.predict(x), np.where(most == 2, BACKGROUND, most))


def test_a_missing_cell_leaves_the_margin_of_the_box(mixture: Mixture) -> None:
    x = np.array([[0.5, np.nan], [np.nan, 1.2], [7.0, np.nan]])
    margins = [mixture.marginal([column]) for column in (0, 1)]
    parts = (margins[0], x[:1, :1]), (margins[1], x[1:2, 1:]), (margins[0], x[2:, :1])
    expected = [margin.log_density(part) for margin, part in parts]
    np.testing.assert_allclose(mixture.log_density(x, missing="marginal"), np.concatenate(expected), rtol=1e-12)
    assert margins[1].background is not None
    np.testing.assert_array_equal(margins[1].background.low, LOW[1:])


def test_the_derivative_in_the_weight_is_that_of_a_difference(mixture: Mixture) -> None:
    x = np.random.default_rng(1).uniform(LOW, HIGH, (30, 2))

    def total(weight: jax.Array) -> jax.Array:
        assert mixture.background is not None
        return jnp.sum(replace(mixture, background=mixture.background.weighing(weight)).log_density(x))

    h = 1e-5
    slope = (total(jnp.asarray(WEIGHT + h)) - total(jnp.asarray(WEIGHT - h))) / (2 * h)
    # The difference errs by h^2 and by the rounding of sums of size 100, divided by h.
    np.testing.assert_allclose(jax.grad(total)(jnp.asarray(WEIGHT)), slope, rtol=1e-6)


def test_draws_are_of_the_background_as_often_as_its_weight_says(mixture: Mixture) -> None:
    x, component = map(np.asarray, mixture.sample(jax.random.key(0), 20_000))
    outside = component == BACKGROUND
    # Five standard deviations of a binomial share.
    assert abs(np.mean(outside) - WEIGHT) < 5 * np.sqrt(WEIGHT * (1 - WEIGHT) / 20_000)
    assert np.all((x[outside] >= LOW) & (x[outside] <= HIGH))
    np.testing.assert_allclose(np.mean(x[outside], axis=0), (LOW + HIGH) / 2, atol=0.25)
    np.testing.assert_allclose(np.mean(x[component == 1], axis=0), [3.0, 1.0], atol=0.05)


def test_a_change_of_units_moves_the_box(mixture: Mixture) -> None:
    x = np.random.default_rng(2).uniform(LOW - 1, HIGH + 1, (20, 2))
    scale, shift = np.array([-2.0, 10.0]), np.array([1.0, -3.0])
    moved = mixture.affine(scale, shift)
    np.testing.assert_allclose(
        moved.log_density(x * scale + shift), mixture.log_density(x) - np.log(20.0), rtol=1e-12, atol=1e-12
    )
    with pytest.raises(InputError, match="does not keep a background in a box"):
        mixture.affine([[1.0, 1.0], [0.0, 1.0]])


def test_it_is_saved_and_read_again(mixture: Mixture, tmp_path: Path) -> None:
    mixture.save(tmp_path / "m.json")
    found = load_mixture(tmp_path / "m.json").mixture
    assert found.background is not None
    for name in ("weight", "low", "high"):
        np.testing.assert_array_equal(getattr(found.background, name), getattr(mixture.background, name))
    # A reader of the first version would overlook it.
    assert json.loads((tmp_path / "m.json").read_text())["version"] == 2


def test_a_missing_cell_is_expected_in_the_middle_of_the_box_as_far_as_it_is_the_backgrounds(mixture: Mixture) -> None:
    x = np.array([[0.5, np.nan], [-3.9, np.nan]])
    alone, margin = replace(mixture, background=None), mixture.marginal([0])
    share = 1 - np.sum(np.asarray(margin.responsibilities(x[:, :1])), axis=1)
    expected = share * np.mean([LOW[1], HIGH[1]]) + (1 - share) * alone.complete(x)[:, 1]
    np.testing.assert_allclose(mixture.complete(x)[:, 1], expected, rtol=1e-12)
    assert share[1] > 0.9 > share[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight": 1.5}, "weight: must lie between 0 and 1, got 1.5"),
        ({"weight": 0}, "weight: must lie between 0 and 1, got 0"),
        ({"weight": "0.1"}, "weight: give a number"),
        ({"low": [7.0, 0.0]}, "column 1 reaches from 7 to 6; low must be below high"),
        ({"low": [-1e308, 0.0], "high": [1e308, 1.0]}, "low must be below high, by a finite number"),
        ({"high": [1.0]}, "high: give 2 finite numbers, one for each column"),
        ({"low": None}, "low: give 2 finite numbers"),
        ({"Low": [1.0]}, "give weight, low and high"),
    ],
)
def test_a_damaged_background_is_named(
    mixture: Mixture, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    mixture.save(path := tmp_path / "m.json")
    values = json.loads(path.read_text())
    values["background"] |= changes
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=words):
        load_mixture(path)


@pytest.mark.parametrize("version", [1, True])
def test_a_file_of_another_version_with_a_background_is_refused(
    mixture: Mixture, tmp_path: Path, version: object
) -> None:
    mixture.save(path := tmp_path / "m.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": version}))
    with pytest.raises(InputError, match="version"):
        load_mixture(path)
    values = json.loads(path.read_text()) | {"version": 2}
    del values["background"]
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="version 2 and has none"):
        load_mixture(path)


def test_numpyros_distribution_has_the_same_density(mixture: Mixture) -> None:
    x = np.random.default_rng(3).uniform(LOW, HIGH, (20, 2))
    np.testing.assert_allclose(mixture.to_numpyro().log_prob(jnp.asarray(x)), mixture.log_density(x), rtol=1e-12)


@pytest.mark.parametrize("what", ["moments", "conditional", "kl_bounds", "to_sklearn"])
def test_what_is_not_defined_beside_it_says_how_to_leave_it_out(mixture: Mixture, what: str) -> None:
    given = {"conditional": [{0: 1.0}], "kl_bounds": [mixture]}.get(what, [])
    with pytest.raises(InputError, match="background=None"):
        getattr(mixture, what)(*given)


def test_the_divergence_from_itself_without_background_is_positive(mixture: Mixture) -> None:
    found = replace(mixture, background=None).kl_divergence(mixture, jax.random.key(1), 2000)
    # The components alone are at most -ln(1 - b) away.
    assert 0 < found.value - 5 * found.standard_error < found.value < -np.log(1 - WEIGHT)


class TestTheProblem:
    X = np.random.default_rng(4).normal(size=(30, 2))

    def test_its_box_holds_all_points(self) -> None:
        problem = Problem(self.X, 2, background=True)
        assert problem.background is not None
        np.testing.assert_array_equal(problem.background.low, self.X.min(0))
        np.testing.assert_array_equal(problem.background.high, self.X.max(0))
        assert float(problem.background.weight) == START
        assert problem.num_parameters == Problem(self.X, 2).num_parameters + 1

    def test_a_part_of_a_data_set_keeps_the_box_of_the_whole(self) -> None:
        data = Dataset("d", self.X, ("a", "b"), None, "none", "drawn").divide(2.0)
        for part in (*data.split(0.5, 0), data.split(0.5, 0)[0].part(np.arange(15) < 8)):
            problem = Problem(part, 2, background=True)
            assert problem.background is not None
            np.testing.assert_array_equal(problem.background.low, self.X.min(0) / 2)

    def test_a_stated_box_must_hold_the_points(self) -> None:
        wide = Background(jnp.asarray(0.3), jnp.asarray([-9.0, -9.0]), jnp.asarray([9.0, 9.0]))
        problem = Problem(self.X, 2, background=wide)
        assert problem.background is not None
        np.testing.assert_array_equal(problem.background.high, [9.0, 9.0])
        for given, words in (
            (replace(wide, low=jnp.zeros(2)), "must hold all points"),
            (replace(wide, weight=jnp.asarray(1.0)), "between 0 and 1"),
            (replace(wide, low=jnp.asarray([-9.0])), "low: give 2 finite numbers"),
            (replace(wide, low=jnp.asarray([-9.0, -jnp.inf])), "low: give 2 finite numbers"),
            (replace(wide, weight="a"), "weight: give a number"),  # type: ignore[arg-type]
            ("yes", "must be True, False or a wb.Background"),
            (None, "must be True, False or a wb.Background"),
            (0, "must be True, False or a wb.Background"),
        ):
            with pytest.raises(InputError, match=words):
                Problem(self.X, 2, background=given)  # type: ignore[arg-type]
        assert Problem(self.X, 2, background=np.False_).background is None  # type: ignore[arg-type]

    def test_what_cannot_stand_beside_it_is_refused(self) -> None:
        with pytest.raises(InputError, match="background: parameters cannot be held fixed"):
            Problem(self.X, 2, background=True, fixed=[Fixed(component=0, weight=0.5)])
