"""IBIS: particles move through the posteriors of more and more points, and give an estimate of the evidence."""

from typing import Annotated, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field

from workbench.config import Restarts, Whole
from workbench.data import check_whole
from workbench.engine.known import known_observations, masked
from workbench.errors import InputError
from workbench.methods.base import Algorithm, Info, one_by_one
from workbench.methods.gibbs import check_conjugate
from workbench.methods.parts import Particles, Sampler
from workbench.methods.population import (
    Drawn,
    Setting,
    choose,
    effective_size,
    log_mean_weight,
    nothing_drawn,
    nothing_known,
    sweep,
    systematic_ancestors,
)
from workbench.mixture import Mixture
from workbench.mixture.arithmetic import log
from workbench.mixture.prior.update import Known, Tables, foresee, with_point
from workbench.problem import Problem


class IBIS(Sampler):
    """Iterated batch importance sampling (Chopin 2002, Biometrika 89) of allocations (Fearnhead 2004).

    Each chain is an independent run: `num_samples` particles, which do not use the start, take in the points one by
    one, in an order drawn for the run. A particle is an allocation of the points so far, with all parameters integrated
    out. Its weight is multiplied by its predictive density of the next point, a mixture of Student's t, and it draws
    the component of that point. When the effective sample size of the weights has fallen to a share of the particles,
    or all points are in, the particles are resampled by their weights and refreshed by Gibbs sweeps over the points so
    far, which have no step size to adapt. Few points exclude no allocation, so particles begin in all modes and all
    labellings. A step is one such stage. A run that does not see all points within `num_warmup` stages is not ok.

    The product of the mean weights estimates the evidence. Its only bias comes from the choice of when to resample, and
    vanishes as the number of particles grows. The estimate of a run that is not ok is NaN. Where components of points
    are known, they are data as well: every particle has them, and the evidence is that of the points and of them.

    Each particle is a draw, and they are recorded in the order of descent, as in `tempered_smc`. To take in a point
    costs a particle one row of a pass. A row of weight w is taken in as w points. The sweeps over all points are
    counted particle by particle with the draws.
    """

    method: Literal["ibis"] = "ibis"
    num_warmup: Whole = Field(400, description="most stages, each of which resamples")
    num_samples: Particles = Field(1000, description="particles of a run, each of them a draw")
    num_chains: Restarts = Field(4, description="independent runs")
    ess_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="effective sample size, as a share of the particles, at which they are resampled"
    )
    num_moves: Whole = Field(3, description="sweeps of Gibbs at each stage")

    takes_known: ClassVar[bool] = True
    summary: ClassVar[str] = "IBIS: particles take in the points one by one, and tell the evidence; conjugate prior"
    computes_outside_pass: ClassVar[bool] = True

    def check(self, problem: Problem) -> None:
        """Refuses every prior but the conjugate one, weights that are not whole, and points that are streamed."""
        check_conjugate(problem, "IBIS")
        check_whole(problem.weights, "IBIS")
        if problem.rows.stream is not None:
            raise InputError("x: IBIS takes in points one by one, in memory; use gibbs or tempered_smc of so many")

    def bind(self, problem: Problem) -> Algorithm:
        """A run whose state is its population."""
        n, d = problem.num_points, problem.num_dimensions
        z = jnp.moveaxis(problem.rows.z, 1, 2).reshape(-1, d)[problem.rows.every_observation()]
        components = known_observations(problem.rows)

        def setting_for(order: Array) -> Setting:
            return setting_of(problem, z[order], None if components is None else components[order])

        def init(key: Array, start: Mixture) -> Cloud:
            order = jax.random.permutation(key, n)
            known = nothing_known(setting_for(order), self.num_samples)
            zero = jnp.zeros((), problem.dtype)
            drawn = nothing_drawn(known)
            return Cloud(known, drawn, order, jnp.asarray(0), -n * problem.rows.log_determinant + zero, jnp.asarray(0))

        def step(key: Array, state: Cloud) -> tuple[Cloud, Info]:
            goes_on = (state.taken < self.num_warmup) & (state.seen < n)
            _, end = one_by_one(goes_on, stage, (key, state))
            end = end._replace(taken=state.taken + 1)
            ok = (end.taken < self.num_warmup) | (end.seen >= n)
            return end, Info(passes=self._price(state, end, problem), ok=ok)

        def stage(carry: tuple[Array, Cloud]) -> tuple[Array, Cloud]:
            key, state = carry
            return key, self._stage(key, state, setting_for(state.order))

        def mixture(state: Cloud) -> Mixture:
            place = jnp.maximum(state.taken - self.num_warmup - 1, 0)
            one = jax.tree.map(lambda leaf: leaf[..., place, None], state.drawn)
            drawn = jax.tree.map(lambda leaf: leaf[0], one.mixtures(problem.covariance))
            return problem.rows.from_working(drawn)

        def log_evidence(state: Cloud) -> Array:
            return jnp.where(state.seen >= n, state.log_evidence, jnp.nan)

        return Algorithm(init, step, mixture, log_evidence)

    def _stage(self, key: Array, cloud: "Cloud", setting: Setting) -> "Cloud":
        """Take in points until the particles must be resampled, then resample and refresh them."""
        key_points, key_ancestors, key_moves = jax.random.split(key, 3)
        known, log_weights, seen = take_in(key_points, cloud, setting, self.ess_share)
        ancestors = systematic_ancestors(key_ancestors, log_weights)
        known = jax.tree.map(lambda leaf: leaf[..., ancestors], known)

        def once(carry: tuple[Known, Drawn], own: Array) -> tuple[tuple[Known, Drawn], None]:
            return sweep(own, carry[0], seen, setting), None

        moved, _ = jax.lax.scan(once, (known, cloud.drawn), jax.random.split(key_moves, self.num_moves))
        log_evidence = cloud.log_evidence + log_mean_weight(log_weights)
        return Cloud(*moved, cloud.order, seen, log_evidence, cloud.taken)

    def _price(self, before: "Cloud", after: "Cloud", problem: Problem) -> Array:
        """Passes of a step: points taken in by all particles, and sweeps of all particles or of the recorded one."""
        n = problem.num_points
        recorded = (before.taken > self.num_warmup) & (after.seen >= n)
        moved = jnp.where(before.seen < after.seen, jnp.where(after.seen < n, self.num_samples, 1), recorded)
        rows = self.num_samples * (after.seen - before.seen) + self.num_moves * moved * after.seen
        return rows / problem.num_rows


