"""`workbench describe`: everything that `list` names, with all its keys."""

from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from workbench import kernel
from workbench.claims.ledger import Claim
from workbench.cli import cli, describe
from workbench.cli.describe import KINDS
from workbench.data import dataset_names
from workbench.experiment import Experiment
from workbench.experiment.sweep import SweepConfig
from workbench.mixture import COVARIANCES

NAMES = sorted({name for registry, _ in KINDS.values() for name in registry} | set(COVARIANCES) | set(dataset_names()))

# Every config, those of nested tables among them.
CONFIGS = [Experiment, SweepConfig, Claim, *(config for registry, _ in KINDS.values() for config in registry.values())]


def described(name: str) -> str:
    result = CliRunner().invoke(cli, ["describe", name], prog_name="workbench", catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_described_with_all_its_keys(name: str) -> None:
    text = described(name)
    assert text.startswith(f"{name}, a ")
    for registry, tag in KINDS.values():
        for key in registry[name].model_fields if name in registry else ():
            assert key == tag or any(line.startswith(key) for line in text.splitlines()), key


def test_keys_have_defaults_allowed_values_and_meanings() -> None:
    lines = [line.split("  ") for line in described("em").splitlines()]
    (tolerance,) = [
        [cell.strip() for cell in line if cell.strip()] for line in lines if line[0].startswith("tolerance")
    ]
    assert tolerance[:3] == ["tolerance", "1e-10", "number, at least 0"]
    assert "stop when log_joint rises" in tolerance[3]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_every_key_has_a_meaning(config: type[BaseModel]) -> None:
    schema: dict[str, Any] = config.model_json_schema()
    tables = {config.__name__: schema, **schema.get("$defs", {})}
    keys = {f"{table}.{key}": value for table, one in tables.items() for key, value in one["properties"].items()}
    # The key that names a class has one value, which says all.
    assert not [name for name, value in keys.items() if "const" not in value and not value.get("description")]


def test_an_unknown_name_is_one_message() -> None:
    result = CliRunner().invoke(cli, ["describe", "nutz"], prog_name="workbench")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "unknown name 'nutz'. Did you mean 'nuts'?" in result.stderr


def test_doctor_names_the_pass_that_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> str:
        result = CliRunner().invoke(cli, ["doctor"], catch_exceptions=False)
        assert (result.exit_code, result.stderr) == (0, "")
        return next(line for line in result.stdout.splitlines() if line.startswith("pass "))

    assert ("native, for" in said()) == (kernel.library() is not None)
    monkeypatch.setattr(describe, "library", lambda: None)
    assert "JAX's, which is slower" in said()
    monkeypatch.setenv("WORKBENCH_NATIVE", "0")
    assert said().endswith("JAX's: WORKBENCH_NATIVE switches the native one off")
