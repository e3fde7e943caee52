"""Which rule of starts finds the best optimum how often: EM from every rule, over data sets, families and K.

    python benchmarks/starts.py [--cells 60] [--restarts 32] [--json FILE]
    python benchmarks/starts.py --all --rules alternating      # the default rule in every cell of the data sets
    python benchmarks/starts.py --again FILE --rules alternating --seed 1      # where a run missed it, by other draws
    python benchmarks/starts.py --all --searches --restarts 16      # the searches by short EM alone, in every cell

A cell is a data set (some of their columns, or a simulation), a covariance family and K = 2 to 6; cells are drawn at
random by `--seed`, which also draws the starts. `--all` takes every cell without simulations, and K = 1 as well.
`--searches` looks at the ends of short EM's own searches, of which 32 starts of the default rule hold sixteen. They are
near optima already, so that EM follows only to see which of them it stays at; this compiles little and takes a third of
the time, the largest K first. The
optimum of a cell is the highest sound end, not suspicious and with no components merged, that any rule reached or that
EM reaches from scikit-learn's answer (k-means starts), in this run or one before it: of the data sets they are kept in
results/optima.json, which a run can only raise. A rule finds it where such an end of its starts is no more than 0.05
nats below.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import jax
import numpy as np
from sklearn.mixture import GaussianMixture

import setting
import tables
import workbench as wb
from workbench.engine.keys import named_key
from workbench.loop.run import run
from workbench.memory_maps import make_room
from workbench.methods.parts import EndsOnly
from workbench.mixture import Mixture
from workbench.selection.nesting import nested, padded, restored
from workbench.starts import STARTS, ShortEM, Stated, draw_starts
from workbench.starts.climbing import Climber
from workbench.starts.short_em import Search, in_data_units
from workbench.starts.storage import Mixtures

NEAR = 0.05  # nats below the optimum that still find it: other optima lie further apart, EM's ends much closer
FAR, QUIET = 60, 1e-6  # ten leaps so many times, or until they gain less, tell an optimum from the way into a spike
FEW = 8  # starts that are looked at by themselves
PEER = "scikit-learn"
PEERS = [*(name for name, start in STARTS.items() if not issubclass(start, Stated)), PEER]
KNOWN = Path(__file__).parent / "results" / "optima.json"
FAMILIES = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}  # as scikit-learn calls them
COLUMNS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "faithful": (("waiting",), ("eruptions",)),
    "geyser_azzalini_bowman": (("waiting",), ("duration",)),
    "iris": (("petal_length", "petal_width"), ("sepal_length", "sepal_width"), ("petal_length",)),
    "crabs": (("fl", "rw"),),
    "banknote": (("bottom", "diagonal"), ("diagonal",)),
    "diabetes": (("glucose_area", "insulin_area", "sspg"),),
    "wine13": (("alcohol", "flavanoids", "intensity"), ("flavanoids", "proline")),
    "ruspini": (("x",),),
}  # fmt: skip
# Components, columns, points, separation, imbalance, anisotropy.
SIMULATED = (
    (3, 2, 150, 2.5, 1.0, 3.0), (5, 2, 250, 3.5, 3.0, 2.0), (4, 6, 200, 4.0, 3.0, 2.0), (3, 20, 120, 6.0, 3.0, 1.0),
    (6, 3, 300, 4.0, 2.0, 4.0), (5, 1, 200, 3.5, 2.0, 1.0),
)  # fmt: skip


class Cell(NamedTuple):
    """One problem."""

    data: str
    family: str
    components: int


@dataclass(frozen=True)
class Row:
    """One rule in one cell."""

    data: str
    family: str
    K: int
    rule: str
    optimum: float | None  # of the cell; None where nothing was sound
    best: float | None  # of this rule's sound ends
    share: float  # of its starts that end at the optimum
    few: bool  # whether the first `FEW` starts find it
    all: bool
    passes: float  # median
    seconds: float | None = None  # of one core, for a search


class Optima:
    """The optima known so far, in a file that is written whenever one is raised."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def raised(self, cell: Cell, found: float) -> float:
        """The optimum of a cell, now that another was found; of a simulation, which its seed changes, that one."""
        name = f"{cell.data}; {cell.family}; {cell.components}"
        before = self.values.get(name, -np.inf)
        if cell.data.startswith("simulated"):
            return found
        # EM leaves less than this when it stops.
        if found > before + 1e-3:
            self.values[name] = round(float(found), 6)
            self.path.write_text(json.dumps(dict(sorted(self.values.items())), indent=0) + "\n", encoding="utf-8")
        return max(found, before)


