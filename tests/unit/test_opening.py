"""Promise: an opening is answered from what this installation's last daemon answered, and from nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.client import opening
from kernel_supervisor.paths import Paths

_HANDSHAKE = {"protocolVersion": "2025-11-25"}
_ANSWER: dict[str, Any] = {"tools": [{"name": "one"}]}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The file with the list of tools."""
    opening.keep(_paths(tmp_path), "tools-list-2025-11-25", _ANSWER)
    (path,) = (tmp_path / "cache").rglob("*.json")
    return path


def _paths(folder: Path) -> Paths:
    return Paths(str(folder), str(folder / "run"))


def _recalled(folder: Path) -> Any:
    return opening.recall(_paths(folder), "tools/list", {}, _HANDSHAKE)


def test_what_was_kept_is_recalled_and_closed_to_others(tmp_path: Path, kept: Path) -> None:
    assert _recalled(tmp_path) == _ANSWER
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o077 == 0
    assert opening.recall(_paths(tmp_path), "tools/list", {}, {"protocolVersion": "2024-11-05"}) is None
    assert opening.recall(_paths(tmp_path), "tools/list", {"cursor": "2"}, _HANDSHAKE) is None
    assert opening.recall(_paths(tmp_path), "tools/call", {}, _HANDSHAKE) is None


def _a_link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _a_folder_that_is_a_link(path: Path) -> None:
    path.parent.rename(path.parent.with_suffix(".moved"))
    path.parent.symlink_to(path.parent.with_suffix(".moved"))


@pytest.mark.parametrize(
    "spoil",
    [
        _a_link,
        _a_pipe,
        _a_folder_that_is_a_link,
        lambda path: path.chmod(0o622),
        lambda path: path.write_text(path.read_text()[:-5]),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text("{}"),
        lambda path: path.write_text('{"tools": 7}'),
        lambda path: path.write_text('{"tools": [7]}'),
        lambda path: path.write_text('{"tools": [{"description": "of nothing"}]}'),
        lambda path: path.write_text('{"tools": [], "ttl": NaN}'),
        lambda path: path.write_text('{"tools": ["' + "x" * (2 << 20) + '"]}'),
    ],
    ids=[
        "link",
        "pipe",
        "folder",
        "rights",
        "cut",
        "bytes",
        "deep",
        "empty",
        "no list",
        "numbers",
        "no name",
        "no number",
        "large",
    ],
)
def test_what_is_damaged_or_may_be_somebody_elses_is_not_recalled(
    tmp_path: Path, kept: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(kept)
    assert _recalled(tmp_path) is None


def test_what_another_user_owns_is_not_recalled(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    somebody = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: somebody)
    assert _recalled(tmp_path) is None


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [(opening, "__version__", "0.0.1"), (sys, "executable", "/another/python"), (opening, "__file__", "/another.py")],
)
def test_what_another_installation_answered_is_not_recalled(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, value: str
) -> None:
    monkeypatch.setattr(module, name, value)
    assert _recalled(tmp_path) is None
