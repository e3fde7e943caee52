"""Checks of the likelihood equations: how they are coupled, singularities, step sizes, and changes of units."""

from dataclasses import replace

import numpy as np

from workbench.claims.decision import Decision, Exact, NoErrorKnown, Varied, Verdict, across, number, undecided
from workbench.claims.evidence import Limits, settings_of
from workbench.studies import Findings, Row


def equations_are_coupled(findings: Findings, limits: Limits) -> Decision:
    """The share of the Hessian's norm between the equations of weights, means and covariances, by separation."""
    return _coupled(findings, limits, "share", "between the equations")


def clusters_are_coupled(findings: Findings, limits: Limits) -> Decision:
    """The share of the Hessian's norm between the parameters of different components, by separation."""
    return _coupled(findings, limits, "share_of_components", "between the components")


def one_gaussian_is_uncoupled(findings: Findings, limits: Limits) -> Decision:
    """The share of one Gaussian's Hessian between its two equations, in two sets of parameters."""
    one = [row for row in findings.rows if row["components"] == 1 and row["share"] is not None]
    if not one:
        return undecided("The study has no single Gaussian.")
    places = (("share", "mean and covariance"), ("share_natural", "natural parameters"))
    decisions = []
    for column, name in places:
        share = float(np.max([_number(row[column]) for row in one]))
        verdict = Verdict.HOLDS if share <= limits["nothing"] else Verdict.FAILS
        note = f"Of {len(one)} optima the largest; the shares depend on the coordinates, as those of mixtures do."
        decisions.append(
            (
                Decision(verdict, share, "of the Hessian's norm", NoErrorKnown(), note, settings=settings_of(findings)),
                name,
            )
        )
    (base, at), (other, name) = decisions
    return across(base, [Varied.of(other, "parameters", name, within=True)], at=at)


def no_step_solves_it(findings: Findings, limits: Limits) -> Decision:
    """The share of the score that is left near an optimum after one EM step or one Newton step, whichever leaves less.

    That two maps do not solve a problem does not show that there is no closed form; the theorem does. The run tests
    that one step of each solves one Gaussian, and shows what it leaves of a mixture.
    """
    known = [row for row in findings.rows if row["share"] is not None]
    one, several = ([r for r in known if (r["components"] == 1) == single] for single in (True, False))
    if not one or not several:
        return undecided("The study needs optima of one component and of several.")
    left = np.asarray([np.fmin(_number(r["left_by_each"]), _number(r["left_by_all"])) for r in several])
    control = max(_number(row[name]) for row in one for name in ("left_by_each", "left_by_all"))
    verdict = Verdict.HOLDS if control <= limits["nothing"] else Verdict.FAILS
    note = (
        f"At the median; of {len(left)} mixtures a step leaves {number(float(left.min()))} to "
        f"{number(float(left.max()))}, and {number(control)} of one Gaussian's score."
    )
    proof = Exact("the estimate is no algebraic function of the data", proved=True)
    return Decision(
        verdict, float(np.median(left)), "of the score left by one step", proof, note, settings=settings_of(findings)
    )


def escape_has_slope_of_theory(findings: Findings, limits: Limits) -> Decision:
    """The slope of the log-likelihood against log sigma, divided by the points times the directions that collapse."""
    fitted = {(r["subject"], r["way"]): (r["slope"], r["theory"]) for r in findings.rows if r["theory"] is not None}
    pairs = np.asarray([[np.nan if s is None else s, t] for s, t in fitted.values()], float).reshape(-1, 2)
    if not len(pairs):
        return undecided("The study followed no escape.")
    ratios = pairs[:, 0] / np.abs(pairs[:, 1])
    worst = float(ratios[np.argmax(np.abs(ratios + 1))])
    verdict = Verdict.HOLDS if np.all(np.abs(ratios + 1) <= limits["slope"]) else Verdict.FAILS
    note = f"The slope that is farthest from -1, of {len(ratios)} escapes."
    return Decision(
        verdict,
        worst,
        "nats for each point, direction and e-fold of width",
        NoErrorKnown(),
        note,
        settings=settings_of(findings),
    )