def main() -> None:
    """Run, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--cells", type=int, default=60, help="how many, drawn at random (60)")
    which.add_argument("--all", action="store_true", help="every cell of the data sets, K = 1 to 6, and no simulation")
    which.add_argument("--again", type=Path, metavar="FILE", help="the cells in which a rule's best is not the optimum")
    parser.add_argument("--rules", nargs="+", choices=PEERS, default=PEERS, metavar="RULE", help="these alone")
    parser.add_argument("--restarts", type=int, default=32, help="starts of each rule (32)")
    parser.add_argument("--seed", type=int, default=0, help="of cells, simulations and starts (0)")
    parser.add_argument("--known", type=Path, default=KNOWN, metavar="FILE", help="optima known so far, to be raised")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write one row for each cell and rule")
    parser.add_argument("--searches", action="store_true", help="the ends of short EM's searches, without a climb")
    parser.add_argument("--resume", action="store_true", help="keep the rows of a run that was cut off, and go on")
    asked = parser.parse_args()
    if asked.resume and asked.json is None:
        parser.error("--resume needs --json, the file of the run that was cut off")
    jax.config.update("jax_enable_x64", True)
    every = asked.all or asked.again is not None
    data, known, rows = dict(points(asked.seed, simulate=not every)), Optima(asked.known), stored(asked)
    done = {Cell(row.data, row.family, row.K) for row in rows}
    for cell in (cell for cell in cells(data, asked) if cell not in done):
        make_room()
        new = (
            searched(data[cell.data], cell, asked, known)
            if asked.searches
            else measure(data[cell.data], cell, asked, known)
        )
        rows += new
        print(line(new), flush=True)
        if asked.json is not None:
            setting.write(asked.json, [asdict(row) for row in rows])
    print((tables.starts_all if every else tables.starts)([asdict(row) for row in rows], {}))


def stored(asked: argparse.Namespace) -> list[Row]:
    """The rows of a run that was cut off."""
    if not asked.resume:
        return []
    return [Row(**row) for row in json.loads(asked.json.read_text(encoding="utf-8"))]


def cells(data: Mapping[str, np.ndarray], asked: argparse.Namespace) -> Iterator[Cell]:
    """The cells that are asked for."""
    if asked.again is not None:
        return again(json.loads(asked.again.read_text(encoding="utf-8")))
    if asked.all and asked.searches:
        return iter(sorted(grid(data, range(1, 7)), key=lambda cell: -cell.components))
    return grid(data, range(1, 7)) if asked.all else chosen(data, asked.cells, asked.seed)


def again(rows: list[dict[str, Any]]) -> Iterator[Cell]:
    """The cells of rows in which a rule missed the optimum, or has a suspicious end above it."""
    for row in rows:
        best, optimum = row["best"], row["optimum"]
        if optimum is not None and (best is None or not row["all"] or best > optimum + NEAR):
            yield Cell(row["data"], row["family"], row["K"])


def chosen(data: Mapping[str, np.ndarray], cells: int, seed: int) -> Iterator[Cell]:
    """So many cells at random, K = 2 to 6."""
    every = list(grid(data, range(2, 7)))
    yield from (every[i] for i in np.random.default_rng(seed).permutation(len(every))[:cells])


def points(seed: int, *, simulate: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Every data set, some of their columns, and simulations if asked for, by name. [N, D]"""
    for name in wb.dataset_names():
        whole = wb.load_dataset(name)
        yield name, whole.x
        for columns in COLUMNS.get(name, ()):
            yield f"{name}: {', '.join(columns)}", whole.select(columns).x
    for k, d, n, separation, imbalance, anisotropy in SIMULATED if simulate else ():
        simulator = wb.Simulator(k, d, n, separation, imbalance, anisotropy)
        yield f"simulated: {k} groups, {d} columns", simulator.draw(seed).x


def grid(data: Mapping[str, np.ndarray], components: range) -> Iterator[Cell]:
    """All cells; of one column, full, diagonal and spherical are the same family."""
    for name, family, k in itertools.product(data, FAMILIES, components):
        if data[name].shape[1] > 1 or family in ("full", "tied"):
            yield Cell(name, family, k)


def measure(x: np.ndarray, cell: Cell, asked: argparse.Namespace, known: Optima) -> list[Row]:
    """EM from all rules in one batch, and from scikit-learn's answer."""
    problem, restarts = wb.Problem(x, cell.components, cell.family), asked.restarts
    drawn = [by_scikit_learn(x, cell, asked.seed) if rule == PEER
             else draw_starts(STARTS[rule](), problem, restarts, asked.seed) for rule in asked.rules]  # fmt: skip
    starts = jax.tree.map(lambda *leaves: np.concatenate(leaves), *drawn)
    trace = climbed(problem, starts, named_key(asked.seed, "em"))
    score, sound, trusted = judge(problem, trace)
    optimum = known.raised(cell, np.max(score[trusted], initial=-np.inf))
    rows, first = [], 0
    for rule, own in zip(asked.rules, drawn, strict=True):
        mine = slice(first, first := first + len(own.weights))
        ends = np.where(sound[mine], score[mine], -np.inf)
        # A suspicious end, however high, is not the optimum.
        found = trusted[mine] & (ends >= optimum - NEAR)
        rows.append(
            Row(*cell, rule, number(optimum), number(np.max(ends)), float(np.mean(found)), bool(found[:FEW].any()),
                bool(found.any()), float(np.median(trace.passes[mine, -1])))
        )  # fmt: skip
    return rows


