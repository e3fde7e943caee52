"""Studies, one file each, found by name in `STUDIES`: what is measured over a grid of problems."""

from workbench.studies.bad_optima import BadOptima
from workbench.studies.base import Findings, Row, Study

STUDIES: dict[str, type[Study]] = {
    "bad_optima": BadOptima,
}

__all__ = ["STUDIES", "Findings", "Row", "Study"]
