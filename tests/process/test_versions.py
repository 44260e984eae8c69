"""Promise: where client, daemon and installed package are not of one version, that is said, with what to do."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import kernel_supervisor
from tests.support import Home, Shim, interpreter_with

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def package(home: Home) -> Path:
    """A copy of what is installed, before everything else in an environment of its own."""
    environment = home.path.parent / "installed"
    interpreter_with(environment)
    (site,) = environment.glob("lib/*/site-packages")
    for name in ("kernel_supervisor", "mcp_shim"):
        shutil.copytree(Path(kernel_supervisor.__file__).parents[1] / name, site / name)
    return site / "kernel_supervisor"


@pytest.fixture
def shim(home: Home, package: Path) -> Iterator[Shim]:
    python = str(home.path.parent / "installed/bin/python")
    with replace(home, python=python).shim("--python", sys.executable) as shim:
        shim.open()
        assert "restart-daemon" not in shim.run("x = 41")["text"]
        yield shim


def _install(package: Path, version: str) -> None:
    file = package / "__init__.py"
    file.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', file.read_text()))


def test_an_upgrade_under_a_daemon_is_told_to_who_comes_next(home: Home, package: Path, shim: Shim) -> None:
    _install(package, "9.9.9")
    status = home.cli("status").stdout
    assert "the installed package is version 9.9.9, the daemon 0" in status
    assert "`kernel-supervisor restart-daemon`" in status
    python = str(home.path.parent / "installed/bin/python")
    with replace(home, python=python).shim() as newer:
        newer.open()
        told = newer.run("x + 1")["text"]
        assert told.endswith("42")
        assert "this client is version 9.9.9 and the installed package is version 9.9.9, the daemon 0" in told
        assert "9.9.9" not in newer.run("x")["text"], "said once"


def test_a_daemon_whose_package_is_gone_says_so(home: Home, package: Path, shim: Shim) -> None:
    package.rename(package.with_name("gone"))
    assert f"is gone from {package}" in home.cli("status").stdout
    assert shim.run("x + 1")["text"].endswith("42")
