"""Charts: real coordinates of a mixture, composed of coordinates of its weights and of its covariances."""

from workbench.charts.chart import Chart, Derivatives, derivatives, is_feasible
from workbench.charts.coordinates import SCALES, WEIGHTS, Coordinates, ScaleCoordinates, WeightCoordinates

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
