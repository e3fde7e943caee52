"""A comparison made in Python is the same after it was written to one file and read again."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from common_shape import D, K, N

import workbench as wb
from workbench.compare import Reference
from workbench.data import Truth
from workbench.jobs.formats import digest_of_arrays


@pytest.fixture(scope="module")
def comparison() -> wb.Comparison:
    random = np.random.default_rng(5)
    x = random.normal(size=(N, D)) + np.repeat([[0, 0], [5, 0], [0, 6]], N // K, axis=0)
    problem = wb.Problem(x, K, "full", wb.ConjugatePrior(mean_location=(1.0, 2.0)))
    truth = Truth(np.full(K, 1 / K), np.array([[0.0, 0], [5, 0], [0, 6]]), np.stack([np.eye(D)] * K))
    reference = Reference(x[:7] + 0.1, np.repeat([0, 1, 2], N // K), truth, wb.Soundness(tight=2e-3))
    return wb.compare(problem, ["em"], restarts=2, starts="kmeans", reference=reference)


def test_a_comparison_comes_back_from_its_file(comparison: wb.Comparison, tmp_path: Path) -> None:
    path = wb.save_comparison(comparison, tmp_path / "new" / "mine.npz")
    again = wb.load_comparison(path)
    assert list(again) == list(comparison) and again.starts == comparison.starts and again.rule == comparison.rule
    assert again.problem.prior == comparison.problem.prior
    for a, b in zip(jax.tree.leaves(again["em"]), jax.tree.leaves(comparison["em"]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert wb.table(again).to_csv() == wb.table(comparison).to_csv()
    # The objective can be computed anew.
    best = again["em"].best(again.problem)
    assert float(again.problem.log_joint(best)) == pytest.approx(np.max(again["em"].log_joint[:, -1]), rel=1e-12)
    with np.load(path, allow_pickle=False) as arrays:
        assert json.loads(str(arrays["about"]))["format"] == "workbench comparison"


def _table(**columns: Any) -> dict[str, Any]:
    x = np.random.default_rng(6).normal(size=(40, 2)) + np.repeat([[0.0], [6.0]], 20, axis=0)
    return {"length": x[:, 0].copy(), "width": x[:, 1].copy(), **columns}


def _of(wanted: wb.Wanted | None = None, **columns: Any) -> wb.Dataset:
    return replace(wb.read_table(_table(**columns), wanted=wanted), units="mm")


KINDS = np.repeat(["a", "b"], 20)
HOLES = np.where(np.arange(40) % 19 == 3, np.nan, _table()["width"])
PROBLEMS: dict[str, Callable[[], wb.Problem]] = {
    "dropped": lambda: wb.Problem(_of(wb.Wanted(missing="drop"), width=HOLES), 2),
    "marginal": lambda: wb.Problem(_of(wb.Wanted(missing="marginal"), width=HOLES), 2),
    "weights": lambda: wb.Problem(
        _of(wb.Wanted(weights="often", label="kind"), often=np.arange(40) % 4, kind=KINDS), 2
    ),
    "labels": lambda: wb.Problem(_of(wb.Wanted(label="kind"), kind=KINDS), 2),
    "known": lambda: wb.Problem(
        _of(wb.Wanted(label_known="kind"), kind=np.where(np.arange(40) % 5, "", KINDS)), 2, "tied"
    ),
    "background": lambda: wb.Problem(_of(), 2, background=True),
    "fixed": lambda: wb.Problem(_of(), 2, fixed=wb.Fixed(component=0, weight=0.5)),
    "array": lambda: wb.Problem(_of().x, 2, "diagonal", "conjugate"),
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_comparison_that_was_read_again_shows_the_same(kind: str, tmp_path: Path) -> None:
    problem = PROBLEMS[kind]()
    first = wb.compare(problem, ["em"], restarts=2, reference=Reference(problem.sample[::7] + 0.01))
    again = wb.load_comparison(wb.save_comparison(first, tmp_path / "mine.npz"))
    for show in (
        repr,
        lambda it: it._repr_html_(),
        lambda it: str(wb.table(it)),
        lambda it: str(wb.estimates_of(it, "em")),
    ):
        assert show(again) == show(first)
    for name in ("columns", "units", "dropped", "classes", "weights", "missing"):
        np.testing.assert_array_equal(getattr(again.problem, name), getattr(problem, name))
    assert again["em"].best(again.problem).columns == problem.columns
    assert ("left out" in str(wb.table(again))) == (kind == "dropped")


def arrays_in(path: Path) -> dict[str, Any]:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def changed(path: Path, **values: Any) -> None:
    """Write a file that says other things, with the digest that goes with them."""
    content = arrays_in(path)
    about = json.loads(str(content["about"])) | values.pop("about", {})
    content = content | {"about": np.asarray(json.dumps(about))} | values
    del content["digest"]
    np.savez(path, **content, digest=digest_of_arrays(content))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), r"mine.npz: cannot be read \(No such file or directory\); give a file that"),
        (lambda path: path.write_bytes(b"PK nothing"), "mine.npz: is no comparison"),
        (lambda path: np.savez(path, a=1), "mine.npz: is no comparison"),
        (lambda path: changed(path, about={"version": 9}), "mine.npz: version is 9, and .* reads 2; write it again"),
        (lambda path: changed(path, about={"dtype": "float32"}), "mine.npz: is in .float32., and JAX computes"),
        (lambda path: changed(path, about={"components": 2}), "mine.npz: is no comparison .*weights has shape"),
        (lambda path: changed(path, about={"prior": {"family": "none"}}), "mine.npz: is no comparison"),
        (lambda path: changed(path, x=np.full((N, D), np.nan)), "mine.npz: x: "),
        (lambda path: changed(path, classes=np.array(["a"])), "mine.npz: reference.labels: shape is"),
        (lambda path: changed(path, about={"failures": 3}), "mine.npz: About: failures: must be a table, got 3"),
        (lambda path: changed(path, about={"missing": {"em": 1}}), "About: missing.em: must be a valid string"),
        (lambda path: changed(path, about={"stale": ["em"]}), "mine.npz: About: stale: must be a table"),
        (lambda path: changed(path, about={"name": 3}), "mine.npz: About: name: must be a valid string, got 3"),
        (lambda path: changed(path, about={"units": None}), "mine.npz: About: units: must be a valid string"),
        (lambda path: changed(path, about={"columns": "ab"}), "mine.npz: About: columns: must be an array"),
        (lambda path: changed(path, about={"columns": ["a"]}), "mine.npz: x: 1 column names for 2 columns"),
        (lambda path: changed(path, about={"methods": 1}), "mine.npz: About: methods: must be an array, got 1"),
        (lambda path: changed(path, about={"methods": [{"name": 1}]}), "mine.npz: About: methods.0.name: must be"),
        (lambda path: changed(path, about={"more": 1}), "mine.npz: About: more: unknown key"),
    ],
)  # fmt: skip
def test_another_file_is_refused(
    spoil: Callable[[Path], Any], message: str, comparison: wb.Comparison, tmp_path: Path
) -> None:
    path = wb.save_comparison(comparison, tmp_path / "mine.npz")
    spoil(path)
    with pytest.raises(wb.InputError, match=message):
        wb.load_comparison(path)


def test_the_name_of_the_file_says_what_it_is(comparison: wb.Comparison, tmp_path: Path) -> None:
    with pytest.raises(wb.InputError, match=r"give a name that ends in \.npz"):
        wb.save_comparison(comparison, tmp_path / "mine.json")


def test_a_changed_number_or_a_lost_array_is_damage(comparison: wb.Comparison, tmp_path: Path) -> None:
    path = wb.save_comparison(comparison, tmp_path / "mine.npz")
    sound = arrays_in(path)
    changes = {"0/log_joint": sound["0/log_joint"] + 500, "0/means": sound["0/means"] + 3, "x": 2 * sound["x"]}
    kinds = [sound | {name: array} for name, array in changes.items()]
    kinds += [{name: array for name, array in sound.items() if name != "heldout"}]
    for content in kinds:
        np.savez(path, **content)
        with pytest.raises(wb.InputError, match=r"npz: is damaged \(its content does not match its digest"):
            wb.load_comparison(path)
    np.savez(path, **sound)
    assert list(wb.load_comparison(path)) == ["em"]


@pytest.mark.parametrize("path", [None, 3])
def test_what_is_no_path_is_refused(path: Any, comparison: wb.Comparison) -> None:
    with pytest.raises(wb.InputError, match=f"path: give the path of a file, got {path}"):
        wb.load_comparison(path)
    with pytest.raises(wb.InputError, match=f"path: give the path of a file, got {path}"):
        wb.save_comparison(comparison, path)
