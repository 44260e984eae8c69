"""Promise: a checkpoint spoils nothing of its kernel nor on the disk, whatever objects, threads and deaths do."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from kernel_supervisor.inside.door import CHECKPOINT
from kernel_supervisor.kernels.checkpoints import code
from tests.checkpoint_support import Checkpoint, left_of, saved_kernel
from tests.process.test_recorder import Recorded, short
from tests.support import until_now

__all__ = ["saved_kernel", "short"]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def kernel(saved_kernel: Recorded) -> Recorded:
    return saved_kernel


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


def test_an_evil_object_costs_itself_alone(kernel: Recorded, tmp_path: Path) -> None:
    cell = kernel.run(EVIL)
    asked = Checkpoint(kernel, tmp_path, name_s=2.0, name_bytes=64 << 20)
    assert asked.reply["status"] == "ok"
    manifest = asked.manifest()
    values = asked.values(*(f"good_{number}" for number in range(100)))
    assert [name for name in range(100) if values.get(f"good_{name}") != [name] * 10] == []
    missing = manifest["missing"]
    assert {name: missing.get(name) for name, words in REASONS.items() if words not in missing.get(name, "")} == {}
    assert "evil_deep" in {**missing, **manifest["names"]}
    until_now(lambda: not left_of(kernel), "all that was started is gone")
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


def test_user_code_notices_nothing_whatever_its_threads_do(kernel: Recorded, tmp_path: Path) -> None:
    beginning = kernel.run(BEGIN)
    assert kernel.reply["content"]["status"] == "ok", kernel.reply["content"]
    count = kernel.reply["content"]["execution_count"]
    held = set[str]()
    for _ in range(20):
        asked = Checkpoint(kernel, tmp_path, only=["value", "product"])
        assert asked.reply["status"] == "ok", asked.reply
        manifest = asked.manifest()
        assert set(manifest["names"]) == {"value", "product"}, manifest["missing"]
        assert manifest["threads"] == ["user-blas", "user-blas", "user-busy", "user-logs", "user-waits"]
        held = held or _held(kernel)
    until_now(lambda: not left_of(kernel), "no child is left")
    until_now(lambda: _held(kernel) <= held, "no descriptor and no thread is left")
    ending = kernel.run(END)
    assert kernel.reply["content"]["status"] == "ok", kernel.reply["content"]
    assert kernel.reply["content"]["execution_count"] == count + 1
    for cell in (beginning, ending):
        assert kernel.text(cell) == kernel.text(cell, "stderr") == ""
    assert kernel.log.with_name("stderr").read_text() == ""


def _killed(kernel: Recorded, home: Path, whom: str, number: int) -> Checkpoint:
    """A checkpoint on whose way somebody was killed, the later the greater the number, with all that came of that."""
    asked = Checkpoint(kernel, home)
    snapshot = psutil.Process(asked.reply["pid"])
    watcher = snapshot.parent()
    family = [snapshot, *snapshot.children(recursive=True)]
    manifest = asked.into / "manifest.json"
    until_now(lambda: manifest.exists() or len(os.listdir(asked.objects)) > 3 * number, "some are written")
    for process in {"snapshot": [snapshot], "kernel": [psutil.Process(kernel.pid)]}.get(whom, family):
        with suppress(psutil.Error):
            process.kill()
    until_now(lambda: watcher is None or _is_over(watcher), "all end")
    return asked


def _is_over(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # just then
        return True


@pytest.mark.parametrize("whom", ["snapshot", "all of it", "kernel"])
def test_a_death_at_any_moment_leaves_whole_objects_alone(kernel: Recorded, tmp_path: Path, whom: str) -> None:
    kernel.run("import numpy as np\nvalues = {f'a{n}': np.full(10**6, n) for n in range(20)}\nglobals().update(values)")
    killed = []
    for number in range(1 if whom == "kernel" else 8):
        asked = _killed(kernel, tmp_path, whom, number)
        killed.append(not (asked.into / "manifest.json").exists())
        for path in asked.objects.iterdir():
            whole = hashlib.sha256(path.read_bytes()).hexdigest()
            assert path.name == whole or path.name.startswith(".")
    assert any(killed) or whom == "kernel"
    if whom == "kernel":
        return
    until_now(lambda: not left_of(kernel), "nothing is left")
    for path in asked.objects.glob(".*"):
        os.utime(path, (0, 0))
    assert len(Checkpoint(kernel, tmp_path).manifest()["names"]) == 21
    until_now(lambda: not list(asked.objects.glob(".*")), "what was left half written is swept")


def test_a_full_disk_is_said_in_words(kernel: Recorded, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    kernel.run("import numpy as np\nlarge = np.arange(10**6); small = [1]")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)], check=True)
    try:
        asked = Checkpoint(kernel, tmp_path)
        assert asked.reply["status"] == "ok"
        failed = asked.into / "failed.json"
        until_now(failed.exists, "it says so")
        assert json.loads(failed.read_bytes()) == {"why": "the checkpoint could not be written: the disk is full"}
        assert list(asked.into.iterdir()) == [failed]
        until_now(lambda: not left_of(kernel), "the snapshot ends")
        assert list(asked.objects.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_checkpoint_ends_with_its_deadline(kernel: Recorded, tmp_path: Path) -> None:
    kernel.run(EVIL.replace("range(100)", "range(1)"))
    asked = Checkpoint(kernel, tmp_path, deadline_s=3.0, name_s=600.0, only=["evil_hang", "evil_loop", "good_0"])
    manifest = asked.manifest()
    assert manifest["took_s"] < 3
    assert manifest["missing"]["evil_loop"] == "there was no time left for it"
    until_now(lambda: not left_of(kernel), "nothing is left")


def test_a_copy_that_does_not_live_is_named_and_nothing_is_left(kernel: Recorded, tmp_path: Path) -> None:
    kernel.run(
        "import os, sys\nos.register_at_fork(after_in_child=lambda: os._exit(0))\nbefore = sys.getswitchinterval()"
    )
    reply = Checkpoint(kernel, tmp_path).reply
    assert reply == {
        "status": "refused",
        "why": "the copy of the kernel's process ended before it began its work",
    }
    until_now(lambda: not left_of(kernel), "nothing is left")
    kernel.run("assert sys.getswitchinterval() == before")
    assert kernel.reply["content"]["status"] == "ok"


def test_checkpoints_at_the_same_time_are_all_made(kernel: Recorded, tmp_path: Path) -> None:
    kernel.run("import sys; before, x = sys.getswitchinterval(), [1]")
    messages = []
    for number in range(5):
        into, objects = tmp_path / str(number), tmp_path / "objects"
        into.mkdir(mode=0o700)
        objects.mkdir(mode=0o700, exist_ok=True)
        asked = {**code(), "into": str(into), "objects": str(objects), "deadline_s": 60.0, "name_s": 5.0}
        messages.append(kernel.client.session.msg(CHECKPOINT, asked))
        kernel.client.control_channel.send(messages[-1])
    replies = [kernel.client.control_channel.get_msg(timeout=60)["content"]["status"] for _ in messages]
    assert replies == ["ok"] * 5
    until_now(lambda: all((tmp_path / str(number) / "manifest.json").exists() for number in range(5)), "all stand")
    kernel.run("assert sys.getswitchinterval() == before")
    assert kernel.reply["content"]["status"] == "ok"
