"""The layers of docs/architecture.md, enforced from the imports."""

import ast
from pathlib import Path

import pytest

import workbench

ROOT = Path(workbench.__file__).parent

# Bottom to top; a module imports from lower layers, or from its own package.
LAYERS = (
    ("at_import", "errors", "kernel", "memory_maps", "syntax", "wrapping"),
    ("files", "frames", "table"),
    ("display",),
    ("config", "data", "provenance"),
    ("mixture",),
    ("engine",),
    ("problem",),
    ("charts", "numpyro_model", "soundness"),
    ("starts",),
    ("methods",),
    ("loop",),
    ("diagnostics",),
    ("geometry",),
    ("posterior",),
    ("compare",),
    ("experiment",),
    ("studies",),
    ("claims", "selection"),
    ("jobs",),
    ("export", "plots", "sklearn"),
    ("report",),
    ("__init__",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(ROOT.rglob("*.py"))


def unit(file: Path) -> str:
    """The package or module directly under workbench/ that a file belongs to."""
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(file: Path) -> set[str]:
    """Units of workbench that a file imports, at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "workbench":
            parts = node.module.split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            found.update(name if name in LEVEL else "__init__" for name in names)
        elif isinstance(node, ast.Import):
            found.update(
                [*alias.name.split("."), "__init__"][1] for alias in node.names if alias.name.startswith("workbench")
            )
    return found


def test_every_module_has_a_layer() -> None:
    assert {unit(file) for file in FILES} == set(LEVEL)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_down(file: Path) -> None:
    own = unit(file)
    upward = {name for name in imports(file) - {own} if LEVEL[name] >= LEVEL[own]}
    assert not upward, f"{file.relative_to(ROOT)} imports {upward}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_is_longer_than_350_lines(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 350


def test_the_architecture_page_names_every_layer() -> None:
    page = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    missing = [name for name in LEVEL if not name.startswith("__") and f"`{name}" not in page]
    assert not missing
