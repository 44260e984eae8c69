"""Promise: what user code sees of its kernel, its streams and its threads is as it is without the recorder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.ipykernels import built
from tests.process.test_recorder import Recorded, pairs, recorded

pytestmark = pytest.mark.timeout(300)
PLAIN = """
import runpy, sys
del sys.argv[1:sys.argv.index("-f")], sys.path[0]
runpy.run_module("ipykernel_launcher", run_name="__main__", alter_sys=True)
"""
LOOK = """
def look():
    import asyncio, contextlib, io, json, os, stat, sys, threading
    from signal import SIGCHLD, SIGPIPE, SIGTERM, getsignal
    def of(stream):
        return [type(stream).__module__, type(stream).__name__, stream.isatty(), stream.fileno() > 2, stream.encoding,
                stream.errors, stream.name, stream.writable(), stream.readable(), stream.closed]
    with contextlib.redirect_stdout(io.StringIO()) as taken:
        print("taken")
    return {
        "streams": [of(sys.stdout), of(sys.stderr)],
        "own streams": [[type(each).__name__, each.fileno()] for each in (sys.__stdout__, sys.__stderr__)],
        "descriptors": [[os.isatty(each), stat.S_ISFIFO(os.fstat(each).st_mode)] for each in (0, 1, 2)],
        "redirected": taken.getvalue(),
        "signals": [str(getsignal(each)) for each in (SIGCHLD, SIGPIPE, SIGTERM)],
        "argv": sys.argv[0], "path": sys.path, "main": sorted(vars(sys.modules["__main__"])),
        "names": sorted(name for name in globals() if not name.startswith("_")),
        "loop": type(asyncio.get_event_loop()).__name__,
        "threads": sorted(type(each).__name__ for each in threading.enumerate()),
        "tasks": len(os.listdir("/proc/self/task")),
        "variables": sorted(os.environ),
    }
import json as _json
with open({answer!r}, "w") as _file: _json.dump(look(), _file)
"""


def looked(kernel: Recorded, answer: Path) -> dict[str, Any]:
    kernel.client.execute_interactive(LOOK.replace("{answer!r}", repr(str(answer))), timeout=60)
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


@pytest.mark.parametrize("pair", [*pairs()[:4], pairs()[-1]], ids=lambda pair: pair[1])
def test_user_code_sees_what_it_sees_without_us(pair: tuple[str, str], tmp_path: Path) -> None:
    python = str(built(*pair) / "bin/python")
    (tmp_path / "plain.py").write_text(PLAIN)
    with recorded(tmp_path / "plain", python, recorder=tmp_path / "plain.py") as kernel:
        plain = looked(kernel, tmp_path / "plain.json")
    with recorded(tmp_path / "ours", python) as kernel:
        ours = looked(kernel, tmp_path / "ours.json")
    assert ours.pop("tasks") <= plain.pop("tasks")
    assert len(ours.pop("threads")) <= len(plain.pop("threads"))
    assert ours == plain
