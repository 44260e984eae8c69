"""Promise 2 at its narrowest: the daemon dies between two lines, before and after it sent a cell to the kernel.

The fault comes from outside: a `sitecustomize` of the daemon's interpreter wraps the one method that sends, and kills
the process there if the test has laid a file.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import ERAS, Home, interpreter_with

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

WRAPPER = """
import os, sys

if "kernel_supervisor.daemon" in sys.orig_argv:
    from kernel_supervisor.kernels.kernel import Kernel

    execute = Kernel.execute

    def die_if_told(moment):
        try:
            os.unlink(os.path.join({faults!r}, moment))
        except FileNotFoundError:
            return
        os.kill(os.getpid(), 9)

    async def wrapped(self, msg_id, code, *more):
        if "# fault" in code:
            die_if_told("before")
        await execute(self, msg_id, code, *more)
        if "# fault" in code:
            die_if_told("after")

    Kernel.execute = wrapped
"""


@pytest.fixture
def faults(home: Home) -> Path:
    """Where a file named `before` or `after` kills the daemon, once, when it sends a cell with `# fault` in it."""
    folder = home.project.parent / "faults"
    interpreter_with(folder, sitecustomize=WRAPPER.format(faults=str(folder)))
    return folder


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("moments", [("before",), ("after",), ("before", "after")], ids="-".join)
async def test_a_cell_runs_once_when_the_daemon_dies_around_sending_it(
    home: Home, faults: Path, era: str, moments: tuple[str, ...]
) -> None:
    home = replace(home, python=str(faults / "bin/python"))
    async with home.client(era, "--python", sys.executable) as session:
        before = await session.run("runs = 0")
        first = home.daemon()
        assert first is not None
        for moment in moments:
            (faults / moment).touch()
        result = await session.run("runs += 1; print('ran')  # fault\nruns", timeout=120)
        second = home.daemon()
        assert not [moment for moment in moments if (faults / moment).exists()], "the fault was not met"
        assert second is not None
        assert second.pid != first.pid
        assert result.text.count("ran") == 1, result.text
        assert result.facts["execution_count"] == before.facts["execution_count"] + 1
        assert (await session.run("runs")).text.endswith("1")
