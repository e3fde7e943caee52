"""Gibbs: its draws pass Geweke's joint test, and as a NumPyro kernel it reaches the exact posterior."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from families import summed
from numpy.typing import NDArray
from numpyro.infer import MCMC
from scipy.special import digamma, polygamma
from scipy.stats import invgamma, invwishart

from workbench.engine import layout, rows
from workbench.engine.keys import named_key
from workbench.engine.one_pass import allocate, allocated_statistics
from workbench.engine.rows import Rows
from workbench.errors import InputError
from workbench.loop.run import run
from workbench.methods import Gibbs, GibbsKernel, gibbs
from workbench.mixture import COVARIANCES, PRIORS, ConjugatePrior, Mixture, covariance_named
from workbench.mixture.prior.update import Updated, draw_mixture
from workbench.numpyro_model import mixture_model
from workbench.posterior import ReferencePosterior, read_reference, z_scores
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts

Points = NDArray[np.float64]
FAMILIES = sorted(COVARIANCES)
CHAINS = 4
# Given in full, so that it is the same whatever the points; degrees enough that all that is averaged has a variance.
PRIOR = ConjugatePrior(
    concentration=1.5,
    mean_location=(1.0, 0.0),
    mean_shrinkage=0.5,
    degrees_of_freedom=12.0,
    scatter=((6.0, 2.0), (2.0, 4.0)),
)


@pytest.fixture(scope="module")
def three_groups() -> ReferencePosterior:
    return read_reference("three_groups")


def worst(reference: ReferencePosterior, mixtures: Mixture) -> float:
    """The largest z-score of draws with leaves [R, S, ...]."""
    scores = z_scores(reference.posterior, mixtures, reference.problem)
    return max(float(np.max(np.abs(score))) for score in scores.values())


def with_points(problem: Problem, x: jax.Array) -> Problem:
    """The same problem about other points, inside a compiled program; N fits one chunk."""
    held = problem.rows
    z = (held.inverse @ (x - held.shift).T)[None]
    padded = jnp.zeros_like(held.z).at[..., : len(x)].set(z)
    (_, *others), static = problem.tree_flatten()
    # The native pass takes the scatter of a tied covariance from the total over rows.
    return Problem.tree_unflatten(static, (replace(held, z=padded, total=z[0] @ z[0].T), *others))


def functionals(mixture: Mixture, x: jax.Array) -> jax.Array:
    """What Geweke's test compares: moments of parameters, of points, and of both. [Q]"""
    covariance = mixture.covariances[0]
    deviations = jnp.sqrt(jnp.diagonal(covariance))
    parameters = [mixture.weights[0], mixture.means[0, 0], mixture.means[1, 1], jnp.log(deviations[0])]
    correlation = covariance[0, 1] / jnp.prod(deviations)
    centre = jnp.mean(x, 0)
    between = jnp.sum((mixture.means[0] - mixture.means[1]) ** 2)
    both = [parameters[1] * centre[0], parameters[3] * jnp.mean(x[:, 0] ** 2), parameters[0] * between]
    values = [*parameters, *(p**2 for p in parameters), correlation, correlation**2, *centre, *jnp.mean(x**2, 0), *both]
    return jnp.stack(values)


