"""What the tests of the numerical core share: float64, small problems, random mixtures and an independent density."""

import functools
import gc
import itertools
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common_shape import D, K, N
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from standins import Steps

from workbench import report, wrapping
from workbench.compare import Comparison
from workbench.data import load_dataset
from workbench.experiment import parse_experiment
from workbench.jobs.experiment import run_experiment
from workbench.loop.run import score
from workbench.loop.trace import Trace
from workbench.memory_maps import make_room
from workbench.mixture import PRIORS, Mixture, covariance_named
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts
from workbench.studies import STUDIES

jax.config.update("jax_enable_x64", True)

# Sentences of commands and tables are compared whole; tests of their width set their own.
os.environ.pop("COLUMNS", None)
wrapping.PLAIN_WIDTH = 4000

# `--slow-part`.
pytest_plugins = ["slow_part"]

Points = NDArray[np.float64]

# How many tests this process has begun.
TESTS = itertools.count()


def pytest_configure(config: pytest.Config) -> None:
    """Workers, and processes that tests begin, share what they compile for as long as the run lasts.

    JAX reads the environment when it is imported: the workers' JAX, and not that of the process that begins them.
    XLA reads it when it first compiles. Compiling is most of what the tests do: without optimisation, and by the older
    of XLA's two ways where this version has it, it takes less than half of the time. What steps by the pass in JAX, and
    what scores and judges, says itself how it is compiled, here as for users.
    """
    old = "--xla_cpu_use_fusion_emitters=false " if jax.__version_info__ < (0, 11) else ""
    os.environ.setdefault("XLA_FLAGS", f"{old}--xla_backend_optimization_level=0")
    if not hasattr(config, "workerinput") and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="workbench-tests-")
        config.add_cleanup(folder.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def pytest_collection_finish() -> None:
    """The garbage collector leaves alone what imports made, a million objects that stay."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 20)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """One process runs more programs than it may map, some files alone; counting what is mapped takes a moment."""
    if next(TESTS) % 25 == 0:
        make_room()


@pytest.fixture
def room() -> None:
    """Room for the programs of a test that counts them: a run of its own must not let old ones go half-way."""
    make_room(share=0.25, every=0.0)


def random_mixture_near(x: Points, components: int, covariance: str, seed: int, *, width: float = 1.0) -> Mixture:
    """A random mixture of the family: means at rows of x, correlated covariances `width` times as wide as x."""
    rng = np.random.default_rng(seed)
    k, d = components, x.shape[1]
    family = covariance_named(covariance)
    spread = np.atleast_2d(np.cov(x, rowvar=False))
    units = np.linalg.cholesky(spread)
    noise = rng.normal(size=(k, d, d + 3)) / np.sqrt(d + 3)
    dense = width**2 * units @ (0.2 * np.eye(d) + noise @ noise.transpose(0, 2, 1)) @ units.T  # [K, D, D]
    covariances = family.nearest(dense[:1] if family.is_shared else dense)
    weights = rng.dirichlet(np.full(k, 5.0))
    means = x[rng.choice(len(x), k, replace=False)] + 0.3 * rng.normal(size=(k, d)) @ units.T
    scales = family.factor(jnp.asarray(covariances))
    return Mixture(jnp.asarray(weights), jnp.asarray(means), scales, family)


def scipy_component_log_joint(mixture: Mixture, x: Points) -> Points:
    """`log pi_k + log N(x_n | mu_k, Sigma_k)` by SciPy, from the mixture's dense covariances. [N, K]"""
    weights, means = np.asarray(mixture.weights), np.asarray(mixture.means)
    covariances = np.asarray(mixture.covariances)
    parts = [
        np.log(w) + np.atleast_1d(multivariate_normal(m, c, allow_singular=False).logpdf(x))
        for w, m, c in zip(weights, means, covariances, strict=True)
    ]
    return np.stack(parts, axis=1)


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out page and figures of `run`, which take most of the time and have tests of their own."""
    # Members of a module are looked up when a command runs.
    monkeypatch.setattr(report, "publish", lambda store, *_: [store.folder / "report.html"])
    for name in ("show_comparison", "show_study", "show_sweep"):
        monkeypatch.setattr(report, name, lambda *_: None)


@pytest.fixture
def steps_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study of `standins` can be read again by its name; no longer, or the schema of files would have it."""
    monkeypatch.setitem(STUDIES, "steps", Steps)


@pytest.fixture(scope="session")
def random_mixture() -> Callable[..., Mixture]:
    return random_mixture_near


@pytest.fixture(scope="session")
def component_log_joint() -> Callable[[Mixture, Points], Points]:
    return scipy_component_log_joint


@pytest.fixture(scope="session")
def reference_log_likelihood() -> Callable[[Mixture, Points], float]:
    """The log-likelihood by SciPy alone."""

    def reference(mixture: Mixture, x: Points) -> float:
        return float(logsumexp(scipy_component_log_joint(mixture, x), axis=1).sum())

    return reference


@pytest.fixture(scope="session")
def points() -> Points:
    """N correlated points of D columns in two groups, far from standardised: own units, own origin. [N, D]"""
    rng = np.random.default_rng(7)
    groups = np.where(np.arange(N)[:, None] < 25, -1.5, 1.0)
    z = rng.normal(size=(N, D)) + groups
    return z @ np.array([[2.0, 0.0], [9.0, 30.0]]).T + np.array([3.0, 70.0])


@pytest.fixture(scope="session")
def problem_of(points: Points) -> Callable[..., Problem]:
    """A problem on `points`, or a named data set, made once per family, K and prior."""

    @functools.cache
    def make(covariance: str, prior: str = "flat", components: int = K, name: str | None = None) -> Problem:
        x = points if name is None else load_dataset(name).x
        return Problem(x, components, covariance, PRIORS[prior]())

    return make


@pytest.fixture(scope="session")
def log_joint() -> Callable[[Problem, Mixture], Any]:
    return jax.jit(Problem.log_joint)


@pytest.fixture(scope="session")
def em_step() -> Callable[[Problem, Mixture], Any]:
    return jax.jit(Problem.em_step)


@jax.jit
def _after_em(problem: Problem, start: Mixture, steps: int) -> Mixture:
    """The mixture after so many steps of EM: of one start, compiled in a tenth of the time of a comparison."""
    return jax.lax.fori_loop(0, steps, lambda _, mixture: problem.em_step(mixture)[0], start)


@pytest.fixture(scope="session")
def after_em() -> Callable[..., Mixture]:
    """A function that draws a start of a problem and climbs from it by plain steps of EM."""

    def climb(problem: Problem, steps: int) -> Mixture:
        start = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), problem, 1, seed=0))
        return _after_em(problem, start, steps)

    return climb


