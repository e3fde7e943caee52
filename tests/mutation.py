"""Changes the code in many small ways, one at a time, and counts how many of the changes the tests notice.

`make mutation`, or `python tests/mutation.py --sample 60 --seed 0`. A *mutant* is a module with one operator, number or
truth value changed; it is *killed* where a test that concerns the module fails. What survives is a question to the
tests, or a change that changes nothing. Only everyday tests are asked, those of the module's own name first.
"""

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

# What is asked: the mathematics and the store.
TARGETS = (
    *("mixture", "diagnostics", "geometry", "engine/one_pass.py", "engine/rows.py"),
    *("jobs/base.py", "jobs/running.py", "jobs/store.py"),
)

# Files of tests asked of each mutant, and so many more of one that survives them, twice.
STAGES = (1, 2, 6)

# A mutant may take so many times as long as the code as it is, and a minute more: it may loop for ever.
SLOWER = 5.0

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.USub: ast.UAdd,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
# Fields of a syntax tree that decide nothing, or only how people are told.
SKIPPED = ("annotation", "returns", "decorator_list", "bases", "simple", "is_async", "kind")
NAMES = {"max": "min", "min": "max", "maximum": "minimum", "minimum": "maximum", "any": "all", "all": "any"}
NAMES |= {"argmax": "argmin", "argmin": "argmax", "sum": "max", "exp": "log", "log": "exp"}


class Mutant(NamedTuple):
    """One change of a file."""

    file: Path  # relative to the package
    line: int
    was: str
    now: str
    text: str  # of the whole file


def mutants_of(file: Path, source: str) -> Iterator[Mutant]:
    """Every mutant of a module."""
    tree = ast.parse(source)
    for node, field, value in list(_places(tree)):
        for changed in _changes(value):
            setattr(node, field, changed)
            line = getattr(node, "lineno", getattr(value, "lineno", 0))
            now, text = ast.unparse(_shown(node)), ast.unparse(tree)
            setattr(node, field, value)
            yield Mutant(file, line, ast.unparse(_shown(node)), now, text)


def _places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, object]]:
    """Fields of the tree that can be changed, outside of annotations, decorators and messages."""
    for name, value in ast.iter_fields(tree):
        if name in SKIPPED or isinstance(tree, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
            continue
        yield tree, name, value
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _places(child)


def _changes(value: object) -> Iterator[object]:
    """What may stand in place of the value of a field."""
    if isinstance(value, ast.AST) and type(value) in SWAPPED:
        yield SWAPPED[type(value)]()
    elif isinstance(value, list) and len(value) == 1 and type(value[0]) in SWAPPED:
        yield [SWAPPED[type(value[0])]()]
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
    elif isinstance(value, str) and value in NAMES:
        yield NAMES[value]
    elif isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not):
        yield value.operand


def _shown(node: ast.AST) -> ast.AST:
    return node if isinstance(node, ast.expr | ast.stmt) else ast.Constant(ast.dump(node)[:60])


def tests_of(file: Path) -> list[Path]:
    """Files of tests that concern a module: of its name, then those that import it or what it defines."""
    stem, module = file.stem, ".".join(("workbench", *file.with_suffix("").parts))
    source = ast.parse((ROOT / "workbench" / file).read_text(encoding="utf-8"))
    public = {node.name for node in source.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    public = {name for name in public if not name.startswith("_")}
    scores = {}
    for test in sorted((ROOT / "tests").rglob("test_*.py")):
        text = test.read_text(encoding="utf-8")
        words = set(re.findall(r"\w+", text))
        score = 8 * (stem in test.stem) + 6 * (module in text) + len(public & words) / max(1, len(public))
        score += (test.parent.name == file.parent.name) + (file.parent.name in test.stem)
        if score >= 0.75:
            scores[test] = score
    return sorted(scores, key=lambda test: -scores[test])[: sum(STAGES)]


class Bench(NamedTuple):
    """A copy of the repository in which modules are changed."""

    folder: Path

    @contextmanager
    def changed(self, mutant: Mutant) -> Iterator[None]:
        """While it lasts, the copy is the mutant."""
        place = self.folder / "workbench" / mutant.file
        kept = place.read_bytes()
        place.write_text(mutant.text, encoding="utf-8")
        try:
            yield
        finally:
            place.write_bytes(kept)

    def ask(self, tests: Sequence[Path], limit: float) -> str:
        """What tests say of the code in the copy; one that takes longer than so many seconds is killed, too."""
        names = [str(test.relative_to(ROOT)) for test in tests]
        words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *names]
        kept = {"PYTHONPATH": str(self.folder), "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled")}
        kept |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
        try:
            done = subprocess.run(words, cwd=self.folder, env=os.environ | kept, capture_output=True, timeout=limit)
        except subprocess.TimeoutExpired:
            return "killed"
        return {0: "SURVIVED", 5: "no tests"}.get(done.returncode, "killed")


def main() -> None:
    """Sample, ask, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=60, help="mutants that are tried")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", default="", help="modules whose path holds this")
    arguments = parser.parse_args()
    every = [mutant for file in _files(arguments.only) for mutant in mutants_of(*file)]
    sample = random.Random(arguments.seed).sample(every, min(arguments.sample, len(every)))
    sample.sort(key=lambda mutant: (mutant.file, mutant.line))
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        for part in ("workbench", "tests", "experiments", "notebooks", "docs", "benchmarks"):
            shutil.copytree(ROOT / part, bench.folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        for file in filter(Path.is_file, ROOT.iterdir()):
            shutil.copy(file, bench.folder)
        found = _tried(bench, sample)
    survived = found.count("SURVIVED")
    asked = len(found) - found.count("no tests")
    print(f"{asked - survived} of {asked} mutants killed, a sample of {len(every):,} (seed {arguments.seed})")


def _tried(bench: Bench, sample: list[Mutant]) -> list[str]:
    """What became of each mutant."""
    found, limits = [], dict[tuple[Path, ...], float]()
    for mutant in sample:
        tests = iter(tests_of(mutant.file))
        said = "no tests"
        for part in [tuple(islice(tests, number)) for number in STAGES]:
            if not part or said == "killed":
                continue
            if part not in limits:
                limits[part] = _limit(bench, part)
            with bench.changed(mutant):
                said = bench.ask(part, limits[part])
        found.append(said)
        print(f"{said:8}  {mutant.file}:{mutant.line}  {mutant.was[:70]}  ->  {mutant.now[:70]}", flush=True)
    return found


def _limit(bench: Bench, tests: tuple[Path, ...]) -> float:
    """Seconds after which a mutant counts as one that never ends."""
    begun = time.monotonic()
    if bench.ask(tests, 3600.0) == "killed":
        sys.exit(f"tests fail of the code as it is: {' '.join(map(str, tests))}")
    return SLOWER * (time.monotonic() - begun) + 60.0


def _files(only: str) -> Iterator[tuple[Path, str]]:
    package = ROOT / "workbench"
    for target in TARGETS:
        place = package / target
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            relative = file.relative_to(package)
            if only in str(relative):
                yield relative, file.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