class Cloud(NamedTuple):
    """The state of a run."""

    known: Known  # leaves [..., S]   relatives next to each other
    drawn: Drawn  # leaves [..., S]   parameters from the last sweep
    order: Array  # [N]   in which points are taken in
    seen: Array  # []   number of points taken in so far
    log_evidence: Array  # []   estimate for these points
    taken: Array  # []   steps taken


def take_in(key: Array, cloud: Cloud, setting: Setting, share: float) -> tuple[Known, Array, Array]:
    """Take in points until the effective sample size falls below a share of the particles, or all points are in.

    Returns:
        the statistics of the allocations, the log weights [S], and the number of points taken in so far [].
    """
    h, active, points, family, components = setting
    tables = Tables.of(len(points), h, family)
    size = cloud.known.counts.shape[-1]
    places = jnp.sum(active)

    def is_even(carry: tuple[Known, Array, Array]) -> Array:
        _, log_weights, seen = carry
        return (seen < len(points)) & (effective_size(log_weights) >= share * size)

    def one_more(carry: tuple[Known, Array, Array]) -> tuple[Known, Array, Array]:
        known, log_weights, seen = carry
        uniform = jax.random.uniform(jax.random.fold_in(key, seen), (size,), log_weights.dtype)
        log_chances, change = jax.vmap(lambda own: foresee(own, points[seen], tables, h, family), -1, -1)(known)
        log_chances = jnp.where(active[:, None], log_chances, -jnp.inf)
        if components is not None:
            log_chances = masked(log_chances, components[seen])
        largest = jnp.max(log_chances, axis=0)
        chances = jnp.exp(log_chances - largest)
        chosen = choose(chances, uniform)
        known = jax.vmap(lambda own, here, what: with_point(own, here, what, family), -1, -1)(known, chosen, change)
        log_chance = largest + log(jnp.sum(chances, axis=0))
        log_total = jnp.log(seen + places * h["concentration"])
        return known, log_weights + log_chance - log_total, seen + 1

    return jax.lax.while_loop(is_even, one_more, (cloud.known, jnp.zeros(size, points.dtype), cloud.seen))


def setting_of(problem: Problem, points: Array, components: Array | None = None) -> Setting:
    """The setting that the particles of a problem share, for its points [N, D] in working units and in some order.

    The components [N] of the points, in the same order, are -1 where they are not known.
    """
    rows, family, h = problem.rows, problem.covariance, problem.hyperparameters
    own = {
        "mean_location": rows.inverse @ (h["mean_location"] - rows.shift),
        "scatter": family.transform_second(h["scatter"], rows.inverse),
    }
    active = jnp.ones(problem.components, bool) if problem.active is None else problem.active
    return Setting(h | own, jnp.asarray(active), points, family, components)
