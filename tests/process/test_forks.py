"""Promise: a fork ends with the work in which it was made, and its parent alone ends the cell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from kernel_supervisor.core.model import Message
from tests.ipykernels import built
from tests.process.test_recorder import Recorded, pairs, recorded
from tests.support import until_now

pytestmark = pytest.mark.timeout(300)
BEGIN = (
    "import asyncio, ctypes, os, pty, sys, threading, time, warnings\nimport concurrent.futures as futures\n"
    "from multiprocessing import get_context\nfrom multiprocessing.pool import ThreadPool\n"
    "from IPython.display import display\nwarnings.simplefilter('ignore')\n"
    "def wait(pid): return os.WEXITSTATUS(os.waitpid(pid, 0)[1])\n"
)
FORKED = {
    "plain": ("pid = os.fork()\nif pid: print(wait(pid))\nelse: print('child')", "child\n0\n"),
    "behind what was printed": (
        "print('first'); pid = os.fork()\nif pid: wait(pid)\nprint('child')",
        "first\nchild\nchild\n",
    ),
    "displayed": ("pid = os.fork()\nif pid: wait(pid)\nelse: display('child')\npid and None", ""),
    "held by Python": (
        "sys.__stdout__.write('held\\n'); pid = os.fork()\nif pid: wait(pid)\nelse: sys.__stdout__.write('child\\n');",
        "held\nchild\n",
    ),
    "held by C": (
        "ctypes.CDLL(None).puts(b'held'); pid = os.fork()\nif pid: wait(pid)\nelse: ctypes.CDLL(None).puts(b'child');",
        "held\nchild\n",
    ),
    "exit": ("pid = os.fork()\nif not pid: sys.exit(3)\nprint(wait(pid))", "3\n"),
    "exit with words": ("pid = os.fork()\nif not pid: sys.exit('words')\nprint(wait(pid))", "1\n"),
    "error": ("pid = os.fork()\nif not pid: 1 / 0\nprint(wait(pid))", "1\n"),
    "error in a function": (
        "def work():\n    pid = os.fork()\n    if not pid: raise KeyError('no')\n    return wait(pid)\nprint(work())",
        "1\n",
    ),
    "value": ("pid = os.fork()\nif pid: wait(pid)\n'mine' if pid else 'no'", ""),
    "await": ("pid = os.fork()\nif not pid: await asyncio.sleep(0); print('child')\nelse: wait(pid);", "child\n"),
    "await of what does not come": (
        "task = asyncio.ensure_future(asyncio.sleep(0.1)); await asyncio.sleep(0); pid = os.fork()\n"
        "if not pid: await task\nelse: print(wait(pid)); await task",
        "1\n",
    ),
    "in a coroutine": (
        "async def work():\n    await asyncio.sleep(0); pid = os.fork()\n"
        "    if pid: wait(pid)\n    print('mine' if pid else 'child')\nawait work()",
        "child\nmine\n",
    ),
    "task": (
        "async def work():\n    pid = os.fork()\n    if not pid: return print('child')\n    print(wait(pid))\n"
        "await asyncio.gather(work(), asyncio.sleep(0))\nprint('mine')",
        "child\n0\nmine\n",
    ),
    "callback": (
        "done = asyncio.Event()\ndef work():\n    pid = os.fork()\n    if not pid: return print('child')\n"
        "    print(wait(pid)); done.set()\n"
        "asyncio.get_running_loop().call_soon(work); asyncio.get_running_loop().call_soon(print, 'other')\n"
        "await done.wait();",
        "child\n0\nother\n",
    ),
    "thread": (
        "def work():\n    pid = os.fork()\n    if pid: wait(pid)\n    print('mine' if pid else 'child')\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()\nprint('end')",
        "child\nmine\nend\n",
    ),
    "executor": (
        "def work():\n    pid = os.fork()\n    if pid: wait(pid)\n    print('mine' if pid else 'child')\n"
        "with futures.ThreadPoolExecutor(1) as pool: [pool.submit(each) for each in (work, lambda: print('other'))]",
        "child\nmine\nother\n",
    ),
    "ThreadPool": (
        "def work():\n    pid = os.fork()\n    if pid: wait(pid)\n    print('mine' if pid else 'child')\n"
        "pool = ThreadPool(1); [each.get() for each in [pool.apply_async(work), pool.apply_async(print, ('other',))]];",
        "child\nmine\nother\n",
    ),
    "timed": ("%%time\npid = os.fork()\nif pid: wait(pid)\nelse: print('child')", None),
    "captured": ("%%capture\npid = os.fork()\nif pid: wait(pid)", ""),
    "cell of a cell": (
        "get_ipython().run_cell('pid = os.fork()'); print(wait(pid) if pid else 'child');",
        "child\n0\n",
    ),
    "fork of a fork": (
        "pid = os.fork()\nif not pid: pid = os.fork(); print('grandchild') if not pid else wait(pid)\nelse: wait(pid)",
        "grandchild\n",
    ),
    "its parent dies first": (
        "end, start = os.pipe(); pid = os.fork()\n"
        "if not pid:\n    if os.fork(): os._exit(0)\n    while os.getppid() == pid: time.sleep(0.01)\n"
        "    os.close(end); print('child')\n"
        "else: os.close(start); wait(pid); os.read(end, 1); os.close(end)",
        "child\n",
    ),
    "pty": (
        "pid, fd = os.forkpty()\nif not pid: os.system('echo in it'); print('child')\n"
        "else: print(os.read(fd, 100)); wait(pid); os.close(fd)",
        None,
    ),
    "question": ("pid = os.fork()\nif not pid: input()\nprint(wait(pid))", "1\n"),
    "its own thread": (
        "pid = os.fork()\nif pid: wait(pid)\n"
        "else: threading.Thread(target=lambda: (time.sleep(0.05), print('child'))).start()",
        "child\n",
    ),
    "ended by itself": ("pid = os.fork()\nif not pid: os._exit(5)\nprint(wait(pid))", "5\n"),
    "pool": ("with get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, -2]))", "[1, 2]\n"),
    "process": (
        "child = get_context('fork').Process(target=print, args=('child',)); child.start(); child.join()",
        "child\n",
    ),
    "loop of its own": (
        "pid = os.fork()\nif pid: wait(pid)\nelse: asyncio.run(asyncio.sleep(0.01)); print('child')",
        "child\n",
    ),
}
"""What a cell does, and what stands on its standard output."""
SHOWN = {"error": "ZeroDivisionError", "error in a function": "KeyError", "exit with words": "words\n"}
SHOWN |= {"await of what does not come": "runs in its parent", "question": "EOFError"}
"""What stands on standard error."""


@pytest.fixture(scope="module", params=[*pairs()[:4], pairs()[-1]], ids=lambda pair: pair[1])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Each ipykernel, with the oldest Python and with the newest one."""
    with recorded(tmp_path_factory.mktemp("forks"), str(built(*request.param) / "bin/python")) as kernel:
        kernel.run(BEGIN)
        yield kernel


