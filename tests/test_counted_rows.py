"""A table of counts from end to end: Pearson's crabs from their 29 bins, and what is written about weighted rows."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from numpyro.infer.util import log_density
from pydantic import ValidationError

from workbench.cli import cli
from workbench.compare import Reference, compare, table
from workbench.compare.errors import errors_of
from workbench.compare.estimates import estimates_of
from workbench.data import Dataset, load_dataset
from workbench.errors import InputError
from workbench.experiment import Experiment
from workbench.geometry.bootstrap import SCHEMES
from workbench.jobs.comparison_file import load_comparison, save_comparison
from workbench.jobs.setting import Setting
from workbench.methods import EM
from workbench.mixture import Mixture
from workbench.numpyro_model import mixture_model
from workbench.posterior import exact_posterior
from workbench.problem import Problem
from workbench.soundness import Soundness
from workbench.starts import Hierarchical


def bins() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pearson's 29 bins, one of which is empty, and how many crabs are in each."""
    x = load_dataset("pearson_crabs").x[:, 0]
    middles = np.arange(29) * 0.004 + x.min()
    counts = np.array([np.sum(np.abs(x - middle) < 1e-9) for middle in middles], float)
    assert counts.sum() == len(x) == 1000 and np.sum(counts == 0) == 1
    return middles, counts


@pytest.mark.slow
def test_pearsons_crabs_from_29_bins_are_the_1000_rows() -> None:
    middles, counts = bins()
    binned, rows = Problem(middles, 2, weights=counts), Problem(load_dataset("pearson_crabs").x, 2)
    assert binned.num_rows == 28 and binned.num_points == 1000 and repr(binned).startswith("Problem(28 x 1 points that")
    found = [
        compare(problem, EM(tolerance=1e-14), restarts=2, starts=Hierarchical(), seed=0) for problem in (binned, rows)
    ]
    ours, theirs = (each["em"].best(each.problem) for each in found)
    assert ours is not None and theirs is not None
    # The climb is long and slow (its rate is .98), so that rounding in it grows fifty-fold, and values are near 2,568.
    assert float(binned.log_joint(ours)) == pytest.approx(float(rows.log_joint(theirs)), abs=1e-8)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), ours.canonical(), theirs.canonical())
    one, other = (estimates_of(each, "em").rows for each in found)
    for mine, your in zip(one, other, strict=True):
        assert mine.standard_error == pytest.approx(your.standard_error, rel=1e-3)
    health, expected = (Soundness().check(p, m) for p, m in ((binned, ours), (rows, theirs)))
    assert health.smallest_component_size == pytest.approx(expected.smallest_component_size, rel=1e-4)
    assert binned.ties[0].points == rows.ties[0].points
    assert "The 28 rows have weights: one of weight w counts as w equal rows, and N is their sum, 1,000." in str(
        table(found[0])
    )
    assert "have weights" not in str(table(found[1]))


def mixture_of(problem: Problem) -> Mixture:
    return Mixture.from_covariances([0.4, 0.6], [[0.0], [3.0]], [[[1.0]], [[2.0]]], problem.covariance.name)


X = np.array([-1.0, 0.1, 0.7, 2.5, 3.1, 3.2])
WEIGHTS = np.array([2.0, 1.0, 1.0, 3.0, 1.0, 1.0])


def small(weights: NDArray[np.float64] | None = WEIGHTS, x: NDArray[np.float64] = X) -> Problem:
    return Problem(x, 2, "full", "conjugate", weights=weights)


def test_the_numpyro_model_has_the_log_joint_of_weighted_rows() -> None:
    problem = small(0.7 * WEIGHTS)
    mixture = mixture_of(problem)
    sites = problem.prior.site_values(mixture)
    value = jax.jit(lambda sites: log_density(mixture_model, (problem, problem.x), {}, sites)[0])(sites)
    assert float(value) == pytest.approx(float(jax.jit(problem.log_joint)(mixture)), rel=1e-12)


