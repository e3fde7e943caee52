"""The packages that are timed: how each runs a fixed number of EM iterations from a stated start, as its user would.

Every peer gets the same points and the same start and returns its parameters; what it does to the data once, before
the first iteration, is not in its time. Nobody regularises: `reg_covar` is 0 where there is one.
"""

import importlib
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

import workbench as wb
from judge import Parameters
from workbench.engine.compat.compilation import STEPPING, jit_with

FAMILIES = ("full", "tied", "diagonal", "spherical")


class Peer(ABC):
    """One package. `prepare` binds a problem; the call it returns is what is timed."""

    name: ClassVar[str]
    families: ClassVar[tuple[str, ...]] = FAMILIES
    modules: ClassVar[tuple[str, ...]]
    compiles: ClassVar[bool] = False  # its first call compiles, and is apart

    def version(self) -> str | None:
        """The installed version, or None where it is not installed."""
        try:
            for module in self.modules:
                importlib.import_module(module)
            return importlib.metadata.version(self.name)
        except ImportError:
            return None

    @abstractmethod
    def gibibytes(self, family: str, n: int, d: int, k: int) -> float:
        """Memory an iteration must hold at once, from the peer's own code, in float64."""

    @abstractmethod
    def prepare(self, x: np.ndarray, start: Parameters, family: str, iterations: int) -> Callable[[], Any]:
        """A call that runs the iterations from the start and returns when the result is there."""

    @abstractmethod
    def parameters(self, result: Any) -> Parameters:
        """What the call returned, as NumPy arrays."""


class Workbench(Peer):
    """`problem.em_step` in a loop inside one compiled program with the problem as an argument: as `run` does it.

    The log-likelihoods are computed as well, although nothing here asks for them: EM stops by them.
    """

    name = "workbench"
    modules = ("workbench",)
    compiles = True

    def gibibytes(self, family: str, n: int, d: int, k: int) -> float:
        """The points as given, on the device, and in working units."""
        return 3 * n * d * 8 / 2**30

    def prepare(self, x: np.ndarray, start: Parameters, family: str, iterations: int) -> Callable[[], Any]:
        """Compiled once for any number of iterations."""
        problem = wb.Problem(x, len(start.weights), family)
        dtype = problem.x.dtype
        mixture = jax.tree.map(lambda leaf: leaf.astype(dtype), wb.Mixture.from_covariances(*start, family))
        return lambda: jax.block_until_ready(_em(problem, mixture, iterations))[0]

    def parameters(self, result: wb.Mixture) -> Parameters:
        """Covariances in the family's own shape."""
        scales = np.asarray(result.scales, float)
        squared = scales @ np.swapaxes(scales, -1, -2) if result.covariance.has_correlations else scales**2
        return Parameters(np.asarray(result.weights, float), np.asarray(result.means, float), squared)


@jit_with(STEPPING)
def _em(problem: wb.Problem, mixture: wb.Mixture, iterations: int) -> tuple[wb.Mixture, jax.Array]:
    begun = (mixture, jnp.zeros((), problem.dtype))
    return jax.lax.fori_loop(0, iterations, lambda _, carry: problem.em_step(carry[0]), begun)


class ScikitLearn(Peer):
    """The body of `GaussianMixture.fit`'s loop, called directly.

    `fit` also validates, initialises (by k-means, unless warm-started) and ends with one more E-step. Leaving these
    out is exact where a difference of two `max_iter` would be noisy, and it is in scikit-learn's favour.
    """

    name = "scikit-learn"
    modules = ("sklearn.mixture",)

    def gibibytes(self, family: str, n: int, d: int, k: int) -> float:
        """Points and centred points [N, D]; log densities, log responsibilities and responsibilities [N, K]."""
        return (2 * n * d + 3 * n * k) * 8 / 2**30

    def prepare(self, x: np.ndarray, start: Parameters, family: str, iterations: int) -> Callable[[], Any]:
        """The start's covariances are multiples of the identity, so their roots are elementwise."""
        kind = "diag" if family == "diagonal" else family
        mixture = importlib.import_module("sklearn.mixture").GaussianMixture
        roots = np.where(start.covariances > 0, 1 / np.sqrt(np.maximum(start.covariances, 1e-300)), 0.0)

        def iterate() -> Any:
            model = mixture(len(start.weights), covariance_type=kind, reg_covar=0.0)
            model.weights_, model.means_ = start.weights.astype(x.dtype), start.means.astype(x.dtype)
            model.covariances_, model.precisions_cholesky_ = start.covariances, roots.astype(x.dtype)
            for _ in range(iterations):
                log_prob_norm, log_responsibilities = model._e_step(x)
                model._m_step(x, log_responsibilities)
                model._compute_lower_bound(log_responsibilities, log_prob_norm)
            return model

        return iterate

    def parameters(self, result: Any) -> Parameters:
        """Its attributes."""
        return Parameters(result.weights_, result.means_, result.covariances_)


