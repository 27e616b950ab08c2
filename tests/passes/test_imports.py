"""`passes` lives inside other tools, so it imports onnx, onnx-graphsurgeon and numpy; an adapter also its tool."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import passes

FOLDER = Path(passes.__file__).parent
OWN = {"onnx", "onnx_graphsurgeon", "numpy", "passes"}
TOOLS = {"qonnx": {"qonnx"}, "finn": {"qonnx"}, "onnx_ir": {"onnx_ir"}, "olive": {"olive"}}


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_module_imports_what_every_host_has(path: Path) -> None:
    tool = TOOLS.get(path.stem, set()) if path.parent.name == "adapters" else set()
    assert imported(path) <= OWN | tool | sys.stdlib_module_names


def test_hls_backend_imports_nothing_of_graphops() -> None:
    modules = list((FOLDER.parent / "hls_backend").rglob("*.py"))
    assert modules
    assert not [path for path in modules if "graphops" in imported(path)]


def imported(path: Path) -> set[str]:
    """The top-level packages that the module imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add((node.module or "").split(".")[0])
    return names
