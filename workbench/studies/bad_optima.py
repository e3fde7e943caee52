"""Bad local optima: how often a climb from a random start misses a group, as the number of groups grows."""

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import jax
import numpy as np
from pydantic import Field

from workbench.config import Listed, Whole
from workbench.data.dataset import Truth
from workbench.data.simulate import ring
from workbench.diagnostics import matched_error
from workbench.diagnostics.proportion import Proportion
from workbench.engine.keys import named_key
from workbench.errors import MOST_WHOLE
from workbench.experiment.config import AnyMethods, AnyStart
from workbench.geometry.singularity import falls
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import EM
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import Soundness
from workbench.starts import KMeansPlusPlus, RandomPoints, draw_starts
from workbench.studies.base import Row, Study

Count = Annotated[int, Field(ge=2, le=MOST_WHOLE)]


class BadOptima(Study):
    """Climbs from many starts on K well separated spherical groups, for several K.

    With three or more such groups there are local maxima far below the best, in which one component covers two groups
    and two components share another. EM from random starts finds the best with a probability that falls exponentially
    in K (Jin, Zhang, Balakrishnan, Wainwright & Jordan 2016, "Local maxima in the likelihood of Gaussian mixture
    models", NeurIPS, Theorems 1 and 2). Their mixture has known weights and variances; here both are estimated, as in
    practice.

    The groups lie on a ring (`ring`), with the same distance between neighbours and the same sizes for every K. A climb
    has *failed* if it ends on a mixture that is not sound, or more than `margin` nats below the end of EM from the
    truth. A missed group costs more than a nat for each of its points, and two climbs to the same optimum agree to a
    small fraction of a nat, so every margin between 1 and 100 nats gives the same count. Rows store the gaps on either
    side of the margin, the steps (in passes), and how many of them lowered `log_joint` beyond rounding.
    """

    study: Literal["bad_optima"] = "bad_optima"
    components: Annotated[tuple[Count, ...], Field(min_length=1), Listed] = Field(description="numbers of groups, K")
    points: Annotated[int, Field(ge=3, le=MOST_WHOLE)] = Field(100, description="points of each group")
    separation: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        description="distance between neighbouring centres, in standard deviations of a group"
    )
    restarts: Whole = Field(100, description="starts by each rule, the same for every method")
    starts: Annotated[tuple[AnyStart, ...], Field(min_length=1), Listed] = Field(
        (RandomPoints(), KMeansPlusPlus()), description="rules of the starts"
    )
    methods: AnyMethods
    margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        10.0, description="nats below EM's end from the truth at which a climb has failed"
    )
    mismatch: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        1.0, description="matched error of the means, in deviations of a group, above which they count as wrong"
    )

    summary: ClassVar[str] = "the share of climbs that end on a bad local optimum, over the number of groups"
    shown: ClassVar[tuple[str, ...]] = (
        "components", "rule", "method", "starts", "failures", "failure_share", "low", "high", "mismatches", "unsound",
        "unfinished", "median_passes",
    )  # fmt: skip

    def cells(self) -> Sequence[Row]:
        """Every number of groups, start rule and method."""
        rules = [start.model_dump()["rule"] for start in self.starts]
        grid = itertools.product(self.components, rules, self.methods)
        return [{"components": k, "rule": rule, "method": method} for k, rule, method in grid]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """One row: the number of starts that failed, and the gaps."""
        k, rule, name = cell["components"], cell["rule"], str(cell["method"])
        assert isinstance(k, int)
        x, truth = ring(k, self.points, self.separation, self.seed)
        problem = Problem(x, k, "spherical")
        (start,) = (each for each in self.starts if each.model_dump()["rule"] == rule)
        starts = draw_starts(start, problem, self.restarts, self.seed)
        trace = run(self.methods[name], problem, starts, named_key(self.seed, name))
        return [self._row(problem, truth, trace)]

    def _row(self, problem: Problem, truth: Truth, trace: Trace) -> Row:
        gaps = _reference(problem, truth) - trace.log_joint[:, -1]
        healths = Soundness().check_all(problem, trace.ends)
        sound = np.asarray([h.sound for h in healths]) & ~trace.collapsed
        failed = ~sound | ~(gaps <= self.margin)
        ends = (trace.at(r, -1) for r in range(trace.num_restarts))
        wrong = [not matched_error(end, truth) <= self.mismatch for end in ends]
        share = Proportion(int(np.sum(failed)), trace.num_restarts)
        low, high = share.interval
        k = problem.components
        return {
            "starts": share.trials,
            "failures": share.successes,
            "failure_share": share.share,
            "low": low,
            "high": high,
            "mismatches": int(np.sum(wrong)),
            "unsound": int(np.sum(~sound)),
            "unfinished": int(np.sum(~trace.converged & sound)),
            "smallest_failing_gap": _extreme(gaps[failed & sound], np.min),
            "largest_passing_gap": _extreme(gaps[~failed], np.max),
            "median_passes": float(np.median(trace.passes[:, -1])),
            "steps": int(np.sum(trace.passes[:, -1])),
            "log_joint_falls": max(int(np.sum(~trace.ok[:, -1])), falls(trace.log_joint)[0]),
            "chance_of_a_miss": 1.0 - math.factorial(k) / k**k,  # that K random points leave a group without one
        }


def _reference(problem: Problem, truth: Truth) -> float:
    """log_joint at the end of EM from the truth, which is the optimum that a good climb reaches."""
    variances = np.trace(truth.covariances, axis1=1, axis2=2) / problem.num_dimensions
    mixture = Mixture.from_covariances(truth.weights, truth.means, variances, "spherical")
    one = jax.tree.map(lambda leaf: np.asarray(leaf)[None], mixture)
    return float(run(EM(), problem, one, named_key(0, "truth")).log_joint[0, -1])


def _extreme(values: np.ndarray, of: Callable[[np.ndarray], float]) -> float | None:
    """The smallest or largest finite value; None if there is none."""
    finite = values[np.isfinite(values)]
    return float(of(finite)) if len(finite) else None
