"""Checks of studies: results over a grid of problems, compared with the claim."""

import numpy as np

from workbench.claims.decision import Decision, Verdict, beside, median_interval, number, undecided
from workbench.diagnostics.proportion import Proportion
from workbench.studies import Findings, Row
from workbench.studies.rate import crossing_of

# For one Gaussian the coupling, and the score left after one step, are rounding, below this share.
NOTHING = 1e-8

# Nats per point between two paths that differ only by rounding: 30 steps magnify a difference of an eps in data units.
SAME_PATH = 1e-6

# Largest relative difference of a fitted slope from the theory's; the other components still contribute a little.
SLOPE_WITHIN = 0.02


def equations_are_coupled(findings: Findings) -> Decision:
    """The share of the Hessian's norm between the equations, for several components and for one."""
    one, several = _by_components(findings)
    share = several.column("share")
    if not len(share) or not one.rows:
        return undecided("The study needs optima of one component and of several.")
    control = float(np.max(one.column("share")))
    verdict = Verdict.HOLDS if np.min(share) > NOTHING > control else Verdict.FAILS
    note = f"From {number(float(np.min(share)))} to {number(float(np.max(share)))}; {number(control)} for one Gaussian."
    return Decision(verdict, float(np.median(share)), "of the Hessian's norm", _spread(share), note)


def no_step_solves_it(findings: Findings) -> Decision:
    """The share of the score that is left near an optimum after one EM step or one Newton step, whichever leaves less.

    A step that solves the equations leaves nothing, as both steps do for one Gaussian.
    """
    one, several = _by_components(findings)
    if not several.rows or not one.rows:
        return undecided("The study needs optima of one component and of several.")
    left = np.fmin(several.column("left_by_each"), several.column("left_by_all"))
    control = float(max(np.max(one.column(name)) for name in ("left_by_each", "left_by_all")))
    solved = int(np.sum(left <= NOTHING))
    verdict = Verdict.HOLDS if solved == 0 and control <= NOTHING else Verdict.FAILS
    note = f"A step solves {solved} of {len(left)} mixtures, and leaves {number(control)} of one Gaussian's score."
    return Decision(verdict, float(np.median(left)), "of the score, at the median", _spread(left), note)


def escape_has_slope_of_theory(findings: Findings) -> Decision:
    """The slope of the log-likelihood against log sigma, divided by the points times the directions that collapse."""
    fitted = {(r["subject"], r["way"]): (r["slope"], r["theory"]) for r in findings.rows if r["theory"] is not None}
    pairs = np.asarray([[np.nan if s is None else s, t] for s, t in fitted.values()], float).reshape(-1, 2)
    if not len(pairs):
        return undecided("The study followed no escape.")
    ratios = pairs[:, 0] / np.abs(pairs[:, 1])
    worst = float(ratios[np.argmax(np.abs(ratios + 1))])
    verdict = Verdict.HOLDS if np.all(np.abs(ratios + 1) <= SLOPE_WITHIN) else Verdict.FAILS
    note = f"The slope that is farthest from -1, of {len(ratios)} escapes."
    return Decision(verdict, worst, "nats for each point, direction and e-fold of width", note=note)


def floor_breaks_monotonicity(findings: Findings) -> Decision:
    """The share of steps in which the log-likelihood falls, for EM with a floor under its covariances and for EM.

    The falls of EM are rounding next to a singularity. Those with the floor must be significantly more frequent.
    """
    floored, plain = findings.where(method="em_floor"), findings.where(method="em", remedy="none")
    if not floored.rows or not plain.rows:
        return undecided("The study needs EM with and without the floor.")
    falls, own = (
        Proportion(int(np.sum(rows.column("log_likelihood_falls"))), int(np.sum(rows.column("steps"))))
        for rows in (floored, plain)
    )
    low, high = falls.interval
    verdict = Verdict.HOLDS if low > own.interval[1] else Verdict.FAILS
    note = f"{falls.successes:,} falls in {falls.trials:,} steps with the floor, {own.successes} without."
    return Decision(verdict, 100 * falls.share, "% of steps", (100 * low, 100 * high), note)


