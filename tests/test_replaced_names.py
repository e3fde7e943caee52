"""What tests replace exists: a slow test that replaces a renamed function is found here, and not when its day comes."""

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest

TESTS = sorted(Path(__file__).parent.rglob("test_*.py"))


def imported(tree: ast.Module) -> dict[str, Any]:
    """The names that a test imports from the package, with what they stand for."""
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "workbench":
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                found[alias.asname or alias.name] = getattr(module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "workbench":
                    module = importlib.import_module(alias.name)
                    found[alias.asname or "workbench"] = (
                        module if alias.asname else importlib.import_module("workbench")
                    )
    return found


def replaced(tree: ast.Module) -> list[tuple[str, str]]:
    """The owner and the name of every attribute that `monkeypatch.setattr` replaces, if both are written out."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) >= 2]
    return [
        (call.args[0].id, str(call.args[1].value))
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "setattr"
        and isinstance(call.args[0], ast.Name)
        and isinstance(call.args[1], ast.Constant)
    ]


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_names_that_are_imported_or_replaced_exist(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    known = imported(tree)
    lost = [f"{owner}.{name}" for owner, name in replaced(tree) if owner in known and not hasattr(known[owner], name)]
    assert lost == []


def test_a_renamed_function_is_found() -> None:
    tree = ast.parse('from workbench.methods import nuts\nmonkeypatch.setattr(nuts, "potential", 0)\n')
    known = imported(tree)
    ((owner, name),) = replaced(tree)
    assert (owner, name) == ("nuts", "potential") and not hasattr(known[owner], name)
