"""From a table to labels, estimates and a model: `fit`, `predict` and `estimates`, against SciPy and scikit-learn."""

import csv
import importlib
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

import workbench as wb
from workbench.cli import cli

CONFIG = """
restarts = 8
[data]
file = "flowers.csv"
columns = ["length", "width"]
label = "kind"
{data}
[model]
components = 2
covariance = "{family}"
[methods.em]
tolerance = 1e-12
"""


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="workbench", catch_exceptions=False)


def write_flowers(folder: Path, data: str = "", family: str = "full") -> np.ndarray:
    """A table of 80 flowers of two kinds, and its config. [80, 2]"""
    rng = np.random.default_rng(11)
    kinds = np.where(np.arange(80) < 50, "rose", "tulip")
    x = rng.normal(size=(80, 2)) * [1.0, 20.0] + np.where(kinds == "rose", 0, 6)[:, None] * [1.0, 10.0]
    lines = [f"{i},{a!r},{b!r},{k}" for i, (a, b), k in zip(range(100, 180), x.tolist(), kinds, strict=True)]
    (folder / "flowers.csv").write_text("\n".join(["tag,length,width,kind", *lines]), encoding="utf-8")
    (folder / "flowers.toml").write_text(CONFIG.format(data=data, family=family), encoding="utf-8")
    return x


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, Result]:
    """A folder with the table, its points, and what `fit` printed."""
    folder = tmp_path_factory.mktemp("fitted")
    x = write_flowers(folder)
    result = command("fit", folder / "flowers.toml", "--out", folder / "out")
    assert result.exit_code == 0, result.output
    return folder, x, result


def test_the_answer_is_that_of_another_library(fitted: tuple[Path, np.ndarray, Result]) -> None:
    folder, x, _ = fitted
    theirs = GaussianMixture(2, tol=1e-10, reg_covar=0, max_iter=1000, n_init=5, random_state=0).fit(x)
    order = np.argsort(theirs.means_[:, 0])
    model = json.loads((folder / "out" / "fit" / "model.json").read_text(encoding="utf-8"))
    assert model["columns"] == ["length", "width"]
    assert np.allclose(model["weights"], theirs.weights_[order], rtol=1e-3)
    assert np.allclose(model["means"], theirs.means_[order], rtol=1e-3, atol=1e-3)
    assert np.allclose(model["covariances"], theirs.covariances_[order], rtol=1e-2)
    assert model["about"]["log_likelihood"] == pytest.approx(80 * theirs.score(x), abs=1e-3)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def check_labels(rows: list[dict[str, str]], x: np.ndarray, model: Path) -> None:
    """Labels, probabilities and densities by SciPy from the numbers of the model's file."""
    values = json.loads(model.read_text(encoding="utf-8"))
    parts = [
        np.log(w) + np.atleast_1d(multivariate_normal(m, c).logpdf(x))
        for w, m, c in zip(values["weights"], values["means"], values["covariances"], strict=True)
    ]
    joint = np.stack(parts, axis=1)
    density = logsumexp(joint, axis=1)
    shares = np.exp(joint - density[:, None])
    assert [int(row["component"]) for row in rows] == (shares.argmax(axis=1) + 1).tolist()
    assert np.allclose([float(row["probability"]) for row in rows], shares.max(axis=1), rtol=1e-9)
    assert np.allclose([float(row["log_density"]) for row in rows], density, rtol=1e-9)
    assert np.allclose([[float(row["p1"]), float(row["p2"])] for row in rows], shares, atol=1e-12)


def test_every_row_is_labelled(fitted: tuple[Path, np.ndarray, Result]) -> None:
    folder, x, _ = fitted
    rows = rows_of((folder / "out" / "fit" / "labels.csv").read_text(encoding="utf-8"))
    assert [row["row"] for row in rows] == [str(n + 1) for n in range(80)]
    assert rows[0]["class"] == "rose"
    check_labels(rows, x, folder / "out" / "fit" / "model.json")


