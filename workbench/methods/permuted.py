"""The random permutation sampler: it permutes the labels of any sampler, so that chains visit all K! labellings."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field, SerializeAsAny

from workbench.engine.known import KnownRows
from workbench.errors import InputError
from workbench.methods.base import Algorithm, Info, Method, Schedule
from workbench.methods.gibbs import Gibbs
from workbench.methods.ibis import IBIS
from workbench.methods.nuts import NUTS, Mixed
from workbench.methods.parts import Sampler
from workbench.methods.tempered_smc import TemperedSMC
from workbench.mixture import Mixture
from workbench.problem import Problem

# The samplers whose draws can be permuted.
INNER: tuple[type[Sampler], ...] = (NUTS, Gibbs, Mixed, TemperedSMC, IBIS)

if TYPE_CHECKING:
    AnySampler: TypeAlias = Sampler
else:
    AnySampler = Annotated[reduce(or_, INNER), Field(discriminator="method")]


class Permuted(Method):
    """The random permutation sampler (Fruehwirth-Schnatter 2001, JASA 96): draws from the whole symmetric posterior.

    A permutation of the components follows each transition of a sampler. It is uniform over all K! permutations and
    independent of everything else, and leaves invariant every posterior that is symmetric in the components. Each raw
    parameter then has the same posterior for every component, as it must, however far apart the modes are: this shows
    what a plain chain misses by staying in one labelling. The permutation adds nothing about quantities that do not
    depend on labels, and does not help a chain that has missed a mode of another kind. Components of which rows are
    known differ from all others, and keep their places; the permutation is uniform over those of the others.

    The draw is permuted, not the state from which the sampler continues. For a sampler that treats all components
    alike, such as Gibbs, the law of the chain is the same either way, because a product of uniform permutations is
    uniform and independent of its factors. Other samplers keep what they have adapted to each component: the mass
    matrix of NUTS fits the mode that the chain is in. A permutation costs no pass.
    """

    method: Literal["permuted"] = "permuted"
    of: SerializeAsAny[AnySampler] = Field(NUTS(), description="the sampler whose draws are permuted, with its options")

    takes_known: ClassVar[bool] = True
    summary: ClassVar[str] = "any sampler with labels permuted at random: each chain visits all K! labellings"

    def check(self, problem: Problem) -> None:
        """Refuses what the inner sampler refuses, ordered labels, and a prior that tells components apart."""
        if problem.labels == "ordered":
            raise InputError(
                'model.labels: the permuted sampler visits all labellings, and "ordered" allows one; '
                'use labels = "free", or leave it out'
            )
        if not problem.prior.exchangeable:
            raise InputError(
                f"prior: permuting labels needs a prior that is the same for all components, which "
                f"{type(problem.prior).__name__} is not; use another prior, or leave the permuted sampler out"
            )
        self.of.admit(problem)

    def schedule(self) -> Schedule:
        """That of the inner sampler."""
        return self.of.schedule()

    def num_restarts(self, restarts: int) -> int:
        """The number of its chains."""
        return self.of.num_restarts(restarts)

    def bind(self, problem: Problem) -> Algorithm:
        """The inner sampler's chain; the state also holds the order of the components in the draw."""
        inner, k, rows = self.of.bind(problem), problem.components, problem.rows
        log_evidence, energy = inner.log_evidence, inner.energy

        def order_of(key: Array) -> Array:
            return (
                random_order(key, rows.anchored(k)) if isinstance(rows, KnownRows) else jax.random.permutation(key, k)
            )

        def init(key: Array, start: Mixture) -> PermutedState:
            return PermutedState(inner.init(key, start), jnp.arange(k))

        def step(key: Array, state: PermutedState) -> tuple[PermutedState, Info]:
            key_step, key_order = jax.random.split(key)
            moved, info = inner.step(key_step, state.inner)
            return PermutedState(moved, order_of(key_order)), info

        return Algorithm(
            init,
            step,
            lambda state: inner.mixture(state.inner).permute(state.order),
            None if log_evidence is None else lambda state: log_evidence(state.inner),
            None if energy is None else lambda state: energy(state.inner),
        )


def random_order(key: Array, anchored: Array) -> Array:
    """A permutation, uniform over those that leave each anchored component [K] in its place. [K]"""
    level = jnp.where(anchored, jnp.inf, jax.random.uniform(key, anchored.shape))
    # The free components in order and at random; the anchored ones follow in order, in both.
    places, drawn = jnp.argsort(anchored, stable=True), jnp.argsort(level, stable=True)
    return places.at[places].set(drawn)


class PermutedState(NamedTuple):
    """The state of the inner chain, and the order of the components in the draw."""

    inner: Any
    order: Array  # [K]
