"""Methods, looked up by name in `METHODS`: one file each, or one for variants. `register` adds those from elsewhere."""

from workbench.methods.accelerated import SQUAREM, Anderson, OverRelaxed
from workbench.methods.base import (
    METHODS,
    Algorithm,
    Climber,
    Info,
    Method,
    Race,
    Schedule,
    home_of,
    method_of,
    own_methods,
    register,
)
from workbench.methods.em import EM
from workbench.methods.em_variants import FlooredEM, OnlineEM, RelaxedEM
from workbench.methods.gibbs import Gibbs, GibbsKernel
from workbench.methods.gradient_ascent import GradientAscent
from workbench.methods.ibis import IBIS
from workbench.methods.natural_gradient import NaturalGradient
from workbench.methods.newton import Newton
from workbench.methods.nuts import NUTS, Mixed
from workbench.methods.parts import Approximation, Sampler
from workbench.methods.permuted import Permuted
from workbench.methods.riemannian import Riemannian
from workbench.methods.stochastic_ascent import StochasticAscent
from workbench.methods.tempered_smc import TemperedSMC
from workbench.methods.variational import CAVI, Variational

METHODS |= {
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
    "mixed": Mixed,
    "tempered_smc": TemperedSMC,
    "ibis": IBIS,
    "permuted": Permuted,
    "cavi": CAVI,
    "variational": Variational,
}

__all__ = [
    "CAVI",
    "EM",
    "IBIS",
    "METHODS",
    "NUTS",
    "SQUAREM",
    "Algorithm",
    "Anderson",
    "Approximation",
    "Climber",
    "FlooredEM",
    "Gibbs",
    "GibbsKernel",
    "GradientAscent",
    "Info",
    "Method",
    "Mixed",
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
    "TemperedSMC",
    "Variational",
    "home_of",
    "method_of",
    "own_methods",
    "register",
]