def step_size_must_be_chosen(findings: Findings, limits: Limits) -> Decision:
    """The least ratio between the stable step sizes of two data sets in one chart, as climbs show them.

    On one data set ascent still comes back with `seen_low`, on the other no longer with `seen_high`: the ratio of the
    two is the figure, for the data sets where it is largest. Step sizes are compared in one chart only, because those
    of different coordinates have no common measure. In how many charts the edges agree is in the note.
    """
    cells = {(str(row["subject"]), str(row["chart"])): row for row in findings.rows}
    subjects, charts = (list(dict.fromkeys(key[place] for key in cells)) for place in (0, 1))
    if len(subjects) < 2:
        return undecided("The study needs several subjects, whose edges differ or not.")
    stuck = sum(row["em_passes"] is None for row in cells.values())
    decisions = {c: _step_size([cells[s, c] for s in subjects], stuck, limits, settings_of(findings)) for c in charts}
    edges = {c: np.asarray([_number(cells[s, c]["predicted_edge"]) for s in subjects]) for c in charts}
    first, *others = charts
    same = [c for c in others if np.allclose(edges[c], edges[first], rtol=limits["same"])]
    most = max((_number(row["em_passes"]) for row in cells.values() if row["em_passes"] is not None), default=0.0)
    note = (
        f"In {first}. EM comes back from {len(cells) - stuck} of {len(cells)} places in up to {number(most)} passes. "
        f"In {len(same)} of {len(others)} other charts the edges are the same numbers."
    )
    rows = [Varied.of(decisions[c], "chart", c, within=True) for c in others]
    return across(replace(decisions[first], note=f"{note} {decisions[first].note}".strip()), rows, at=first)


def em_keeps_its_path(findings: Findings, limits: Limits) -> Decision:
    """The largest difference between paths of EM in different units of the data, compared with those of ascent."""
    em, ascent = findings.where(method="em"), findings.where(method="ascent", units="data")
    if not em.rows or not ascent.rows:
        return undecided("The study needs EM and ascent in the units of the data.")
    # A path that is not finite in one of the units only counts as infinitely far.
    parted = np.nan_to_num(ascent.column("gap"), nan=np.inf)
    still = float(np.max(np.nan_to_num(em.column("gap"), nan=np.inf)))
    inside = findings.where(method="ascent", units="working").column("gap")
    verdict = Verdict.HOLDS if still <= limits["same_path"] < np.min(parted) else Verdict.FAILS
    lost, least = int(np.sum(np.isinf(parted))), float(np.min(parted))
    note = (
        f"Those of ascent with a fixed step part by {number(least)} or more in units of the data ({lost} of "
        f"{len(parted)} leave the numbers), and by up to {number(float(np.nanmax(inside)))} in working units, which "
        "absorb a rescaling. Newton's method and the natural gradient keep their paths, as EM does."
    )
    if not np.isfinite(still):
        return Decision(
            verdict,
            len(em.rows),
            "paths of EM, one of which is lost",
            NoErrorKnown(),
            note,
            settings=settings_of(findings),
        )
    return Decision(
        verdict,
        still,
        "nats per point between paths of EM, at most",
        NoErrorKnown(),
        note,
        settings=settings_of(findings),
    )


def _coupled(findings: Findings, limits: Limits, column: str, words: str) -> Decision:
    """Whether the smallest share of several components exceeds the threshold, by separation."""
    several = [r for r in findings.rows if r["components"] != 1 and r[column] is not None]
    shares = np.asarray([_number(row[column]) for row in several])
    if not len(shares):
        return undecided("The study needs optima of several components.")
    unit = f"of the Hessian's norm {words}"

    def decision(values: np.ndarray, note: str = "") -> Decision:
        verdict = Verdict.HOLDS if np.min(values) > limits["nothing"] else Verdict.FAILS
        return Decision(verdict, float(np.median(values)), unit, NoErrorKnown(), note, settings=settings_of(findings))

    separations = sorted({_number(row["separation"]) for row in several if row["separation"] is not None})
    rows = [
        Varied.of(decision(np.asarray([_number(r[column]) for r in several if r["separation"] == s])), "separation",
                  f"{s:g}", within=True)
        for s in separations
    ]  # fmt: skip
    note = f"At the smallest separation; over all it goes from {number(shares.min())} to {number(shares.max())}."
    if not separations:
        return decision(shares, note)
    nearest = np.asarray([_number(r[column]) for r in several if r["separation"] == separations[0]])
    return across(decision(nearest, note), rows[1:], at=f"separation {separations[0]:g}")


def _step_size(cells: list[Row], stuck: int, limits: Limits, settings: str) -> Decision:
    """The ratio of the largest step that came back on some data set to the smallest that did not on another."""
    low, high = (np.asarray([_number(row[name]) for row in cells]) for name in ("seen_low", "seen_high"))
    seen = np.isfinite(low) & np.isfinite(high)
    if np.sum(seen) < 2:
        return undecided("On all data sets but one every step comes back, or none in the passes that it has.")
    ratio = float(np.max(low[seen]) / np.min(high[seen]))
    verdict = Verdict.HOLDS if ratio > limits["ratio"] and not stuck else Verdict.FAILS
    note = f"Edges were seen on {np.sum(seen)} of {len(cells)} data sets."
    return Decision(
        verdict,
        ratio,
        "times between the stable steps of two data sets, at least",
        NoErrorKnown(),
        note,
        settings=settings,
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else np.nan
