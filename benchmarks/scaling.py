"""Time of a pass as devices and hosts are added: the same data shared out (strong), and as much for each (weak).

Every figure is the fastest EM step, which is a pass and an M-step, of a process or two of its own: on one device, on
two devices of one process, and on two processes of one device each that meet on the loopback address. Layouts take
turns, in rounds; a ratio compares the fastest steps over all rounds. Processes are kept to as many cores as they have
devices, as hosts have cores of their own, and programs are compiled as a run's are.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import setting
import workbench as wb
from workbench.engine import hosts
from workbench.engine.compat.compilation import STEPPING, jit_with
from workbench.engine.devices import ask_for_devices

FAMILY = "full"
SHAPES = ((2, 5), (8, 16), (32, 16))  # D, K
# Rows that two devices share, half of them being those for each, and so few that what is left is the meeting.
STRONG, FEW = 400_000, 64
SECONDS = 2.0  # for each shape and layout in a round


class Layout(NamedTuple):
    """Processes, and devices of each."""

    name: str
    hosts: int
    devices: int


LAYOUTS = (Layout("one device", 1, 1), Layout("two devices", 1, 2), Layout("two processes", 2, 1))


def main() -> None:
    """Measure all layouts in turn and print ratios."""
    asked = _arguments()
    if asked.child:
        jax.config.update("jax_enable_x64", True)
        # As the command line does: it also keeps the threads of LAPACK off the cores.
        ask_for_devices(None)
        with hosts.joined(asked.child):
            found = steps(asked.points)
            if hosts.leads():
                print(json.dumps(found))
        return
    rounds = [{layout: measured(layout, asked.points) for layout in LAYOUTS} for _ in range(asked.rounds)]
    rows = compared({layout: fastest([each[layout] for each in rounds]) for layout in LAYOUTS})
    for row in rows:
        print(
            f"{row['kind']:6} D={row['D']:2} K={row['K']:2} N={row['N']:9,} {row['layout']:13} "
            f"{1e3 * row['seconds']:8.2f} ms, {row['ratio']:.2f}x"
        )
    if asked.json:
        setting.write(asked.json, rows)


def measured(layout: Layout, points: int) -> dict[str, float]:
    """Seconds of a step by kind and shape, from processes of their own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, __file__, "--child", str(layout.hosts), "--points", str(points)]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(layout.devices), "JAX_COORDINATOR_ADDRESS": address}
    environment["JAX_COORDINATOR_BIND_ADDRESS"] = address
    cores = sorted(os.sched_getaffinity(0))
    processes = []
    for i in range(layout.hosts):
        # A core for each device, as hosts have cores of their own.
        own = cores[i * layout.devices : (i + 1) * layout.devices]
        processes.append(
            subprocess.Popen(
                command,
                env=environment | {"JAX_PROCESS_ID": str(i)},
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=partial(os.sched_setaffinity, 0, own),
            )
        )
    first, *_ = [process.communicate()[0] for process in processes]
    return dict(json.loads(first))


def steps(points: int) -> dict[str, float]:
    """Seconds of the fastest step of this process's layout, by kind and shape."""
    devices = jax.device_count()
    sizes = {"strong": points, "weak": points * devices // 2, "few": FEW}
    return {f"{kind} {n} {d} {k}": fastest_step(n, d, k, devices) for kind, n in sizes.items() for d, k in SHAPES}


def fastest_step(n: int, d: int, k: int, devices: int) -> float:
    """Seconds; every host takes as many steps as the first."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d)) + 3 * rng.standard_normal((k, d))[rng.integers(k, size=n)]
    problem = wb.Problem(x, k, FAMILY, wb.ConjugatePrior(), devices=devices)
    scales = problem.covariance.broadcast(jnp.eye(d), k)
    mixture = wb.Mixture(jnp.full(k, 1 / k), jnp.asarray(x[:k]), scales, problem.covariance)
    step = jit_with(STEPPING)(wb.Problem.em_step)
    jax.block_until_ready(step(problem, mixture))
    found: list[float] = []
    while hosts.told(sum(found) < SECONDS):
        begun = time.perf_counter()
        jax.block_until_ready(step(problem, mixture))
        found.append(time.perf_counter() - begun)
    return min(found)


def fastest(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The least of every figure over the rounds."""
    return {name: min(each[name] for each in rounds) for name in rounds[0]}


def compared(found: dict[Layout, dict[str, float]]) -> list[dict[str, Any]]:
    """A row for each figure, with how many times faster a row of data is done with than on one device."""
    rows = []
    alone = {}
    for layout, figures in found.items():
        for name, seconds in figures.items():
            kind, *numbers = name.split()
            n, d, k = map(int, numbers)
            per_row = seconds / n
            alone.setdefault((kind, d, k), per_row)
            rows.append(
                {"kind": kind, "layout": layout.name, "devices": layout.hosts * layout.devices, "hosts": layout.hosts}
                | {"family": FAMILY, "N": n, "D": d, "K": k, "seconds": seconds, "ratio": alone[kind, d, k] / per_row}
            )
    return rows


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=STRONG, metavar="N", help="rows that all devices share")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--child", type=int, metavar="HOSTS", help="measure in this process and print seconds as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
