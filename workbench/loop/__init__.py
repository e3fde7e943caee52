"""The one loop, which advances the restarts of any method in batches, and the traces that it records."""
