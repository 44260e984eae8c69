"""Promise: what a definition holds of a variable is that variable after a restore, or is said to be a copy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.inside.checkpoints.saving import beside
from tests.checkpoint_support import Checkpoint
from tests.pickled import asked
from tests.process.test_recorder import Recorded, recorded

JOINED = {
    "class attribute": ("data = []\nclass A:\n    items = data", "assert A.items is data"),
    "default argument": ("memo = {}\ndef f(n, memo=memo): return memo", "assert f(1) is memo"),
    "keyword default": ("memo = {}\ndef f(*, memo=memo): return memo", "assert f() is memo"),
    "within a tuple": ("data = []\nclass A:\n    both = (data, 1)", "assert A.both[0] is data"),
    "within a dict": ("data = []\nclass A:\n    of = {'x': data}", "assert A.of['x'] is data"),
    "attribute set later": ("data = [1]\nclass A: pass\nA.later = data", "assert A.later is data"),
    "function attribute": ("data = [1]\ndef f(): pass\nf.seen = data", "assert f.seen is data"),
    "instance of another class": ("class B: pass\nb = B()\nclass A:\n    of = b", "assert A.of is b and type(b) is B"),
    "two classes": ("data = []\nclass A:\n    x = data\nclass B:\n    y = data", "assert A.x is data and B.y is data"),
    "class derived": ("data = []\nclass A:\n    x = data\nclass B(A): pass", "assert B.x is data"),
    "dataclass": (
        "import dataclasses\ndata = []\n@dataclasses.dataclass\nclass A:\n    n: int = 1\n    pool = data",
        "assert A().pool is data",
    ),
    "lambda": ("data = []\ng = lambda x, d=data: d", "assert g(1) is data"),
    "set": ("seen = {1}\nclass A:\n    seen = seen", "assert A.seen is seen"),
    "bytearray": ("raw = bytearray(b'abc')\nclass A:\n    raw = raw", "assert A.raw is raw"),
    "lock in between": ("import threading\ndata = []\nclass A:\n    x = data\ndef f(): pass", "assert A.x is data"),
    "two that need each other": (
        "data = []\nclass A:\n    x = data\n    def b(self): return B\nclass B:\n    a = A\n    y = data\nA.b2 = B",
        "assert A.x is data and B.y is data and A.b2 is B and B.a is A",
    ),
}
"""What is made, and what is so after the restore."""
SAID = {
    "registry of instances": (
        "registry = []\nclass A:\n    registry = registry\n    def __init__(self): self.registry.append(self)\na = A()",
        "assert type(a) is A and len(A.registry) == len(registry) == 1",
    ),
    "within a variable": ("data = {'x': []}\nclass A:\n    x = data['x']", "assert A.x == data['x']"),
    "two classes alone": ("data = []\nclass A:\n    x = data\nclass B:\n    y = data\ndel data", "assert A.x == B.y"),
    "a bound method's object": (
        "class C:\n    def m(self): return self\nc = [C()]\ndef f(m=c[0].m): return m",
        "assert type(f().__self__) is C",
    ),
}
"""What cannot be joined: it comes back, and is named as a copy."""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Recorded]:
    """One for all of them, emptied before each."""
    with tempfile.TemporaryDirectory(prefix="ksj", dir="/tmp") as folder, recorded(Path(folder)) as running:
        yield running


def _restored(kernel: Recorded, tmp_path: Path, code: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The namespace that a checkpoint makes, what the restore tells, and the manifest."""
    kernel.run("get_ipython().reset(new_session=False)")
    kernel.run(code)
    assert kernel.reply["content"]["status"] == "ok", kernel.reply
    checkpoint = Checkpoint(kernel, tmp_path)
    manifest = checkpoint.manifest()
    namespace: dict[str, Any] = {"__name__": "__main__"}
    told = beside("restoring").restore(namespace, {**asked(checkpoint.into), "objects": str(checkpoint.objects)})
    assert told["missing"] == {}
    assert told["by_source"] == []
    return namespace, told, manifest


@pytest.mark.parametrize("kind", JOINED)
def test_what_a_definition_holds_is_the_variable_again(kernel: Recorded, tmp_path: Path, kind: str) -> None:
    code, check = JOINED[kind]
    namespace, told, _ = _restored(kernel, tmp_path, code)
    exec(check, namespace)
    assert told["copies"] == []


@pytest.mark.parametrize("kind", SAID)
def test_what_cannot_be_joined_is_named(kernel: Recorded, tmp_path: Path, kind: str) -> None:
    code, check = SAID[kind]
    namespace, told, _ = _restored(kernel, tmp_path, code)
    exec(check, namespace)
    assert told["copies"]


def test_what_definitions_do_not_share_is_called_no_copy(kernel: Recorded, tmp_path: Path) -> None:
    code = "import math\nrows = [[1], [2]]\nclass A:\n    own = [1]\n    def __init__(self): self.a = rows"
    _, told, _ = _restored(kernel, tmp_path, f"{code}\ndef f(x=()): pass\na = A()\nkinds = [A, f]")
    assert told["copies"] == []


def test_a_large_variable_is_written_once(kernel: Recorded, tmp_path: Path) -> None:
    code = "lot = bytearray(4_000_000)\nclass A:\n    lot = lot\ndef f(x=lot): return x"
    namespace, _, manifest = _restored(kernel, tmp_path, code)
    exec("assert f() is lot is A.lot", namespace)
    assert manifest["bytes"] < 5_000_000