def test_new_rows_are_labelled_by_the_names_of_their_columns(fitted: tuple[Path, np.ndarray, Result]) -> None:
    folder, x, _ = fitted
    new = folder / "new.csv"
    lines = [f"{b!r},n{i},{a!r}" for i, (a, b) in enumerate(x[:3].tolist())]
    new.write_text("\n".join(["width,tag,length", *lines]), encoding="utf-8")
    model = folder / "out" / "fit" / "model.json"
    result = command("predict", model, new, "--id", "tag")
    rows = rows_of(result.stdout)
    assert [row["tag"] for row in rows] == ["n0", "n1", "n2"]
    check_labels(rows, x[:3], model)
    written = command("predict", model, new, "--out", folder / "labels.csv")
    assert (written.exit_code, written.stdout) == (0, "")
    check_labels(rows_of((folder / "labels.csv").read_text(encoding="utf-8")), x[:3], model)


def test_new_rows_are_named_by_the_column_of_ids_that_the_model_remembers(tmp_path: Path) -> None:
    """By another that is given, and by numbers where the file has neither, or the model is of another make."""
    x = write_flowers(tmp_path, data='id = "tag"')
    assert command("fit", tmp_path / "flowers.toml", "--out", tmp_path / "out").exit_code == 0
    model, new, bare = tmp_path / "out" / "fit" / "model.json", tmp_path / "new.csv", tmp_path / "bare.csv"
    lines = [f"{b!r},n{i},{a!r},o{i}" for i, (a, b) in enumerate(x[:3].tolist())]
    new.write_text("\n".join(["width,tag,length,other", *lines]), encoding="utf-8")
    bare.write_text("\n".join(["length,width", *(f"{a!r},{b!r}" for a, b in x[:3].tolist())]), encoding="utf-8")
    np.save(tmp_path / "new.npy", x[:3])
    numbers = ("row", ["1", "2", "3"])
    for words, expected in (
        ((new,), ("tag", ["n0", "n1", "n2"])),
        ((new, "--complete"), ("tag", ["n0", "n1", "n2"])),
        ((new, "--id", "other"), ("other", ["o0", "o1", "o2"])),
        ((bare,), numbers),
    ):
        result = command("predict", model, *words)
        rows = rows_of(result.stdout)
        assert (next(iter(rows[0])), [next(iter(row.values())) for row in rows]) == expected, result.output
    assert "'tag'" in command("predict", model, bare, "--id", "tag").stderr
    content = json.loads(model.read_text(encoding="utf-8"))
    unnamed = {key: value for key, value in content.items() if key != "columns"}
    (tmp_path / "unnamed.json").write_text(json.dumps(unnamed), encoding="utf-8")
    rows = rows_of(command("predict", tmp_path / "unnamed.json", tmp_path / "new.npy").stdout)
    assert [row["row"] for row in rows] == numbers[1]
    for about in ({}, {"id": 3}, {"id": "length"}, {"id": ""}, 7):
        model.write_text(json.dumps(content | {"about": about}), encoding="utf-8")
        result = command("predict", model, new)
        assert (result.exit_code, next(iter(rows_of(result.stdout)[0]))) == (0, "row")


def test_an_array_without_names_has_the_columns_of_the_model_in_their_order(
    fitted: tuple[Path, np.ndarray, Result],
) -> None:
    folder, x, _ = fitted
    model = folder / "out" / "fit" / "model.json"
    np.save(folder / "nameless.npy", x)
    np.savez(folder / "nameless.npz", x=x)
    np.savez(folder / "wide.npz", x=np.hstack([x, x]))
    np.savez(folder / "others.npz", x=x, columns=["height", "age"])
    expected = command("predict", model, folder / "flowers.csv", "--id", "tag").stdout
    labels = [row["component"] for row in rows_of(expected)]
    for name in ("nameless.npy", "nameless.npz"):
        result = command("predict", model, folder / name)
        assert [row["component"] for row in rows_of(result.stdout)] == labels
        assert "names no columns; they are taken as length, width, in the order of" in result.stderr
    for name in ("wide.npz", "others.npz"):
        assert "lacks 'length', 'width' of the columns" in command("predict", model, folder / name).stderr


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["predict", "model.json", "new.csv", "--out", "lab.parquet"], "lab.parquet would hold csv; name it lab.csv\n"),
        (["init", "new.csv", "--out", "mine.CSV"], "mine.CSV would hold toml; name it mine.toml\n"),
        (["export", "folder", "--out", "pack.json"], "pack.json would hold zip; name it pack.zip\n"),
        (["table", "folder", "--out", "x.parquet"], "hold text; name it x.txt, or give another --format\n"),
        (
            ["estimates", "x", "--format", "latex", "--out", "x.md"],
            "hold latex; name it x.tex, or give another --format\n",
        ),
    ],
)
def test_a_file_is_of_the_format_that_its_name_says(words: list[str], remedy: str) -> None:
    result = command(*words)
    assert result.exit_code == 2 and result.stderr.startswith("Error: --out: ") and result.stderr.endswith(remedy)


