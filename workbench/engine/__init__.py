"""What every method rides on: the one pass over rows, and where and how programs run."""