class Gmmx(Peer):
    """`EMFitter.fit`, which is one compiled `while_loop`.

    gmmx 0.7 refuses arrays that are not float32 by a check of its own. The check alone is replaced, so that it runs
    in the precision of everybody else; its arithmetic is untouched.
    """

    name = "gmmx"
    families = ("full", "diagonal")
    modules = ("gmmx",)
    compiles = True

    def gibibytes(self, family: str, n: int, d: int, k: int) -> float:
        """The points; for full, differences from every mean, plain and weighted, [N, K, D] each, else [N, K]."""
        return (n * d + 2 * n * k * (d if family == "full" else 1)) * 8 / 2**30

    def prepare(self, x: np.ndarray, start: Parameters, family: str, iterations: int) -> Callable[[], Any]:
        """A negative tolerance: never converged, so that every iteration is taken."""
        gmmx = importlib.import_module("gmmx")
        importlib.import_module("gmmx.gmm").check_shape = lambda array, expected: None
        points, (weights, means, covariances) = jnp.asarray(x), (jnp.asarray(a, x.dtype) for a in start)
        kind = "diag" if family == "diagonal" else family
        model = gmmx.GaussianMixtureModelJax.from_squeezed(means, covariances, weights, kind)
        fitter = gmmx.EMFitter(max_iter=iterations, tol=-1.0, reg_covar=0.0)
        # Its own wait lies inside the compiled function, where it does nothing.
        return lambda: jax.block_until_ready(fitter.fit(points, model))

    def parameters(self, result: Any) -> Parameters:
        """Its axes of length one dropped."""
        model = result.gmm
        return Parameters(model.weights_numpy, model.means_numpy, model.covariances.values_numpy)


class Pomegranate(Peer):
    """`GeneralMixtureModel.fit` in float64, with a tolerance that never stops it."""

    name = "pomegranate"
    families = ("full", "diagonal", "spherical")
    modules = ("torch", "pomegranate.gmm")

    def gibibytes(self, family: str, n: int, d: int, k: int) -> float:
        """Points, weighted points and squares [N, D]; log densities and responsibilities [N, K]."""
        return (3 * n * d + 3 * n * k) * 8 / 2**30

    def prepare(self, x: np.ndarray, start: Parameters, family: str, iterations: int) -> Callable[[], Any]:
        """The model is built anew in each call, since fitting changes it."""
        torch = importlib.import_module("torch")
        torch.set_default_dtype(torch.float64 if x.dtype == np.float64 else torch.float32)
        normal = importlib.import_module("pomegranate.distributions").Normal
        mixture = importlib.import_module("pomegranate.gmm").GeneralMixtureModel
        kind = {"full": "full", "diagonal": "diag", "spherical": "sphere"}[family]
        points, (weights, means, covariances) = torch.from_numpy(x), (a.astype(x.dtype) for a in start)

        def iterate() -> Any:
            parts = [normal(covariance_type=kind) for _ in weights]
            for part, mean, covariance in zip(parts, means, covariances, strict=True):
                # Its constructor refuses a spherical covariance.
                part._initialize(x.shape[1])
                part.means[...], part.covs[...] = torch.as_tensor(mean), torch.as_tensor(covariance)
                part._reset_cache()
            return mixture(parts, weights, max_iter=iterations, tol=-np.inf).fit(points)

        return iterate

    def parameters(self, result: Any) -> Parameters:
        """Stacked over its distributions."""
        means = np.stack([part.means.numpy() for part in result.distributions])
        covariances = np.stack([part.covs.numpy() for part in result.distributions])
        return Parameters(result.priors.numpy(), means, covariances)


PEERS: tuple[Peer, ...] = (Workbench(), ScikitLearn(), Gmmx(), Pomegranate())
