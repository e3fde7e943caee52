"""Reports of jobs: figures as files, and HTML pages that need no other file."""

from workbench.report.animated import animation, film_of, save_film
from workbench.report.atlas_page import atlas_figures, show_atlases
from workbench.report.claims_page import ledger_table, show_claims
from workbench.report.comparison_page import render, show_comparison, write_report
from workbench.report.figure import Look, drawn, figure, save_figure
from workbench.report.figures import figures_of, save_figures
from workbench.report.page import Page, Section, Shown
from workbench.report.pages import publish, redraw
from workbench.report.selection_page import selection_figure, show_selection
from workbench.report.study_page import show_study, study_figures
from workbench.report.sweep_page import show_sweep, sweep_figures

__all__ = [
    "Look",
    "Page",
    "Section",
    "Shown",
    "animation",
    "atlas_figures",
    "drawn",
    "figure",
    "figures_of",
    "film_of",
    "ledger_table",
    "publish",
    "redraw",
    "render",
    "save_figure",
    "save_figures",
    "save_film",
    "selection_figure",
    "show_atlases",
    "show_claims",
    "show_comparison",
    "show_selection",
    "show_study",
    "show_sweep",
    "study_figures",
    "sweep_figures",
    "write_report",
]
