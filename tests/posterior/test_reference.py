"""The stored exact posteriors are what the sum over allocations gives today."""

import json
from dataclasses import fields

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.posterior import ExactPosterior, exact_posterior, read_reference, reference_names
from workbench.posterior.exact import AGREEMENT, FOLDER, make_reference

NAMES = reference_names()


def test_references_are_of_one_and_two_dimensions_and_two_and_three_components():
    shapes = {(r.problem.num_dimensions, r.problem.components) for r in map(read_reference, NAMES)}
    assert shapes == {(1, 2), (1, 3), (2, 2)}


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_is_reproduced(name):
    reference = read_reference(name)
    found = exact_posterior(reference.problem, reference.posterior.at)
    for field in fields(ExactPosterior):
        # Sums over up to a million allocations, in whatever order the machine takes them.
        kept = getattr(reference.posterior, field.name)
        np.testing.assert_allclose(getattr(found, field.name), kept, rtol=AGREEMENT, err_msg=field.name)


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_passed_its_checks(name):
    reference = read_reference(name)
    assert reference.checks and all(reference.checks.values())
    assert set(reference.versions) == {"python", "jax", "numpy"}
    assert reference.settings["allocations"] == reference.problem.components**reference.problem.num_points


@pytest.mark.parametrize("name", ["plane"])
def test_a_reference_is_written_as_it_is_read(name):
    reference = read_reference(name)
    again = json.loads(make_reference(name, reference.about, reference.problem, reference.posterior.at))
    kept = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert all(again["checks"].values())
    for key in ("name", "about", "problem", "checks", "settings"):
        assert again[key] == kept[key]


def test_an_unknown_reference_is_refused():
    with pytest.raises(InputError, match="there is no 'nine_points'; allowed: five_points, plane"):
        read_reference("nine_points")
