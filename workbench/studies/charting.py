"""The config by which a study names a chart."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field

from workbench.charts import SCALES, WEIGHTS
from workbench.config import Config, Listed

if TYPE_CHECKING:
    WeightsName: TypeAlias = str
    ScalesName: TypeAlias = str
else:
    WeightsName = Literal[tuple(WEIGHTS)]
    ScalesName = Literal[tuple(SCALES)]


class ChartConfig(Config):
    """A chart, given by its coordinates of weights and of scales."""

    name: Annotated[str, Field(min_length=1)] = Field(description="shown in tables and figures")
    weights: WeightsName
    scales: ScalesName


Charts = Annotated[
    tuple[ChartConfig, ...],
    Field(min_length=1, description="the charts to compare"),
    Listed,
]
