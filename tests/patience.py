"""How long tests wait: only a hang is to fail, also on a machine that does eight other things at once."""

# Seconds that a process of its own may take, which begins JAX and compiles.
LONG = 1000.0

# Seconds that a thread may take for what takes moments.
MOMENTS = 300.0
