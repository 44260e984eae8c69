"""Promise: what a kernel has is saved while it goes on and notices nothing, whatever one of its objects does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.checkpoint_support import Checkpoint, simple_code
from tests.ipykernels import built
from tests.process.test_recorder import Recorded, interpreters, recorded, short
from tests.support import until_now

__all__ = ["short"]
pytestmark = pytest.mark.timeout(300)
PYTHONS = {f"3.{minor}": path for minor, path in interpreters().items() if minor in (11, 13)}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What saves, with a simple pickling."""
    return simple_code(tmp_path_factory.mktemp("code"))


@pytest.fixture(params=list(PYTHONS.values()), ids=list(PYTHONS))
def kernel(short: Callable[[str], Path], request: pytest.FixtureRequest) -> Iterator[Recorded]:
    python = str(built(request.param, "ipykernel>=7", "numpy>=2", "psutil") / "bin/python")
    with recorded(short(f"saved{abs(hash(request.node.name)) % 10**8}"), python) as running:
        yield running


def _left(kernel: Recorded) -> list[psutil.Process]:
    """Processes that a checkpoint has left: what a kernel has begotten, and orphans with its command line."""
    mine, found = psutil.Process(kernel.pid), []
    command = mine.cmdline()
    for process in psutil.process_iter():
        try:
            if process.pid != kernel.pid and process.cmdline() == command:
                found.append(process)
        except psutil.Error:
            continue
    return [*found, *mine.children(recursive=True)]


EVIL = """
import os, signal, sys, time
class Evil:
    def __init__(self, do): self.do = do
    def __reduce__(self):
        self.do()
        return str, ('never',)
def loop():
    while True: pass
def crash():
    import ctypes
    ctypes.string_at(0)
def raise_odd():
    class Odd(BaseException):
        def __str__(self): raise SystemExit(5)
    raise Odd
def leave_child():
    if not os.fork():
        os.setsid()
        while True: time.sleep(60)
    raise ValueError('a child was left')
def close_all():
    os.closerange(0, 1000)
def print_on():
    sys.stdout.write('printed'); sys.__stderr__.write('printed'); os.write(1, b'printed'); os.write(2, b'printed')
    raise ValueError('printed')
evil_hang = Evil(lambda: time.sleep(3600))
evil_loop = Evil(loop)
evil_exit = Evil(lambda: os._exit(0))
evil_sys_exit = Evil(lambda: sys.exit(3))
evil_crash = Evil(crash)
evil_parent = Evil(lambda: os.kill(os.getppid(), signal.SIGKILL))
evil_group = Evil(lambda: os.killpg(os.getpgid(os.getppid()), signal.SIGKILL))
evil_own_group = Evil(lambda: os.kill(0, signal.SIGKILL))
evil_odd = Evil(raise_odd)
evil_print = Evil(print_on)
evil_child = Evil(leave_child)
evil_close = Evil(close_all)
evil_deep = []
for _ in range(10**6): evil_deep = [evil_deep]
class Endless:
    def __reduce__(self): return tuple, (iter(int, 1),), None, iter(lambda: 'x' * 10**6, None)
class EndlessList(list):
    def __reduce__(self): return EndlessList, (), None, (bytes(10**6) + str(n).encode() for n in range(10**9))
evil_endless = EndlessList()
for number in range(100): globals()[f'good_{number}'] = [number] * 10
"""
REASONS = {
    "evil_hang": "took longer than 2 s",
    "evil_loop": "took longer than 2 s",
    "evil_exit": "ended the process",
    "evil_sys_exit": "SystemExit",
    "evil_crash": "SIGSEGV",
    "evil_parent": "SIGKILL",
    "evil_group": "SIGKILL",
    "evil_own_group": "SIGKILL",
    "evil_odd": "Odd",
    "evil_print": "printed",
    "evil_child": "a child was left",
    "evil_close": "ended the process",
    "evil_endless": "larger than 64 MB",
}


def test_an_evil_object_costs_itself_alone(kernel: Recorded, code: Path, short: Callable[[str], Path]) -> None:
    cell = kernel.run(EVIL)
    asked = Checkpoint(kernel, short("evil"), code, name_s=2.0, name_bytes=64 << 20)
    assert asked.reply["status"] == "ok"
    manifest = asked.manifest()
    values = asked.values("good_")
    assert [name for name in range(100) if values.get(f"good_{name}") != [name] * 10] == []
    missing = manifest["missing"]
    assert {name: missing.get(name) for name, words in REASONS.items() if words not in missing.get(name, "")} == {}
    assert "evil_deep" in {**missing, **manifest["names"]}
    until_now(lambda: not _left(kernel), "all that was started is gone")
    assert kernel.text(cell) == kernel.text(cell, "stderr") == ""
    kernel.run("assert good_7 == [7] * 10")
    assert kernel.reply["content"]["status"] == "ok"
    assert kernel.log.with_name("stderr").read_text() == ""
