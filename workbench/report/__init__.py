"""What a person reads of a comparison or a study: figures as files, and a page of HTML that needs nothing else."""

from workbench.report.atlas_page import atlas_figures, save_atlas_figures, write_atlas_report
from workbench.report.claims_page import ledger_table, write_claims
from workbench.report.figures import figures_of, save_figures
from workbench.report.page import render, write_report
from workbench.report.pages import (
    publish,
    redraw,
    show_atlases,
    show_claims,
    show_comparison,
    show_selection,
    show_study,
    show_sweep,
)
from workbench.report.selection_page import save_selection_figure, selection_figure, write_selection_report
from workbench.report.study_page import save_study_figures, study_figures, write_study_report

__all__ = [
    "atlas_figures",
    "figures_of",
    "ledger_table",
    "publish",
    "redraw",
    "render",
    "save_atlas_figures",
    "save_figures",
    "save_selection_figure",
    "save_study_figures",
    "selection_figure",
    "show_atlases",
    "show_claims",
    "show_comparison",
    "show_selection",
    "show_study",
    "show_sweep",
    "study_figures",
    "write_atlas_report",
    "write_claims",
    "write_report",
    "write_selection_report",
    "write_study_report",
]
