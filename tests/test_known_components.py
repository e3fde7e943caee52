"""Rows of known components: closed forms and plain EM as oracles, one objective for all methods, fixed numbers."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from click.testing import CliRunner
from common_shape import D, K, N
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from workbench.cli import cli
from workbench.compare import Comparison, Reference, compare, summarise, table
from workbench.compare.answers import answer_of
from workbench.compare.errors import errors_of
from workbench.compare.estimates import estimates_at, estimates_of
from workbench.compare.optima import same_optimum
from workbench.data import Dataset
from workbench.data.known import UNKNOWN
from workbench.diagnostics import checks
from workbench.errors import InputError
from workbench.experiment import parse_experiment
from workbench.geometry.atlas import distinct
from workbench.jobs.comparison_file import load_comparison, save_comparison
from workbench.jobs.selection import select
from workbench.methods import EM, METHODS
from workbench.mixture import COVARIANCES, ConjugatePrior, Mixture
from workbench.mixture.matching import Components, match
from workbench.numpyro_model import mixture_model
from workbench.posterior.relabelling import RELABELLINGS
from workbench.posterior.switching import algorithm_for
from workbench.problem import Problem
from workbench.soundness import Soundness, tie_under
from workbench.starts import Given, Labellings, RandomPoints, draw_starts

Points = np.ndarray


@pytest.fixture(scope="module")
def groups() -> Points:
    """The group that each point of `x` comes from. [N]"""
    return np.random.default_rng(5).integers(K, size=N)


@pytest.fixture(scope="module")
def x(groups: Points) -> Points:
    """Three groups of points, the first of which has the largest first coordinate. [N, D]"""
    return np.random.default_rng(0).normal(size=(N, D)) + 2.5 * (K - groups)[:, None] * [1.0, -0.5]


@pytest.fixture(scope="module")
def some(groups: Points) -> Points:
    """The groups of every third point. [N]"""
    return np.where(np.arange(N) % 3 == 0, groups, UNKNOWN)


def each_log_joint(mixture: Mixture, x: Points) -> Points:
    """By SciPy. [N, K]"""
    weights, means, covariances = (np.asarray(a) for a in (mixture.weights, mixture.means, mixture.covariances))
    each = zip(weights, means, covariances, strict=True)
    return np.stack([np.log(w) + multivariate_normal(m, c).logpdf(x) for w, m, c in each], axis=1)


def log_likelihood(mixture: Mixture, x: Points, known: Points) -> float:
    joint = each_log_joint(mixture, x)
    return float(sum(row[k] if k >= 0 else logsumexp(row) for row, k in zip(joint, known, strict=True)))


def plain_em(start: Mixture, x: Points, known: Points, weights: Points, steps: int) -> tuple[Points, Points, Points]:
    """Full covariances by EM in NumPy, with responsibilities of 0 and 1 for known rows."""
    pi, mu, sigma = (np.asarray(a) for a in (start.weights, start.means, start.covariances))
    for _ in range(steps):
        joint = each_log_joint(Mixture.from_covariances(pi, mu, sigma, "full"), x)
        r = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        r = np.where(known[:, None] == UNKNOWN, r, known[:, None] == np.arange(len(pi))) * weights[:, None]
        n = r.sum(axis=0)
        mu = r.T @ x / n[:, None]
        sigma = np.stack([(r[:, k] * (x - mu[k]).T) @ (x - mu[k]) / n[k] for k in range(len(n))])
        pi = n / n.sum()
    return pi, mu, sigma


@pytest.mark.parametrize("family", ["full", "diagonal", "spherical", "tied"])
def test_where_all_are_known_the_optimum_has_a_closed_form(family: str, x: Points, groups: Points) -> None:
    problem = Problem(x, K, family, label_known=groups)
    end, _ = jax.jit(problem.em_step)(jax.tree.map(lambda leaf: leaf[1], draw_starts(RandomPoints(), problem, 2, 0)))
    parts = [x[groups == k] for k in range(K)]
    shares = np.asarray([len(part) for part in parts]) / N
    scatters = np.stack([np.cov(part.T, bias=True) for part in parts])
    if family == "diagonal":
        scatters = scatters * np.eye(D)
    elif family == "spherical":
        scatters = np.stack([np.trace(s) / D * np.eye(D) for s in scatters])
    elif family == "tied":
        scatters = np.broadcast_to(np.einsum("k,kij->ij", shares, scatters), scatters.shape)
    # One step of EM is exact; the rest is rounding of sums of N terms.
    np.testing.assert_allclose(end.weights, shares, rtol=1e-12)
    np.testing.assert_allclose(end.means, np.stack([part.mean(axis=0) for part in parts]), rtol=1e-10)
    np.testing.assert_allclose(end.covariances, scatters, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_em_is_that_of_fixed_responsibilities(weighted: bool, x: Points, some: Points) -> None:
    weights = np.where(np.arange(N) % 4 == 0, 2.5, 1.0) if weighted else np.ones(N)
    problem = Problem(x, K, label_known=some, weights=weights if weighted else None)
    start = Mixture.from_covariances(np.full(K, 1 / K), x[[0, 20, 40]], np.stack([np.eye(D)] * K), "full")
    steps = 7
    mixture, step = start, jax.jit(problem.em_step)
    for _ in range(steps):
        mixture = step(mixture)[0]
    pi, mu, sigma = plain_em(start, x, some, weights, steps)
    np.testing.assert_allclose(mixture.weights, pi, rtol=1e-10)
    np.testing.assert_allclose(mixture.means, mu, rtol=1e-10)
    np.testing.assert_allclose(mixture.covariances, sigma, rtol=1e-9)


def test_weights_count_known_rows_as_often(x: Points, some: Points) -> None:
    weights = np.where(np.arange(N) % 4 == 0, 2.0, 1.0)
    weights[3] = 0.0  # a row of weight 0 is left out, whatever is known of it
    one = Problem(x, K, label_known=some, weights=weights)
    other = Problem(np.repeat(x, weights.astype(int), axis=0), K, label_known=np.repeat(some, weights.astype(int)))
    ends = jax.tree.map(lambda leaf: leaf[1], draw_starts(RandomPoints(), one, 2, 0))
    ends = [ends, ends]
    steps = [jax.jit(problem.em_step) for problem in (one, other)]
    for _ in range(20):
        ends = [step(end) for step, end in zip(steps, ends, strict=True)]
        (_, first), (_, second) = ends
        np.testing.assert_allclose(first, second, rtol=1e-12)
        ends = [mixture for mixture, _ in ends]
    for a, b in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    assert one.known is not None and len(one.known.components) == N - 1


def test_a_single_component_needs_no_labels(x: Points, after_em: Callable[..., Mixture]) -> None:
    known = np.where(np.arange(N) % 2 == 0, 0, UNKNOWN)
    labelled, log_joint = Problem(x, 1, label_known=known), jax.jit(Problem.log_joint)
    end = after_em(labelled, 2)
    assert float(log_joint(labelled, end)) == pytest.approx(float(log_joint(Problem(x, 1), end)), rel=1e-12)
    np.testing.assert_allclose(end.covariances[0], np.cov(x.T, bias=True), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("holes", [False, True], ids=["whole", "missing cells"])
def test_climbers_end_at_one_optimum_whose_likelihood_is_scipys(holes: bool, x: Points, some: Points) -> None:
    held = x.copy()
    if holes:
        held[::7, 1] = np.nan
    problem = Problem(held, K, prior=ConjugatePrior(), label_known=some, missing="marginal")
    start = compare(problem, ["em"], restarts=2)["em"].at(0, 0)
    names = ("em", "squarem", "anderson", "overrelaxed", "ascent", "newton")
    comparison = compare(problem, list(names), starts=Given.of(start), restarts=1)
    ends = {name: float(comparison[name].log_joint[0, -1]) for name in names}
    # Methods stop where a relative rise of 1e-10 is left, or a gradient of that order.
    assert max(ends.values()) - min(ends.values()) < 1e-5, ends
    if not holes:
        trace = comparison["ascent"]
        assert trace.log_likelihood[0, -1] == pytest.approx(log_likelihood(trace.at(0, -1), x, some), rel=1e-11)
    assert np.min(np.diff(comparison["em"].log_joint[0])) > -1e-9
    assert all(checks(comparison["em"], problem, jax.tree.map(lambda leaf: leaf[None], start)).values())


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_known_components(name: str, x: Points, some: Points) -> None:
    METHODS[name]().admit(Problem(x, K, prior=ConjugatePrior(), label_known=some))


def test_a_method_of_a_users_own_says_that_it_takes_them(x: Points, some: Points) -> None:
    problem = Problem(x, K, label_known=some)

    class Own(EM):
        marginalises = False

    with pytest.raises(InputError, match="label_known: em cannot use known components of rows; leave label_known"):
        Own().admit(problem)

    class Knowing(Own):
        takes_known = True

    Knowing().admit(problem)


# Numbers depend on the family only in whether components share a covariance.
@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=() if name in ("full", "tied") else pytest.mark.slow) for name in COVARIANCES]
)
def test_components_keep_the_numbers_that_rows_say(
    family: str, x: Points, some: Points, groups: Points, settled: Callable[..., Comparison]
) -> None:
    problem = Problem(x, K, family, ConjugatePrior(), label_known=some)
    best = answer_of(settled(problem)).mixture
    # The first coordinates of the means fall with the group, so that the usual order is the other way round.
    assert np.all(np.diff(np.asarray(best.means)[:, 0]) < 0)
    assert np.mean(np.asarray(best.predict(x)) == groups) > 0.8
    found = estimates_of(settled(problem), "em")
    assert "component 1 is number 0" in found.known and found.known in str(found)
    rows = estimates_at(problem, best).rows
    means = [row.estimate for row in rows if row.parameter == "mean" and row.column == "x1"]
    np.testing.assert_allclose(means, np.asarray(best.means)[:, 0])
    assert same_optimum(problem, best, best)


def test_only_components_without_known_rows_are_exchangeable(x: Points, some: Points) -> None:
    problem = Problem(x, K, label_known=np.where(some == 1, 1, UNKNOWN))
    np.testing.assert_array_equal(problem.interchangeable, [[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    mixture = Mixture.from_covariances([0.5, 0.3, 0.2], x[:3], np.stack([np.eye(D)] * K), "full")
    pairs = {(2, 1, 0): True, (1, 0, 2): False}
    for order, same in pairs.items():
        other = mixture.permute(jnp.asarray(order))
        one, two = (Components.of(each, np.arange(K)) for each in (mixture, other))
        assert (match(one, two, problem.interchangeable).divergence < 1e-9) == same
        numbers = distinct([one, two], np.zeros(2), N, allowed=problem.interchangeable)
        assert (numbers[0] == numbers[1]) == same
        gap = float(problem.log_likelihood(mixture)) - float(problem.log_likelihood(other))
        assert (abs(gap) < 1e-9) == same


def test_relabelling_moves_only_components_without_known_rows(x: Points, some: Points) -> None:
    problem = Problem(x, K, label_known=np.where(some == 1, 1, UNKNOWN))
    one = Mixture.from_covariances([0.5, 0.3, 0.2], [[0.0, 0.0], [4.0, 0.0], [9.0, 0.0]], [np.eye(D)] * K, "full")
    orders = np.asarray([[0, 1, 2], [2, 1, 0], [0, 1, 2], [2, 1, 0]])
    draws = jax.vmap(one.permute)(jnp.asarray(orders))
    draws = jax.tree.map(lambda leaf: leaf[None], draws)  # [R = 1, S = 4, ...]
    found = RELABELLINGS["pivotal"](draws, np.zeros((1, 4)), problem)
    np.testing.assert_array_equal(found[0], orders)
    # Draws whose anchored component lies elsewhere keep its number all the same.
    moved = jax.tree.map(lambda leaf: leaf[None, None], one.permute(jnp.asarray([1, 0, 2])))
    both = jax.tree.map(lambda a, b: jnp.concatenate([a[:, :1], b], axis=1), draws, moved)
    np.testing.assert_array_equal(RELABELLINGS["pivotal"](both, np.asarray([[1.0, 0.0]]), problem)[0, :, 1], 1)
    assert algorithm_for(problem) == "pivotal" and algorithm_for(Problem(x, K)) == "stephens"


def test_a_tie_is_judged_by_what_is_known_of_its_rows(x: Points) -> None:
    tied = np.concatenate([x, np.repeat(x[:1], 12, axis=0)])
    narrow = np.stack([1e-8 * np.eye(D), 4.0 * np.eye(D), 4.0 * np.eye(D)])
    mixture = Mixture.from_covariances([0.2, 0.4, 0.4], [tied[0], tied[0], [5.0, -2.0]], narrow, "full")
    free = Problem(tied, K)
    assert tie_under(free, mixture, 0) is not None
    # All tied rows are known to come from the wide component: the narrow one does not rest on them.
    known = np.where(np.all(tied == tied[0], axis=1), 1, UNKNOWN)
    assert tie_under(Problem(tied, K, label_known=known), mixture, 0, 12.0) is None
    assert not Soundness().check(free, mixture).sound


def test_what_contradicts_known_components_is_refused(x: Points, some: Points) -> None:
    with pytest.raises(InputError, match="labels: known components number the components already"):
        Problem(x, K, prior=ConjugatePrior(), labels="ordered", label_known=some)
    problem = Problem(x, K, label_known=some)
    start = Mixture.from_covariances(np.full(K, 1 / K), x[:K], np.stack([np.eye(D)] * K), "full")
    with pytest.raises(InputError, match=r'starts\.rule: "labellings" puts components in every order'):
        Labellings.of(start).check(problem)
    with pytest.raises(InputError, match="label_known: folds cannot use known components"):
        problem.observations("folds")
    known = Problem(x, K, prior=ConjugatePrior(), label_known=some)
    with pytest.raises(InputError, match="label_known: the models that are written out know no components of rows"):
        numpyro.handlers.seed(mixture_model, 0)(known, x=x)


def test_errors_and_scores_go_by_what_is_known(
    x: Points, some: Points, groups: Points, settled: Callable[..., Comparison]
) -> None:
    labels = groups.astype(str)
    data = Dataset("some", x, ("a", "b"), labels, "", "", known=np.where(some < 0, "", some.astype(str)))
    train, test = data.split(0.2, 0)
    problem = Problem(train, K)
    comparison = compare(problem, ["em"], reference=Reference.of(train, test), restarts=4)
    (summary,) = summarise(comparison)
    best = answer_of(comparison).mixture
    held = logsumexp(each_log_joint(best, test.x), axis=1)
    assert summary.heldout_log_density == pytest.approx(np.mean(held), rel=1e-10)
    assert "Held-out rows are scored by their density" in str(table(comparison))
    found = errors_of(comparison, "em", ["observed", "louis", "sandwich", "parametric", "weighted"], replicates=20)
    assert found.ways["observed"] is not None and found.ways["weighted"] is not None
    assert found.ways["louis"] is not None and found.ways["sandwich"] is not None
    # Louis' formula is that of the Hessian; EM ends at 1e-10 of the height of the maximum.
    np.testing.assert_allclose(found.ways["louis"], found.ways["observed"], rtol=1e-4)
    # The model is right: other errors of a few tens of rows differ by less than a factor of two.
    assert np.all(np.abs(np.log(found.ways["sandwich"] / found.ways["observed"])) < np.log(2))
    assert found.ways["parametric"] is None
    # Of a row that is known, no label says anything about the mixture.
    everything = Problem(x, K, label_known=groups)
    (judged,) = summarise(settled(everything, reference=Reference(labels=labels)))
    assert judged.adjusted_rand_index is None


def test_a_comparison_comes_back_from_its_file(
    x: Points, groups: Points, settled: Callable[..., Comparison], tmp_path: Path
) -> None:
    names = np.asarray(["zoe", "amy", "bea"])[groups]
    names[::2] = ""
    comparison = settled(Problem(x, K, label_known=names))
    again = load_comparison(save_comparison(comparison, tmp_path / "c.npz"))
    assert again.problem.known is not None and again.problem.known.names == ("amy", "bea", "zoe")
    assert str(table(again)) == str(table(comparison))
    assert "component 1 is amy" in str(table(again)).replace("\n", " ")


def test_a_choice_of_fewer_components_than_known_is_refused(x: Points, some: Points, tmp_path: Path) -> None:
    rows = [f"{a},{b},{k}" for (a, b), k in zip(x, some, strict=True)]
    (tmp_path / "d.csv").write_text("\n".join(["a,b,k", *rows]) + "\n", encoding="utf-8")
    config = {
        "data": {"file": str(tmp_path / "d.csv"), "label_known": "k"},
        "model": {"components": K},
        "methods": {"em": {}},
    }
    why = (
        r"^components: 2 is fewer than the 3 components from which rows are known \(label_known\); ask for at least 3$"
    )
    with pytest.raises(InputError, match=why):
        select(parse_experiment(config, "x"), [2, 3])


def test_the_command_line_fits_rows_of_known_classes(x: Points, groups: Points, tmp_path: Path) -> None:
    names = np.asarray(["zoe", "amy", "bea"])[groups]
    names[::2] = ""
    # A row whose class is known contradicts the density: its component is the known one all the same.
    x = np.concatenate([x, x[groups == 2][:1]])
    names = np.append(names, "amy")
    rows = [f"{a:.6f},{b:.6f},{name},{name or 'none'}" for (a, b), name in zip(x, names, strict=True)]
    (tmp_path / "known.csv").write_text("\n".join(["a,b,who,all", *rows]) + "\n", encoding="utf-8")
    config = tmp_path / "known.toml"
    config.write_text(
        '[data]\nfile = "known.csv"\nlabel_known = "who"\nlabel = "all"\n[model]\ncomponents = 3\n[methods.em]\n',
        encoding="utf-8",
    )
    runner, out = CliRunner(), str(tmp_path / "out")
    fitted = runner.invoke(cli, ["fit", str(config), "--out", out])
    assert fitted.exit_code == 0, fitted.output
    plain = " ".join(fitted.output.split())
    assert "31 of 61 rows have a known component: component 1 is amy" in plain
    number_of = {name: int(np.sum(names == name)) for name in ("amy", "bea", "zoe")}
    for name, cells in (("amy", "{} 0 0"), ("bea", "0 {} 0"), ("zoe", "0 0 {}")):
        assert f"{name} {cells.format(number_of[name])}" in plain
    labels = [line.split(",") for line in (tmp_path / "out/fit/labels.csv").read_text().splitlines()]
    assert labels[0][:4] == ["row", "class", "known", "component"]
    number = {"amy": "1", "bea": "2", "zoe": "3"}
    for line, name in zip(labels[1:], names, strict=True):
        assert line[2] == name
        assert not name or line[3:5] == [number[name], "1.0"]
    for command in ("compare", "estimates", "report"):
        again = runner.invoke(cli, [command, out])
        assert again.exit_code == 0, (command, again.output)
