"""What every method builds on: the one pass over rows, and where and how programs run."""
