"""Standard errors side by side: textbook formulas, differences of SciPy's density, and each other."""

import csv
import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy.special import logsumexp
from scipy.stats import norm

import workbench as wb
from workbench.cli import cli
from workbench.compare.errors import WAYS, Errors, errors_of
from workbench.errors import InputError

EXACT = wb.EM(tolerance=1e-13, max_iterations=5_000)


def found(comparison: wb.Comparison, *ways: str, replicates: int = 200) -> dict[str, dict[object, float]]:
    """Standard errors by way, parameter and component."""
    errors = errors_of(comparison, "em", ways, replicates=replicates)
    return {
        way: {(parameter, component, column): each[q] for q, (parameter, component, column) in enumerate(errors.places)}
        for way, each in errors.ways.items()
        if each is not None
    }


def test_one_gaussian_has_the_textbook_errors(points: np.ndarray, settled: Callable[..., wb.Comparison]) -> None:
    """Of a mean s / sqrt(N); of s, if the model is right, s / sqrt(2 N), else by the fourth moment."""
    comparison = settled(wb.Problem(points, 1, columns=("a", "b")), columns=("a", "b"))
    errors = found(comparison, "observed", "louis", "sandwich", "nonparametric")
    n, s, centred = len(points), points.std(axis=0), points - points.mean(axis=0)
    fourth = np.mean(centred**4, axis=0)
    for d, column in enumerate("ab"):
        for way in ("observed", "louis"):
            assert errors[way]["sd", 1, column] == pytest.approx(s[d] / np.sqrt(2 * n), rel=1e-6)
        for way in ("observed", "louis", "sandwich"):
            assert errors[way]["mean", 1, column] == pytest.approx(s[d] / np.sqrt(n), rel=1e-6)
        robust = np.sqrt((fourth[d] - s[d] ** 4) / (4 * s[d] ** 2 * n))
        assert errors["sandwich"]["sd", 1, column] == pytest.approx(robust, rel=1e-6)
        # Four standard errors of a standard deviation of 200 replicates.
        assert errors["nonparametric"]["mean", 1, column] == pytest.approx(s[d] / np.sqrt(n), rel=4 / np.sqrt(400))


def test_the_sandwich_of_two_components_by_differences(settled: Callable[..., wb.Comparison]) -> None:
    """In log-odds, means and log deviations, from SciPy's density; the data are skewed, so that it differs."""
    rng = np.random.default_rng(5)
    x = np.concatenate([-rng.gamma(3.0, 0.6, 80), 3.0 + rng.gamma(3.0, 0.4, 60)])
    errors = errors_of(settled(wb.Problem(x, 2)), "em", ["observed", "sandwich"])
    w, _, m1, m2, s1, s2 = errors.estimates
    at = np.array([np.log(w / (1 - w)), m1, m2, np.log(s1), np.log(s2)])

    def log_density(v: np.ndarray) -> np.ndarray:
        weight = 1 / (1 + np.exp(-v[0]))
        return np.asarray(
            logsumexp(np.log([weight, 1 - weight]) + norm.logpdf(x[:, None], v[1:3], np.exp(v[3:])), axis=1)
        )

    h, eye = 1e-3, np.eye(5)
    scores = np.stack([(log_density(at + h * e) - log_density(at - h * e)) / (2 * h) for e in eye])
    hessian = np.empty((5, 5))
    for i, j in itertools.product(range(5), repeat=2):
        signs = itertools.product((1, -1), repeat=2)
        terms = [a * b * log_density(at + h * (a * eye[i] + b * eye[j])).sum() for a, b in signs]
        hessian[i, j] = sum(terms) / (4 * h * h)
    bread = np.linalg.inv(-hessian)
    slopes = np.array([w * (1 - w), w * (1 - w), 1.0, 1.0, s1, s2])
    spread = np.sqrt(np.diag(bread @ scores @ scores.T @ bread))[[0, 0, 1, 2, 3, 4]] * slopes
    observed = np.sqrt(np.diag(bread))[[0, 0, 1, 2, 3, 4]] * slopes
    # Differences of step h err by h^2.
    np.testing.assert_allclose(errors.ways["sandwich"], spread, rtol=1e-4)
    np.testing.assert_allclose(errors.ways["observed"], observed, rtol=1e-4)
    assert np.max(np.abs(spread / observed - 1)) > 0.05


