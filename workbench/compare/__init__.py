"""Comparison of methods: it runs them on equal terms, summarises them, and makes a table."""

from workbench.compare.comparison import Comparison, Reference, compare
from workbench.compare.summary import MethodSummary, Optimum, summarise
from workbench.compare.table import ComparisonTable, table

__all__ = ["Comparison", "ComparisonTable", "MethodSummary", "Optimum", "Reference", "compare", "summarise", "table"]
