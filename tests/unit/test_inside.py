"""What runs inside kernels keeps its laws: the standard library, what kernels have, a syntax that Python 3.8 reads."""

from __future__ import annotations

import ast
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor import inside
from kernel_supervisor.inside.bounds import shortened
from kernel_supervisor.kernels.checkpoints import code

FOLDER = Path(inside.__file__).parent
FILES = [path for path in sorted(FOLDER.rglob("*.py")) if path != Path(inside.__file__)]
FILES.append(Path(code()["cloudpickle"]))  # which runs there, too
KERNELS = {"ipykernel", "IPython", "zmq"}
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


@pytest.mark.parametrize("path", FILES, ids=lambda path: os.path.relpath(path, FOLDER))
def test_a_kernel_of_python_3_8_can_read_it_and_has_all_that_it_imports(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    assert _imported(tree) <= set(sys.stdlib_module_names) - LATER | KERNELS


def test_there_is_something_to_look_at() -> None:
    assert {path.name for path in FILES} >= {"recorder.py", "lookup.py", "formatter.py", "plain.py"}


CONTENT = st.recursive(
    st.text(max_size=300) | st.integers() | st.none(),
    lambda inner: (
        st.lists(st.text(max_size=60), max_size=40) | st.lists(inner, max_size=4) | st.fixed_dictionaries({"a": inner})
    ),
    max_leaves=8,
)


@given(CONTENT)
def test_what_is_recorded_of_a_content_is_short_and_says_what_is_missing(content: Any) -> None:
    short = shortened(content, 1200)
    assert short == content or "not recorded …]" in json.dumps(short, ensure_ascii=False)
    if isinstance(content, str | list) and all(isinstance(each, str) for each in content):
        assert sum(map(len, short)) <= 1200 + 60


@pytest.mark.parametrize("lines", [["x" * 10**6], ["first", *["line"] * 10**5, "last"], ["first", "y" * 10**6, "last"]])
def test_the_beginning_and_the_end_of_a_traceback_are_recorded(lines: list[str]) -> None:
    short = shortened({"traceback": lines}, 1 << 12)["traceback"]
    assert sum(map(len, short)) < 5000
    assert short[0][:5] == lines[0][:5]
    assert short[-1][-4:] == lines[-1][-4:]
    (said,) = re.findall(r"\[… (\d+) (?:line|character)s that are not recorded …\]", "".join(short))
    kept = sum(map(len, short)) if "character" in "".join(short) else len(short) - 1
    whole = sum(map(len, lines)) if "character" in "".join(short) else len(lines)
    assert whole <= kept + int(said) <= whole + 60
