"""Simulation-based calibration: it tests whether samplers draw from the posterior, for mixtures from the prior."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import jax
import numpy as np
import numpyro
from jax import Array
from pydantic import BeforeValidator, Field, model_validator

from workbench.config import Whole
from workbench.data.moments import Moments
from workbench.diagnostics.calibration import (
    chi_square_p_value,
    effective_sizes,
    envelope,
    location_p_value,
    normal_scores,
    quantities,
    ranks_of,
    spread_p_value,
    thinned,
)
from workbench.engine.keys import named_key, restart_keys
from workbench.errors import MOST_WHOLE
from workbench.experiment.config import AnyMethods, AnyPrior, ModelConfig
from workbench.loop.run import run
from workbench.methods.parts import Approximation
from workbench.mixture import Covariance, Mixture, Prior, covariance_named
from workbench.mixture.prior import Hyperparameters
from workbench.mixture.prior.base import as_tuples
from workbench.problem import Problem
from workbench.studies.base import Row, Study

Place = tuple[Annotated[float, Field(allow_inf_nan=False)], ...]

# Largest probability that a correct sampler fails any of its tests.
FALSE_ALARM = 0.01


class Calibration(Study):
    """Ranks of the truth among draws, over data sets of mixtures from the prior (Talts et al. 2018, Algorithm 2).

    Every replication draws a mixture from the prior and `points` from it, the same for all methods. Chains begin at
    further draws from the prior, never at the truth, which is a draw from the posterior and would hide a chain that
    does not move. All replications of a method share one compiled program, because data are an argument of it.

    The draws are thinned to `draws`, evenly over all chains. They are nearly independent if the effective sample size
    is at least as large. `short` counts the replications in which it is smaller, whose ranks are too often extreme. No
    replication is left out, because that would select data sets.

    Draws of an approximation are ranked as well. They are not draws from the posterior, and show what a failure looks
    like.

    A method has four `tests` for each quantity: the chi-square test over bins and the simultaneous test of the
    distribution function, which see any deviation, and those of place and spread by normal scores, which see draws that
    are too high, too low, too narrow or too wide with far fewer data sets. `p_adjusted` is the smallest p-value of a
    quantity times the number of tests (Bonferroni).
    """

    study: Literal["calibration"] = "calibration"
    model: ModelConfig = Field(description="the mixture that is drawn and fitted")
    prior: AnyPrior = Field(description="proper, and given in full: nothing scaled to the data")
    points: Annotated[int, Field(ge=2, le=MOST_WHOLE)] = Field(description="points of each data set, N")
    at: Annotated[tuple[Place, ...], BeforeValidator(as_tuples), Field(min_length=1)] = Field(
        description="points of D numbers each, at which the log density is ranked"
    )
    replications: Whole = Field(200, description="data sets")
    draws: Whole = Field(63, description="draws among which the truth is ranked, L")
    bins: Annotated[int, Field(ge=2, le=MOST_WHOLE)] = Field(
        16, description="bins of the chi-square test; they divide L + 1"
    )
    methods: AnyMethods

    summary: ClassVar[str] = "ranks of the truth among posterior draws: uniform where a sampler is right"
    shown: ClassVar[tuple[str, ...]] = (
        "method", "quantity", "replications", "mean_rank", "p_chi_square", "p_ecdf", "p_location", "p_spread", "tests",
        "p_adjusted", "uniform", "median_ess", "short",
    )  # fmt: skip

    @model_validator(mode="after")
    def _can_be_ranked(self) -> "Calibration":
        if (self.draws + 1) % self.bins:
            raise ValueError(f"bins: must divide the draws + 1 = {self.draws + 1} ranks, got {self.bins}")
        if self.points < self.model.components:
            raise ValueError(f"points: must be at least one for each component, got {self.points}")
        if len({len(point) for point in self.at}) > 1:
            raise ValueError(f"at: must be points of equally many numbers, got {self.at}")
        self._check_prior()
        for name, method in self.methods.items():
            found = method.schedule().draws * method.num_restarts(1)
            if found < self.draws:
                raise ValueError(f"methods.{name}: gives {found} draws, and the truth is ranked among {self.draws}")
        return self

    def cells(self) -> Sequence[Row]:
        """Every method."""
        return [{"method": name} for name in self.methods]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """One row for each quantity that is ranked."""
        name = str(cell["method"])
        method, key = self.methods[name], named_key(self.seed, name)
        rng = np.random.default_rng(self.seed)  # breaks ties
        truths, starts, points = self._simulated(method.num_restarts(1))
        names: list[str] = []
        ranks, sizes = [], []
        for r, x in enumerate(points):
            problem = self.model.problem(x, self.prior)
            drawn = run(method, problem, _at(starts, r), jax.random.fold_in(key, r)).answer
            values = _values(_stacked(_at(truths, r), drawn), problem, np.asarray(self.at))
            names, columns = list(values), np.stack(list(values.values()), axis=-1)
            draws = columns[1:].reshape(*drawn.weights.shape[:2], -1)  # [R, S, Q]
            ranks.append(ranks_of(columns[0], thinned(draws, self.draws), rng))
            sizes.append(effective_sizes(draws))
        found = zip(names, np.transpose(ranks), np.transpose(sizes), strict=True)
        kind: Row = {"approximation": isinstance(method, Approximation)}
        return [
            {"quantity": quantity, **kind, **self._row(r, normal_scores(r, self.draws, rng), s, 4 * len(names))}
            for quantity, r, s in found
        ]

    def _row(self, ranks: np.ndarray, scores: np.ndarray, sizes: np.ndarray, tests: int) -> Row:
        """The row of one quantity, from its rank, normal score and effective sample size in every replication [M]."""
        counts = np.bincount(ranks, minlength=self.draws + 1)
        p_values: Row = {
            "p_chi_square": chi_square_p_value(counts, self.bins),
            "p_ecdf": envelope(self.replications, self.draws).p_value(counts),
            "p_location": location_p_value(scores),
            "p_spread": spread_p_value(scores),
        }
        adjusted = min(1.0, tests * min(float(str(p)) for p in p_values.values()))
        return {
            "replications": self.replications,
            "draws": self.draws,
            "bins": self.bins,
            "counts": counts.tolist(),  # of the ranks 0, ..., L
            "mean_rank": float(np.mean(ranks)) / self.draws,  # expected to be one half for uniform ranks
            "mean_score": float(np.mean(scores)),  # expected to be zero
            "mean_square_score": float(np.mean(scores**2)),  # and one
            **p_values,
            "tests": tests,
            "p_adjusted": adjusted,
            "uniform": adjusted >= FALSE_ALARM,
            "median_ess": float(np.median(sizes)),
            "short": int(np.sum(sizes < self.draws)),
        }

    def _simulated(self, chains: int) -> tuple[Mixture, Mixture, np.ndarray]:
        """For every replication, the truth, leaves [M, ...], the starts, leaves [M, R, ...], and points [M, N, D]."""
        keys = restart_keys(named_key(self.seed, "prior"), self.replications)
        mixtures = _prior_draws(
            jax.vmap(lambda key: restart_keys(key, 1 + chains))(keys),
            self._hyperparameters(1.0),
            prior=self.prior,
            components=self.model.components,
            family=covariance_named(self.model.covariance),
        )
        truths, starts = (jax.tree.map(lambda leaf, p=p: np.asarray(leaf[:, p]), mixtures) for p in (0, slice(1, None)))
        keys = restart_keys(named_key(self.seed, "points"), self.replications)
        return truths, starts, np.asarray(_points(keys, truths, num_points=self.points))

    def _check_prior(self) -> None:
        prior = self.prior
        if not prior.proper:
            raise ValueError('prior: mixtures are drawn from it; use family = "conjugate" or "independent"')
        one, other = (self._hyperparameters(scale) for scale in (1.0, 2.0))
        scaled = [name for name in one if not np.array_equal(one[name], other[name])]
        if scaled:
            raise ValueError(f"prior: must not be scaled to data that are drawn from it; give {', '.join(scaled)}")

    def _hyperparameters(self, scale: float) -> Hyperparameters:
        """Hyperparameters of the prior. They do not depend on the scale of the data, because all of them are given."""
        d = len(self.at[0])
        moments = Moments(self.points, np.full(d, scale), scale * np.eye(d))
        return self.prior.hyperparameters(moments, self.model.components, covariance_named(self.model.covariance))


@partial(jax.jit, static_argnames=("prior", "components", "family"))
def _prior_draws(
    keys: Array, hyperparameters: Hyperparameters, *, prior: Prior, components: int, family: Covariance
) -> Mixture:
    """Draws from the prior by NumPyro's own samplers, which no method uses. Leaves [M, 1 + R, ...]"""

    def draw(key: Array) -> Mixture:
        with numpyro.handlers.seed(rng_seed=key):
            return prior.sites(components, family, hyperparameters)

    return jax.vmap(jax.vmap(draw))(keys)


@partial(jax.jit, static_argnames="num_points")
def _points(keys: Array, truths: Mixture, *, num_points: int) -> Array:
    """Points drawn from each truth. [M, N, D]"""
    return jax.vmap(lambda key, truth: truth.sample(key, num_points)[0])(keys, truths)


@jax.jit
def _values(mixtures: Mixture, problem: Problem, at: Array) -> dict[str, Array]:
    """Quantities of mixtures with leaves [B, ...]: each [B]."""
    return jax.vmap(lambda mixture: quantities(mixture, problem, at))(mixtures)


def _stacked(truth: Mixture, draws: Mixture) -> Mixture:
    """The truth, then the draws of leaves [R, S, ...], chain after chain: leaves [1 + R S, ...]."""
    return jax.tree.map(lambda one, many: np.concatenate([one[None], many.reshape(-1, *one.shape)]), truth, draws)


def _at(mixtures: Mixture, replication: int) -> Mixture:
    return jax.tree.map(lambda leaf: leaf[replication], mixtures)
