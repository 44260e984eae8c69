"""Fixtures for all layers. After each test that had a home: no process, no socket, no connection file is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests import ipykernels

if TYPE_CHECKING:
    from tests.support import Home

# No deadline: a machine may be busy, times are for the benchmarks. What CI tries is the same each time: what a new
# example shows is found by whoever looks for it, and never stops somebody else's change. nox asks for "unhurried";
# who changes something runs the tests often, and tries others each time. `--hypothesis-profile=searching` looks longer.
settings.register_profile("unhurried", max_examples=40, deadline=None, derandomize=bool(os.environ.get("CI")))
settings.register_profile("searching", max_examples=2_000, deadline=None)
settings.register_profile("often", max_examples=12, deadline=None)
settings.load_profile("often")


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
    from tests.support import fresh_home  # 0.8 s, for an MCP client that the fast layers do not have

    with fresh_home() as place:
        yield place


@pytest.fixture(scope="module")
def standing_home() -> Iterator[Home]:
    """A home whose daemon is started by the first test of a file and serves all of them."""
    from tests.support import fresh_home

    with fresh_home() as place:
        yield place
