"""A mixture's file comes back as it went, and whatever is no such file gets one message."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.mixture import COVARIANCES, Mixture
from workbench.mixture.saved import load_mixture, save_mixture

GOOD: dict[str, Any] = {
    "format": "workbench mixture",
    "version": 1,
    "covariance": "full",
    "weights": [0.25, 0.75],
    "means": [[0.0], [1.0]],
    "covariances": [[[1.0]], [[2.0]]],
}


@pytest.mark.parametrize("family", sorted(COVARIANCES))
def test_a_mixture_comes_back(
    family: str, points: np.ndarray, tmp_path: Path, random_mixture: Callable[..., Mixture]
) -> None:
    mixture = random_mixture(points, 3, family, 1)
    path = save_mixture(tmp_path / "new" / "m.json", mixture, columns=("a", "b"), about={"method": "em"})
    back = load_mixture(path)
    assert (back.columns, back.about, back.mixture.covariance.name) == (("a", "b"), {"method": "em"}, family)
    assert np.array_equal(back.mixture.means, mixture.means)
    assert np.allclose(back.mixture.weights, mixture.weights, rtol=1e-15)
    # Factored again: a few roundings of the largest entry.
    assert np.allclose(back.mixture.covariances, mixture.covariances, rtol=1e-12)
    assert np.allclose(back.mixture.log_density(points), mixture.log_density(points), rtol=1e-11)
    assert [each.name for each in path.parent.iterdir()] == ["m.json"]


def test_methods_of_a_mixture_do_the_same(tmp_path: Path) -> None:
    mixture = Mixture.from_covariances(GOOD["weights"], GOOD["means"], GOOD["covariances"])
    mixture.save(tmp_path / "m.json")
    assert np.array_equal(Mixture.load(tmp_path / "m.json").means, mixture.means)


def test_another_program_can_write_it(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8")
    saved = load_mixture(path)
    assert (saved.columns, dict(saved.about)) == ((), {})
    assert float(saved.mixture.covariances[1, 0, 0]) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "has no format 'workbench mixture'"),
        (json.dumps({**GOOD, "version": 3}), "version is 3, and this workbench reads 1 and 2; write it again"),
        (json.dumps({k: v for k, v in GOOD.items() if k not in ("weights", "means")}), "weights, means: missing"),
        (json.dumps({**GOOD, "covariance": "round"}), "covariance: unknown family 'round'"),
        (json.dumps({**GOOD, "weights": [0.5, 0.6]}), "weights: must be non-negative and sum to 1"),
        (json.dumps({**GOOD, "weights": "much"}), "weights: give lists of numbers"),
        (json.dumps({**GOOD, "means": [[0.0], [1.0, 2.0]]}), "means: give lists of numbers"),
        (json.dumps({**GOOD, "means": [[float("nan")], [1.0]]}), "means: must be finite"),
        (json.dumps({**GOOD, "covariances": [[[1.0]], [[-2.0]]]}), "covariances: must be positive definite"),
        (json.dumps({**GOOD, "columns": ["a", "b"]}), "2 column names for 1 columns"),
        (json.dumps({**GOOD, "columns": "a"}), "columns: give a list of names"),
        (json.dumps(GOOD)[:-1] + ', "weights": [0.9, 0.1]}', "'weights': is there 2 times; keep the one that is meant"),
        (json.dumps(GOOD)[:-1] + ', "about": {"a": {"b": 1, "b": 1, "c": 2, "b": 3}}}', "'b': is there 3 times"),
    ],
)  # fmt: skip
def test_what_is_no_mixture_is_told(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_mixture(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_mixture(tmp_path / "none.json")


def test_a_mixture_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    mixture = Mixture.from_covariances(GOOD["weights"], GOOD["means"], GOOD["covariances"])
    broken = Mixture(mixture.weights * np.nan, mixture.means, mixture.scales, mixture.covariance)
    with pytest.raises(InputError, match="not finite"):
        save_mixture(tmp_path / "m.json", broken)
    assert list(tmp_path.iterdir()) == []


def test_only_one_mixture_is_saved_under_names_and_where_a_file_can_be(tmp_path: Path) -> None:
    mixture = Mixture.from_covariances(GOOD["weights"], GOOD["means"], GOOD["covariances"])
    many = Mixture(mixture.weights[None], mixture.means[None], mixture.scales[None], mixture.covariance)
    with pytest.raises(InputError, match="several mixtures, of shape"):
        many.save(tmp_path / "m.json")
    with pytest.raises(InputError, match="columns: give a list of names"):
        mixture.save(tmp_path / "m.json", columns=[1])  # type: ignore[list-item]
    with pytest.raises(InputError, match="is no file that can be replaced"):
        mixture.save(tmp_path)
    assert list(tmp_path.iterdir()) == []