def searched(x: np.ndarray, cell: Cell, asked: argparse.Namespace, known: Optima) -> list[Row]:
    """The ends of short EM's searches, judged from the highest down to the first that can be an optimum."""
    problem = wb.Problem(x, cell.components, cell.family)
    begun = process_time()
    ends = ShortEM().search(problem, asked.restarts, asked.seed)
    seconds = (process_time() - begun) / asked.restarts
    score = ends.values - problem.num_points * float(problem.rows.log_determinant)
    top = next((score[r] for r in np.argsort(-score) if trusted(problem, ends.mixtures, r, score[r])), -np.inf)
    optimum = known.raised(cell, top)
    found = (score >= optimum - NEAR) & (score <= top)
    few, every = bool(found[: FEW // 2].any()), bool(found.any())
    return [Row(*cell, "short_em", number(optimum), number(top), float(np.mean(found)), few, every, 0.0, seconds)]


def trusted(problem: wb.Problem, ends: Mixtures, place: int, value: float) -> bool:
    """Whether one of the ends, in working units, can be an optimum to measure by: sound, and EM stays there."""
    one = ends.some(slice(place, place + 1))
    (health,) = wb.Soundness().check_all(problem, in_data_units(problem, one))
    right = bool(np.isfinite(value) and health.sound and not health.suspicious and not health.merged)
    return right and stays(Search.of(problem, 0, 0).climber, one)


def stays(climber: Climber, one: Mixtures) -> bool:
    """Whether EM, going on from a mixture with leaves [1, ...], gains next to nothing and does not reach a spike."""
    with np.errstate(all="ignore"):  # mixtures that fall into a singularity
        begun = reached = climber.leap(one, 0)[1][0]
        for _ in range(FAR):
            before = reached
            one, (reached,) = climber.leap(one, 10)
            if not reached - before > QUIET:
                break
        return bool(abs(reached - begun) < NEAR and climber.usable(one)[0])


def climbed(problem: wb.Problem, starts: Mixture, key: jax.Array) -> wb.Trace:
    """The ends of EM, by one program for all K of a data set and a family."""
    trace = run(EndsOnly(inner=wb.EM()), nested(problem), padded(starts, problem), key)
    return replace(trace, mixtures=restored(trace.mixtures, problem))


def judge(problem: wb.Problem, trace: wb.Trace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihoods, which ends are sound, and which can be an optimum to measure by. [R], [R], [R]"""
    score = np.asarray(trace.log_joint[:, -1])
    going = np.flatnonzero(np.isfinite(score) & ~np.asarray(trace.collapsed))
    sound, trusted = np.zeros(len(score), bool), np.zeros(len(score), bool)
    # Ends of one value are one optimum.
    values, firsts, which = np.unique(np.round(score[going], 3), return_index=True, return_inverse=True)
    for i in range(len(values)):
        end = jax.tree.map(lambda leaf, r=going[firsts[i]]: leaf[r], trace.ends)
        health = wb.Soundness().check(problem, end)
        same = going[which == i]
        sound[same] = health.sound
        trusted[same] = health.sound and not health.suspicious and not health.merged
    return score, sound, trusted


def by_scikit_learn(x: np.ndarray, cell: Cell, seed: int) -> Mixture:
    """scikit-learn's answer from as many starts as are looked at by themselves, leaves [1, ...]."""
    units = np.std(x, axis=0) if cell.family != "spherical" else np.mean(np.var(x, axis=0)) ** 0.5
    fitted = GaussianMixture(
        cell.components, covariance_type=FAMILIES[cell.family], n_init=FEW, tol=1e-4, random_state=seed
    ).fit(x / units)  # type: ignore[arg-type]  # a name of four
    mixture = Mixture.from_covariances(fitted.weights_, fitted.means_, fitted.covariances_, cell.family)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[None], mixture.affine(units))


def line(rows: list[Row]) -> str:
    """One cell as text: how many in a hundred starts of each rule find its optimum, a star where the first few do."""
    first = rows[0]
    found = "  ".join(f"{row.rule} {100 * row.share:.0f}{'*' if row.few else ''}" for row in rows)
    optimum = "nothing sound" if first.optimum is None else f"{first.optimum:.3f}"
    return f"{first.data}, {first.family}, K = {first.K}: {optimum}; {found}"


def number(value: float) -> float | None:
    """What JSON can hold."""
    return float(value) if np.isfinite(value) else None


if __name__ == "__main__":
    main()
