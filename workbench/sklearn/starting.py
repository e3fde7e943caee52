"""Starts from rows with weights: what scikit-learn's are from rows that count once."""

import numpy as np
import sklearn.mixture
from numpy.typing import NDArray
from sklearn.cluster import KMeans, kmeans_plusplus

from workbench.data.points import check_plain

Points = NDArray[np.float64]

# The parameters of the estimator that are arrays.
STARTS = ("weights_init", "means_init", "precisions_init")


def check_whole(estimator: sklearn.mixture.GaussianMixture) -> None:
    """Check that no part of a given start is masked, which scikit-learn would take for what lies below the mask.

    Raises:
        InputError: a part has masked cells.
    """
    for name in STARTS:
        if getattr(estimator, name) is not None:
            check_plain(getattr(estimator, name), name)


def weighted_start(
    x: Points, weights: Points, responsibilities: Points, kind: str, reg_covar: float
) -> tuple[Points, Points, Points]:
    """The M-step of scikit-learn for rows that occur `weights` times: weights, means and dense covariances.

    Args:
        x: rows [N, D].
        weights: how often each row occurs [N].
        responsibilities: of the components [N, K].
        kind: scikit-learn's name of the covariance family.
        reg_covar: added to every variance.

    Returns:
        [K], [K, D], [K, D, D].
    """
    shares = (responsibilities * weights[:, None]).T  # [K, N]
    counts = np.sum(shares, axis=1)
    least = np.maximum(counts, np.finfo(float).tiny)
    means = shares @ x / least[:, None]
    difference = x - means[:, None]  # [K, N, D]
    scatter = np.swapaxes(shares[..., None] * difference, 1, 2) @ difference
    covariances = scatter / least[:, None, None]
    if kind == "tied":
        covariances = np.broadcast_to(np.sum(scatter, axis=0) / np.sum(counts), covariances.shape)
    d = x.shape[1]
    if kind in ("diag", "spherical"):
        variances = np.diagonal(covariances, axis1=1, axis2=2)
        variances = variances if kind == "diag" else np.mean(variances, axis=1, keepdims=True)
        covariances = np.broadcast_to(variances, means.shape)[..., None] * np.eye(d)
    return counts / np.sum(counts), means, covariances + reg_covar * np.eye(d)


def weighted_responsibilities(
    x: Points, weights: Points, components: int, rule: str, random: np.random.RandomState
) -> Points:
    """The responsibilities [N, K] of scikit-learn's `init_params`, with k-means of weighted rows."""
    chosen = np.zeros((len(x), components))
    if rule == "kmeans":
        found = KMeans(n_clusters=components, n_init=1, random_state=random).fit(x, sample_weight=weights)
        chosen[np.arange(len(x)), found.labels_] = 1.0
        return chosen
    if rule == "random":
        drawn = random.uniform(size=chosen.shape)
        return np.asarray(drawn / np.sum(drawn, axis=1, keepdims=True))
    if rule == "k-means++":
        places = kmeans_plusplus(x, components, sample_weight=weights, random_state=random)[1]
    else:
        places = random.choice(len(x), size=components, replace=False, p=weights / np.sum(weights))
    chosen[places, np.arange(components)] = 1.0
    return chosen