@pytest.fixture(scope="session")
def gradient() -> Callable[[Problem, Mixture], Mixture]:
    """Gradient of the log-likelihood with respect to weights, means and scales."""
    return jax.jit(jax.grad(lambda mixture, problem: problem.log_likelihood(mixture)))


@pytest.fixture(scope="session")
def batch_at_rows() -> Callable[[Problem, int, int], Mixture]:
    """Mixtures with means at random rows and the data's covariance, by NumPy. Leaves [R, ...]"""

    def batch(problem: Problem, restarts: int, seed: int) -> Mixture:
        rng = np.random.default_rng(seed)
        k, x = problem.components, np.asarray(problem.x)
        means = np.stack([x[rng.choice(len(x), k, replace=False)] for _ in range(restarts)])
        scales = problem.covariance.broadcast(jnp.asarray(np.atleast_2d(np.cov(x, rowvar=False))), problem.components)
        repeated = jnp.repeat(scales[None], restarts, axis=0)
        return Mixture(jnp.full((restarts, k), 1 / k), jnp.asarray(means), repeated, problem.covariance)

    return batch


@pytest.fixture(scope="session")
def two_groups() -> Problem:
    """Two clear groups of 20 points in the plane: the problem of hand-built traces."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 2)) + np.repeat([[-4.0, 0.0], [4.0, 1.0]], 20, axis=0)
    return Problem(x, 2)


@pytest.fixture(scope="session")
def shapes(two_groups: Problem) -> dict[str, Mixture]:
    """Mixtures of `two_groups` whose health is known by construction, worst score first where it matters."""
    x, unit = np.asarray(two_groups.x), np.eye(2)

    def mixture(weights: list[float], means: list[Any], covariances: list[Any]) -> Mixture:
        return Mixture.from_covariances(weights, np.asarray(means), np.asarray(covariances))

    left, right = x[:20], x[20:]
    fitted = [np.cov(left.T, bias=True), np.cov(right.T, bias=True)]
    whole = np.cov(x.T, bias=True)
    return {
        "start": mixture([0.5, 0.5], [left[0], right[0]], [100 * whole, 100 * whole]),
        "better": mixture([0.5, 0.5], [left[0], right[0]], [unit, unit]),
        "good": mixture([0.5, 0.5], [left.mean(0), right.mean(0)], fitted),
        "merged": mixture([0.5, 0.5], [x.mean(0), x.mean(0)], [whole, whole]),
        # One point and hardly any width: singular, and of a higher score than `good`.
        "spike": mixture([0.1, 0.9], [x[0], x.mean(0)], [1e-30 * unit, whole]),
        # Far from every point: its responsibilities sum to nothing.
        "starved": mixture([0.01, 0.99], [[400.0, 0.0], x.mean(0)], [unit, whole]),
    }


def make_trace(problem: Problem, rows: Mixture | list[list[Mixture]], *, draws: int = 0, **changes: Any) -> Trace:
    """A trace of stated mixtures, R lists of T each or leaves [R, T, ...], scored by the judge.

    Every restart took a pass a row, kept its promise and met its stopping rule, unless `changes` say otherwise.
    """
    if isinstance(rows, list):
        lines = [jax.tree.map(lambda *leaves: np.stack(leaves), *line) for line in rows]
        rows = jax.tree.map(lambda *leaves: np.stack(leaves), *lines)
    r, t = rows.weights.shape[:2]
    log_joint, log_likelihood = score(problem, rows)
    trace = Trace(
        mixtures=jax.tree.map(np.asarray, rows),
        log_joint=log_joint,
        log_likelihood=log_likelihood,
        passes=np.tile(np.arange(t), (r, 1)),
        ok=np.ones((r, t), bool),
        converged=np.full(r, draws == 0),
        collapsed=np.zeros(r, bool),
        seconds=0.5 * np.arange(t),
        compile_seconds=1.0,
        score_seconds=0.25,
        draws=draws,
    )
    return replace(trace, **changes)


@pytest.fixture(scope="session")
def trace_of() -> Callable[..., Trace]:
    return make_trace


@pytest.fixture(scope="session")
def settled(after_em: Callable[..., Mixture]) -> Callable[..., Comparison]:
    """A function that gives a comparison of EM alone at its end after so many steps, without the harness's loop."""

    def comparison(problem: Problem, steps: int = 3000, **more: Any) -> Comparison:
        trace = make_trace(problem, [[after_em(problem, each) for each in (1, steps)]])
        return Comparison(problem, {"em": trace}, **more)

    return comparison


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    """An experiment that runs in a moment: 48 simulated points to fit and 12 held out, and what is known of them."""
    simulate = {"components": 2, "dimensions": 1, "points": 60, "separation": 4.0}
    return {
        "restarts": 2,
        "data": {"simulate": simulate, "test_fraction": 0.2},
        "model": {"components": 2, "covariance": "tied", "labels": "free"},
        "prior": {"family": "conjugate"},
        "starts": {"rule": "random_points"},
        "methods": {
            "em": {"max_iterations": 200},
            "slope": {"method": "ascent", "optimizer": "gradient", "max_iterations": 50},
        },
    }


@pytest.fixture(scope="session")
def tiny_run(tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """The tiny experiment with NUTS beside it, run once, and its results folder. Look, do not touch."""
    nuts = {"num_warmup": 20, "num_samples": 20, "num_chains": 2}
    values = {**tiny, "methods": {**tiny["methods"], "nuts": nuts}}
    folder = tmp_path_factory.mktemp("tiny_run")
    return folder, run_experiment(parse_experiment(values, "tiny"), name="tiny", out=folder)
