"""Fixtures for tests that talk to the shim as MCP clients do."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ERAS, Home

ALIKE = {"checkpoints", "figures_seen", "history", "inspector", "kernel_life", "looking", "notebook", "notebook_choice"}
ALIKE |= {"environments", "notebook_markdown", "notices", "plots", "projects", "resources", "results", "wrong_input"}
"""What these files are about is the same in both eras: each of their tests has one of them, by its name."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Half of the tests that differ in the era alone, where that makes no difference."""
    left_out = [item for item in items if _is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _is_left_out(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec") or "era" not in item.callspec.params:
        return False
    name = item.originalname.encode()
    chosen = ERAS[zlib.crc32(name) % len(ERAS)]
    alike = item.path.parent.name == "mcp" and item.path.stem.removeprefix("test_") in ALIKE
    return alike and item.callspec.params["era"] != chosen


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    """Both eras of the protocol, one after the other."""
    return str(request.param)


@pytest.fixture
def desk(standing_home: Home) -> Iterator[Home]:
    """A directory, and so a session, of the test's own at the daemon of the file. No kernel runs yet."""
    folder = tempfile.TemporaryDirectory(prefix="desk-", dir=standing_home.project, ignore_cleanup_errors=True)
    with folder as project:  # where a spare kernel may still write what it imports; the rest goes with the home
        yield Home(standing_home.path, Path(project))
        for kernel in standing_home.kernels():
            kernel.kill()
            kernel.wait(10)
