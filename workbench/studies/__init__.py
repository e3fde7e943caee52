"""Studies, one file each, looked up by name in `STUDIES`: measurements over a grid of problems."""

from workbench.studies.bad_optima import BadOptima
from workbench.studies.base import Findings, Row, Study
from workbench.studies.calibration import Calibration
from workbench.studies.collapse import Collapse, Escapes
from workbench.studies.coordinates import Affine, Coordinates, Stability
from workbench.studies.coupling import Coupling
from workbench.studies.rate import Overspecified, Rate
from workbench.studies.stopping import Stopping
from workbench.studies.uncertainty import Coverage, StandardErrors

STUDIES: dict[str, type[Study]] = {
    "bad_optima": BadOptima,
    "coupling": Coupling,
    "rate": Rate,
    "overspecified": Overspecified,
    "stopping": Stopping,
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
