"""Fixtures for tests that talk to the shim as MCP clients do."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ERAS, Home


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
