"""Charts: real coordinates of a mixture, composed of coordinates of its weights and of its covariances."""

from workbench.charts.base import Coordinates, ScaleCoordinates, WeightCoordinates
from workbench.charts.chart import Chart, is_feasible
from workbench.charts.derivatives import Derivatives, derivatives
from workbench.charts.scales import SCALES
from workbench.charts.weights import WEIGHTS

__all__ = [
    "SCALES",
    "WEIGHTS",
    "Chart",
    "Coordinates",
    "Derivatives",
    "ScaleCoordinates",
    "WeightCoordinates",
    "derivatives",
    "is_feasible",
]
