"""All that depends on the version of JAX, and of what is built on it."""
