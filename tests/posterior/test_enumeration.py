"""The exact posterior against SciPy's sums, quadrature and identities."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import logsumexp, roots_jacobi
from scipy.stats import gamma, multivariate_t, norm, t

from workbench.errors import InputError
from workbench.mixture import COVARIANCES, ConjugatePrior, FlatPrior
from workbench.posterior import ExactPosterior, exact_posterior
from workbench.posterior.exact import CHUNK
from workbench.problem import Problem

FAMILIES = sorted(COVARIANCES)
X = np.array([[0.1, 0.3], [0.9, -0.4], [4.2, 2.0], [3.6, 2.9], [5.0, 1.1]])
AT = np.array([[0.0, 0.0], [2.0, 1.0], [4.0, 2.0]])
A, M, KAPPA, NU, PSI = 0.8, np.array([1.0, 0.5]), 0.2, 4.5, np.array([[2.0, 0.5], [0.5, 1.5]])


def prior_of(dimensions: int) -> ConjugatePrior:
    """No default, so that it is the same whatever the points."""
    return ConjugatePrior(
        concentration=A,
        mean_location=tuple(M[:dimensions].tolist()),
        mean_shrinkage=KAPPA,
        degrees_of_freedom=NU,
        scatter=tuple(map(tuple, PSI[:dimensions, :dimensions].tolist())),
    )


def make(x: np.ndarray, components: int, family: str) -> Problem:
    return Problem(x, components, family, prior_of(x.shape[1]))


@pytest.fixture(scope="module", params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def exact(family) -> ExactPosterior:
    return exact_posterior(make(X, 2, family), AT)


def _predictive(family: str, groups: list[np.ndarray], k: int, point: np.ndarray) -> float:
    """Log density of a point in component k after the points of all groups: posteriors in NumPy, t by SciPy."""

    def scatter(group: np.ndarray) -> np.ndarray:
        if not len(group):
            return np.zeros((2, 2))
        centred, off = group - group.mean(0), group.mean(0) - M
        return centred.T @ centred + KAPPA * len(group) / (KAPPA + len(group)) * np.outer(off, off)

    own = groups[k]
    shrinkage = KAPPA + len(own)
    location = (KAPPA * M + own.sum(0)) / shrinkage
    widening = (shrinkage + 1) / shrinkage
    pooled = groups if COVARIANCES[family].is_shared else [own]
    points, matrix = sum(map(len, pooled)), sum(scatter(group) for group in pooled)
    if COVARIANCES[family].block_dimension(2) == 1 and COVARIANCES[family].blocks(2) == 2:
        degrees, variances = NU + points, np.diag(PSI + matrix)
        return float(np.sum(t.logpdf(point, degrees, location, np.sqrt(variances * widening / degrees))))
    if COVARIANCES[family].block_dimension(2) == 1:
        degrees, variance = NU + 2 * points, np.trace(PSI) / 2 + np.trace(matrix)
        return float(multivariate_t(location, variance * widening / degrees * np.eye(2), degrees).logpdf(point))
    degrees, matrix = NU + points - 1, PSI + matrix
    return float(multivariate_t(location, matrix * widening / degrees, degrees).logpdf(point))


@pytest.fixture(scope="module")
def by_hand(family) -> dict[str, np.ndarray]:
    return summed(family, np.full(len(X), -1))


def summed(family: str, known: np.ndarray) -> dict[str, np.ndarray]:
    """The same sums by loops, the weight of an allocation as a product of predictives one point at a time."""
    logs, values = [], []
    for z in itertools.product(range(2), repeat=len(X)):
        z = np.array(z)
        if np.any((known >= 0) & (z != known)):
            continue
        log_weight = 0.0
        for n, k in enumerate(z):
            earlier = [X[:n][z[:n] == j] for j in range(2)]
            urn = (len(earlier[k]) + A) / (n + 2 * A)
            log_weight += np.log(urn) + _predictive(family, earlier, k, X[n])
        groups = [X[z == j] for j in range(2)]
        counts = np.array([len(g) for g in groups])
        weights = (counts + A) / (len(X) + 2 * A)
        density = [sum(w * np.exp(_predictive(family, groups, k, p)) for k, w in enumerate(weights)) for p in AT]
        locations = [(KAPPA * M + g.sum(0)) / (KAPPA + len(g)) for g in groups]
        logs.append(log_weight)
        values.append(
            {
                "co_clustering": z[:, None] == z,
                "occupied": np.arange(1, 3) == np.sum(counts > 0),
                "squared_weights": np.sum(weights * (counts + A + 1) / (len(X) + 2 * A + 1)),
                "mean_of_means": np.mean(locations, 0),
                "density": np.array(density),
            }
        )
    shares = np.exp(np.array(logs) - logsumexp(logs))
    means = {name: sum(s * v[name] for s, v in zip(shares, values, strict=True)) for name in values[0]}
    return {"log_evidence": logsumexp(logs), **means}


@pytest.mark.parametrize(
    "name", ["log_evidence", "co_clustering", "occupied", "squared_weights", "mean_of_means", "density"]
)
def test_agrees_with_sums_by_hand_over_student_predictives(exact, by_hand, name):
    # Sums of 32 terms, each good to some 1e-14.
    np.testing.assert_allclose(getattr(exact, name), by_hand[name], rtol=1e-11)


def test_known_components_leave_the_allocations_that_agree_with_them(family):
    known = np.array([-1, 1, -1, 0, 1])
    problem = Problem(X, 2, family, prior_of(2), label_known=known)
    exact, expected = exact_posterior(problem, AT), summed(family, known)
    assert exact.allocations == 4
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(exact, name), value, rtol=1e-11, err_msg=name)


def test_the_predictive_density_is_a_ratio_of_evidences():
    # Tied covariances, which no factor of a component owns.
    exact, more = (exact_posterior(make(x, 2, "tied"), AT) for x in (X, np.vstack([X, AT[1]])))
    # exp of a difference of numbers of size 20.
    np.testing.assert_allclose(np.exp(more.log_evidence - exact.log_evidence), exact.density[1], rtol=1e-11)


def test_co_clustering_is_symmetric_with_a_diagonal_of_ones(exact):
    np.testing.assert_array_equal(exact.co_clustering, exact.co_clustering.T)
    np.testing.assert_array_equal(np.diag(exact.co_clustering), 1.0)
    # Rounding of a sum of 32 probabilities.
    np.testing.assert_allclose(exact.occupied.sum(), 1.0, rtol=1e-14)


def test_the_order_of_points_is_of_no_account(family, exact):
    order = np.array([3, 0, 4, 2, 1])
    moved = exact_posterior(make(X[order], 2, family), AT)
    # The same terms summed in another order.
    np.testing.assert_allclose(moved.log_evidence, exact.log_evidence, rtol=1e-13)
    np.testing.assert_allclose(moved.co_clustering, exact.co_clustering[np.ix_(order, order)], rtol=1e-12)
    np.testing.assert_allclose(moved.density, exact.density, rtol=1e-12)


def test_one_component_is_the_closed_form():
    exact = exact_posterior(make(X, 1, "full"), AT)
    product = sum(_predictive("full", [X[:n]], 0, X[n]) for n in range(len(X)))
    # Five densities of two formulas.
    assert exact.log_evidence == pytest.approx(product, abs=1e-11)
    assert (exact.allocations, exact.squared_weights) == (1, 1.0)
    np.testing.assert_array_equal(exact.co_clustering, 1.0)
    np.testing.assert_allclose(np.log(exact.density), [_predictive("full", [X], 0, p) for p in AT], rtol=1e-11)


def test_the_evidence_is_the_integral_of_likelihood_times_prior():
    # D = 1, K = 2, N = 3: no allocation, no conjugacy, only the mixture's density and the prior as a measure.
    x = np.array([[-0.5], [0.4], [2.0]])
    prior = prior_of(1).model_copy(update={"mean_shrinkage": 1.0})
    exact = exact_posterior(Problem(x, 2, "full", prior), np.array([[0.0]]))
    # Precision ~ Gamma(nu / 2, rate psi / 2), mean ~ N(m, 1 / (kappa precision)): trapezoids in the logarithm of one
    # and the standard score of the other, which converge geometrically.
    log_precision = np.arange(-10.0, 3.1, 0.35)
    score = np.arange(-7.0, 7.1, 0.25)
    precision = np.exp(log_precision)
    mean = M[0] + score / np.sqrt(precision[:, None])
    measure = np.outer(gamma(NU / 2, scale=2 / PSI[0, 0]).pdf(precision) * precision, norm.pdf(score)).ravel()
    measure /= measure.sum()
    density = norm.pdf(x, mean.ravel(), np.repeat(precision**-0.5, len(score)))  # [N, G]
    # The likelihood is a cubic in the weight: three nodes are exact.
    nodes, node_weights = roots_jacobi(3, A - 1, A - 1)
    total = 0.0
    for w, share in zip((nodes + 1) / 2, node_weights / node_weights.sum(), strict=True):
        likelihood = np.prod([w * d[:, None] + (1 - w) * d for d in density], axis=0)  # [G, G]
        total += share * (measure @ likelihood @ measure)
    # The tails beyond the nodes: exp(-10 nu / 2) and exp(-49 / 2).
    assert exact.log_evidence == pytest.approx(np.log(total), abs=1e-8)


def test_chunks_join_without_a_seam():
    # 3^7 allocations take three chunks; the first points say which.
    x = np.array([[0.1], [0.9], [4.2], [3.6], [5.0], [-1.0], [2.2]])
    order = np.array([6, 2, 5, 1, 4, 0, 3])
    one, other = (exact_posterior(make(points, 3, "full"), AT[:, :1]) for points in (x, x[order]))
    # Sums of two thousand terms in other orders.
    np.testing.assert_allclose(other.log_evidence, one.log_evidence, rtol=1e-12)
    np.testing.assert_allclose(other.co_clustering, one.co_clustering[np.ix_(order, order)], rtol=1e-11)
    np.testing.assert_allclose(one.occupied.sum(), 1.0, rtol=1e-13)
    assert 3**6 <= CHUNK < 3**7


def test_points_far_from_the_origin_lose_nothing():
    near = exact_posterior(make(X, 2, "full"), AT)
    shifted = prior_of(2).model_copy(update={"mean_location": tuple((M + 1e6).tolist())})
    far = exact_posterior(Problem(X + 1e6, 2, "full", shifted), AT + 1e6)
    # The points themselves are rounded to 1e-10.
    np.testing.assert_allclose(far.co_clustering, near.co_clustering, rtol=1e-8)
    np.testing.assert_allclose(far.mean_of_means - 1e6, near.mean_of_means, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: replace_prior(p), "needs the conjugate prior, got FlatPrior"),
        (lambda p: Problem(np.arange(30.0), 2, "full", prior_of(1)), "at most 24 points"),
    ],
)
def test_what_cannot_be_summed_is_refused(change: Callable[[Problem], Problem], message: str):
    with pytest.raises(InputError, match=message):
        exact_posterior(change(make(X, 2, "full")))


def replace_prior(problem: Problem) -> Problem:
    return Problem(problem.x, problem.components, problem.covariance.name, FlatPrior())


def test_density_needs_points_of_the_same_columns():
    with pytest.raises(InputError, match=r"at: expected points \[N, 2\], got shape \[3\]"):
        exact_posterior(make(X, 2, "full"), np.zeros(3))
