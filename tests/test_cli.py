import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import CliRunner, Result
from restamped import restamp

from workbench.cli import cli
from workbench.compare import Comparison
from workbench.data import dataset_names
from workbench.jobs import setting as execution
from workbench.methods import METHODS
from workbench.mixture import COVARIANCES, PRIORS
from workbench.starts import STARTS
from workbench.studies.reading import schema_of_files

ROOT = Path(__file__).parents[1]
PROMISED = {
    "method",
    "best_log_likelihood",
    "best_log_joint",
    "heldout_log_density",
    "heldout_standard_error",
    "statuses",
    "passes_to_best",
    "seconds_to_best",
    "compile_seconds",
    "r_hat_max",
    "ess_min",
    "smallest_relative_eigenvalue",
    "smallest_component_size",
}
PNG = b"\x89PNG"

Command = Callable[..., Result]


def command(*words: object) -> Result:
    """A command in this process; an exception that is no exit is raised here."""
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="workbench", catch_exceptions=False)


def refused(*words: object) -> str:
    """The one message of a command that must end with status 2 and print nothing else."""
    result = command(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    return result.stderr.removeprefix("Error: ").rstrip("\n")


@pytest.fixture(scope="module")
def em_only(tiny: dict[str, Any]) -> dict[str, Any]:
    return {**tiny, "methods": {"em": tiny["methods"]["em"]}}


@pytest.fixture
def config(tmp_path: Path, em_only: dict[str, Any]) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(em_only), encoding="utf-8")
    return path


@pytest.fixture
def stored(tiny_run: tuple[Path, Comparison], tmp_path: Path) -> Path:
    """A copy of the results of three methods."""
    shutil.copytree(tiny_run[0], tmp_path / "stored")
    return tmp_path / "stored"


