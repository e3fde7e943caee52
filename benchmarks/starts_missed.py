"""What scikit-learn finds in the cells whose optimum a run of starts.py missed: the best of each kind of starts.

    python benchmarks/starts_missed.py benchmarks/results/starts_searches.json [--fits 100]

EM goes on from each of its answers until it has converged, so that a looser tolerance does not count against it. Values
are nats above the best end of the run, of ends that are sound, not suspicious and with no components merged.
"""

import argparse
import json
import warnings
from pathlib import Path

import jax
import numpy as np
from sklearn.mixture import GaussianMixture

import workbench as wb
from starts import FAMILIES, Cell, climbed, judge, points
from workbench.engine.keys import named_key
from workbench.mixture import Mixture

KINDS = ("kmeans", "k-means++", "random_from_data", "random")


def main() -> None:
    """Fit and print a line for each cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the rows of a run of starts.py")
    parser.add_argument("--fits", type=int, default=100, help="fits from each kind of starts (100)")
    asked = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")  # scikit-learn's about fits that stop early
    data = dict(points(0, simulate=False))
    for row in json.loads(asked.file.read_text(encoding="utf-8")):
        if row["optimum"] is None or row["all"]:
            continue
        cell = Cell(row["data"], row["family"], row["K"])
        best = found(data[cell.data], cell, asked.fits)
        print(", ".join(f"{name} {value - row['best']:+.2f}" for name, value in best.items()), *cell, flush=True)


def found(x: np.ndarray, cell: Cell, fits: int) -> dict[str, float]:
    """The best end of each kind of starts; minus infinity where none can be an optimum."""
    problem, units = wb.Problem(x, cell.components, cell.family), np.std(x, axis=0)
    answers = []
    for kind in KINDS:
        for seed in range(fits):
            fitted = GaussianMixture(
                cell.components, covariance_type=FAMILIES[cell.family], tol=1e-4, max_iter=500, random_state=seed,
                init_params=kind,
            ).fit(x / units)  # type: ignore[arg-type]  # names of four  # fmt: skip
            mixture = Mixture.from_covariances(fitted.weights_, fitted.means_, fitted.covariances_, cell.family)
            answers.append(mixture.affine(units))
    starts = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *answers)
    score, _, trusted = judge(problem, climbed(problem, starts, named_key(0, "em")))
    every = np.where(trusted, score, -np.inf).reshape(len(KINDS), fits)
    return dict(zip(KINDS, np.max(every, axis=1).tolist(), strict=True))


if __name__ == "__main__":
    main()
