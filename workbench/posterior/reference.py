"""Exact posteriors stored with the package, each with its problem and the checks that it has passed."""

import json
from dataclasses import dataclass, fields
from importlib.metadata import version
from importlib.resources import files
from platform import python_version
from typing import Any

import numpy as np

from workbench.errors import InputError
from workbench.mixture import ConjugatePrior
from workbench.posterior.enumeration import ExactPosterior, exact_posterior
from workbench.problem import Problem

FOLDER = files("workbench.posterior") / "references"

# Relative agreement of sums over up to a million terms in different orders.
AGREEMENT = 1e-10


@dataclass(frozen=True)
class ReferencePosterior:
    """A problem, its exact posterior, and how that was computed."""

    name: str
    about: str
    problem: Problem
    posterior: ExactPosterior
    checks: dict[str, bool]
    settings: dict[str, Any]
    versions: dict[str, str]


def reference_names() -> list[str]:
    """Names of the exact posteriors stored with the package, in alphabetical order."""
    return sorted(file.name.removesuffix(".json") for file in FOLDER.iterdir() if file.name.endswith(".json"))


def read_reference(name: str) -> ReferencePosterior:
    """One of `reference_names`.

    Raises:
        InputError: there is no such name; the message lists the existing ones.
    """
    if name not in reference_names():
        raise InputError(f"reference: there is no {name!r}; allowed: {', '.join(reference_names())}")
    kept = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    stated, answer = kept["problem"], kept["posterior"]
    prior = ConjugatePrior.model_validate_json(json.dumps(stated["prior"]))
    problem = Problem(np.asarray(stated["x"]), stated["components"], stated["covariance"], prior)
    arrays: dict[str, Any] = {k: np.asarray(v) if isinstance(v, list) else v for k, v in answer.items()}
    origin = {key: kept[key] for key in ("about", "checks", "settings", "versions")}
    return ReferencePosterior(name=name, problem=problem, posterior=ExactPosterior(**arrays), **origin)


def make_reference(name: str, about: str, problem: Problem, at: np.ndarray) -> str:
    """Compute an exact posterior, check it, and return it as JSON for one file of the folder, with all digits.

    Args:
        name: of the file.
        about: one sentence on the problem.
        problem: a problem with the conjugate prior, all of whose hyperparameters are given.
        at: places at which the density is computed, [G, D].
    """
    posterior = exact_posterior(problem, at)
    answer = {field.name: _plain(getattr(posterior, field.name)) for field in fields(posterior)}
    kept = {
        "name": name,
        "about": about,
        "problem": {
            "x": problem.x.tolist(),
            "components": problem.components,
            "covariance": problem.covariance.name,
            "prior": problem.prior.model_dump(mode="json", exclude_none=True),
        },
        "posterior": answer,
        "checks": checks(problem, posterior),
        "settings": {"method": "sum over all allocations", "allocations": posterior.allocations},
        "versions": {"python": python_version(), **{package: version(package) for package in ("jax", "numpy")}},
    }
    return json.dumps(kept, indent=1) + "\n"


def checks(problem: Problem, posterior: ExactPosterior) -> dict[str, bool]:
    """Checks that an exact posterior must pass, by name. The prior must be given in full, not scaled to the data."""

    def enumerated(x: np.ndarray, at: np.ndarray) -> ExactPosterior:
        return exact_posterior(Problem(x, problem.components, problem.covariance.name, problem.prior), at)

    order = np.random.default_rng(0).permutation(problem.num_points)
    moved, fewer = enumerated(problem.x[order], posterior.at), enumerated(problem.x[:-1], problem.x[-1:])
    chained = fewer.log_evidence + np.log(fewer.density[0])
    together = posterior.co_clustering
    return {
        "double_precision": problem.dtype == np.float64,
        "evidence_is_that_of_fewer_points_times_their_predictive": bool(
            np.isclose(chained, posterior.log_evidence, rtol=AGREEMENT)
        ),
        "occupied_is_a_distribution": bool(np.isclose(posterior.occupied.sum(), 1.0, rtol=AGREEMENT)),
        "co_clustering_is_symmetric": bool(np.array_equal(together, together.T)),
        "co_clustering_is_positive_semidefinite": bool(np.linalg.eigvalsh(together)[0] > -AGREEMENT),
        "order_of_points_is_of_no_account": bool(
            np.isclose(moved.log_evidence, posterior.log_evidence, rtol=AGREEMENT)
            and np.allclose(moved.co_clustering, together[np.ix_(order, order)], rtol=AGREEMENT)
        ),
    }


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