def step_size_must_be_chosen(findings: Findings) -> Decision:
    """The ratio of the largest to the smallest stable step size of ascent; EM must return without a step size."""
    cells = {(row["subject"], row["chart"]): row for row in findings.rows}
    if not cells:
        return undecided("The study has no rows.")
    edges = np.asarray([row["predicted_edge"] for row in cells.values()], float)
    stuck = sum(row["em_passes"] is None for row in cells.values())
    broken = sum(any(r["passes"] is None for r in findings.where(subject=s, chart=c).rows) for s, c in cells)
    verdict = Verdict.HOLDS if stuck == 0 and broken == len(cells) else Verdict.FAILS
    note = f"In {broken} of {len(cells)} cases some step size does not get back; EM does not in {stuck}."
    return Decision(verdict, float(edges.max() / edges.min()), "times from the smallest edge to the largest", note=note)


def em_keeps_its_path(findings: Findings) -> Decision:
    """The largest difference between paths of EM in different units of the data, compared with those of ascent."""
    em, ascent = findings.where(method="em"), findings.where(method="ascent", units="data")
    if not em.rows or not ascent.rows:
        return undecided("The study needs EM and ascent in the units of the data.")
    # A path that is not finite in one of the units only counts as infinitely far.
    parted = np.nan_to_num(ascent.column("gap"), nan=np.inf)
    still = float(np.max(np.nan_to_num(em.column("gap"), nan=np.inf)))
    inside = findings.where(method="ascent", units="working").column("gap")
    verdict = Verdict.HOLDS if still <= SAME_PATH < np.min(parted) else Verdict.FAILS
    lost, least = int(np.sum(np.isinf(parted))), float(np.min(parted))
    note = (
        f"Those of ascent part by {number(least)} or more in units of the data ({lost} of {len(parted)} leave the "
        f"numbers), and by up to {number(float(np.nanmax(inside)))} in working units, which absorb a rescaling."
    )
    value = still if np.isfinite(still) else None
    return Decision(verdict, value, "nats per point between paths of EM, at most", note=note)


def em_slows_with_overlap(findings: Findings) -> Decision:
    """The ratio of EM's passes at the smallest separation to those at the largest, for each simulated data set."""
    near, far = _extremes(findings)
    ratios = _ratios(near.column("em"), far.column("em")) if near.rows and far.rows else np.zeros(0)
    interval = median_interval(ratios)
    if interval is None:
        return undecided(f"{len(ratios)} data sets have an optimum at both ends, which is too few.")
    closest, farthest = near.rows[0]["separation"], far.rows[0]["separation"]
    note = f"At {closest} against {farthest} standard deviations, over {len(ratios)} data sets."
    return Decision(beside(interval, 1.0), float(np.median(ratios)), "times as many passes", interval, note)


def ascent_overtakes_em(findings: Findings) -> Decision:
    """The separation below which L-BFGS needs fewer passes than EM."""
    near, _ = _extremes(findings)
    found = crossing_of(findings)
    if found is None:
        ratios = _ratios(near.column("lbfgs"), near.column("em")) if near.rows else np.zeros(0)
        if len(ratios) and np.min(ratios) > 1:
            return Decision(
                Verdict.FAILS, 0, "standard deviations", note="EM needs fewer passes, however close the components."
            )
        return undecided("The two do not cross in two data sets or more.")
    share = Proportion(found.crossed, found.replications)
    note = f"The curves cross in {found.crossed} of {found.replications} data sets; beyond it EM needs fewer passes."
    verdict = beside(share.interval, 0.5)
    return Decision(verdict, found.separation, "standard deviations apart", (found.low, found.high), note)


def equal_weights_give_a_quarter(findings: Findings) -> Decision:
    """The slope of ln(error) on ln(N) of an over-specified fit with equal weights."""
    rows, others = findings.where(weight=0.5).rows, [row for row in findings.rows if row["weight"] != 0.5]
    if not rows:
        return undecided("The study has no equal weights.")
    slope, error = _of(rows[0], "slope"), _of(rows[0], "slope_error")
    interval = (slope - 1.96 * error, slope + 1.96 * error)
    if not interval[0] <= -0.25 <= interval[1]:
        verdict = Verdict.FAILS
    else:
        # An interval that also contains the usual -1/2 decides nothing.
        verdict = Verdict.HOLDS if interval[0] > -0.5 and interval[1] < 0 else Verdict.UNDECIDED
    note = f"With weights of {others[0]['weight']}: {_of(others[0], 'slope'):.3f}." if others else ""
    return Decision(verdict, slope, "slope of ln error on ln N", interval, note)


