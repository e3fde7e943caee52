"""What a manifest says of a run that is not where it is looked for."""

import json
from pathlib import Path

import pytest

from workbench.jobs.formats import NEVER, why_missing


def test_a_run_in_another_precision_is_named_with_the_setting_that_finds_it(tmp_path: Path) -> None:
    other = tmp_path / "em-0123456789"
    other.mkdir()
    (other / "manifest.json").write_text(json.dumps({"made": {"dtype": "float32"}}))
    why = why_missing(tmp_path / "em-9876543210")
    assert why == 'it is stored in float32, and JAX computes in float64: jax.config.update("jax_enable_x64", False)'
    assert why_missing(tmp_path / "nuts-9876543210") == NEVER
    (tmp_path / "em-9876543210").mkdir()
    assert "has no manifest.json" in why_missing(tmp_path / "em-9876543210")


@pytest.mark.parametrize(
    "text", ["[", "[1]", '{"made": {"dtype": 3}}', '{"made": {"dtype": "float64"}}', '{"made": 3}', "[" * 100_000]
)
def test_other_folders_say_nothing_of_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "em-0123456789").mkdir()
    (tmp_path / "em-0123456789" / "manifest.json").write_text(text)
    assert why_missing(tmp_path / "em-9876543210") == NEVER
