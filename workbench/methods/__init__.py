"""Methods: one file each, found by name in `METHODS`."""

from workbench.methods.anderson import Anderson
from workbench.methods.base import Algorithm, Climber, Info, Method, Race, Schedule
from workbench.methods.em import EM
from workbench.methods.floored_em import FlooredEM
from workbench.methods.gibbs import Gibbs
from workbench.methods.gibbs_kernel import GibbsKernel
from workbench.methods.gradient_ascent import GradientAscent
from workbench.methods.natural_gradient import NaturalGradient
from workbench.methods.newton import Newton
from workbench.methods.nuts import NUTS
from workbench.methods.online_em import OnlineEM
from workbench.methods.overrelaxed import OverRelaxed
from workbench.methods.permuted import Permuted
from workbench.methods.relaxed_em import RelaxedEM
from workbench.methods.riemannian import Riemannian
from workbench.methods.sampler import Sampler
from workbench.methods.squarem import SQUAREM
from workbench.methods.stochastic_ascent import StochasticAscent

METHODS: dict[str, type[Method]] = {
    "em": EM,
    "squarem": SQUAREM,
    "anderson": Anderson,
    "overrelaxed": OverRelaxed,
    "relaxed_em": RelaxedEM,
    "online_em": OnlineEM,
    "em_floor": FlooredEM,
    "ascent": GradientAscent,
    "stochastic_ascent": StochasticAscent,
    "newton": Newton,
    "natural_gradient": NaturalGradient,
    "riemannian": Riemannian,
    "nuts": NUTS,
    "gibbs": Gibbs,
    "permuted": Permuted,
}

__all__ = [
    "EM",
    "METHODS",
    "NUTS",
    "SQUAREM",
    "Algorithm",
    "Anderson",
    "Climber",
    "FlooredEM",
    "Gibbs",
    "GibbsKernel",
    "GradientAscent",
    "Info",
    "Method",
    "NaturalGradient",
    "Newton",
    "OnlineEM",
    "OverRelaxed",
    "Permuted",
    "Race",
    "RelaxedEM",
    "Riemannian",
    "Sampler",
    "Schedule",
    "StochasticAscent",
]