@pytest.mark.slow
def test_louis_is_the_observed_information_under_a_prior_too(points: np.ndarray) -> None:
    problem = wb.Problem(points, 2, prior="conjugate")
    errors = errors_of(wb.compare(problem, {"em": EXACT}, restarts=2), "em", ["observed", "louis"])
    np.testing.assert_allclose(errors.ways["louis"], errors.ways["observed"], rtol=1e-6)


@pytest.mark.slow
def test_ways_that_need_em_say_so_where_it_cannot_solve_the_problem(points: np.ndarray) -> None:
    problem = wb.Problem(points, 2, prior="independent")
    comparison = wb.compare(problem, {"ascent": wb.GradientAscent(max_iterations=2000)}, restarts=2)
    errors = errors_of(comparison, "ascent", WAYS)
    assert [way for way, each in errors.ways.items() if each is not None] == ["observed", "sandwich"]
    assert len(errors.notes) == 4 and all("closed" in note for note in errors.notes)


@pytest.mark.slow
def test_labels_in_doubt_have_no_bootstrap() -> None:
    x = np.random.default_rng(1).normal(size=60)
    comparison = wb.compare(wb.Problem(x, 2, "tied", prior="conjugate"), {"em": EXACT}, restarts=2)
    errors = errors_of(comparison, "em", ["nonparametric"], replicates=50)
    assert errors.ways["nonparametric"] is None
    assert "labels in doubt" in errors.notes[0] or "do not converge" in errors.notes[0]


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["estimates", *map(str, words)], prog_name="workbench", catch_exceptions=False)


def test_the_command_prints_them_in_every_form(tiny_run: tuple[Path, wb.Comparison]) -> None:
    folder, _ = tiny_run
    result = run(folder, "--errors", "observed,sandwich", "--method", "em")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("tiny: Standard errors of em")
    rows = list(csv.DictReader(io.StringIO(run(folder, "--errors", "observed", "--format", "csv").stdout)))
    # The climbs, and not the sampler beside them.
    assert {row["method"] for row in rows} <= {"em", "slope"} and float(rows[0]["observed"]) > 0
    assert "\\toprule" in run(folder, "--errors", "observed", "--method", "em", "--format", "latex").stdout
    for words, message in (
        (["--errors", "obs"], "errors: unknown way 'obs'. Did you mean 'observed'? Allowed: all, observed, louis"),
        (["--errors", "observed", "--method", "nuts"], "'nuts' does not climb"),
        (["--errors", "observed", "--job", "none"], "has no job 'none'."),
    ):
        result = run(folder, *words)
        assert result.exit_code == 2 and message in " ".join(result.stderr.split()), result.output


def test_notes_come_first_and_a_way_without_errors_is_a_sentence_and_no_column() -> None:
    errors = Errors(
        "em",
        (("weight", 1, "–"),),
        np.asarray([0.5]),
        {"observed": np.asarray([0.1]), "louis": None, "weighted": np.asarray([0.2])},
        ("louis: needs every cell of a row", "bootstraps of 20 replicates: each error to about 16 %"),
    )
    title, *notes, head, _, row = str(errors).splitlines()
    assert title == "Standard errors of em"
    assert notes == [
        "louis is left out: needs every cell of a row.",
        "Bootstraps of 20 replicates: each error to about 16 %.",
    ]
    assert head.split() == ["parameter", "component", "column", "estimate", "observed", "weighted"]
    assert row.split()[-2:] == ["0.1", "0.2"]
    # Forms for papers and programs keep the column.
    assert "louis" in errors.table().to_latex() and "louis" in errors.table(exact=True).to_csv()


def test_a_wrong_way_is_one_message(points: np.ndarray, settled: Callable[..., wb.Comparison]) -> None:
    comparison = settled(wb.Problem(points, 1))
    with pytest.raises(InputError, match="errors: unknown way 'jackknife'"):
        errors_of(comparison, "em", ["jackknife"])
