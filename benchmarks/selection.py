"""Seconds that `workbench select` takes: with nothing compiled, and again with the programs that the first run kept.

Both runs are fresh processes and score the same K anew. CPU seconds are the user's, of all threads: on a machine that
does other things as well, they say more than the wall clock. What JAX says of itself (tracing, lowering, compiling,
reading what is kept) is by the wall clock, and calls inside of others count twice.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

EXPERIMENT = Path(__file__).parents[1] / "experiments" / "galaxies.toml"
PARTS = {
    "jaxpr_trace_duration": "tracing",
    "jaxpr_to_mlir_module_duration": "lowering",
    "backend_compile_duration": "compiling or reading",
    "cache_retrieval_time_sec": "of that reading",
}


def main() -> None:
    """Measure a first and a second run, and print both."""
    asked = _arguments()
    if asked.child:
        print(json.dumps(selected(asked.experiment, asked.components, asked.child)))
        return
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(Path(folder) / "programs")}
        for name in ("first run", "second run"):
            command = [sys.executable, __file__, "--child", str(Path(folder) / name), "--components", asked.components]
            command += ["--experiment", str(asked.experiment)]
            begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
            parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in json.loads(done.stdout).items())
            print(f"{name:10} {cpu:6.1f} s of CPU, {time.perf_counter() - begun:6.1f} s of the clock ({parts})")
    print("load of the machine over the last minute, this one's included:", f"{os.getloadavg()[0]:.1f}")


def selected(experiment: Path, components: str, out: str) -> dict[str, float]:
    """Run the command in this process, with all that it sets up; seconds by JAX's account."""
    # In the process that is timed, as the command itself loads it.
    import jax.monitoring

    from workbench.cli import main as command

    told = dict.fromkeys(PARTS, 0.0)

    def hear(event: str, duration: float, **_: object) -> None:
        name = event.rsplit("/", 1)[-1]
        if name in told:
            told[name] += duration

    jax.monitoring.register_event_duration_secs_listener(hear)
    sys.argv = ["workbench", "select", str(experiment), "--components", components, "--out", out, "--quiet"]
    sys.argv += ["--set", "prior.family=conjugate"]
    with suppress(SystemExit):
        command()
    return {part: told[name] for name, part in PARTS.items()}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", type=Path, default=EXPERIMENT)
    parser.add_argument("--components", default="1:9")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
