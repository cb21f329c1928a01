"""Arrows between the folders point one way, and files and functions stay short."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path for folder in ("tfmodels", "training", "export", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
GROUND_FLOOR = ("layers", "generation", "checkpoints", "text")
FAMILIES = ("led", "longt5")
BASEMENT = ("utils", "backend")
UPPER_FLOOR = ["tfmodels.modeling", "tfmodels.auto"]


def imports(path):
    """Absolute names of the project's modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def may_not_import(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    above = ["training", "export", "benchmarks"]
    if parts[0] != "tfmodels":
        families = [f"tfmodels.{family}" for family in FAMILIES]
        return families + (["training"] if parts[0] == "export" else [])
    if parts[1] in (*GROUND_FLOOR, *BASEMENT):
        others = [f"tfmodels.{name}" for name in (*GROUND_FLOOR, *FAMILIES) if name != parts[1]]
        return [*above, *others, *UPPER_FLOOR]
    if parts[1] in FAMILIES:
        return [*above, *(f"tfmodels.{family}" for family in FAMILIES if family != parts[1]), "tfmodels.auto"]
    if parts[1] in ("auto", "__init__"):
        return above
    return [*above, *(f"tfmodels.{family}" for family in FAMILIES)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    forbidden = may_not_import(path)
    for name in imports(path):
        assert not any(name == other or name.startswith(other + ".") for other in forbidden), name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_short(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 420
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 60, node.name
