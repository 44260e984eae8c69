"""Promise: whatever user code does with descriptors and files, no file of its own has a word of ours in it, and what is
missing from a log is made good or said."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_supervisor.core.model import Mark
from kernel_supervisor.outputs.folding import fold
from kernel_supervisor.records import messagelog
from tests.process.test_recorder import Recorded, recorded
from tests.support import until_now

pytestmark = pytest.mark.timeout(180)
IN_A_FORK = "import os\npid = os.fork()\nif pid == 0:\n    {}\n    os._exit(0)\nos.waitpid(pid, 0)\n"
CLOSED = {
    "a range is closed": "os.closerange(3, 4096)",
    "each is closed": "for fd in map(int, os.listdir('/proc/self/fd')):\n        os.closerange(max(3, fd), fd + 1)",
}
NUMBERS = """
import os
log = os.path.realpath({log!r})
ours = [int(fd) for fd in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{{fd}}") == log]
assert ours, "the log is open somewhere"
mine = os.open({mine!r}, os.O_RDWR | os.O_CREAT)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """On a path that is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("how", CLOSED.values(), ids=CLOSED)
def test_a_fork_that_closes_all_and_opens_its_own_has_them_for_itself(folder: Path, how: str) -> None:
    files = [folder / f"{number}.csv" for number in range(1100)]
    inside = (
        f"{how}\n    own = [open(f{str(folder)!r} + f'/{{n}}.csv', 'w') for n in range(900)]\n    print('in the fork')"
    )
    with recorded(folder / "k") as kernel:
        kernel.run(IN_A_FORK.format(inside))
        after = kernel.run("print('after')")
        assert kernel.text(after) == "after\n"
    assert not [each.name for each in files if each.exists() and each.read_bytes()]


@pytest.mark.parametrize("how", CLOSED.values(), ids=CLOSED)
def test_a_fork_that_crashes_has_its_traceback_in_no_file_of_its_own(folder: Path, how: str) -> None:
    opened = f"own = [open(f{str(folder)!r} + f'/{{n}}.csv', 'w') for n in range(900)]"
    with recorded(folder / "k") as kernel:
        inside = IN_A_FORK.format(f"{how}\n    {opened}\n    ctypes.string_at(0)")
        crashed = kernel.run(f"import ctypes\n{inside}print('seen')")
        assert kernel.text(crashed) == "seen\n"
    files = list(folder.glob("*.csv"))
    assert len(files) == 900
    assert not [each.name for each in files if each.read_bytes()]


@pytest.mark.parametrize("take", ["os.dup2(mine, fd)", "os.close(fd); assert os.dup2(mine, fd) == fd"])
def test_a_number_that_is_taken_for_a_file_is_not_written_to(folder: Path, take: str) -> None:
    mine = folder / "mine.csv"
    with recorded(folder / "k") as kernel:
        numbers = NUMBERS.format(log=str(kernel.log), mine=str(mine))
        cell = kernel.run(f"{numbers}for fd in ours: {take}\nos.write(mine, b'a,b')\nprint('printed')\n6 * 7")
        assert kernel.text(cell) == "printed\n"
        folded = fold(kernel.items(cell))
        assert not folded.marks, "nothing is missing"
        assert folded.reply is not None
        assert kernel.text(kernel.run("print('after')")) == "after\n"
    assert mine.read_bytes() == b"a,b"


def test_a_bell_whose_number_is_taken_rings_in_no_stream_of_anybody(folder: Path) -> None:
    code = """
import os, socket
server = socket.create_server(("127.0.0.1", 0))
mine = socket.create_connection(server.getsockname())
theirs = server.accept()[0]
for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        kind = socket.socket(fileno=os.dup(fd))
    except OSError:
        continue
    if kind.family == socket.AF_UNIX and kind.type == socket.SOCK_DGRAM:
        os.dup2(mine.fileno(), fd)
    kind.close()
print("printed")
"""
    with recorded(folder / "k") as kernel:
        kernel.run(code)
        heard = kernel.run(
            "theirs.setblocking(False)\ntry: print(theirs.recv(99))\nexcept BlockingIOError: print('none')"
        )
        assert kernel.text(heard) == "none\n"


GONE = {
    "unlinked": "os.unlink(log)",
    "moved": "os.rename(log, log + '.old')",
    "replaced": "open(log + '.new', 'w').close(); os.replace(log + '.new', log)",
    "closed and unlinked": "os.unlink(log); os.closerange(900, 4096)",
}


@pytest.mark.parametrize("how", GONE.values(), ids=GONE)
def test_a_log_that_is_gone_is_begun_again_and_says_so(folder: Path, how: str) -> None:
    with recorded(folder / "k") as kernel:
        before = kernel.run("print('before')")
        size = kernel.log.stat().st_size
        cell = kernel.run(  # which goes on for longer than the recorder trusts its log's path, 50 ms
            f"import os, time\nlog = {str(kernel.log)!r}\nprint('lost', flush=True)\n{how}\ntime.sleep(0.1)"
        )
        after = kernel.run("print('after')\n6 * 7")
        assert kernel.text(after) == "after\n"
        assert kernel.text(before) == ""
        assert kernel.log.stat().st_size >= size, "positions in it mean the same as before"
        items = [item for item in all_of(kernel) if isinstance(item, Mark)]
        assert any("removed or replaced" in mark.detail for mark in items), items
        assert fold(kernel.items(cell)).reply is not None, "how it ended is recorded"


@pytest.mark.parametrize("arguments", ["", "file=__import__('sys').stderr", "all_threads=True"])
def test_who_asks_for_tracebacks_of_crashes_leaves_them_to_the_post_mortem(folder: Path, arguments: str) -> None:
    with recorded(folder / "k") as kernel:
        kernel.run(f"import ctypes, faulthandler\nfaulthandler.enable({arguments})")
        kernel.client.execute("ctypes.string_at(0)")
        until_now(lambda: "Fatal Python error" in (folder / "k/stderr").read_text(), "the dump of the crash")


def all_of(kernel: Recorded) -> list[object]:
    return [item for _, item in messagelog.read(kernel.log)]