def prior_draws(problem: Problem, chains: int, seed: int) -> Mixture:
    """Draws from the prior by SciPy alone, leaves [R, ...]."""
    k, d, family, h = problem.components, problem.num_dimensions, problem.covariance, problem.hyperparameters
    rng, nu = np.random.default_rng(seed), float(h["degrees"])
    b, shape = family.block_dimension(d), (chains, *family.shape(k, d))
    if b > 1:
        prior = invwishart(nu, np.asarray(h["scatter"]))
        scales = np.linalg.cholesky(prior.rvs(int(np.prod(shape)) // b**2, rng).reshape(shape))
    else:
        scales = np.sqrt(invgamma(nu / 2, scale=np.broadcast_to(h["scatter"], shape) / 2).rvs(random_state=rng))
    trils = np.asarray(jax.vmap(lambda s: family.scale_trils(s, k, d))(jnp.asarray(scales)))
    noise = np.einsum("rkij,rkj->rki", trils, rng.normal(size=(chains, k, d)))
    means = np.asarray(h["mean_location"]) + noise / np.sqrt(float(h["mean_shrinkage"]))
    weights = rng.dirichlet(np.full(k, float(h["concentration"])), chains)
    return Mixture(jnp.asarray(weights), jnp.asarray(means), jnp.asarray(scales), family)


def geweke(problem: Problem, seed: int, *, chains: int, steps: int) -> Points:
    """Scores of Geweke's joint distribution test (2004, JASA 99, sec. 3). [Q]

    Marginal-conditional: a draw from the prior, and points given it. Successive-conditional: from there, a sweep and
    new points in turn. If a sweep leaves the posterior invariant, all states of a chain have the distribution of the
    first, and its mean differs from that of the first only by chance; chains are independent.
    """

    def chain(key: jax.Array, start: Mixture) -> jax.Array:
        def step(mixture: Mixture, key: jax.Array) -> tuple[Mixture, jax.Array]:
            key_points, key_sweep = jax.random.split(key)
            x, _ = mixture.sample(key_points, problem.num_points)
            return gibbs.sweep(key_sweep, mixture, with_points(problem, x)), functionals(mixture, x)

        values = jax.lax.scan(step, start, jax.random.split(key, steps + 1))[1]  # [steps + 1, Q]
        return jnp.mean(values[1:], 0) - values[0]

    keys = jax.random.split(jax.random.key(seed), chains)
    differences = np.asarray(jax.jit(jax.vmap(chain))(keys, prior_draws(problem, chains, seed)))
    error = differences.std(0) / np.sqrt(chains)
    # Correlations of a family that has none: zero off by zero.
    return np.abs(differences.mean(0)) / np.where(error > 0, error, 1.0)


def geweke_problem(family: str) -> Problem:
    # Six points for two components: one of them is often empty.
    return Problem(np.random.default_rng(0).normal(size=(6, 2)), 2, family, PRIOR)


def test_joint_test_of_geweke_passes() -> None:
    # Some twenty normal scores: one in a thousand times beyond 4, and the key is fixed.
    assert np.max(geweke(geweke_problem("full"), 1, chains=3_000, steps=10)) < 4


class Renamed(Gibbs):
    """A sampler of a user's own."""

    share: float = 0.5


def test_what_is_compiled_of_a_subclass_is_the_subclass() -> None:
    ours = Renamed(num_samples=7, share=0.25).as_compiled()
    assert isinstance(ours, Renamed) and (ours.share, ours.num_samples) == (0.25, Gibbs().num_samples)
    assert Gibbs(num_samples=7).as_compiled() == Gibbs()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_joint_test_of_geweke_passes_at_length(family: str) -> None:
    # As above.
    assert np.max(geweke(geweke_problem(family), 2, chains=20_000, steps=20)) < 4


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["degrees", "shrinkages", "counts"])
def test_joint_test_of_geweke_finds_out_one_unit_too_many(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    update = gibbs.update

    def careless(*given: Any) -> Any:
        updated = update(*given)
        return updated._replace(**{wrong: getattr(updated, wrong) + 1.0})

    monkeypatch.setattr(gibbs, "update", careless)
    assert np.max(geweke(geweke_problem("full"), 2, chains=20_000, steps=20)) > 6


@pytest.mark.slow  # quickly seen by Geweke's test, which looks at more
@pytest.mark.parametrize("family", FAMILIES)
def test_covariances_are_inverse_wishart(family: str) -> None:
    kind, d, num = covariance_named(family), 3, 20_000
    counts, dense = np.array([2.0, 7.5]), np.array([[3.0, 1.0, 0.0], [1.0, 2.0, -0.5], [0.0, -0.5, 1.0]])
    scatter = np.broadcast_to(kind.scatter_of(dense), kind.shape(2, d))
    degrees = 5.0 + np.asarray(kind.degrees(counts, d))
    updated = Updated(*map(jnp.asarray, (counts, np.zeros((2, d)), np.ones(2), degrees, scatter)))
    keys = jax.random.split(jax.random.key(0), num)
    scales = jax.jit(jax.vmap(lambda key: draw_mixture(key, updated, jnp.asarray(1.0), kind)))(keys).scales
    assert scales.shape == (num, *scatter.shape)
    b = kind.block_dimension(d)
    roots = np.asarray(scales).reshape(num, -1, b, b)
    assert np.all(roots[..., *np.triu_indices(b, 1)] == 0) and np.all(np.diagonal(roots, axis1=-2, axis2=-1) > 0)
    # Precisions are Wishart(nu, V): mean nu V, variances nu (V_ij^2 + V_ii V_jj).
    nu = np.broadcast_to(degrees, scatter.shape).reshape(-1, b, b)[:, :1, :1]
    v = np.linalg.inv(scatter.reshape(-1, b, b))
    diagonal = np.diagonal(v, axis1=1, axis2=2)
    precision = np.linalg.inv(roots @ np.swapaxes(roots, -1, -2))
    error = np.sqrt(nu * (v**2 + diagonal[:, :, None] * diagonal[:, None, :]) / num)
    # Four standard errors, the largest of at most 18 numbers.
    assert np.all(np.abs(precision.mean(0) - nu * v) < 4 * error)
    # ln |W| is a sum of logarithms of independent chi-squared numbers: mean and variance by di- and trigamma.
    half = 0.5 * (nu[:, 0] - np.arange(b))
    log_determinant = np.linalg.slogdet(precision)[1]
    expected = digamma(half).sum(1) + b * np.log(2.0) + np.linalg.slogdet(v)[1]
    assert np.all(np.abs(log_determinant.mean(0) - expected) < 4 * np.sqrt(polygamma(1, half).sum(1) / num))


def test_a_component_is_drawn_in_proportion_to_its_share() -> None:
    shares, num = np.array([0.5, 0.0, 0.3, 0.15, 0.05]), 100_000
    with np.errstate(divide="ignore"):
        log_joint = np.log(shares) + 700.0
    member = jax.jit(allocate)(jax.random.key(0), jnp.repeat(log_joint[:, None], num, axis=1))
    assert np.all(np.sum(member, 0) == 1)
    # Four standard errors of a frequency; what has no share is never drawn.
    error = np.sqrt(shares * (1 - shares) / num)
    assert np.all(np.abs(np.mean(member, 1) - shares) <= 4 * error)


@pytest.mark.parametrize("family", FAMILIES)
def test_statistics_are_sums_over_the_points_of_each_component(family: str) -> None:
    # Groups so far apart that the allocation is certain, in several chunks, the last one padded.
    rng = np.random.default_rng(4)
    z = rng.integers(3, size=2_345)
    centres = np.array([[0.0, 1e4], [900.0, 1e4], [0.0, 1.1e4]])
    x = centres[z] + rng.normal(size=(len(z), 2))
    kind = covariance_named(family)
    held = Rows.of(x, kind, 3)
    assert len(held.counted) > 1
    mixture = Mixture(jnp.full(3, 1 / 3), jnp.asarray(centres + 0.5), kind.broadcast(jnp.eye(2), 3), kind)
    found = jax.jit(allocated_statistics)(jax.random.key(0), mixture, held)
    member = np.eye(3)[z].T
    about = x - np.asarray(mixture.means)[:, None]  # [K, N, D]
    second = summed(kind, np.einsum("kn,kni,knj->kij", member, about, about))
    np.testing.assert_array_equal(found.counts, member.sum(1))
    # Points of size 1e4 rounded to working units and back.
    np.testing.assert_allclose(found.first, np.einsum("kn,knd->kd", member, about), atol=1e-8)
    np.testing.assert_allclose(found.second, second, atol=1e-8)


def test_every_chunk_draws_by_a_key_of_its_own() -> None:
    held = Rows.of(np.random.default_rng(0).normal(size=(2_345, 2)), covariance_named("full"), 3)
    key = jax.random.key(5)
    drawn = held.random_sum(lambda scale, own, z, counted: scale * jax.random.uniform(own, (3,)), 2.0, key)
    expected = sum(2.0 * jax.random.uniform(jax.random.fold_in(key, c), (3,)) for c in range(len(held.counted)))
    # A sum of a few numbers in the same order.
    np.testing.assert_allclose(drawn, expected, rtol=1e-15)


def test_streamed_chunks_draw_by_keys_of_their_own_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(layout, "READ_BYTES", 32_000)
    streamed = Rows.of(np.random.default_rng(0).normal(size=(5_003, 2)), covariance_named("full"), 3)
    assert streamed.stream is not None and streamed.stream.num_blocks > 1
    chunks = streamed.stream.num_blocks * streamed.stream.chunks_per_block
    key = jax.random.key(5)
    drawn = streamed.random_sum(lambda scale, own, z, counted: scale * jax.random.uniform(own, (3,)), 2.0, key)
    expected = sum(2.0 * jax.random.uniform(jax.random.fold_in(key, c), (3,)) for c in range(chunks))
    # A sum of a few numbers in the same order, block by block.
    np.testing.assert_allclose(drawn, expected, rtol=1e-14)


def test_a_sweep_reads_the_data_once_and_says_so(
    three_groups: ReferencePosterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[None] = []
    total = Rows.block_sum

    def counted(self: Rows, *given: Any) -> Any:
        reads.append(None)
        return total(self, *given)

    monkeypatch.setattr(Rows, "block_sum", counted)
    algorithm = Gibbs().bind(three_groups.problem)
    start = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), three_groups.problem, 1, seed=0))
    reads.clear()
    _, info = jax.eval_shape(algorithm.step, jax.random.key(0), start)
    assert len(reads) == 1 and info.passes.shape == ()