@pytest.fixture(scope="module")
def ran(em_only: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A run in a folder of its own, as a user starts it, and what it printed."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "mine.toml").write_text(tomli_w.dumps(em_only), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, command("run", "mine.toml")


class TestRun:
    def test_it_prints_the_comparison_and_where_the_report_is(self, ran):
        result = ran[1]
        assert result.exit_code == 0
        assert "best sound log-joint" in result.stdout
        assert "Best sound log-joint" in result.stdout
        assert result.stdout.splitlines()[-1] == f"Report: {Path('results/mine/report.html')}"

    def test_nothing_goes_to_standard_error_where_that_is_no_terminal(self, ran):
        assert ran[1].stderr == ""

    def test_results_report_and_figures_lie_under_the_name_of_the_file(self, ran):
        folder = ran[0] / "results" / "mine"
        assert (folder / "report.html").read_text(encoding="utf-8").lstrip().startswith("<!")
        figures = list((folder / "figures").glob("experiment-*/*.png"))
        assert figures
        assert all(figure.read_bytes().startswith(PNG) for figure in figures)
        assert [p.parent.name.partition("-")[0] for p in folder.glob("cells/*/manifest.json")] == ["em"]

    def test_quiet_prints_nothing(self, config, tmp_path, light):
        result = command("run", config, "--out", tmp_path / "out", "--quiet")
        assert (result.exit_code, result.output) == (0, "")

    def test_settings_and_methods_and_out_are_followed(self, config, tmp_path, light):
        result = command("run", config, "--set", "seed=3", "--set", "methods.b.method=em", "--methods", " em , ",
                         "--out", tmp_path / "out")  # fmt: skip
        assert result.exit_code == 0
        (cell,) = (tmp_path / "out").glob("cells/*/config.toml")
        assert "seed = 3" in cell.read_text(encoding="utf-8")
        assert cell.parent.name.startswith("em-")

    def test_a_second_run_computes_nothing_and_force_does(self, config, tmp_path, light, monkeypatch):
        out = tmp_path / "out"
        assert command("run", config, "--out", out, "--quiet").exit_code == 0

        def fail(*args: object, **kwargs: object) -> None:
            raise RuntimeError("it ran\nagain")

        monkeypatch.setattr(execution, "run", fail)
        assert command("run", config, "--out", out, "--quiet").exit_code == 0
        assert command("run", config, "--out", out, "--quiet", "--force").exit_code == 1

    def test_a_failing_method_gives_status_1_and_keeps_the_others(self, config, tmp_path, light, monkeypatch):
        real = execution.run

        def fail_on_ascent(method: Any, *args: Any, **kwargs: Any) -> Any:
            if method.method == "ascent":
                raise RuntimeError("out of luck")
            return real(method, *args, **kwargs)

        monkeypatch.setattr(execution, "run", fail_on_ascent)
        out = tmp_path / "out"
        result = command("run", config, "--set", "methods.ascent.max_iterations=9", "--out", out)
        assert result.exit_code == 1
        assert "ascent failed: RuntimeError: out of luck" in " ".join(result.stdout.split())
        assert [m["method"] for m in json.loads(command("compare", out, "--format", "json").stdout)["methods"]] == [
            "em"
        ]

    def test_where_nothing_is_sound_the_status_is_1_and_the_reading_says_why(self, config, tmp_path, light):
        # A rule that no fit meets: every covariance is to be as wide as the data, and every component counts as small.
        out = tmp_path / "out"
        rule = "soundness={ min_relative_eigenvalue = 0.99, small = 1e9 }"
        result = command("run", config, "--set", rule, "--out", out)
        assert result.exit_code == 1
        words = " ".join(result.stdout.split())
        assert "No method has a sound answer. em: 2 of 2 starts run into a singular covariance" in words
        assert "NOT SOUND" in words and "Try " in words
        # What is stored can be looked at all the same.
        assert command("compare", out).exit_code == 0

    def test_an_interruption_is_one_message_and_the_status_of_shells(self, config, tmp_path, monkeypatch):
        def interrupt(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(execution, "run", interrupt)
        result = command("run", config, "--out", tmp_path / "out")
        assert result.exit_code == 130
        assert result.stdout == ""
        assert "finished runs are kept" in result.stderr

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--set", "model.components=0"], "mine.toml: model.components: must be greater than or equal to 1, got 0"),
            (["--set", "seed"], "--set seed: give key.path=value"),
            (["--methods", "emm"], "mine.toml: --methods: emm: not in the experiment; it has em"),
            (["--methods", "em,em"], "--methods: em: given twice; name each once"),
            (["--set", "model.components=99"], "mine.toml: x: 48 rows are fewer than 99 components"),
            (["--set", "prior.family=independent"], "mine.toml: prior: EM has no closed-form M-step"),
            (["--set", "prior.mean_location=[1,2]"], "mine.toml: prior.mean_location: needs 1 numbers"),
            (["--set", "data={file='no.csv'}"], "no.csv: no such file"),
        ],
    )
    def test_bad_input_is_one_message_with_status_2_and_leaves_nothing(self, config, tmp_path, words, message):
        assert message in refused("run", config, "--out", tmp_path / "out", *words)
        assert not (tmp_path / "out").exists()

    def test_a_missing_file_is_named(self, tmp_path):
        assert "nowhere.toml: cannot be read" in refused("run", tmp_path / "nowhere.toml")

    def test_a_results_folder_that_cannot_be_made_is_named(self, config, light):
        assert str(config) in refused("run", config, "--out", config)

    @pytest.mark.parametrize("words", [["--sett", "seed=3"], ["--out"], []])
    def test_a_wrong_option_is_status_2(self, words):
        assert command("run", *words).exit_code == 2

    @pytest.mark.parametrize("words", [(), ("affine",)])
    def test_a_ledger_that_is_not_there_is_said_to_be_none(self, words, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert "no such ledger; give the FILE of one" in refused("claims", *words, "--only", "unbounded")

    @pytest.mark.parametrize("name", ["run", "select", "atlas", "claims"])
    def test_an_empty_results_folder_is_not_the_one_that_the_user_is_in(self, name, config, monkeypatch):
        monkeypatch.chdir(config.parent)
        result = command(name, config, "--out", "")
        assert result.exit_code == 2
        assert "is empty; give a folder" in result.stderr
        assert list(config.parent.iterdir()) == [config]


class TestCompare:
    def test_the_table_is_that_of_the_run(self, ran):
        folder, result = ran
        again = command("compare", folder / "results" / "mine")
        assert again.exit_code == 0
        assert again.stderr == ""
        assert again.stdout.rstrip() == result.stdout.partition("Report:")[0].rstrip()

    def test_json_is_one_object_for_each_experiment_with_what_is_promised(self, stored, ran):
        result = command("compare", stored, ran[0] / "results" / "mine", "--format", "json")
        tiny, mine = (json.loads(line) for line in result.stdout.splitlines())
        assert (tiny["experiment"], mine["experiment"]) == ("tiny", "mine")
        assert [m["method"] for m in tiny["methods"]] == ["em", "slope", "nuts"]
        assert all(set(m) >= PROMISED for m in [*tiny["methods"], *mine["methods"]])

    def test_json_of_two_experiments_in_one_folder_is_two_lines(self, config, tmp_path, light):
        for seed in (3, 4):
            command("run", config, "--set", f"seed={seed}", "--out", tmp_path / "out", "--quiet")
        lines = command("compare", tmp_path / "out", "--format", "json").stdout.splitlines()
        assert [json.loads(line)["experiment"] for line in lines] == ["mine (seed = 3)", "mine (seed = 4)"]

    def test_csv_of_many_has_one_header_and_a_row_for_each_method(self, stored, ran):
        result = command("compare", stored, ran[0] / "results" / "mine", "--format", "csv")
        rows = list(csv.DictReader(io.StringIO(result.stdout)))
        assert [(row["experiment"], row["method"]) for row in rows] == [
            ("tiny", "em"), ("tiny", "slope"), ("tiny", "nuts"), ("mine", "em"),
        ]  # fmt: skip
        assert result.stdout.count("experiment,") == 1
        assert result.stdout.endswith("\n") and not result.stdout.endswith("\n\n")

    def test_an_unknown_format_is_status_2(self, stored):
        assert command("compare", stored, "--format", "xml").exit_code == 2

    def test_a_folder_without_runs_is_one_message(self, tmp_path):
        assert "give a folder that `workbench run` wrote" in refused("compare", tmp_path)
        assert "no such folder" in refused("plot", tmp_path / "nowhere")

    def test_a_method_without_its_manifest_is_named(self, stored):
        (file,) = stored.glob("cells/slope-*/manifest.json")
        file.unlink()
        said = " ".join(command("compare", stored).stdout.split())
        assert f"slope is not in this table: {file.parent.name} has no manifest.json; run it again." in said
        for other in stored.glob("cells/*/manifest.json"):
            other.unlink()
        assert "no finished runs: em-" in refused("compare", stored)

    def test_a_run_of_a_newer_version_is_refused_as_one(self, stored):
        (file,) = stored.glob("cells/slope-*/manifest.json")
        restamp(file.parent, lambda manifest: manifest.update(format=3))
        message = refused("compare", stored)
        assert f"{file.parent}: has format 3, of a newer workbench; this one reads formats up to 2" in message

    @pytest.mark.parametrize(("name", "content"), [("arrays.npz", b""), ("manifest.json", b'{"format": "x"}')])
    def test_a_damaged_run_is_named_with_the_remedy_and_the_others_are_shown(self, stored, name, content):
        (file,) = stored.glob(f"cells/slope-*/{name}")
        file.write_bytes(content)
        result = command("compare", stored)
        said = " ".join(result.stdout.split())
        assert result.exit_code == 0
        assert f"slope is not in this table: {file.parent}: the run is damaged (" in said
        assert "delete the folder and run it again" in said
        assert "em reaches it" in said


def test_plot_draws_again_what_is_named(stored):
    result = command("plot", stored)
    assert (result.exit_code, result.stderr) == (0, "")
    index, page, *figures = [Path(line) for line in result.stdout.splitlines()]
    assert index == stored / "report.html"
    assert index.read_bytes() == page.read_bytes()
    assert {figure.parent for figure in figures} == {stored / "figures" / page.stem}
    assert all(figure.read_bytes().startswith(PNG) for figure in figures)
    assert {figure.stem for figure in figures} == {"score", "fit", "waterfall", "posterior", "labels", "clustering"}


class TestPosterior:
    def test_the_table_tells_every_sampler_of_the_folder(self, stored):
        result = command("posterior", stored)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.startswith("tiny: nuts\n2 chains of 20 draws.")
        assert all(words in result.stdout for words in ("relabelled by stephens", "co_clustering[1, 2]", "sd"))

    def test_json_and_csv_hold_the_algorithm_that_was_asked_for(self, stored):
        plain = json.loads(command("posterior", stored, "--relabel", "ordering", "--format", "json").stdout)
        assert (plain["experiment"], plain["method"], plain["relabelling"]) == ("tiny", "nuts", "ordering")
        assert len(plain["modes_visited"]) == 2
        rows = list(csv.DictReader(io.StringIO(command("posterior", stored, "--format", "csv").stdout)))
        assert len(rows) == len(plain["functionals"]) + len(plain["parameters"])
        assert {row["relabelling"] for row in rows} == {"stephens"}

    def test_a_folder_without_draws_is_one_message(self, ran):
        assert "holds no draws" in refused("posterior", ran[0] / "results" / "mine")


class TestLooking:
    @pytest.mark.parametrize("name", [*dataset_names(), *METHODS, *COVARIANCES, *PRIORS, *STARTS])
    def test_list_shows_every_registered_name_with_a_word_about_it(self, name):
        lines = [line.split(None, 1) for line in command("list").stdout.splitlines()]
        assert [len(words) for words in lines if words[0] == name] == [2]

    def test_list_shows_the_experiments_of_the_folder_with_their_comments(self, monkeypatch):
        monkeypatch.chdir(ROOT)
        output = command("list").stdout
        for file in sorted((ROOT / "experiments").glob("*.toml")):
            lines = file.read_text(encoding="utf-8").splitlines()
            comment = next(line for line in lines if line.startswith("# ")).removeprefix("# ")
            (line,) = [line for line in output.splitlines() if line.split()[0] == str(file.relative_to(ROOT))]
            assert line.endswith(comment)

    def test_list_says_so_where_there_are_no_experiments(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert "no experiments/ folder here" in command("list").stdout

    def test_the_schema_that_is_printed_is_the_one_that_is_shipped(self):
        printed = command("schema").stdout
        assert json.loads(printed) == schema_of_files()
        # Written by `workbench schema > experiments/schema.json`.
        assert printed == (ROOT / "experiments" / "schema.json").read_text(encoding="utf-8")

    def test_help_names_every_command(self):
        output = command("-h").stdout
        assert all(name in output for name in ("run", "compare", "plot", "list", "validate", "schema"))


class TestValidate:
    def test_the_shipped_experiments_are_valid(self):
        result = command("validate", ROOT / "experiments")
        assert (result.exit_code, result.stderr) == (0, "")
        files = sorted((ROOT / "experiments").glob("*.toml"))
        assert [line.partition(": ok")[0] for line in result.stdout.splitlines()] == list(map(str, files))
        assert f"{ROOT / 'experiments' / 'separations.toml'}: ok, 96 cells" in result.stdout

    def test_every_mistake_of_every_file_is_reported_and_the_good_are_named(self, config, em_only):
        folder = config.parent
        for name, change in {
            "a": {"sed": 1},
            "b": {"prior": {"family": "independent"}},
            "c": {"data": {"dataset": "nowhere"}},
        }.items():
            (folder / f"{name}.toml").write_text(tomli_w.dumps({**em_only, **change}), encoding="utf-8")
        result = command("validate", folder)
        assert result.exit_code == 2
        assert result.stdout == f"{config}: ok\n"
        lines = result.stderr.removeprefix("Error: ").splitlines()
        assert lines[0].startswith(f"{folder / 'a.toml'}: sed: unknown key")
        assert lines[1].startswith(f"{folder / 'b.toml'}: prior: EM has no closed-form M-step")
        assert lines[2].startswith(f"{folder / 'c.toml'}: data.dataset: unknown data set 'nowhere'")

    def test_a_folder_without_configs_is_one_message(self, tmp_path):
        assert "no .toml files" in refused("validate", tmp_path)
