"""Promise: what a kernel has is saved while it goes on and notices nothing, whatever one of its objects does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
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
    command, children = mine.cmdline(), {each.pid for each in mine.children(recursive=True)}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_copy = process.pid != kernel.pid and process.cmdline() == command
            if is_copy or (process.pid in children and process.name() != "sleep"):
                found.append(process)
    return found


def _held(kernel: Recorded) -> set[str]:
    """Its descriptors and its threads."""
    return {f"{kind}/{each.name}" for kind in ("fd", "task") for each in Path(f"/proc/{kernel.pid}", kind).iterdir()}


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


BEGIN = """
import ctypes, logging, os, signal, subprocess, sys, threading, time, warnings
import numpy as np
warnings.simplefilter('always')
stop, wrong, seen = threading.Event(), [], []
def lasting(work):
    def run():
        while not stop.is_set(): work()
    thread = threading.Thread(target=run, name='user-' + work.__name__)
    thread.start()
    return thread
a = np.random.default_rng(0).random((300, 300)); product = a @ a
def blas():
    if not np.allclose(a @ a, product): wrong.append('blas')
def busy():
    if sum(range(10**5)) != 4999950000: wrong.append('busy')
reading, writing = os.pipe()
os.set_blocking(writing, False)
try:
    while True: os.write(writing, b'x' * 4096)
except BlockingIOError: pass
os.set_blocking(writing, True)
log = logging.getLogger('full'); log.propagate = False
log.addHandler(logging.StreamHandler(os.fdopen(writing, 'w', closefd=False)))
def logs(): log.warning('y' * 100)
signal.signal(signal.SIGCHLD, lambda *_: seen.append('SIGCHLD'))
child = subprocess.Popen(['sleep', '600'], pass_fds=())
waited = []
def waits():
    waited.append(os.wait()[0]); stop.wait()
def hooks(when):
    def hook():
        seen.append(when); print('hook', when); print('hook', when, file=sys.stderr); raise ValueError('hook ' + when)
    return hook
file = open('lines', 'w+'); file.write('one\\ntwo\\nthree\\n' * 10000); file.flush(); file.seek(4)
threads = [lasting(each) for each in (blas, blas, busy, logs, waits)]
os.register_at_fork(before=hooks('before'), after_in_parent=hooks('parent'), after_in_child=hooks('child'))
os.register_at_fork(before=lambda: time.sleep(60), after_in_parent=lambda: time.sleep(60))
os.register_at_fork(after_in_child=lambda: time.sleep(0.2))
settings = sys.getswitchinterval(), signal.getsignal(signal.SIGINT), os.umask(0o22), os.getcwd()
value = {'n': [1, 2, 3]}
"""
END = """
assert not seen and not waited and not wrong, (seen, waited, wrong)
assert (sys.getswitchinterval(), signal.getsignal(signal.SIGINT), os.umask(0o22), os.getcwd()) == settings
assert file.tell() == 4 and os.lseek(file.fileno(), 0, 1) == 4
assert all(thread.is_alive() for thread in threads)
stop.set(); child.kill()
while b'y' not in os.read(reading, 1 << 20): pass
def drain():
    while os.read(reading, 1 << 20): pass
threading.Thread(target=drain, daemon=True).start()
for thread in threads: thread.join(30)
assert waited == [child.pid] and seen == ['SIGCHLD'] and not wrong, (seen, waited, wrong)
assert not any(thread.is_alive() for thread in threads)
"""


def test_user_code_notices_nothing_whatever_its_threads_do(
    kernel: Recorded, code: Path, short: Callable[[str], Path]
) -> None:
    beginning = kernel.run(BEGIN)
    assert kernel.reply["content"]["status"] == "ok", kernel.reply["content"]
    count = kernel.reply["content"]["execution_count"]
    home, held = short("threads"), set[str]()
    for _ in range(20):
        asked = Checkpoint(kernel, home, code, only=["value", "product"])
        assert asked.reply["status"] == "ok", asked.reply
        manifest = asked.manifest()
        assert set(manifest["names"]) == {"value", "product"}, manifest["missing"]
        assert manifest["threads"] == ["user-blas", "user-blas", "user-busy", "user-logs", "user-waits"]
        held = held or _held(kernel)
    until_now(lambda: not _left(kernel), "no child is left")
    until_now(lambda: _held(kernel) <= held, "no descriptor and no thread is left")
    ending = kernel.run(END)
    assert kernel.reply["content"]["status"] == "ok", kernel.reply["content"]
    assert kernel.reply["content"]["execution_count"] == count + 1
    for cell in (beginning, ending):
        assert kernel.text(cell) == kernel.text(cell, "stderr") == ""
    assert kernel.log.with_name("stderr").read_text() == ""
