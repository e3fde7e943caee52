"""Direct ascent beside EM: SciPy's L-BFGS and plain EM from the ledger's starts, and its ends scored again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledger_runs import decided
from plain_ends import ascended, climbed, height, is_sound, rows_of
from plain_mixture import Array, Plain, Units, moved
from scipy.stats import binomtest, dirichlet, invwishart, multivariate_normal

from workbench.claims import Verdict

# A difference that the claims count as none.
WITHIN = 0.01


def fewest_of(ran: Any) -> int:
    """The points that a component needs, of a full or a tied covariance."""
    return 0 if ran.problem.covariance.name == "tied" else ran.problem.num_dimensions + 1


def points_of(ran: Any) -> Array:
    """The points [N, D]."""
    return np.asarray(ran.problem.observations("the test"))


def test_scipys_ascent_comes_to_the_best_of_plain_em_where_the_packages_does(tmp_path: Path) -> None:
    decision, runs = decided("simple_mle", tmp_path)
    missed = 0
    for run in runs:
        x, family = points_of(run), run.problem.covariance.name
        starts = rows_of(run.climbs["em"], 0)
        em = max(climbed(start, x, family).height for start in starts)
        tops = [ascended(start, x, family) for start in starts]
        direct = max(height(top, x) for top in tops if is_sound(top, x, fewest_of(run)))
        missed += em - direct > WITHIN
        # EM's steps are the same; it stops short of the top by 1e-4, and L-BFGS by the rounding of the likelihood.
        assert float(np.max(run.climbs["em"].log_joint[:, -1])) == pytest.approx(em, abs=1e-8)
        assert float(np.max(run.climbs["lbfgs"].log_joint[:, -1])) == pytest.approx(direct, abs=1e-6)
        assert 0 <= direct - em < 1e-4
    assert (decision.value, missed) == (0, 0)
    assert decision.unit.startswith(f"of {len(runs)} data sets")


def log_prior(mixture: Plain, x: Array) -> float:
    """The default conjugate prior (Fraley & Raftery 2007), by SciPy's densities."""
    k, d = mixture.means.shape
    scatter = np.cov(x.T) / k ** (2 / d)
    parts = zip(mixture.means, mixture.covariances, strict=True)
    each = [
        invwishart(d + 2, scatter).logpdf(c) + multivariate_normal(x.mean(axis=0), c / 0.01).logpdf(m) for m, c in parts
    ]
    return float(sum(each) + dirichlet(np.ones(k)).logpdf(mixture.weights))


@pytest.mark.slow
def test_the_shares_are_those_of_ends_that_plain_climbs_reach_or_cannot_leave(tmp_path: Path) -> None:
    decision, runs = decided("em_ends_higher", tmp_path)
    shares = []
    for run in runs:
        x, family = points_of(run), run.problem.covariance.name
        (em, ascent), fewest = run.climbs.values(), fewest_of(run)
        bounded, starts = run.problem.prior.proper, rows_of(em, 0)
        pairs = list(zip(rows_of(em, -1), rows_of(ascent, -1), strict=True))
        if not bounded:
            ends = [climbed(start, x, family) for start in starts]
            np.testing.assert_allclose(em.log_joint[:, -1], [end.height for end in ends], atol=1e-6)
        gaps, own, units = [], [], Units.of(x)
        for collapsed, start, (first, second) in zip(em.collapsed | ascent.collapsed, starts, pairs, strict=True):
            if collapsed or not (bounded or all(is_sound(end, x, fewest) for end in (first, second))):
                continue
            scores = [height(end, x) + (log_prior(end, x) if bounded else 0.0) for end in (first, second)]
            gaps.append(scores[0] - scores[1])
            if not bounded:
                # Where L-BFGS has ended, SciPy's finds nothing higher either.
                assert height(ascended(second, x, family), x) - scores[1] < WITHIN
                other = ascended(units.mixture(start), units.points(x), family)
                own.append(height(first, x) - height(moved(other, units.matrix, units.shift), x))
        higher, lower = (sum(sign * gap > WITHIN for gap in gaps) for sign in (1, -1))
        if not bounded:
            # The first steps of two searches differ, and with them the end of a start or two that lie near a border.
            counts = [sum(sign * gap > WITHIN for gap in own) for sign in (1, -1)]
            assert counts == pytest.approx([higher, lower], abs=2)
        shares.append(binomtest(higher, higher + lower))
    first = shares[0]
    assert decision.value == pytest.approx(100 * first.statistic)
    wilson = first.proportion_ci(method="wilson")
    assert (decision.error.low, decision.error.high) == pytest.approx((100 * wilson.low, 100 * wilson.high))
    others = [f"{100 * share.statistic:.3g} % of the starts that part them" for share in shares[1:]]
    assert [row.figure for row in decision.sensitivity if row.what == "data set"] == others
    assert [row.p_value for row in decision.sensitivity if row.what == "data set"] == pytest.approx(
        [share.pvalue for share in shares[1:]]
    )
    assert decision.verdict == Verdict.UNDECIDED
