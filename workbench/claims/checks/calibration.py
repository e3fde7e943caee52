"""The check of calibration: no sampler fails tests of uniform ranks that an approximation does fail."""

import numpy as np

from workbench.claims.decision import Decision, Verdict, number, undecided
from workbench.studies import Findings
from workbench.studies.calibration import FALSE_ALARM


def samplers_are_calibrated(findings: Findings) -> Decision:
    """The smallest p-value of all quantities of all samplers, times the number of tests (Bonferroni).

    That no test fails says little unless the same tests can fail; an approximation to the posterior is the control.
    """
    samplers, controls = findings.where(approximation=False), findings.where(approximation=True)
    if not samplers.rows or not controls.rows:
        return undecided("The study needs a sampler, and an approximation that its tests can find out.")
    methods = samplers.values("method")
    adjusted = samplers.column("p_adjusted")
    smallest = min(1.0, len(methods) * float(np.min(adjusted)))
    worst = samplers.rows[int(np.argmin(adjusted))]
    passed = [name for name in controls.values("method") if all(controls.where(method=name).column("uniform"))]
    found = float(np.min(controls.column("p_adjusted")))
    if smallest < FALSE_ALARM:
        verdict = Verdict.FAILS
    else:
        verdict = Verdict.UNDECIDED if passed else Verdict.HOLDS
    note = (
        f"{len(methods)} samplers on {worst['replications']} data sets, {worst['tests']} tests each; it is of "
        f"{worst['quantity']} by {worst['method']}."
    )
    rest = f"The tests do not find out {', '.join(passed)}." if passed else f"That of approximations: {number(found)}."
    return Decision(verdict, smallest, "is the smallest p-value, times the number of tests", note=f"{note} {rest}")
