"""Experiments: the config, and how it is read from TOML."""

from workbench.experiment.config import DataConfig, Experiment, ModelConfig, RunConfig, SimulateConfig
from workbench.experiment.reading import parse_experiment, read_experiment

__all__ = [
    "DataConfig",
    "Experiment",
    "ModelConfig",
    "RunConfig",
    "SimulateConfig",
    "parse_experiment",
    "read_experiment",
]
