import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from workbench.errors import InputError
from workbench.experiment import Experiment, parse_experiment, read_experiment
from workbench.experiment.reading import read_toml
from workbench.methods import METHODS
from workbench.mixture import PRIORS
from workbench.starts import STARTS

BASE: dict[str, Any] = {
    "seed": 1,
    "data": {"dataset": "faithful"},
    "model": {"components": 2},
    "methods": {"em": {}},
}
SIMULATE = {"components": 2, "dimensions": 1, "points": 30, "separation": 2.0}


def _with(path: str, value: Any) -> dict[str, Any]:
    """BASE with a value at a dotted path."""
    values = copy.deepcopy(BASE)
    *parents, last = path.split(".")
    table = values
    for parent in parents:
        table = table.setdefault(parent, {})
    table[last] = value
    return values


def _without(path: str) -> dict[str, Any]:
    values = copy.deepcopy(BASE)
    *parents, last = path.split(".")
    table = values
    for parent in parents:
        table = table[parent]
    del table[last]
    return values


def _message(values: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        parse_experiment(values, "dir/x.toml")
    return str(caught.value)


# What is wrong, and what its one line must say after the file.
MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    # unknown keys, in every table
    "a key of a table in the root": (
        _with("components", 2),
        ["components: unknown key", "did you mean model.components?"],
    ),
    "unknown in the root": (_with("sed", 1), ["sed: unknown key", "did you mean seed?"]),
    "unknown in data": (_with("data.colums", ["waiting"]), ["data.colums: unknown key", "did you mean columns?"]),
    "unknown in simulate": (
        _with("data", {"simulate": {**SIMULATE, "seperation": 2.0}}),
        ["data.simulate.seperation: unknown key", "did you mean separation?"],
    ),
    "unknown in model": (
        _with("model.covarance", "full"),
        ["model.covarance: unknown key", "did you mean covariance?"],
    ),
    "unknown in a prior": (
        _with("prior", {"family": "conjugate", "concentraton": 1.0}),
        ["prior.concentraton: unknown key", "did you mean concentration?"],
    ),
    "unknown in starts": (_with("starts", {"rule": "kmeans++", "tries": 3}), ["starts.tries: unknown key", "allowed"]),
    "unknown in run": (_with("run.device", 2), ["run.device: unknown key", "did you mean devices?"]),
    "no devices": (_with("run.devices", 0), ["run.devices: ", "greater than or equal to 1"]),
    "devices that hosts cannot share": (
        _with("run", {"devices": 3, "hosts": 2}),
        ["run: devices: must be a multiple of hosts = 2, got 3"],
    ),
    "unknown in soundness": (_with("soundness.tigth", 0.1), ["soundness.tigth: unknown key", "did you mean tight?"]),
    "unknown in a method": (
        _with("methods.em.tolerence", 1e-8),
        ["methods.em.tolerence: unknown key", "did you mean tolerance?"],
    ),
    "unknown in a method of another name": (
        _with("methods.adam", {"method": "ascent", "optimiser": "adam"}),
        ["methods.adam.optimiser: unknown key", "did you mean optimizer?"],
    ),
    "unknown in a method's own table": (
        _with("methods.squarem", {"of": {"max_itr": 9}}),
        ["methods.squarem.of.max_itr: unknown key", "did you mean max_iterations?"],
    ),
    "wrong in a method's own table": (
        _with("methods.x", {"method": "anderson", "of": {"tolerance": -1.0}}),
        ["methods.x.of.tolerance: must be greater than or equal to 0", "got -1.0"],
    ),
    "a value for a method's own table": (_with("methods.anderson", {"of": 3}), ["methods.anderson.of: must be", "3"]),
    "unknown, like nothing": (
        _with("model.zzz", 1),
        ["model.zzz: unknown key", "allowed: background, components, covariance"],
    ),
    # wrong types
    "text for a number": (_with("seed", "three"), ["seed: must be a valid integer", "got 'three'"]),
    "a fraction for a whole number": (_with("model.components", 2.5), ["model.components: must be", "got 2.5"]),
    "a float for a whole number": (_with("restarts", 8.0), ["restarts: must be", "integer", "got 8.0"]),
    "a boolean for a whole number": (_with("restarts", True), ["restarts: must be", "integer", "got True"]),
    "a boolean for a number": (_with("data.divide_by", True), ["data.divide_by: must be", "number", "got True"]),
    "a number for a boolean": (_with("data.standardize", 1), ["data.standardize: must be", "boolean", "got 1"]),
    "text for a list": (_with("data.columns", "waiting"), ["data.columns: must be", "got 'waiting'"]),
    "a number in a list of names": (_with("data.columns", [3]), ["data.columns.0: must be", "string", "got 3"]),
    "a value for a table": (_with("model", 3), ["model: must be", "got 3"]),
    "a value for a method": (_with("methods.em", 3), ["methods.em: must be", "got 3"]),
    "a list for the methods": (_with("methods", ["em"]), ["methods: must be", "got ['em']"]),
    # out of range
    "too few components": (_with("model.components", 0), ["model.components: must be greater than or equal to 1", "0"]),
    "a negative seed": (_with("seed", -1), ["seed: must be greater than or equal to 0", "got -1"]),
    "no restart": (_with("restarts", 0), ["restarts: must be greater than or equal to 1", "got 0"]),
    "all rows held out": (_with("data.test_fraction", 1.0), ["data.test_fraction: must be less than 1", "got 1.0"]),
    "a unit of zero": (_with("data.divide_by", 0.0), ["data.divide_by: must be greater than 0", "got 0.0"]),
    "an infinite unit": (_with("data.divide_by", float("inf")), ["data.divide_by: must be a finite number", "inf"]),
    "a tolerance that is no number": (_with("methods.em.tolerance", float("nan")), ["methods.em.tolerance:", "nan"]),
    "no iterations": (_with("methods.em.max_iterations", 0), ["methods.em.max_iterations: must be greater", "got 0"]),
    "a probability of one": (
        _with("methods.nuts", {"target_accept_prob": 1.0}),
        ["methods.nuts.target_accept_prob: must be less than 1", "got 1.0"],
    ),
    "a negative hyperparameter": (
        _with("prior", {"family": "independent", "deviation_spread": -1.0}),
        ["prior.deviation_spread: must be greater than 0", "got -1.0"],
    ),
    "an empty list of numbers": (
        _with("prior", {"family": "independent", "mean_scale": []}),
        ["prior.mean_scale: ", "at least 1 item"],
    ),
    "no methods": (_with("methods", {}), ["methods: ", "at least 1 item"]),
    # one of several
    "an unknown family": (
        _with("model.covariance", "ful"),
        ["model.covariance: unknown 'ful'", "did you mean 'full'?", "full, tied, diagonal, spherical"],
    ),
    "an unknown optimiser": (
        _with("methods.ascent", {"optimizer": "adma"}),
        ["methods.ascent.optimizer: unknown 'adma'", "did you mean 'adam'?", "gradient, momentum, adam, lbfgs"],
    ),
    "an unknown prior": (
        _with("prior.family", "conjugat"),
        ["prior.family: unknown 'conjugat'", "did you mean 'conjugate'?", ", ".join(PRIORS)],
    ),
    "an unknown start": (
        _with("starts.rule", "kmeens"),
        ["starts.rule: unknown 'kmeens'", "did you mean 'kmeans'?", ", ".join(STARTS)],
    ),
    "an unknown method": (
        _with("methods.x", {"method": "nutz"}),
        ["methods.x.method: unknown 'nutz'", "did you mean 'nuts'?", ", ".join(METHODS)],
    ),
    "unknown in a wrapped method": (
        _with("methods.mixing", {"method": "permuted", "of": {"method": "gibbs", "num_warmups": 3}}),
        ["methods.mixing.of.num_warmups: unknown key", "did you mean num_warmup?"],
    ),
    "a wrapped method that does not sample": (
        _with("methods.mixing", {"method": "permuted", "of": {"method": "em"}}),
        ["methods.mixing.of.method: unknown 'em' (allowed: nuts, gibbs"],
    ),
    "a method that is not said": (_with("methods.x", {}), ["methods.x.method: missing", ", ".join(METHODS)]),
    "a prior that is not said": (
        _with("prior", {"concentration": 2.0}),
        ["prior.family: missing; allowed: " + ", ".join(PRIORS)],
    ),
    "a start that is not said": (_with("starts", {}), ["starts.rule: missing; allowed: " + ", ".join(STARTS)]),
    # missing
    "no data": (_without("data"), ["data: missing"]),
    "no model": (_without("model"), ["model: missing"]),
    "no components": (_without("model.components"), ["model.components: missing"]),
    "no methods table": (_without("methods"), ["methods: missing"]),
    "a simulation without a size": (
        _with("data", {"simulate": {"components": 2, "dimensions": 1, "points": 9}}),
        ["data.simulate.separation: missing"],
    ),
    "given starts without values": (
        _with("starts", {"rule": "given", "weights": [1.0], "means": [[0.0]]}),
        ["starts: covariances: missing; give weights, means and covariances, or file"],
    ),
    # where the data come from
    "two sources": (_with("data.file", "a.csv"), ["data: give exactly one of dataset, file and simulate", "and file"]),
    "no source": (_with("data", {}), ["data: give exactly one of dataset, file and simulate, got none"]),
    "a label for a named set": (_with("data.label", "species"), ["data: label goes with file"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_naming_file_key_value_and_what_is_allowed(mistake):
    values, words = MISTAKES[mistake]
    message = _message(values)
    assert message.startswith(f"dir/x.toml: {words[0]}")
    assert "\n" not in message
    for word in words[1:]:
        assert word in message


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_message_speaks_of_toml_and_not_of_the_validator(mistake):
    message = _message(MISTAKES[mistake][0])
    assert "pydantic" not in message
    assert "Input should" not in message


@pytest.mark.parametrize(("path", "value"), [("data.columns", "waiting"), ("methods", ["em"]), ("prior", "flat")])
def test_a_message_names_toml_types(path, value):
    assert not re.search(r"tuple|dictionary|object to extract", _message(_with(path, value)))


def test_every_mistake_is_reported_at_once():
    values = _with("methods", {"em": {"tolerence": 1}, "x": {"method": "nutz"}})
    values |= {"sed": 1, "model": {"components": 0, "covarance": "full"}, "data": {"dataset": "a", "file": "b"}}
    lines = _message(values).splitlines()
    assert all(line.startswith("dir/x.toml: ") for line in lines)
    keys = {line.split(": ")[1] for line in lines}
    expected = {"data", "model.components", "model.covarance", "methods.em.tolerence", "methods.x.method", "sed"}
    assert keys == expected
    assert len(lines) == len(expected)


@pytest.mark.parametrize("name", ["a/b", "../b", "a b", "", "."])
def test_the_name_of_a_method_must_be_fit_for_a_folder(name):
    assert f"methods.{name}" in _message(_with("methods", {name: {"method": "em"}}))


def test_a_seed_must_fit_into_a_random_key():
    assert "seed: must be less than" in _message(_with("seed", 2**63 - 1))


@pytest.mark.parametrize("prior", ["conjugate", "independent"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_hyperparameters_must_be_finite(prior, value):
    message = _message(_with("prior", {"family": prior, "mean_location": [value, 1.0]}))
    assert "prior.mean_location.0: must be a finite number" in message


class TestFile:
    @pytest.fixture
    def write(self, tmp_path: Path) -> Callable[[bytes], Path]:
        def write(content: bytes) -> Path:
            path = tmp_path / "x.toml"
            path.write_bytes(content)
            return path

        return write

    def test_a_file_says_the_same_as_a_mapping(self, write):
        path = write(tomli_w.dumps(BASE).encode())
        assert read_experiment(path) == read_experiment(str(path)) == parse_experiment(BASE, "x")
        assert read_experiment(path) == Experiment.model_validate(BASE)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"seed = = 1", "is not valid TOML"),
            (b"a = 1\na = 2\n[b]", "is not valid TOML: a key is set twice; keep one of its lines"),
            (b"\xff\xfe", "is not UTF-8"),
        ],
    )
    def test_a_file_that_is_not_toml_is_named_with_the_place(self, write, content, words):
        path = write(content)
        with pytest.raises(InputError) as caught:
            read_experiment(path)
        assert str(caught.value).startswith(f"{path}: {words}")
        assert words.endswith("UTF-8") or "line" in str(caught.value)

    @pytest.mark.parametrize("name", ["nowhere.toml", "."])
    def test_a_file_that_cannot_be_read_is_named_with_the_reason(self, tmp_path, name):
        with pytest.raises(InputError, match=r"cannot be read \(.+\); give a TOML experiment file"):
            read_experiment(tmp_path / name)

    def test_an_empty_file_lacks_what_has_no_default(self, write):
        with pytest.raises(InputError) as caught:
            read_experiment(write(b""))
        lines = [line.partition(".toml: ")[2] for line in str(caught.value).splitlines()]
        assert [line.partition(":")[0] for line in lines] == ["data", "model", "methods"]


class TestSettings:
    @pytest.fixture
    def read(self, tmp_path: Path) -> Callable[..., Experiment]:
        path = tmp_path / "x.toml"
        path.write_text(tomli_w.dumps(BASE), encoding="utf-8")
        return lambda *settings: read_experiment(path, settings)

    @pytest.mark.parametrize(
        ("setting", "path", "value"),
        [
            ("seed=7", "seed", 7),
            (" seed = 7 ", "seed", 7),
            ("data.divide_by=1e3", "data.divide_by", 1000.0),
            ("data.standardize=true", "data.standardize", True),
            ("data.dataset=iris", "data.dataset", "iris"),
            ('data.dataset="iris"', "data.dataset", "iris"),
            ('data.columns=["waiting"]', "data.columns", ("waiting",)),
            ("data.file=a-b/c.csv", "data.file", "a-b/c.csv"),
            ("methods.em.tolerance=0", "methods.em.tolerance", 0.0),
            ("soundness.tight=0.5", "soundness.tight", 0.5),
            ("prior.family=conjugate", "prior.family", "conjugate"),
            ("starts={rule='random_responsibilities'}", "starts.rule", "random_responsibilities"),
            ("methods.nuts.num_chains=2", "methods.nuts.num_chains", 2),
        ],
    )
    def test_a_setting_arrives_with_its_type(self, read, setting, path, value):
        # A file takes the place of the data set.
        before = ["data={standardize=false}"] if path == "data.file" else []
        found: Any = read(*before, setting)
        for part in path.split("."):
            found = found[part] if isinstance(found, dict) else getattr(found, part)
        assert found == value
        assert type(found) is type(value)

    def test_the_last_of_two_settings_of_a_key_holds(self, read):
        assert read("seed=3", "seed=4").seed == 4

    def test_a_new_method_may_be_set_up_in_pieces(self, read):
        found = read("methods.slow.method=ascent", "methods.slow.optimizer=adam").methods["slow"]
        assert found == METHODS["ascent"](optimizer="adam")

    @pytest.mark.parametrize(
        ("setting", "words"),
        [
            ("seed", "--set seed: give key.path=value"),
            ("=3", "--set =3: give key.path=value"),
            ("a..b=3", "--set a..b=3: give key.path=value"),
            ("a b=3", "--set a b=3: give key.path=value"),
            ("seed.x=3", "--set seed.x=3: seed is a value, not a table"),
            ("data.dataset.x.y=3", "--set data.dataset.x.y=3: data.dataset is a value, not a table"),
            ("data.columns=[waiting]", "'[waiting]' is not a TOML value; quote text"),
            ("data.dataset=two words", "'two words' is not a TOML value; quote text"),
            ("seed=", "'' is not a TOML value"),
        ],
    )
    def test_a_setting_that_cannot_be_understood_is_shown_with_the_remedy(self, read, setting, words):
        with pytest.raises(InputError) as caught:
            read(setting)
        assert words in str(caught.value)

    def test_a_wrong_value_in_a_setting_is_reported_like_one_in_the_file(self, read):
        with pytest.raises(InputError, match=r"x\.toml: model\.components: must be greater than or equal to 1, got 0"):
            read("model.components=0")
        with pytest.raises(InputError, match=r"x\.toml: seed: must be a valid integer"):
            read("seed=three")


@pytest.mark.parametrize("key", ["a\nb", "a\x1b[31mb", "a\r\nb"])
def test_a_key_that_holds_what_is_no_character_to_print_leaves_a_message_of_one_line(key, tmp_path):
    values = {"data": {"dataset": "faithful"}, "model": {"components": 2}, "methods": {"em": {}}}
    for mistake in ({key: 1}, {"model": {"components": 2, key: 1}}, {"methods": {"em": {key: 1}}}):
        with pytest.raises(InputError) as refused:
            parse_experiment({**values, **mistake}, "mine.toml")
        assert str(refused.value).isprintable()
        assert "unknown key" in str(refused.value)
    file = tmp_path / "mine.toml"
    file.write_text("", encoding="utf-8")
    for setting in (f"{key}=1", f"{key}", f"model.components={key}"):
        with pytest.raises(InputError) as refused:
            read_toml(file, [setting])
        assert str(refused.value).isprintable()


def test_the_record_of_a_stored_job_is_no_config(tiny_run) -> None:
    (record,) = (tiny_run[0] / "jobs").glob("experiment-*.toml")
    with pytest.raises(InputError, match=r"is the record of a stored job, not a config; .* --job ID"):
        read_experiment(record)
