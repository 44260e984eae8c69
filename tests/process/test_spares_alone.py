"""What a process does that stands by, with nobody but the one who started it: when it ends, and what it has read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_supervisor.core.model import Interpreter
from kernel_supervisor.core.spares import can_stand_by, read_early
from kernel_supervisor.inside import source
from kernel_supervisor.inside.spare import _DEBIANS, EXPIRED, SHORT, UNFIT
from kernel_supervisor.kernels import spares
from kernel_supervisor.kernels.keeper import Surroundings
from kernel_supervisor.kernels.spares import Spare
from kernel_supervisor.paths import Paths
from tests.support import Home, interpreter_with, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


def started(home: Home, python: str = sys.executable, expires_s: float = 60.0) -> Spare:
    """One that nobody but this test knows."""
    paths = Paths(str(home.path), str(home.path / "run"))
    for folder in (paths.logs, paths.connections):
        Path(folder).mkdir(parents=True)
    surroundings = Surroundings(env=home.env)
    kind = spares.kind_of_spare(Interpreter(name="it", kind="venv", argv=(python,)), "", surroundings)
    return spares.start("0a1b2c3d4e5f", kind, surroundings, paths, expires_s)


async def ended(spare: Spare) -> tuple[int | None, str]:
    """How it ended, and its words."""
    await until(lambda: not spare.process.alive(), "it ends")
    found = spare.process.exit().code, spare.words()
    await spare.end()
    return found


async def test_it_ends_when_nobody_needed_it(home: Home) -> None:
    code, words = await ended(started(home, expires_s=0.1))
    assert (code, words.splitlines()[-1]) == (EXPIRED, "spare: nobody needed it")


async def test_none_stands_by_where_each_start_of_python_runs_code_of_somebodys(home: Home, tmp_path: Path) -> None:
    code, words = await ended(started(home, interpreter_with(tmp_path / "env", sitecustomize="x = 1")))
    assert (code, words) == (UNFIT, "spare: sitecustomize is run at each start of Python")


@pytest.mark.parametrize("code", ["# nothing\n", _DEBIANS], ids=["nothing", "Debian's"])
async def test_one_stands_by_where_what_each_start_of_python_runs_is_the_systems(
    home: Home, tmp_path: Path, code: str
) -> None:
    spare = started(home, interpreter_with(tmp_path / "env", sitecustomize=code))
    await until(lambda: spare.ready() or not spare.process.alive(), "it stands by, or ends")
    words = spare.words()
    await spare.end()
    assert words == ""


async def test_it_ends_with_who_started_it_and_not_before(home: Home) -> None:
    spare = started(home)
    await until(spare.ready, "it stands by")
    spare.let_go()
    await until(lambda: not spare.process.alive(), "it ends")
    assert spare.process.exit().code == 0
    await spare.end()


def test_it_ends_where_memory_is_short() -> None:
    code = "import runpy, sys; spare = runpy.run_path(sys.argv[1]); f = spare['_check']\n"
    code += "f.__globals__['_LEAST_FREE'] = 1 << 60; f(float('inf'), lambda: True)"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(source("spare"))], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (SHORT, "spare: memory is short\n")


READING = """
import json, os, runpy, sys

names, kind = set(), type(os.environ)
for method in ("__getitem__", "__contains__", "get"):
    def wrapped(self, key, *more, _real=getattr(kind, method)):
        names.add(os.fsdecode(key))
        return _real(self, key, *more)
    setattr(kind, method, wrapped)
runpy.run_path(sys.argv[1])["_import"]()
print(json.dumps(sorted(names)), file=sys.__stdout__)
"""


def test_what_it_reads_before_it_is_a_kernel_is_what_no_kernel_may_differ_in() -> None:
    ran = subprocess.run([sys.executable, "-c", READING, str(source("spare"))], capture_output=True, check=True)
    names = set(json.loads(ran.stdout.splitlines()[-1]))
    assert {"HOME", "TERM", "PYDEVD_DEBUG"} <= names, "it has been looked at"
    assert names - set(read_early(dict.fromkeys(names, ""))) == {"PATH"}, "in which `uname` is looked for"


@pytest.mark.parametrize(
    ("argv", "env", "can"),
    [
        (("/usr/bin/python3",), {}, True),
        (("/usr/bin/python3", "-X", "dev"), {"PATH": "/bin"}, True),
        (("python3",), {}, False),
        (("/usr/bin/xonsh", "{connection_file}"), {}, False),
        (("/usr/bin/python3",), {"PYTHONPATH": "/shadows"}, False),
        (("/usr/bin/python3",), {"KERNEL_SUPERVISOR_PREWARM": "0"}, False),
    ],
)
def test_for_whom_one_may_stand_by(argv: tuple[str, ...], env: dict[str, str], can: bool) -> None:
    assert can_stand_by(Interpreter(name="it", kind="venv", argv=argv), env) is can
