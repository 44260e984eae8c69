"""Fixtures for all layers. After each test that had a home: no process, no socket, no connection file is left."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests import ipykernels

if TYPE_CHECKING:
    from tests.support import Home

# No deadline: a machine may be busy, times are for the benchmarks. What CI tries is the same each time: what a new
# example shows is found by whoever looks for it, and never stops somebody else's change.
# `--hypothesis-profile=searching` looks for longer.
settings.register_profile("unhurried", max_examples=40, deadline=None, derandomize=bool(os.environ.get("CI")))
settings.register_profile("searching", max_examples=2_000, deadline=None)
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    """Whoever begins a run ends it: all its processes share what takes long to build."""
    if ipykernels.name_folder():
        config.add_cleanup(ipykernels.remove_all)


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the daemon does."""
    return "asyncio"


@pytest.fixture
def home() -> Iterator[Home]:
    """A supervisor's home that nobody else uses, on a path that is short enough for sockets."""
    from tests.support import Home, until_now  # 0.8 s, for an MCP client that the fast layers do not have

    root = Path(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))
    project = root / "project"
    project.mkdir()
    place = Home(root / "home", project)
    try:
        yield place
    finally:
        until_now(lambda: _swept(place), "nothing is left")
        shutil.rmtree(root, ignore_errors=True)


def _swept(place: Home) -> bool:
    """Each time anew: a shim that was killed may just have started a daemon, which is seen only once it has begun."""
    place.sweep()
    return not (place.daemons() or place.kernels())
