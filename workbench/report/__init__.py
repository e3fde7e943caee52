"""What a person reads of a comparison: figures as files, and a page of HTML that needs nothing else."""

from workbench.report.figures import figures_of, save_figures
from workbench.report.page import render, write_report

__all__ = ["figures_of", "render", "save_figures", "write_report"]
