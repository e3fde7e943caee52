"""ICL: BIC, with a penalty for not knowing which component a point comes from."""

from dataclasses import replace

import jax
import numpy as np
from jax import Array

from workbench.data.moments import blocks_of
from workbench.mixture import Mixture
from workbench.mixture.filled import filled
from workbench.selection.bic import bic
from workbench.selection.candidate import Candidate
from workbench.selection.posterior import Missing
from workbench.selection.score import Score


def icl(candidate: Candidate) -> Score:
    """`BIC + sum_n ln max_k r_nk`, in which every point belongs to its most probable component.

    Biernacki, Celeux & Govaert 2000, IEEE Trans. PAMI 22, on half their scale and with mclust's sign. The
    soft form, which adds `sum_nk r_nk ln r_nk` instead, is lower or equal.
    """
    score, fit = bic(candidate), candidate.fit
    if isinstance(fit, Missing) or score.value is None:
        return score
    blocks, mixture = blocks_of(candidate.problem.x), filled(fit.mixture)
    return replace(score, value=score.value + float(sum(np.sum(_log_largest(mixture, block)) for block in blocks)))


@jax.jit
def _log_largest(mixture: Mixture, x: Array) -> Array:
    """ln max_k r_nk. [N]"""
    joint = mixture.component_log_joint(x)
    return joint.max(axis=-1) - jax.scipy.special.logsumexp(joint, axis=-1)