def test_one_row_is_enough_to_predict(fitted: tuple[Path, np.ndarray, Result]) -> None:
    folder, x, _ = fitted
    (folder / "one.csv").write_text(f"length,width\n{float(x[0, 0])!r},{float(x[0, 1])!r}\n", encoding="utf-8")
    rows = rows_of(command("predict", folder / "out" / "fit" / "model.json", folder / "one.csv").stdout)
    check_labels(rows, x[:1], folder / "out" / "fit" / "model.json")


def test_fit_prints_trust_estimates_and_classes(fitted: tuple[Path, np.ndarray, Result]) -> None:
    folder, _, result = fitted
    text = result.stdout
    assert "Trust em as the best optimum found of 2 components: em ends there from" in text
    assert "95 % intervals by observed information" in text
    assert "Known classes and components" in text
    crossed = next(line.split() for line in text.splitlines() if line.startswith("rose"))
    labels = rows_of((folder / "out" / "fit" / "labels.csv").read_text(encoding="utf-8"))
    counts = [sum(r["class"] == "rose" and r["component"] == str(k) for r in labels) for k in (1, 2)]
    assert crossed[1:] == [str(count) for count in counts]


def test_estimates_print_in_every_form(fitted: tuple[Path, np.ndarray, Result]) -> None:
    folder, *_ = fitted
    forms = {
        form: command("estimates", folder / "out", "--format", form)
        for form in ("table", "csv", "json", "latex", "markdown")
    }
    assert {form: result.exit_code for form, result in forms.items()} == dict.fromkeys(forms, 0)
    rows, values = rows_of(forms["csv"].stdout), json.loads(forms["json"].stdout)
    assert [float(row["estimate"]) for row in rows] == [value["estimate"] for value in values]
    assert {row["parameter"] for row in rows} == {"weight", "mean", "sd", "correlation"}
    assert (folder / "out" / "fit" / "estimates.csv").read_text(encoding="utf-8") == forms["csv"].stdout
    assert r"\begin{tabular}" in forms["latex"].stdout
    assert "| mean | 1 | length |" in forms["markdown"].stdout


def test_rows_held_out_are_in_the_final_fit(tmp_path: Path) -> None:
    x = write_flowers(tmp_path, "test_fraction = 0.25")
    result = command("fit", tmp_path / "flowers.toml", "--out", tmp_path / "out")
    assert "em was run again on all 80 rows" in result.stdout
    model = json.loads((tmp_path / "out" / "fit" / "model.json").read_text(encoding="utf-8"))
    assert model["about"]["points"] == 80
    mixture = wb.Mixture.load(tmp_path / "out" / "fit" / "model.json")
    assert float(mixture.log_density(x).sum()) == pytest.approx(model["about"]["log_likelihood"], abs=1e-6)