def test_the_exact_posterior_is_that_of_the_repeated_rows() -> None:
    ours, theirs = exact_posterior(small()), exact_posterior(small(None, np.repeat(X, WEIGHTS.astype(int))))
    assert ours.log_evidence == pytest.approx(theirs.log_evidence, rel=1e-12)
    np.testing.assert_allclose(ours.co_clustering, theirs.co_clustering, rtol=1e-10)
    with pytest.raises(InputError, match="weights: the exact posterior needs whole observations"):
        exact_posterior(small(WEIGHTS * 0.7))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_bootstrap_draws_as_many_observations_as_the_weights_sum_up_to(scheme: str) -> None:
    problem = small()
    estimate, keys = mixture_of(problem), jax.random.split(jax.random.key(0), 4000)

    def total(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows = SCHEMES[scheme](key, problem, estimate).rows
        if rows.weights is None:
            return jnp.zeros(len(X)), jnp.asarray(rows.num_points, float)
        return rows.weights.reshape(-1)[: len(X)], jnp.sum(rows.weights)

    counts, totals = map(np.asarray, jax.lax.map(total, keys))
    np.testing.assert_allclose(totals, WEIGHTS.sum(), rtol=1e-12)
    if scheme != "parametric":
        # A count has a variance of at most its mean, 3: four standard errors of 4,000 draws.
        np.testing.assert_allclose(counts.mean(axis=0), WEIGHTS, atol=4 * np.sqrt(3 / len(keys)))
        # Multinomial and Dirichlet weights of N observations: w (1 - w / N), the latter over 1 + 1 / N.
        n = WEIGHTS.sum()
        variance = WEIGHTS * (1 - WEIGHTS / n) / (1.0 if scheme == "nonparametric" else 1 + 1 / n)
        np.testing.assert_allclose(counts.var(axis=0), variance, rtol=0.15)


@pytest.mark.slow
def test_held_out_scores_and_classes_are_those_of_the_repeated_rows() -> None:
    labels = np.array(list("aaabbb"))
    repeated = np.repeat(np.arange(len(X)), WEIGHTS.astype(int))
    weighted = Reference(X[:, None] + 0.2, labels, heldout_weights=WEIGHTS)
    plain = Reference(X[repeated, None] + 0.2, labels[repeated])
    method = EM(max_iterations=3)
    ours, theirs = (
        table(compare(problem, method, restarts=1, starts=mixture_of(problem), reference=reference)).summaries[0]
        for problem, reference in ((small(), weighted), (small(None, X[repeated]), plain))
    )
    for field in ("heldout_log_density", "heldout_standard_error", "adjusted_rand_index", "best_log_joint"):
        assert getattr(ours, field) == pytest.approx(getattr(theirs, field), rel=1e-9)


def config(**data: Any) -> Experiment:
    values = {"data": data, "model": {"components": 2}, "methods": {"em": {"max_iterations": 20}}, "restarts": 2}
    return Experiment.model_validate(values | {"starts": {"rule": "kmeans"}})


def test_the_identity_of_a_run_holds_the_weights(tmp_path: Path) -> None:
    lines = [f"{x},{int(w)},{int(w) + (n == 2)}" for n, (x, w) in enumerate(zip(X, WEIGHTS, strict=True))]
    (tmp_path / "x.csv").write_text("\n".join(["x,one,other", *lines]))
    keys = {
        column: Setting.of(config(file="x.csv", columns=["x"], **own), tmp_path).cell("em").key
        for column, own in (("one", {"weights": "one"}), ("other", {"weights": "other"}), ("none", {}))
    }
    assert len(set(keys.values())) == 3


def test_fit_labels_all_rows_of_a_table_of_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, light: None) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{x},{int(w)},{'ab'[int(x > 1.5)]}" for x, w in zip(X, WEIGHTS, strict=True)]
    Path("counts.csv").write_text("\n".join(["x,count,class", *lines, "9.0,0,b"]))
    Path("counts.toml").write_text(
        'restarts = 2\n[data]\nfile = "counts.csv"\nweights = "count"\nlabel = "class"\n[model]\ncomponents = 2\n'
        '[prior]\nfamily = "conjugate"\n[starts]\nrule = "kmeans"\n[methods.em]\n'
    )
    found = CliRunner().invoke(cli, ["fit", "counts.toml"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    assert "The 6 rows have weights" in found.output and "N is their sum, 9" in found.output
    labels = Path("results/counts/fit/labels.csv").read_text().splitlines()
    assert len(labels) == 1 + 7  # the row of weight 0 has a label too
    # The cross table counts observations: four of class a and five of class b.
    crossed = [line.split() for line in found.output.splitlines() if line.split()[:1] in (["a"], ["b"])]
    assert [sum(map(int, line[1:])) for line in crossed] == [4, 5]


def test_a_named_data_set_has_no_weights() -> None:
    with pytest.raises(ValidationError, match="weights goes with file"):
        config(dataset="galaxies", weights="count")


def test_a_data_set_brings_its_weights() -> None:
    data = Dataset("mine", X[:, None], ("x",), None, "", "", weights=WEIGHTS)
    assert Problem(data, 2).num_points == 9 and Problem(data, 2, weights=np.ones(6)).num_points == 6


def test_a_comparison_keeps_its_weights_in_a_file(tmp_path: Path) -> None:
    problem = small()
    made = compare(problem, EM(max_iterations=3), restarts=1, starts=mixture_of(problem))
    loaded = load_comparison(save_comparison(made, tmp_path / "made.npz"))
    np.testing.assert_array_equal(loaded.problem.weights, WEIGHTS)  # type: ignore[arg-type]
    assert loaded.problem.num_points == 9


@pytest.mark.slow
def test_standard_errors_by_every_way_are_those_of_the_repeated_rows() -> None:
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(size=30), rng.normal(6.0, 1.0, size=30)])
    weights = rng.integers(1, 4, 60).astype(float)
    problems = Problem(x, 2, weights=weights), Problem(np.repeat(x, weights.astype(int)), 2)
    ours, theirs = (
        errors_of(compare(each, EM(tolerance=1e-13), restarts=1, starts=Hierarchical()), "em", replicates=40).ways
        for each in problems
    )
    for way, errors in ours.items():
        other = theirs[way]
        assert errors is not None and other is not None, way
        # Draws of the weighted bootstrap differ; of 40 replicates an error is known to 11 %: four of these of both.
        close = 4 * 0.11 * np.sqrt(2) if way == "weighted" else 1e-5
        np.testing.assert_allclose(errors, other, rtol=close, err_msg=way)
