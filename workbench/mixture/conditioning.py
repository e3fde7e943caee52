"""Marginal and conditional mixtures, and regression by conditioning.

A marginal of a mixture of Gaussians, and the conditional of some columns given others, are mixtures again (Bishop 2006,
eqs. 2.81-2.98 for each component). Every covariance family here contains the inverses of its members, so both stay in
the family.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cho_solve
from jax.typing import ArrayLike

from workbench.data.names import column_positions
from workbench.data.table import unmasked
from workbench.display import as_html, short
from workbench.errors import InputError, shown, whole_number
from workbench.memory_maps import make_room
from workbench.mixture.background import components_alone
from workbench.mixture.density import BLOCK
from workbench.mixture.mixture import Mixture

# A column of a mixture: its name, or its position from 0.
Column = int | str


class Moments(NamedTuple):
    """The mean and the covariance of a mixture, or of many."""

    mean: Array  # [..., D]
    covariance: Array  # [..., D, D]

    def __repr__(self) -> str:
        """The numbers, or the shapes of large arrays."""
        return short(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def moments(mixture: Mixture) -> Moments:
    """Mean and covariance of the mixture as a whole; of each, if it is a batch with leading axes."""
    components_alone(mixture, "moments")
    if mixture.weights.ndim > 1:
        found: Moments = jax.vmap(moments)(mixture)
        return found
    return _moments(mixture.weights, mixture.means, mixture.covariances)


def marginal(mixture: Mixture, columns: Sequence[Column]) -> Mixture:
    """The mixture of these columns, in this order.

    Args:
        mixture: of D columns.
        columns: names of columns, if the mixture has names, or positions from 0.

    Raises:
        InputError: there are none, one occurs twice, or one is neither a name nor a position from 0 to D - 1.
    """
    places = _positions(columns, mixture, "columns")
    index = jnp.asarray(places)
    dense = mixture.covariances[:, index[:, None], index]  # [K, D', D']
    found = _of_dense(mixture, mixture.weights, mixture.means[:, index], dense)
    if mixture.background is not None:
        found = replace(found, background=mixture.background.of_columns(index))
    return found.named([mixture.columns[place] for place in places] if mixture.columns else ())


def conditional(mixture: Mixture, given: Mapping[Column, ArrayLike]) -> Mixture:
    """The mixture of the other columns, in their order, where these columns have the given values.

    Args:
        mixture: of D columns.
        given: a value for each of some columns, by name or by position from 0. Values [N] stand for N rows.

    Returns:
        One mixture; for values [N] a batch, whose leaves have a leading axis N.

    Raises:
        InputError: all columns or none are given, a name or a position is wrong, values are not finite or differ in
            number, or a row is so far out that no component has a density there.
    """
    parts, values, is_one = _conditioned(mixture, given)
    weights, means = _shares(mixture, parts, values), _means(parts, values)  # [N, K], [N, K, D']
    one = _of_dense(mixture, weights[0], means[0], parts.covariances)
    if not is_one:
        scales = jnp.broadcast_to(one.scales, (len(weights), *one.scales.shape))
        one = replace(one, weights=weights, means=means, scales=scales)
    return one.named([name for place, name in enumerate(mixture.columns) if place not in parts.places])


def regression(mixture: Mixture, given: Mapping[Column, ArrayLike]) -> Moments:
    """Mean and covariance of the other columns, in their order, where these columns have the given values.

    The mean is the regression of the other columns on the given ones; it is not linear if there are several components.
    Unlike `moments` of `conditional` it needs no memory for N mixtures.

    Args:
        mixture: of D columns.
        given: a value for each of some columns, by name or by position from 0. Values [N] stand for N rows.

    Returns:
        Mean [D'] and covariance [D', D'] of the D' other columns; for values [N], of each row.

    Raises:
        InputError: as for `conditional`.
    """
    parts, values, is_one = _conditioned(mixture, given)
    weights = _shares(mixture, parts, values)

    def at(row: tuple[Array, Array]) -> Moments:
        shares, value = row
        return _moments(shares, _means(parts, value[None])[0], parts.covariances)

    found = jax.lax.map(at, (weights, values), batch_size=BLOCK)
    return Moments(found.mean[0], found.covariance[0]) if is_one else found


class _Parts(NamedTuple):
    """What conditioning needs of each component; g are the given columns and h the others."""

    places: tuple[int, ...]  # of the given columns
    centre: Array  # [K, g]   means of the given columns
    others: Array  # [K, h]   means of the others
    slopes: Array  # [K, g, h]   Sigma_gg^-1 Sigma_gh
    covariances: Array  # [K, h, h]   Sigma_hh - Sigma_hg Sigma_gg^-1 Sigma_gh


def _conditioned(mixture: Mixture, given: Mapping[Column, ArrayLike]) -> tuple[_Parts, Array, bool]:
    """The parts, the values [N, g], and whether they are of one row that was given by numbers."""
    make_room()
    components_alone(mixture, "given")
    if not isinstance(given, Mapping):
        raise InputError(f"given: must map columns to values, as {{0: 1.5}}, got {shown(given)}")
    places = _positions(tuple(given), mixture, "given")
    if len(places) == mixture.num_dimensions:
        raise InputError(f"given: has all {len(places)} columns; leave at least one out")
    columns = [_number(place, value, mixture.means.dtype) for place, value in given.items()]
    lengths = {value.shape for value in columns if value.ndim}
    if any(value.ndim > 1 for value in columns) or len(lengths) > 1:
        shapes = ", ".join(str(list(value.shape)) for value in columns)
        raise InputError(f"given: values have shapes {shapes}; give numbers, or [N] of the same N for each column")
    values = jnp.stack(jnp.broadcast_arrays(*map(jnp.atleast_1d, columns)), axis=-1)  # [N, g]
    g = jnp.asarray(places)
    h = jnp.asarray([place for place in range(mixture.num_dimensions) if place not in places])
    dense = mixture.covariances
    across = dense[:, g[:, None], h]  # [K, g, h]
    factors = jnp.linalg.cholesky(dense[:, g[:, None], g])
    slopes = jax.vmap(lambda factor, right: cho_solve((factor, True), right))(factors, across)
    rest = dense[:, h[:, None], h] - jnp.einsum("kgh,kgi->khi", across, slopes)
    return _Parts(places, mixture.means[:, g], mixture.means[:, h], slopes, rest), values, not lengths


def _number(place: Column, value: ArrayLike, dtype: Any) -> Array:
    """The value of a given column."""
    try:
        return jnp.asarray(unmasked(value), dtype)
    except (TypeError, ValueError):
        raise InputError(f"given: column {shown(place)}: give a number or N of them, got {shown(value)}") from None


def _shares(mixture: Mixture, parts: _Parts, values: Array) -> Array:
    """Probabilities of the components given the values: responsibilities in the marginal mixture. [N, K]"""
    return marginal(mixture, parts.places).responsibilities(values)


def _means(parts: _Parts, values: Array) -> Array:
    """Conditional means of the components. [N, K, h]"""
    return parts.others + jnp.einsum("nkg,kgh->nkh", values[:, None] - parts.centre, parts.slopes)


def _moments(weights: Array, means: Array, covariances: Array) -> Moments:
    """Law of total covariance, for weights [K], means [K, D] and covariances [K, D, D]."""
    mean = weights @ means
    apart = means - mean
    return Moments(mean, jnp.einsum("k,kij->ij", weights, covariances + apart[:, :, None] * apart[:, None]))


def _of_dense(mixture: Mixture, weights: Array, means: Array, covariances: Array) -> Mixture:
    """A mixture of the same family, from dense covariances that belong to it."""
    family = mixture.covariance
    return Mixture(weights, means, family.factor(family.nearest(covariances)), family)


def _positions(columns: object, mixture: Mixture, where: str) -> tuple[int, ...]:
    if isinstance(columns, str) or not isinstance(columns, Sequence | np.ndarray) or len(columns) == 0:
        raise InputError(f"{where}: give at least one name or position of a column, as [0], got {shown(columns)}")
    if all(isinstance(column, str) for column in columns):
        if not mixture.columns:
            raise InputError(
                f"{where}: the mixture's columns have no names; give positions from 0, or name them (`named`)"
            )
        return tuple(column_positions([str(column) for column in columns], mixture.columns, where))
    places = tuple(whole_number(where, column, 0) for column in columns)
    if max(places) >= mixture.num_dimensions or len(set(places)) < len(places):
        last = mixture.num_dimensions - 1
        raise InputError(f"{where}: {shown(list(places))} are not different positions from 0 to {last}")
    return places
