"""What runs inside kernels keeps its laws: the standard library, what kernels have, a syntax that Python 3.8 reads."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from kernel_supervisor import inside

FOLDER = Path(inside.__file__).parent
FILES = [path for path in sorted(FOLDER.rglob("*.py")) if path != Path(inside.__file__)]
KERNELS = {"ipykernel", "zmq"}
"""What every kernel has."""
LATER = {"tomllib", "zoneinfo", "graphlib"}
"""Modules of the standard library that Python 3.8 does not have."""


def _imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module).partition(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_kernel_of_python_3_8_can_read_it_and_has_all_that_it_imports(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    assert _imported(tree) <= set(sys.stdlib_module_names) - LATER | KERNELS


def test_there_is_something_to_look_at() -> None:
    assert {path.name for path in FILES} >= {"recorder.py", "lookup.py", "formatter.py", "plain.py"}