def test_thinned_draws_are_every_so_many_of_all(three_groups: ReferencePosterior) -> None:
    problem = three_groups.problem
    starts, key = draw_starts(RandomPoints(), problem, 2, seed=0), jax.random.key(0)
    # 14 sweeps are three draws of every fourth, and two sweeps more that are not taken.
    whole, some = (run(Gibbs(num_warmup=5, num_samples=14, thinning=t), problem, starts, key) for t in (1, 4))
    assert some.draws == 3 and some.passes[0, -1] == 5 + 12
    # The sweeps are the same ones, in programs of two sizes.
    np.testing.assert_allclose(some.answer.means, whole.answer.means[:, 3:12:4], rtol=1e-12)


@pytest.mark.usefixtures("room")
def test_one_program_serves_chains_of_any_length(
    three_groups: ReferencePosterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, key, traced = three_groups.problem, named_key(0, "gibbs"), []
    sweep = gibbs.sweep
    # It is called where a program is traced, and by no program.
    monkeypatch.setattr(gibbs, "sweep", lambda *given: traced.append(1) or sweep(*given))
    starts = draw_starts(RandomPoints(), problem, 2, 0)
    short = run(Gibbs(num_warmup=8, num_samples=12, thinning=2, num_chains=2), problem, starts, key)
    known = len(traced)
    long = run(Gibbs(num_warmup=8, num_samples=24, thinning=4, num_chains=2), problem, starts, key)
    assert len(traced) == known
    # The same chain, read at every fourth sweep instead of every second.
    np.testing.assert_array_equal(long.answer.means[:, :3], short.answer.means[:, 1::2])


def sites_of(problem: Problem) -> dict[str, tuple[int, ...]]:
    """Latent sites of the model that a person reads, with their shapes."""

    def values() -> dict[str, jax.Array]:
        seeded = numpyro.handlers.seed(mixture_model, jax.random.key(0))
        sites = numpyro.handlers.trace(seeded).get_trace(problem, x=problem.x).values()
        return {site["name"]: site["value"] for site in sites if site["type"] == "sample" and not site["is_observed"]}

    return {name: value.shape for name, value in jax.eval_shape(values).items()}


def chains_of_numpyro(problem: Problem, starts: Mixture | None) -> dict[str, jax.Array]:
    """Draws of the kernel by NumPyro's own loop, from given starts or from the prior, leaves [R, S, ...]."""
    settings: dict[str, Any] = {"num_warmup": 50, "num_samples": 1000, "num_chains": CHAINS, "progress_bar": False}
    sampler = MCMC(GibbsKernel(), chain_method="vectorized", **settings)
    sites = None if starts is None else jax.vmap(problem.prior.site_values)(starts)
    sampler.run(jax.random.key(3), problem, init_params=sites)
    drawn: dict[str, jax.Array] = sampler.get_samples(group_by_chain=True)
    return drawn


def test_numpyro_runs_the_kernel_to_the_exact_posterior(three_groups: ReferencePosterior) -> None:
    problem = three_groups.problem
    z = chains_of_numpyro(problem, draw_starts(RandomPoints(), problem, CHAINS, seed=0))
    assert {name: value.shape[2:] for name, value in z.items()} == sites_of(problem)
    family = problem.covariance
    assert worst(three_groups, Mixture(z["weights"], z["means"], family.factor(z["covariances"]), family)) < 4


@pytest.mark.slow
def test_the_kernel_begins_at_draws_from_the_prior() -> None:
    reference = read_reference("five_points")
    z, family = chains_of_numpyro(reference.problem, None), reference.problem.covariance
    assert worst(reference, Mixture(z["weights"], z["means"], family.factor(z["covariances"]), family)) < 4


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_kernel_begins_at_given_sites_one_chain_or_one_component(family: str) -> None:
    problem = Problem(np.random.default_rng(0).normal(size=(40, 2)) + 3.0, 1, family, PRIOR)
    start = draw_starts(RandomPoints(), problem, 1, seed=0)
    sites = problem.prior.site_values(jax.tree.map(lambda leaf: leaf[0], start))
    begun = GibbsKernel().init(jax.random.key(0), 0, sites, (problem,), {})
    # The root of a square, to rounding.
    np.testing.assert_allclose(begun.mixture.scales, start.scales[0], rtol=1e-12, atol=1e-12)
    sampler = MCMC(GibbsKernel(), num_warmup=1, num_samples=4000, progress_bar=False)
    sampler.run(jax.random.key(1), problem, init_params=sites)
    means = np.asarray(sampler.get_samples()["means"])[:, 0]
    # Sweeps of one component are independent draws, of a mean that is known.
    expected = (0.5 * np.array([1.0, 0.0]) + np.sum(problem.x, 0)) / 40.5
    assert np.all(np.abs(means.mean(0) - expected) < 4 * means.std(0) / np.sqrt(len(means)))


@pytest.mark.parametrize("prior", [name for name in PRIORS if name != "conjugate"])
def test_other_priors_are_refused(prior: str, problem_of: Callable[..., Problem]) -> None:
    problem = problem_of("full", prior)
    with pytest.raises(InputError, match=r'prior: Gibbs needs the conjugate prior, got .*use family = "conjugate"'):
        Gibbs().check(problem)
    with pytest.raises(InputError, match="prior: Gibbs needs the conjugate prior"):
        GibbsKernel().init(jax.random.key(0), 1, None, (problem,), {})


@pytest.mark.parametrize(("given", "named"), [((), {}), ((1,), {}), ((1, 2), {}), (None, {"x": 0.0})])
def test_the_kernel_takes_the_problem_alone(given: Any, named: Any, problem_of: Callable[..., Problem]) -> None:
    arguments = (problem_of("full", "conjugate"),) if given is None else given
    with pytest.raises(InputError, match=r"its one argument is the problem; call MCMC's run\(key, problem\)"):
        GibbsKernel().init(jax.random.key(0), 1, None, arguments, named)
