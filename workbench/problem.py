"""The problem: data, covariance family, number of components and prior, with the one objective of all methods."""

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.data import Dataset
from workbench.data.described import in_short
from workbench.data.known import Known
from workbench.data.observed import MissingCells, Observed
from workbench.display import VALUE, lines_as_html
from workbench.engine.devices import mesh_of
from workbench.engine.hosted import Hosted
from workbench.engine.incomplete import IncompleteRows
from workbench.engine.known import KnownRows
from workbench.engine.one_pass import log_likelihood, one_pass
from workbench.engine.rows import Rows
from workbench.errors import InputError, checks_arguments, one_line, whole_number
from workbench.memory_maps import make_room
from workbench.mixture import Mixture, Prior, Statistics, covariance_named, num_parameters
from workbench.mixture.background import Background, check_beside
from workbench.mixture.covariance import Covariance
from workbench.mixture.fixed import Fixed, Held, as_fixed, held_by, told_fixed
from workbench.mixture.prior import Hyperparameters
from workbench.mixture.prior.checks import Labels, check_labels, check_rank, check_separate
from workbench.mixture.prior.named import prior_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, init=False, repr=False)
class Problem(Hosted):
    """The task of every method: to maximise `log_joint` over mixtures of K components, or to sample from it.

    The K! labellings of a mixture have the same density. With ordered labels only the labelling is allowed in which the
    first coordinates of the means ascend, and there the prior has K! times the density (Stephens 2000, JRSS B 62).
    `log_joint` is nevertheless that of free labels: the constant `ln K!` would change no result, and so values are
    comparable for all labels.

    Args:
        x: points [N, D], or [N] for one dimension, or what names its columns: a `Dataset`, or a table of pandas,
            polars, Arrow or xarray with nothing but numbers. Repeated rows count as often as they occur. More than half
            a GiB is not copied but read in blocks from its source in every pass; x may be a memory map.
        components: K.
        covariance: "full", "tied", "diagonal" or "spherical".
        prior: `FlatPrior()` (pure maximum likelihood) unless given. A name, such as "conjugate", stands for a prior
            with its defaults.
        labels: "free" (all K! labellings) or "ordered".
        devices: how many of JAX's devices work on the problem; all of them unless given. They share the rows, or the
            restarts if a pass is too short for that.
        columns: names of the D columns, for messages and tables; those of x, or else `x1` to `xD`, unless given.
        weights: how many equal observations each row stands for, [N]; one unless given, or those of the `Dataset`.
            Their sum takes the place of the number of points everywhere. Rows of weight 0 are left out.
        missing: what becomes of NaN: "refuse" makes it an error; for "marginal" it is a missing cell, and a row counts
            by the density of its other cells. That of the `Dataset` unless given, and else "refuse".
        label_known: the component of each row where it is known, [N]: a number from 0, or the name of a class, names in
            sorted order standing for components 0, 1, ...; -1, None, NaN or an empty text where it is not known. A row
            of known component k counts by `ln pi_k N(x_n | mu_k, Sigma_k)`, any other by the logarithm of the sum. Then
            the K! labellings differ, and the numbers of components are those that the rows say (in tables plus 1).
        fixed: weights, means and covariances of components that are held fixed at given values, a list of `Fixed`.
            `log_joint` is the same function, climbed over the other parameters; components keep their numbers.
        background: whether points may come from a uniform density beside the components, over the smallest box that
            holds all points (also those that were held out of a `Dataset`), or a `Background` over another box. Its
            weight, uniform a priori, is one more parameter.

    Raises:
        InputError: x has NaN that `missing` does not allow, infinity, a constant column or fewer rows than components;
            all points lie on a hyperplane, and neither the family nor the prior bounds a covariance there; labels are
            ordered, but the prior is not exchangeable, components of rows are known or parameters are fixed; fixed
            values suit neither each other, the family nor the prior; a background stands beside fixed parameters or
            streamed points; or there are fewer devices than requested.
    """

    rows: Rows
    hyperparameters: Hyperparameters
    components: int
    covariance: Covariance
    prior: Prior
    fixed: tuple[Fixed, ...]
    labels: Labels
    active: Array | None  # [K]   whether points can come from a component; None (all) unless nested in a larger problem
    background: Background | None  # the uniform density beside the components, with the weight at which starts begin

    @checks_arguments
    def __init__(
        self,
        x: "ArrayLike | Dataset",
        components: int,
        covariance: str = "full",
        prior: Prior | str | None = None,
        *,
        labels: Labels = "free",
        devices: int | None = None,
        columns: "Sequence[str] | None" = None,
        weights: "ArrayLike | None" = None,
        missing: MissingCells | None = None,
        label_known: "ArrayLike | Known | None" = None,
        fixed: "Fixed | Sequence[Fixed] | None" = None,
        background: bool | Background = False,
    ) -> None:
        make_room()
        components = whole_number("components", components)
        data = Observed.of(x, components, columns, weights, missing, label_known)
        family = covariance_named(covariance)
        chosen = prior_named(prior)
        check_labels(labels, chosen)
        held = as_fixed(fixed)
        if held:
            held_by(held, components, data.x.shape[1], family)
            check_separate(chosen)
        if (data.known is not None or held) and labels == "ordered":
            what = "known components" if data.known is not None else "fixed parameters"
            raise InputError(f'labels: {what} number the components already; give labels = "free"')
        data.check(np.dtype(jnp.result_type(float)), correlated=family.has_correlations)
        check_rank(data, family, chosen)
        if data.completed is not None:
            rows: Rows = IncompleteRows.of_points(data, family, components)
        elif data.known is not None:
            rows = KnownRows.of_points(data, family, components, mesh_of(devices))
        else:
            rows = Rows.of(data.x, family, components, mesh_of(devices), moments=data.moments, weights=data.weights)
        values: dict[str, Any] = {
            "_data": data,
            "rows": rows,
            "hyperparameters": chosen.hyperparameters(data.moments, components, family),
            "components": components,
            "covariance": family,
            "prior": chosen,
            "fixed": held,
            "labels": labels,
            "active": None,
            "background": None,
        }
        if not (isinstance(background, bool | np.bool_) and not background):
            check_beside(is_streamed=rows.stream is not None, has_fixed=bool(held))
            values["background"] = Background.of(data, background)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Rows are leaves, so that the data are an argument of compiled programs and not a constant in them."""
        static = (self.components, self.covariance, self.prior, self.fixed, self.labels)
        return (self.rows, self.hyperparameters, self.active, self.background), static

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], arrays: tuple[Any, ...]) -> "Problem":
        """Inverse of `tree_flatten`, without any checks."""
        problem = object.__new__(cls)
        leaves = ("rows", "hyperparameters", "active", "background")
        names = (*leaves, "components", "covariance", "prior", "fixed", "labels")
        for name, value in zip(names, (*arrays, *static), strict=True):
            object.__setattr__(problem, name, value)
        return problem

    def over(self, rows: Rows) -> "Problem":
        """The same problem, with the same prior, for other rows in the same working units.

        The result is meant for compiled programs: it has `rows` but not `x`.
        """
        (_, *others), static = self.tree_flatten()
        return Problem.tree_unflatten(static, (rows, *others))

    def of_any_size(self) -> "Problem":
        """The same problem with N as an array: one compiled program serves every N whose rows have the same shape."""
        return self.over(self.rows.of_any_size())

    def padded(self, multiple: int) -> "Problem":
        """The same problem, its chunks of rows padded to a multiple of a number, so that more problems have one shape.

        Padding counts as no row. Rows that are shared, streamed or incomplete are left unchanged.
        """
        rows = self.rows
        if rows.shared or rows.stream is not None or self.missing == "marginal":
            return self
        more = (0, -rows.z.shape[-1] % multiple)
        z = jnp.asarray(np.pad(rows.z, ((0, 0), (0, 0), more)))
        weights = None if rows.weights is None else jnp.asarray(np.pad(rows.weights, ((0, 0), more)))
        wider, padded = copy(self), replace(rows, z=z, weights=weights)
        object.__setattr__(wider, "rows", padded.padded(more[1]) if isinstance(padded, KnownRows) else padded)
        return wider

    def nested_in(self, components: int) -> "Problem":
        """The same problem for mixtures of more components, of which only the first K, the active ones, have points.

        The active components are marked by an array, so that one compiled program serves problems of every K up to
        `components`. The likelihood is that of the active part (`active_part`). The inactive components follow their
        prior, which integrates to one, and the active part of symmetric Dirichlet weights, renormalised, is Dirichlet
        with the same concentration. Posterior and evidence of the first K components are therefore those of this
        problem. If the concentration is one, `log_prior` is also the same up to a constant; for tied covariances it
        includes the means of the inactive components as well. Fixed parameters and backgrounds are left out.
        """
        (rows, hyperparameters, *_), (_, family, prior, _, labels) = self.tree_flatten()
        active = np.arange(components) < self.components
        return Problem.tree_unflatten((components, family, prior, (), labels), (rows, hyperparameters, active, None))

    def active_part(self, mixture: Mixture) -> Mixture:
        """The mixture with negligible weights of the inactive components, and the other weights renormalised."""
        if self.active is None:
            return mixture
        # The logarithm of zero has no derivative; the smallest normal number leaves every sum unchanged.
        weights = jnp.where(self.active, mixture.weights, float(np.finfo(self.dtype).tiny))
        return replace(mixture, weights=weights / jnp.sum(weights))

    def __repr__(self) -> str:
        """One line without the points, which can be millions of numbers."""
        shape = f"{self.num_rows} x {self.num_dimensions} points"
        if self.rows.weights is not None:
            shape += f" that count as {self.num_points:.10g}"
        model = f"K = {self.components}, {self.covariance.name} covariance, {self.labels} labels"
        model += "" if self.background is None else ", a uniform background"
        more = {name: each for name, each in self.told.items() if name not in ("weights", "classes")}
        more |= {"fixed parameters": ""} if self.fixed else {}
        return f"Problem({shape}, {model}, {self.prior!r}{in_short(more)})"

    def _repr_html_(self) -> str:
        told = {
            "points": f"{self.num_rows:,} x {self.num_dimensions}",
            "columns": one_line(", ".join(self.columns), VALUE),
        }
        told |= {"components": f"{self.components}", "covariance": self.covariance.name, "labels": self.labels}
        told |= {"prior": repr(self.prior), "free parameters": f"{self.num_parameters:,}"}
        told |= {"held fixed": told_fixed(self.fixed)}
        told |= {} if self.background is None else {"background": f"uniform in a box, {self.background!r}"}
        return lines_as_html("Problem", {name: each for name, each in (told | self.told).items() if each})

    @property
    def num_parameters(self) -> int:
        """Free parameters of a mixture of K components, without those that are fixed."""
        if self.held is not None:
            return self.held.num_free
        own = num_parameters(self.covariance, self.components, self.num_dimensions)
        return own + (self.background is not None)

    @property
    def held(self) -> Held | None:
        """The values of fixed parameters; None if all are free."""
        if not self.fixed:
            return None
        return held_by(self.fixed, self.components, self.num_dimensions, self.covariance)

    def settled(self, mixture: Mixture) -> Mixture:
        """The mixture with the fixed values in place of its own, where there are any."""
        return mixture if self.held is None else self.held.settle(mixture)

    @property
    def interchangeable(self) -> "NDArray[np.bool_] | None":
        """Which components can stand in for each other; None if all can. [K, K]

        A component of which rows are known stands for itself alone, as does one whose fixed values no other has.
        """
        known, held = self.known, self.held
        if known is None and held is None:
            return None
        pairs = np.ones((self.components, self.components), bool) if held is None else held.interchangeable
        if known is not None:
            own = known.anchored(self.components)
            pairs = pairs & (~(own[:, None] | own) | np.eye(len(own), dtype=bool))
        return np.asarray(pairs)

    def labelled(self, mixture: Mixture) -> Mixture:
        """The same density in an allowed labelling: with components in order if labels are ordered.

        Under an exchangeable prior, ordering a draw from the posterior with free labels gives a draw from the posterior
        with ordered labels, because the K! labellings of a mixture have the same density.
        """
        return mixture if self.labels == "free" else mixture.canonical()

    def presented(self, mixture: Mixture) -> Mixture:
        """The same density with its components in the order in which they are shown: by the first column of the means.

        Where components of rows are known or parameters are fixed, numbers mean something and are kept.
        """
        return mixture if self.is_partly_known or self.fixed else mixture.canonical()

    def log_likelihood(self, mixture: Mixture) -> Array:
        """ln L = sum_n ln sum_k pi_k N(x_n | mu_k, Sigma_k), one pass over the data. []

        Of a row whose component is known, the sum has this component alone.
        """
        return log_likelihood(self.active_part(mixture), self.rows)

    def log_prior(self, mixture: Mixture) -> Array:
        """Log density of the prior, with respect to the coordinates that its class documents. []"""
        return self.prior.log_density(self._settled(mixture), self.hyperparameters)

    def log_joint(self, mixture: Mixture) -> Array:
        """Log-likelihood plus log prior: the objective of every method. []"""
        return self.log_likelihood(mixture) + self.log_prior(mixture)

    def em_step(self, mixture: Mixture) -> tuple[Mixture, Array]:
        """One EM step, which costs one pass, and the log_joint *before* it.

        It never lowers `log_joint` (Dempster, Laird & Rubin 1977, Theorem 1). The result is not finite if a component
        has lost all its points or its covariance is singular. Fixed parameters keep their values.
        """
        mixture = self.settled(mixture)
        value, statistics = one_pass(self.active_part(mixture), self.rows)
        # The origins of the statistics are constants in derivatives as well; only the statistics about them vary.
        about = replace(mixture, means=jax.lax.stop_gradient(mixture.means))
        return self._settled(self.maximise(statistics, about)), value + self.log_prior(mixture)

    def _settled(self, mixture: Mixture) -> Mixture:
        """The active part, with fixed means and scales of the inactive components."""
        if self.active is None:
            return mixture
        part, k = self.active_part(mixture), mixture.num_components
        means = jnp.where(self.active[:, None], part.means, self.rows.shift)
        if self.covariance.is_shared:
            return replace(part, means=means)
        fixed = self.covariance.broadcast(self.rows.matrix @ self.rows.matrix.T, k)
        active = self.active.reshape(-1, *(1,) * (part.scales.ndim - 1))
        return replace(part, means=means, scales=jnp.where(active, part.scales, fixed))

    def maximise(self, statistics: Statistics, mixture: Mixture) -> Mixture:
        """The prior's closed-form M-step over the free parameters, from statistics about `mixture.means`."""
        if self.held is not None:
            return self.held.maximise(self.prior, statistics, mixture, self.hyperparameters)
        image = self.prior.maximise(statistics, mixture, self.hyperparameters)
        if mixture.background is None:
            return image
        # What the components do not hold is the background's. Below its rounding error it would have no log-odds.
        share = 1.0 - jnp.sum(statistics.counts) / self.num_points
        return replace(image, background=mixture.background.weighing(jnp.maximum(share, np.finfo(self.dtype).eps)))
