"""Studies, one file each, looked up by name in `STUDIES`: measurements over a grid of problems."""

from workbench.studies.affine import Affine
from workbench.studies.bad_optima import BadOptima
from workbench.studies.base import Findings, Row, Study
from workbench.studies.calibration import Calibration
from workbench.studies.collapse import Collapse
from workbench.studies.coordinates import Coordinates
from workbench.studies.coupling import Coupling
from workbench.studies.coverage import Coverage
from workbench.studies.escape import Escapes
from workbench.studies.overspecified import Overspecified
from workbench.studies.rate import Rate
from workbench.studies.stability import Stability
from workbench.studies.standard_errors import StandardErrors

STUDIES: dict[str, type[Study]] = {
    "bad_optima": BadOptima,
    "coupling": Coupling,
    "rate": Rate,
    "overspecified": Overspecified,
    "collapse": Collapse,
    "escape": Escapes,
    "coordinates": Coordinates,
    "stability": Stability,
    "affine": Affine,
    "standard_errors": StandardErrors,
    "coverage": Coverage,
    "calibration": Calibration,
}

__all__ = ["STUDIES", "Findings", "Row", "Study"]
