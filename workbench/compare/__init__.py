"""Comparing methods: run them on equal terms, summarise, tabulate."""

from workbench.compare.comparison import Comparison, Reference, compare
from workbench.compare.optima import Optimum
from workbench.compare.summary import MethodSummary, summarise
from workbench.compare.table import ComparisonTable, table

__all__ = ["Comparison", "ComparisonTable", "MethodSummary", "Optimum", "Reference", "compare", "summarise", "table"]
