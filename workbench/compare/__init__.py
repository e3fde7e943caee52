"""Comparison of methods: it runs them on equal terms, summarises them, and makes a table."""

from workbench.compare.comparison import Comparison, Reference, compare
from workbench.compare.optima import Optimum
from workbench.compare.summary import MethodSummary, summarise
from workbench.compare.table import ComparisonTable, table

__all__ = ["Comparison", "ComparisonTable", "MethodSummary", "Optimum", "Reference", "compare", "summarise", "table"]
