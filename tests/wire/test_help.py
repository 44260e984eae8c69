"""`cli.main`: who asks for help waits for nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("words", [["--help"], ["help", "save"], [], ["exce"]], ids=" ".join)
def test_help_loads_nothing_that_takes_long(words: list[str]) -> None:
    heavy = ("zmq", "psutil", "rich", "PIL", "tabulate", "wcwidth", "argcomplete", "importlib.metadata", "asyncio")
    code = f"""
import contextlib, io, sys
from kernel_supervisor.cli.main import main
printed = io.StringIO()
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
    main({words!r})
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
