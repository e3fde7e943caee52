"""Methods: one file each, found by name in `METHODS`."""

from workbench.methods.base import Algorithm, Info, Method, Schedule
from workbench.methods.em import EM
from workbench.methods.gradient_ascent import GradientAscent
from workbench.methods.nuts import NUTS

METHODS: dict[str, type[Method]] = {"em": EM, "ascent": GradientAscent, "nuts": NUTS}

__all__ = ["EM", "METHODS", "NUTS", "Algorithm", "GradientAscent", "Info", "Method", "Schedule"]
