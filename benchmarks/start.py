"""Seconds from the start of a process to a method's first step: `workbench run` with nothing compiled, and again.

Every measurement is a fresh process that runs the command line on an experiment and ends where the first step would
begin. The first run of a method finds an empty folder of compiled programs and fills it; the second has another seed,
and so other starts and other draws of the same shapes. Loading libraries, reading data, drawing starts, tracing and
compiling, or reading what is compiled, are all in the time.
"""

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EXPERIMENT = Path(__file__).parents[1] / "experiments" / "old_faithful.toml"
METHODS = ("em", "ascent", "nuts")
GOAL = 5.0  # seconds


def main() -> None:
    """Measure every method and print both times."""
    asked = _arguments()
    if asked.child:
        step_at_once(asked)
        return
    rows = [measured(asked.experiment, method, asked.rounds) for method in asked.methods]
    for row in rows:
        print(
            f"{row['method']:6} first run {row['first']:5.1f} s, another seed {row['second']:5.1f} s "
            f"({row['second_min']:.1f} to {row['second_max']:.1f}, goal {GOAL:g} s)"
        )
    if asked.json:
        # It loads JAX, which is what a measurement times.
        importlib.import_module("setting").write(asked.json, rows)


def measured(experiment: Path, method: str, rounds: int) -> dict[str, Any]:
    """One row: a run that compiles, and so many with other seeds that need not."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = [seconds_to_step(experiment, method, seed, Path(folder)) for seed in range(1, rounds + 2)]
    first, *others = seconds
    return {
        "experiment": experiment.stem,
        "method": method,
        "first": first,
        "second": statistics.median(others),
        "second_min": min(others),
        "second_max": max(others),
    }


def seconds_to_step(experiment: Path, method: str, seed: int, folder: Path) -> float:
    """One measurement in a fresh process, which keeps its programs in a folder."""
    command = [sys.executable, __file__, "--child", str(time.time()), "--experiment", str(experiment)]
    command += ["--methods", method, "--seed", str(seed), "--out", str(folder / f"results-{seed}")]
    # As in a terminal of its own: the user's folder of programs is another one, and nothing else is said to JAX.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "TF_CPP_"))}
    environment = kept | {"XDG_CACHE_HOME": str(folder)}
    return float(subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout)


def step_at_once(asked: argparse.Namespace) -> None:
    """Run the command line up to its first step, print the seconds since the process began and end it."""
    options = ["--methods", *asked.methods, "--set", f"seed={asked.seed}", "--out", str(asked.out), "--quiet"]
    sys.argv = ["workbench", "run", str(asked.experiment), *options]

    def end(*_: Any) -> None:
        print(time.time() - asked.child, flush=True)
        os._exit(0)

    command = importlib.import_module("workbench.cli")
    # The loop calls this once everything is compiled, and it takes the first step.
    importlib.import_module("workbench.loop.run")._stretches = end
    command.main()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", type=Path, default=EXPERIMENT)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="names of methods in the experiment")
    parser.add_argument("--rounds", type=int, default=3, help="runs with other seeds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--child", type=float, metavar="TIME", help="measure in this process, begun at this time")
    parser.add_argument("--seed", type=int, default=1, help="of --child")
    parser.add_argument("--out", type=Path, help="results of --child")
    return parser.parse_args()


if __name__ == "__main__":
    main()