@pytest.mark.parametrize(("family", "saved"), [("full", "full"), ("spherical", "diagonal")])
def test_the_model_is_in_the_units_of_the_file(tmp_path: Path, family: str, saved: str) -> None:
    x = write_flowers(tmp_path, "standardize = true", family)
    command("fit", tmp_path / "flowers.toml", "--out", tmp_path / "out")
    model = json.loads((tmp_path / "out" / "fit" / "model.json").read_text(encoding="utf-8"))
    mixture = wb.Mixture.load(tmp_path / "out" / "fit" / "model.json")
    assert model["covariance"] == saved
    # So are the estimates, of which the means stand in both files.
    rows = rows_of((tmp_path / "out" / "fit" / "estimates.csv").read_text(encoding="utf-8"))
    means = [float(row["estimate"]) for row in rows if row["parameter"] == "mean"]
    assert np.allclose(means, np.ravel(model["means"]), rtol=1e-12)
    deviations = [float(row["estimate"]) for row in rows if row["parameter"] == "sd"]
    dense = np.asarray(model["covariances"])
    assert np.allclose(deviations, np.sqrt(np.diagonal(dense, axis1=1, axis2=2)).ravel(), rtol=1e-9)
    # What is stored is in the units that were fitted, and says so.
    assert "means and deviations in standard deviations" in command("estimates", tmp_path / "out").stdout
    assert float(mixture.log_density(x).sum()) == pytest.approx(model["about"]["log_likelihood"], abs=1e-6)


def test_ids_are_copied_and_rows_with_missing_cells_left_out(tmp_path: Path) -> None:
    x = write_flowers(tmp_path, 'id = "tag"\nmissing = "drop"')
    table = tmp_path / "flowers.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[3] = "102,NA,1.0,rose"
    table.write_text("\n".join(lines), encoding="utf-8")
    result = command("fit", tmp_path / "flowers.toml", "--out", tmp_path / "out")
    assert result.stdout.count("1 row with a missing cell was left out.") == 1
    # So does whoever reads the stored run.
    assert "1 row with a missing cell was left out." in command("compare", tmp_path / "out").stdout
    rows = rows_of((tmp_path / "out" / "fit" / "labels.csv").read_text(encoding="utf-8"))
    assert [row["tag"] for row in rows] == [str(i) for i in range(100, 180) if i != 102]
    check_labels(rows, np.delete(x, 2, axis=0), tmp_path / "out" / "fit" / "model.json")


def test_an_answer_of_other_settings_is_not_replaced_without_a_word(tmp_path: Path) -> None:
    write_flowers(tmp_path)
    words = ("fit", tmp_path / "flowers.toml", "--out", tmp_path / "out")
    assert "Replaced" not in command(*words).stdout + command(*words).stdout
    told = command(*words, "--set", "data.missing=marginal").stdout
    assert 'Replaced the answer of an earlier fit, of other settings: data.missing was "refuse".\n' in told
    model = json.loads((tmp_path / "out" / "fit" / "model.json").read_text(encoding="utf-8"))
    assert model["about"]["settings"]["data"]["missing"] == "marginal"


@pytest.mark.parametrize("name", ["component", "p1", "class"])
def test_ids_keep_their_column_whatever_its_name(tmp_path: Path, name: str) -> None:
    write_flowers(tmp_path, f'id = "{name}"')
    table = tmp_path / "flowers.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("tag,", f"{name},", 1), encoding="utf-8")
    assert command("fit", tmp_path / "flowers.toml", "--out", tmp_path / "out").exit_code == 0
    rows = rows_of((tmp_path / "out" / "fit" / "labels.csv").read_text(encoding="utf-8"))
    assert [row[f"{name} (of the file)"] for row in rows] == [str(i) for i in range(100, 180)]
    assert {row["component"] for row in rows} == {"1", "2"}


