"""Promise: a kernel that others end by SIGTERM saves itself first, where that is asked for, and ends of the signal."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernel_supervisor.inside.door import KEEP
from kernel_supervisor.kernels.checkpoints import code
from tests.checkpoint_support import Checkpoint, ask
from tests.process.test_recorder import Recorded, recorded, short
from tests.support import until_now

__all__ = ["short"]
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def kernel(short: Callable[[str], Path], request: pytest.FixtureRequest) -> Iterator[Recorded]:
    with recorded(short(f"term{abs(hash(request.node.name)) % 10**8}")) as running:
        yield running


def _end(kernel: Recorded) -> None:
    os.kill(kernel.pid, signal.SIGTERM)
    assert os.waitpid(kernel.pid, 0)[1] == signal.SIGTERM


def test_a_kernel_saves_itself_and_ends_of_the_signal(kernel: Recorded, tmp_path: Path) -> None:
    kernel.run("x = [1, 2]")
    kept = Checkpoint(kernel, tmp_path, KEEP)
    assert kept.reply == {"status": "ok"}
    kernel.run("x.append(3)")
    _end(kernel)
    assert kept.values() == {"x": [1, 2, 3]}
    assert {each.name for each in kept.into.iterdir()} == {"manifest.json", "begun.json"}


def test_one_that_was_asked_to_save_nothing_any_more_does_not(kernel: Recorded, tmp_path: Path) -> None:
    kept = Checkpoint(kernel, tmp_path, KEEP)
    assert ask(kernel, {**code(), "into": None}, KEEP) == {"status": "ok"}
    kernel.run("import signal; assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL")
    assert kernel.reply["content"]["status"] == "ok"
    _end(kernel)
    assert list(kept.into.iterdir()) == []


def test_one_whose_main_thread_is_in_c_code_ends_at_once_and_saves_nothing(kernel: Recorded, tmp_path: Path) -> None:
    kept = Checkpoint(kernel, tmp_path, KEEP)
    kernel.run("import ctypes, threading")
    kernel.client.execute("print('in it', flush=True); ctypes.CDLL(None).poll(None, 0, 600000)")
    until_now(lambda: b"in it" in kernel.log.read_bytes(), "it is in C")
    _end(kernel)
    assert list(kept.into.iterdir()) == []


HANDLED = """
import os, signal, time
seen = []
signal.signal(signal.SIGTERM, lambda *_: seen.append('mine'))
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.5)
assert seen == ['mine'], seen
"""


def test_a_handler_of_the_users_own_wins(kernel: Recorded, tmp_path: Path) -> None:
    kept = Checkpoint(kernel, tmp_path, KEEP)
    kernel.run(HANDLED)
    assert kernel.reply["content"]["status"] == "ok", kernel.reply["content"]
    again = Checkpoint(kernel, tmp_path, KEEP)
    assert again.reply == {"status": "refused", "why": "user code has a handler of its own for SIGTERM"}
    assert list(kept.into.iterdir()) == []


CHILDREN = """
import multiprocessing, os, signal, subprocess, time
pid = os.fork()
if not pid:
    while True: time.sleep(60)
pool = multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,)); pool.start()
program = subprocess.Popen(['sleep', '600'])
pool.terminate(); pool.join(); os.kill(pid, signal.SIGTERM); program.terminate()
assert (pool.exitcode, os.waitpid(pid, 0)[1], program.wait()) == (-15, 15, -15)
"""


def test_children_end_of_it_as_ever(kernel: Recorded, tmp_path: Path) -> None:
    kept = Checkpoint(kernel, tmp_path, KEEP)
    kernel.run(CHILDREN)
    assert kernel.reply["content"]["status"] == "ok", kernel.reply["content"]
    assert list(kept.into.iterdir()) == []