def failures_grow_with_components(findings: Findings) -> Decision:
    """The share of random starts that fail with the most groups, compared with the fewest, for every method."""
    random = findings.where(rule="random_points")
    methods = random.values("method")
    ends = [_ends(random.where(method=method)) for method in methods]
    if not ends or ends[0][0] == ends[0][1]:
        return undecided("The study needs random points at several numbers of groups.")
    few, many = ends[0]
    grows = [_of(last, "low") > _of(first, "high") for first, last in ends]
    shrinks = [_of(last, "high") < _of(first, "low") for first, last in ends]
    verdict = Verdict.HOLDS if all(grows) else Verdict.FAILS if any(shrinks) else Verdict.UNDECIDED
    note = (
        f"{methods[0]} at K = {many['components']}; {100 * _of(few, 'failure_share'):.0f} % at "
        f"K = {few['components']}. The intervals part for {sum(grows)} of {len(methods)} methods."
    )
    interval = (100 * _of(many, "low"), 100 * _of(many, "high"))
    return Decision(verdict, 100 * _of(many, "failure_share"), "% of starts fail", interval, note)


def kmeans_starts_fail_less(findings: Findings) -> Decision:
    """The share of failures from k-means++ starts minus that from random points, over all groups and methods."""
    counts = []
    for rule in ("random_points", "kmeans++"):
        found = findings.where(rule=rule)
        if not found.rows:
            return undecided("The study needs random points and k-means++.")
        counts.append(Proportion(int(np.sum(found.column("failures"))), int(np.sum(found.column("starts")))))
    random, seeded = counts
    gap = seeded.share - random.share
    # The interval of two independent shares is accurate enough with hundreds of starts (Newcombe 1998, method 10).
    (l1, u1), (l2, u2) = seeded.interval, random.interval
    low = gap - float(np.hypot(seeded.share - l1, u2 - random.share))
    high = gap + float(np.hypot(u1 - seeded.share, random.share - l2))
    note = f"{100 * random.share:.1f} % from random points, {100 * seeded.share:.1f} % from k-means++."
    return Decision(beside((-high, -low), 0.0), 100 * gap, "points of per cent", (100 * low, 100 * high), note)


def _by_components(findings: Findings) -> tuple[Findings, Findings]:
    """The rows of one component and those of several, if there is an optimum."""
    known = [row for row in findings.rows if row["share"] is not None]
    one = [row for row in known if row["components"] == 1]
    return Findings(findings.study, one), Findings(findings.study, [row for row in known if row not in one])


def _spread(values: np.ndarray) -> tuple[float, float]:
    """The interval of the median, or the range of the values if they are too few for it."""
    return median_interval(values) or (float(np.min(values)), float(np.max(values)))


def _extremes(findings: Findings) -> tuple[Findings, Findings]:
    """The simulated rows at the smallest and at the largest separation."""
    simulated = findings.where(subject="simulated")
    separations = simulated.values("separation")
    if not separations:
        return simulated, simulated
    return simulated.where(separation=min(separations)), simulated.where(separation=max(separations))


def _ratios(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Ratios of two columns, row by row, without rows in which one is missing."""
    ratios = np.asarray(above, float) / np.asarray(below, float)
    return ratios[np.isfinite(ratios)]


def _ends(findings: Findings) -> tuple[Row, Row]:
    """The rows of the fewest and of the most groups."""
    ordered = sorted(findings.rows, key=lambda row: _of(row, "components"))
    return ordered[0], ordered[-1]


def _of(row: Row, name: str) -> float:
    """A column of a row, as a number."""
    value = row[name]
    assert isinstance(value, int | float)
    return float(value)