def _copies(kernel: Recorded) -> list[psutil.Process]:
    """The processes that are forks of the kernel."""
    command, found = psutil.Process(kernel.pid).cmdline(), []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != kernel.pid and process.cmdline() == command:
                found.append(process)
    return found


def _of(kernel: Recorded, cell: str, msg_type: str) -> list[dict[str, object]]:
    return [each.content for each in kernel.items(cell) if isinstance(each, Message) and each.msg_type == msg_type]


@pytest.mark.parametrize("name", FORKED)
def test_a_fork_ends_and_the_cell_ends_once(kernel: Recorded, name: str) -> None:
    code, printed = FORKED[name]
    cell = kernel.run(code)
    until_now(lambda: not _copies(kernel), "the fork has ended")
    after = kernel.run("print('after')\n6 * 7")
    shown = kernel.text(cell)
    assert (shown == printed) if printed is not None else ("child" in shown), shown
    assert SHOWN.get(name, "") in kernel.text(cell, "stderr")
    assert not _of(kernel, cell, "error")
    assert [each["status"] for each in _of(kernel, cell, "execute_reply")] == ["ok"]
    assert [each["execution_state"] for each in _of(kernel, cell, "status")] == ["busy", "idle"]
    assert len(_of(kernel, cell, "execute_input")) == 1
    assert len(_of(kernel, cell, "execute_result")) == (name == "value")
    assert len(_of(kernel, cell, "display_data")) == (name == "displayed")
    assert kernel.text(after) == "after\n"
    (result,) = _of(kernel, after, "execute_result")
    (input_of,) = _of(kernel, cell, "execute_input")
    assert result["execution_count"] == int(str(input_of["execution_count"])) + 1


def test_what_a_fork_says_late_is_in_its_cell_and_it_ends_then(kernel: Recorded, tmp_path: Path) -> None:
    go = str(tmp_path / "go")
    cell = kernel.run(f"if not os.fork():\n    while not os.path.exists({go!r}): time.sleep(0.01)\n    print('late')")
    assert len(_copies(kernel)) == 1
    other = kernel.run(f"open({go!r}, 'w').close()")
    until_now(lambda: not _copies(kernel), "the fork has ended")
    kernel.run("0")
    assert (kernel.text(cell), kernel.text(other)) == ("late\n", "")
    assert len(_of(kernel, cell, "execute_reply")) == 1


def test_a_fork_cleans_up_nothing_of_its_parents(kernel: Recorded, tmp_path: Path) -> None:
    marks = tmp_path / "cleaned"
    count = "print(len(get_ipython().history_manager.input_hist_raw));"
    before = int(kernel.text(kernel.run(count)))
    cell = kernel.run(
        f"import atexit\ndef clean(): open({str(marks)!r}, 'a').write('x')\natexit.register(clean)\n"
        "get_ipython().events.register('post_run_cell', lambda *_: clean())\n"
        "pid = os.fork()\nif pid: print(wait(pid))"
    )
    assert kernel.text(cell) == "0\n"
    kernel.run("get_ipython().events.callbacks['post_run_cell'].clear(); atexit.unregister(clean);")
    assert marks.read_text() in ("x", "xx"), "once for each cell of the parent"
    assert (kernel.log.parent / "k.json").exists()
    assert int(kernel.text(kernel.run(count))) == before + 3
