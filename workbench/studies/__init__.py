"""Studies, one file each, found by name in `STUDIES`: what is measured over a grid of problems."""

from workbench.studies.bad_optima import BadOptima
from workbench.studies.base import Findings, Row, Study
from workbench.studies.collapse import Collapse
from workbench.studies.coupling import Coupling
from workbench.studies.escape import Escapes
from workbench.studies.overspecified import Overspecified
from workbench.studies.rate import Rate

STUDIES: dict[str, type[Study]] = {
    "bad_optima": BadOptima,
    "coupling": Coupling,
    "rate": Rate,
    "overspecified": Overspecified,
    "collapse": Collapse,
    "escape": Escapes,
}

__all__ = ["STUDIES", "Findings", "Row", "Study"]
