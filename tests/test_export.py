"""Exported draws: what ArviZ finds in them, and that its summary, its cross-validation and its trace plot work."""

import importlib

import jax
import numpy as np
import pytest
from scipy.special import logsumexp

import workbench as wb
from workbench import export
from workbench.export import GROUPS, to_arviz

# ArviZ before 1.0 announces 1.0 when it is first imported.
pytestmark = pytest.mark.filterwarnings(r"ignore:\sArviZ is undergoing:FutureWarning")

R, WARM, S, K, D = 4, 3, 100, 2, 2


@pytest.fixture(scope="module")
def chains(two_groups, shapes, trace_of):
    """Independent draws about a fit, after some warm-up; two chains have the labels the other way round."""
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (R, WARM + S, *leaf.shape)).copy(), shapes["good"])
    drawn.weights[...] = rng.dirichlet([20.0, 20.0], size=(R, WARM + S))
    drawn.means[...] += 0.2 * rng.normal(size=drawn.means.shape)
    drawn.scales[...] *= np.exp(0.1 * rng.normal(size=(R, WARM + S, K, 1, 1)))
    for leaf in (drawn.weights, drawn.means, drawn.scales):
        leaf[2:] = leaf[2:, :, ::-1]
    return trace_of(two_groups, drawn, draws=S)


@pytest.fixture(scope="module")
def exported(chains, two_groups):
    return to_arviz(chains, two_groups, columns=("a", "b"))


@pytest.fixture(scope="module")
def relabelled(chains, two_groups):
    return to_arviz(chains, two_groups, columns=("a", "b"), permutations=wb.relabel(chains, two_groups).permutations)


@pytest.fixture(scope="module")
def arviz():
    return importlib.import_module("arviz")


def test_every_group_is_there_with_named_dimensions_and_coordinates(exported, chains, two_groups):
    posterior = exported["posterior"]
    assert posterior["means"].dims == ("chain", "draw", "component", "dimension")
    assert posterior["covariances"].dims == ("chain", "draw", "component", "dimension", "dimension_bis")
    assert posterior["component"].values.tolist() == [1, 2]
    assert posterior["dimension"].values.tolist() == posterior["dimension_bis"].values.tolist() == ["a", "b"]
    assert dict(posterior.sizes) == {"chain": R, "draw": S, "component": K, "dimension": D, "dimension_bis": D}
    assert exported["log_likelihood"]["x"].dims == ("chain", "draw", "point")
    assert exported["observed_data"]["x"].dims == ("point", "dimension")
    np.testing.assert_array_equal(exported["observed_data"]["x"], two_groups.x)
    assert set(exported["constant_data"].data_vars) == set(two_groups.hyperparameters)
    np.testing.assert_array_equal(posterior["means"], chains.answer.means)


def test_warm_up_is_left_out_and_every_draw_has_its_score_and_price(exported, chains):
    stats = exported["sample_stats"]
    np.testing.assert_array_equal(stats["lp"], chains.log_joint[:, WARM:])
    np.testing.assert_array_equal(stats["passes"], np.ones((R, S)))
    assert stats["ok"].values.all()


def test_the_log_likelihoods_of_the_points_add_up_to_the_one_of_the_trace(exported, chains):
    total = exported["log_likelihood"]["x"].sum("point")
    # Sums of 40 terms, by the one pass and point by point.
    np.testing.assert_allclose(total, chains.log_likelihood[:, WARM:], rtol=1e-10)


@pytest.mark.parametrize(
    ("family", "axes"),
    [
        ("full", ("component", "dimension", "dimension_bis")),
        ("tied", ("dimension", "dimension_bis")),
        ("diagonal", ("component", "dimension")),
        ("spherical", ("component",)),
    ],
)
def test_covariances_are_those_of_the_mixture_in_the_shape_of_their_family(
    family, axes, points, random_mixture, problem_of, trace_of
):
    mixture = random_mixture(points, 3, family, seed=1)
    trace = trace_of(problem_of(family), [[mixture] * 4], draws=4)
    found = to_arviz(trace, problem_of(family), groups=["posterior"])["posterior"]["covariances"]
    assert found.dims == ("chain", "draw", *axes)
    dense = np.asarray(mixture.covariances)
    expected = mixture.covariance.nearest(dense)
    # Squares of the same factors; sums of two products.
    np.testing.assert_allclose(found[0, 2], expected, rtol=1e-12)


def test_summary_tells_chains_in_two_labellings_apart_until_they_are_relabelled(arviz, exported, relabelled):
    raw, settled = (arviz.summary(draws, var_names=["means"]) for draws in (exported, relabelled))
    assert len(raw) == K * D
    # Rank-normalised R-hat of two chains against two saturates below 2; that of 400 independent draws scatters by 5 %.
    assert (raw["r_hat"].astype(float)[:1] > 1.5).all() and (settled["r_hat"].astype(float) < 1.05).all()
    assert exported["posterior"].attrs["labels"] != relabelled["posterior"].attrs["labels"]


def test_loo_works_before_and_after_relabelling_and_is_the_same(arviz, exported, relabelled):
    # Left to itself, loo takes the draws' efficiency from the parameters, which labels spoil.
    one, other = arviz.loo(exported, reff=1.0), arviz.loo(relabelled, reff=1.0)
    pointwise = exported["log_likelihood"]["x"].values.reshape(R * S, -1)
    lppd = np.sum(logsumexp(pointwise, axis=0) - np.log(R * S))
    elpd = [float(getattr(found, "elpd_loo", getattr(found, "elpd", np.nan))) for found in (one, other)]
    assert elpd[0] == elpd[1]
    # Left out, a point is foretold worse: by some nat for each of 11 parameters.
    assert 0 < lppd - elpd[0] < 11


@pytest.mark.filterwarnings("ignore:Passing a dict or None as alias_mapping")  # ArviZ 0.23 on Matplotlib 3.11
def test_a_trace_plot_works_on_it(arviz, relabelled):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "agg")
        axes = arviz.plot_trace(relabelled, var_names=["means"])
    assert axes is not None


def test_what_cannot_be_exported_is_refused_with_the_remedy(chains, two_groups, trace_of, shapes, monkeypatch):
    with pytest.raises(wb.InputError, match="give the trace of a sampler"):
        to_arviz(trace_of(two_groups, [[shapes["good"]]]), two_groups)
    with pytest.raises(wb.InputError, match="groups: unknown prior; allowed: posterior, sample_stats"):
        to_arviz(chains, two_groups, groups=["prior"])
    with pytest.raises(wb.InputError, match=r"permutations: are of shape \[4, 103, 2\] and the draws of \[4, 100, 2\]"):
        to_arviz(chains, two_groups, permutations=np.zeros((R, WARM + S, K), int))
    monkeypatch.setattr(export, "MOST_BYTES", 1000)
    with pytest.raises(wb.InputError, match=r"leave it out: groups=\['posterior', 'sample_stats', 'observed_data'"):
        to_arviz(chains, two_groups)
    assert "posterior" in to_arviz(chains, two_groups, groups=[name for name in GROUPS if name != "log_likelihood"])
    monkeypatch.setattr(export, "find_spec", lambda _: None)
    with pytest.raises(wb.InputError, match="pip install 'workbench\\[arviz\\]'"):
        to_arviz(chains, two_groups)
