"""The evidence: the probability of the points under the prior, with every parameter integrated out."""

from dataclasses import replace

from workbench.selection.candidate import Candidate
from workbench.selection.exact import exact_evidence, has_exact_evidence
from workbench.selection.posterior import Missing
from workbench.selection.score import Score


def evidence(candidate: Candidate) -> Score:
    """`ln P(x | K)`: exact under the conjugate prior if K is 1 or all allocations can be summed, otherwise sampled.

    The prior is the same under every order of the components, and both computations integrate over all orders, so no
    factor K! is needed; a formula at one mode (Chib 1995) would need it. The error of a sampled evidence is half of the
    68 % interval by Student's t, over runs whose estimates are unbiased however well their particles mix. The score is
    not eligible if one run outweighs all the others together, because its error is then unknown.
    """
    if has_exact_evidence(candidate.problem):
        return Score.of(exact_evidence(candidate.problem), 0.0, ["exact"])
    particles = candidate.particles
    if isinstance(particles, Missing):
        return Score.missing(particles.why)
    found = particles.evidence
    if found is None:
        return Score.missing("the sampler estimates no evidence")
    score = Score.of(found.log_evidence, found.half_width)
    if found.is_carried:
        note = f"one of {found.runs} runs holds {found.largest_share:.0%} of their mean, so the error is unknown"
        return score.reject("one run carries the mean", note)
    if particles.agrees or score.value is None:
        return score
    return replace(
        score, notes=(f"its error is the spread of the runs, whose particles have not mixed: {particles.message}",)
    )