def test_nothing_that_is_read_is_replaced(fitted: tuple[Path, np.ndarray, Result]) -> None:
    folder, *_ = fitted
    model, data = folder / "out" / "fit" / "model.json", folder / "flowers.csv"
    link, pipe = folder / "link.csv", folder / "pipe.csv"
    if not link.exists():
        link.symlink_to(data)
        os.mkfifo(pipe)
    before = model.read_bytes(), data.read_bytes()
    for out, message in (
        (data, "is read by the command"),
        (model, "model.json would hold csv; name it"),
        (link, "is read by the command"),
        (pipe, "is no file that can be replaced"),
        (folder, "is no file that can be replaced"),
        ("", "is no file that can be replaced"),
        (folder / "flowers.csv" / "labels.csv", "cannot be written"),
    ):
        result = command("predict", model, data, "--out", out)
        assert (result.exit_code, message in result.stderr) == (2, True), out
    assert command("init", data, "--out", data, "--force").exit_code == 2
    assert (model.read_bytes(), data.read_bytes()) == before
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_far_row_is_named_by_its_place_in_the_file(
    fitted: tuple[Path, np.ndarray, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, x, _ = fitted
    monkeypatch.setattr(sys.modules["workbench.compare.answers"], "BLOCK", 4)
    lines = [f"{a!r},{b!r}" for a, b in [*x[:6].tolist(), [1e200, 0.0]]]
    (folder / "far.csv").write_text("\n".join(["length,width", *lines]), encoding="utf-8")
    result = command("predict", folder / "out" / "fit" / "model.json", folder / "far.csv")
    assert (result.exit_code, "data row 7: so far out" in result.stderr) == (2, True)


def test_a_row_whose_component_rounding_hides_is_named_by_its_id(tmp_path: Path) -> None:
    alike = wb.Mixture.from_covariances([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    alike.save(tmp_path / "model.json", columns=("a",))
    (tmp_path / "far.csv").write_text("tag,a\n=1+1,0.5\n@b,3e40\n", encoding="utf-8")
    result = command("predict", tmp_path / "model.json", tmp_path / "far.csv", "--id", "tag")
    assert result.exit_code == 2
    assert "row with tag = '@b': so far out that rounding hides which component is the nearest" in result.stderr
    # An id is copied as it is, whatever a spreadsheet makes of it.
    (tmp_path / "near.csv").write_text("tag,a\n=1+1,0.5\n@b,3.0\n-2,1.0\n", encoding="utf-8")
    out = tmp_path / "labels.csv"
    assert (
        command("predict", tmp_path / "model.json", tmp_path / "near.csv", "--id", "tag", "--out", out).exit_code == 0
    )
    assert [line.split(",")[0] for line in out.read_text(encoding="utf-8").splitlines()] == ["tag", "=1+1", "@b", "-2"]


def test_a_carriage_return_in_an_id_makes_no_row(fitted: tuple[Path, np.ndarray, Result]) -> None:
    folder, x, _ = fitted
    (folder / "odd.csv").write_text(f'tag,length,width\n"a\rb",{x[0, 0]},{x[0, 1]}\n', encoding="utf-8", newline="")
    text = command("predict", folder / "out" / "fit" / "model.json", folder / "odd.csv", "--id", "tag").stdout
    assert [row["tag"] for row in csv.DictReader(io.StringIO(text, newline=""))] == ["a\rb"]


@pytest.mark.usefixtures("light")
def test_a_damaged_run_is_named(tmp_path: Path) -> None:
    write_flowers(tmp_path)
    config = tmp_path / "flowers.toml"
    config.write_text(config.read_text(encoding="utf-8") + '[methods.second]\nmethod = "em"\n', encoding="utf-8")
    command("run", config, "--out", tmp_path / "out")
    (arrays,) = tmp_path.glob("out/cells/em-*/arrays.npz")
    damaged = bytearray(arrays.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    arrays.write_bytes(damaged)
    result = command("estimates", tmp_path / "out")
    assert (result.exit_code, "em is left out" in result.stderr) == (1, True)
    assert "Estimates of second" in result.stdout


def test_a_table_that_changes_while_it_is_fitted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_flowers(tmp_path)
    module = importlib.import_module("workbench.cli.answers")
    ran = module.results_of

    def run_and_change(*arguments: Any) -> Any:
        comparison = ran(*arguments)
        table = tmp_path / "flowers.csv"
        table.write_text(table.read_text(encoding="utf-8").replace("rose", "tulip", 1), encoding="utf-8")
        return comparison

    monkeypatch.setattr(module, "results_of", run_and_change)
    result = command("fit", tmp_path / "flowers.toml", "--out", tmp_path / "out")
    assert (result.exit_code, "flowers.csv: has changed while it was fitted" in result.stderr) == (2, True)
    assert not (tmp_path / "out" / "fit").exists()


def test_without_a_sound_end_there_is_no_answer_and_status_1(tmp_path: Path) -> None:
    """Six rows, four full components in two columns: each needs three rows of its own."""
    rows = np.random.default_rng(0).normal(size=(6, 2)).tolist()
    (tmp_path / "few.csv").write_text("\n".join(["a,b", *(f"{a},{b}" for a, b in rows)]), encoding="utf-8")
    config = '[data]\nfile = "few.csv"\n[model]\ncomponents = 4\n[starts]\nrule = "random_points"\n[methods.em]\n'
    (tmp_path / "few.toml").write_text(config, encoding="utf-8")
    result = command("fit", tmp_path / "few.toml", "--out", tmp_path / "out")
    assert (result.exit_code, "No answer to save" in result.stderr) == (1, True)
    assert "NOT SOUND" in result.stdout
    assert not (tmp_path / "out" / "fit").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "{0}/flowers.toml", "--method", "nuts", "--out", "{0}/out"], "--method: unknown method 'nuts'. "),
        (["fit", "{0}/flowers.csv"], "flowers.csv: is data, not an experiment; `workbench init "),
        (["predict", "{0}/flowers.csv", "{0}/flowers.csv"], "flowers.csv: is not JSON"),
        (["predict", "{0}/none.json", "{0}/flowers.csv"], "none.json: cannot be read"),
        (["predict", "{0}/out/fit/model.json", "{0}/other.csv"], "other.csv: lacks 'length', 'width' of the columns"),
        (["predict", "{0}/out/fit/model.json", "{0}/other.csv"], "json was fitted to; it has height; give a file"),
        (["predict", "{0}/nameless.json", "{0}/other.csv"], "nameless.json was fitted to 2, which it does not name; "),
        (["predict", "{0}/out/fit/model.json", "{0}/flowers.csv", "--id", "name"], "--id: unknown column 'name'"),
        (["predict", "{0}/out/fit/model.json", "{0}/words.csv"], "'wide', not a number; give numbers, or leave such"),
        (["estimates", "{0}/out", "--method", "nuts"], "--methods: nuts: is not stored in"),
        (["estimates", "{0}/out", "--replicates", "20"], "--replicates: is of the bootstraps of --errors"),
        (["estimates", "{0}/out", "--errors", "all,bogus"], "unknown way 'bogus'. Did you mean 'louis'?"),
        (["estimates", "{0}/out", "--level", "0.9999999999999999"], "level: must lie between 0 and 1"),
        (["predict", "{0}/pipe.json", "{0}/flowers.csv"], "pipe.json: is no file"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_message(fitted: tuple[Path, np.ndarray, Result], words: list[str], message: str) -> None:
    folder, *_ = fitted
    (folder / "other.csv").write_text("height\n1\n2\n", encoding="utf-8")
    (folder / "words.csv").write_text("length,width\n1,2\n2,wide\n", encoding="utf-8")
    wb.Mixture.load(folder / "out" / "fit" / "model.json").named(()).save(folder / "nameless.json")
    if not (folder / "pipe.json").exists():
        os.mkfifo(folder / "pipe.json")
    result = command(*(word.format(folder) for word in words))
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_the_answer_is_written_before_anything_is_printed(
    fitted: tuple[Path, np.ndarray, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads the output may close it after the first line, as `head -1` does."""
    folder, *_ = fitted

    def closed(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(click, "echo", closed)
    written = folder / "out" / "fit"
    shutil.rmtree(written)
    shutil.rmtree(folder / "out" / "figures", ignore_errors=True)
    for words in (
        ("fit", folder / "flowers.toml", "--out", folder / "out"),
        ("plot", folder / "out", "--figure", "fit", "--figure", "score"),
    ):
        with pytest.raises(BrokenPipeError):
            command(*words)
    assert sorted(path.name for path in written.iterdir()) == [
        "estimates.csv",
        "estimates.tex",
        "labels.csv",
        "model.json",
    ]
    assert {path.name for path in (folder / "out" / "figures").iterdir()} >= {"fit.pdf", "score.pdf"}
