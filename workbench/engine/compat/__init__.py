"""Everything that depends on the version of JAX and of the packages built on it."""
