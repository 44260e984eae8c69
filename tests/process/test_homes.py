"""Promise: what is printed belongs to the cell that gave the work, whoever does it, and however late."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_supervisor.core.model import Mark, Message
from tests.ipykernels import built
from tests.process.test_recorder import Recorded, pairs, recorded
from tests.support import until_now

pytestmark = pytest.mark.timeout(300)
LATE = {
    "thread": "def work():\n    {wait}; print('said')\nthreading.Thread(target=work).start()",
    "daemon thread": "def work():\n    {wait}; print('said')\nthreading.Thread(target=work, daemon=True).start()",
    "thread of a thread": (
        "def work():\n    {wait}; print('said')\n"
        "threading.Thread(target=lambda: threading.Thread(target=work).start()).start()"
    ),
    "own run": "class Own(threading.Thread):\n    def run(self):\n        {wait}; print('said')\nOwn().start()",
    "timer": "def work():\n    {wait}; print('said')\nthreading.Timer(0.01, work).start()",
    "standard error": "def work():\n    {wait}; print('said', file=sys.stderr)\nthreading.Thread(target=work).start()",
    "traceback of a thread": "def work():\n    {wait}; raise ValueError('said')\nthreading.Thread(target=work).start()",
    "display": "def work():\n    {wait}; display('said')\nthreading.Thread(target=work).start()",
    "logging": (
        "log = logging.getLogger('late'); log.addHandler(logging.StreamHandler(sys.stdout))\n"
        "def work():\n    {wait}; log.warning('said')\nthreading.Thread(target=work).start()"
    ),
    "to_thread": "def work():\n    {wait}; print('said')\ntask = asyncio.ensure_future(to_thread(work))",
    "loop's executor": (
        "def work():\n    {wait}; print('said')\nasyncio.get_running_loop().run_in_executor(None, work);"
    ),
    "task": "async def work():\n    await {waiting}; print('said')\ntask = asyncio.ensure_future(work())",
    "task's thread": (
        "async def work():\n    await {waiting}; threading.Thread(target=print, args=('said',)).start()\n"
        "task = asyncio.ensure_future(work())"
    ),
    "task's lost error": (
        "async def work():\n    await {waiting}; raise ValueError('said')\nasyncio.ensure_future(work()); del work"
    ),
    "callback's error": (
        "def work():\n    raise ValueError('said')\n"
        "def look():\n    work() if os.path.exists(flag) else loop.call_later(0.01, look)\n"
        "loop = asyncio.get_running_loop(); loop.call_soon(look);"
    ),
    "child": "subprocess.Popen(['sh', '-c', waits + '; echo said']);",
    "child's standard error": "subprocess.Popen(['sh', '-c', waits + '; echo said >&2']);",
    "child of a shell": "os.system('(' + waits + '; echo said) &');",
    "child in a session of its own": "subprocess.Popen(['sh', '-c', waits + '; echo said'], start_new_session=True);",
    "asyncio's child": "child = await asyncio.create_subprocess_shell(waits + '; echo said')",
    "forked process": "def work():\n    {wait}; print('said')\nget_context('fork').Process(target=work).start()",
    "spawned process": "get_context('spawn').Process(target=os.system, args=(waits + '; echo said',)).start()",
    "future's lost error": "lost = asyncio.get_running_loop().create_future(); lost.set_exception(ValueError('said'))",
}
"""What the first cell begins: it goes on while the second one runs."""
REUSED = {
    "executor": (
        "pool = futures.ThreadPoolExecutor(1); pool.submit(int).result();",
        "pool.submit(print, 'said').result()",
    ),
    "executor's map": (
        "pool = futures.ThreadPoolExecutor(1); pool.submit(int).result();",
        "def work(_): print('said')\nlist(pool.map(work, [1]));",
    ),
    "done": (
        "pool = futures.ThreadPoolExecutor(1); given = pool.submit(lambda: [{wait}]);",
        "given.add_done_callback(lambda _: print('said')); {go}; futures.wait([given]);",
    ),
    "ThreadPool": ("pool = ThreadPool(1); pool.apply(int);", "pool.apply(print, ('said',))"),
    "ThreadPool's map": ("pool = ThreadPool(1); pool.apply(int);", "pool.map(print, ['said']);"),
    "ThreadPool's imap": ("pool = ThreadPool(1); pool.apply(int);", "list(pool.imap_unordered(print, ['said']));"),
    "ThreadPool's callback": (
        "pool = ThreadPool(1); pool.apply(int);",
        "done = threading.Event()\n"
        "pool.apply_async(int, callback=lambda _: (print('said'), done.set())); done.wait(60);",
    ),
    "forked pool": ("pool = get_context('fork').Pool(1); pool.apply(int);", "pool.map(print, ['said']);"),
    "spawned pool": ("pool = get_context('spawn').Pool(1); pool.apply(int);", "pool.map(print, ['said']);"),
    "pool of a fork server": (
        "pool = get_context('forkserver').Pool(1); pool.apply(int);",
        "pool.map(os.system, ['echo said']);",
    ),
    "forked executor": (
        "pool = futures.ProcessPoolExecutor(1, mp_context=get_context('fork')); pool.submit(int).result();",
        "pool.submit(print, 'said').result()",
    ),
    "spawned executor": (
        "pool = futures.ProcessPoolExecutor(1, mp_context=get_context('spawn')); pool.submit(int).result();",
        "pool.submit(print, 'said', flush=True).result()",
    ),
    "log on the device of standard error": (
        "log = logging.getLogger('device'); log.propagate = False\n"
        "log.handlers[:] = [logging.FileHandler('/dev/stderr')]; log.warning('other'); os.system('true');",
        "log.warning('said');",
    ),
    "descriptor that was saved": (
        "saved = os.dup(1); os.system('true');",
        "os.write(saved, b'said'); os.close(saved);",
    ),
    "task's lost error in a loop of one's own": (
        "loop = asyncio.new_event_loop(); threading.Thread(target=loop.run_forever, daemon=True).start()",
        "async def work(): raise ValueError('said')\n"
        "loop.call_soon_threadsafe(lambda: loop.create_task(work()) and None)\n"
        "loop.call_soon_threadsafe(loop.call_later, 0.1, gc.collect);",
    ),
    "callback's error in a loop of one's own": (
        "loop = asyncio.new_event_loop(); threading.Thread(target=loop.run_forever, daemon=True).start()",
        "def work(): raise ValueError('said')\nloop.call_soon_threadsafe(work);",
    ),
    "thread that was made before": (
        "late = threading.Thread(target=print, args=('said',));",
        "late.start(); late.join()",
    ),
}
"""What the first cell made, and what the second one does with it."""
BEGOTTEN = {
    "a shell's, which has ended": "os.system(later);",
    "a library's": "ctypes.CDLL(None).system(later.encode());",
    "a library's fork": (  # nobody may have asked for the interpreter's lock: a copy would wait for its answer
        "import sys, time; sys.setswitchinterval(10); time.sleep(0)\n"
        "if not ctypes.PyDLL(None).fork(): os.execl('/bin/sh', 'sh', '-c', later.replace('&', ''))\n"
        "sys.setswitchinterval(0.005)\n"
    ),
    "spawned": "os.posix_spawn('/bin/sh', ['sh', '-c', later], os.environ);",
    "spawned and waited for": "os.waitpid(os.posix_spawn('/bin/sh', ['sh', '-c', later], os.environ), 0);",
    "opened": "os.popen(later, 'w').close();",
    "a fork's, which has ended": "pid = os.fork()\nif not pid: os.system(later); os._exit(0)\nos.waitpid(pid, 0);",
    "a fork's own": (
        "pid = os.fork()\nif not pid:\n    if os.fork(): os._exit(0)\n    {wait}; os.write(1, b'said'); os._exit(0)\n"
        "os.waitpid(pid, 0);"
    ),
    "nobody waits for": "signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.system(later);",
    "nobody waits for, says a library": (
        "ctypes.CDLL(None).signal(signal.SIGCHLD, ctypes.c_void_p(1)); os.system(later);"
    ),
    "a thread's": "threading.Thread(target=os.system, args=(later,)).start();",
    "begun before a redirection": (
        "os.system(later); kept = os.dup(1); null = os.open(os.devnull, os.O_WRONLY); os.dup2(null, 1); os.close(null);"
    ),
}
"""How a cell may beget a process that outlives what is known of it."""
BEGIN = (
    "import asyncio, gc, logging, os, subprocess, sys, threading, time\nimport concurrent.futures as futures\n"
    "from contextvars import copy_context\nfrom multiprocessing import get_context\n"
    "from multiprocessing.pool import ThreadPool\nfrom IPython.display import display\nflag = {flag!r}\n"
    "waits = f'while [ ! -e {{flag}} ]; do sleep 0.02; done'\n"
    "def wait():\n    while not os.path.exists(flag): time.sleep(0.01)\n"
    "def to_thread(work): return asyncio.get_running_loop().run_in_executor(None, copy_context().run, work)\n"
    "async def waiting():\n    while not os.path.exists(flag): await asyncio.sleep(0.01)\n"
)


@pytest.fixture(scope="module", params=[*pairs()[:4], pairs()[-1]], ids=lambda pair: pair[1])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Each ipykernel, with the oldest Python and with the newest one."""
    with recorded(tmp_path_factory.mktemp("homes"), str(built(*request.param) / "bin/python")) as kernel:
        yield kernel


@pytest.fixture(scope="module", params=[*pairs()[:4], pairs()[-1]], ids=lambda pair: pair[1])
def childless(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """One in which no pools and servers are left behind."""
    with recorded(tmp_path_factory.mktemp("childless"), str(built(*request.param) / "bin/python")) as kernel:
        yield kernel


def _filled(kernel: Recorded, code: str, flag: Path) -> str:
    words = {"{wait}": "wait()", "{waiting}": "waiting()", "{go}": "open(flag, 'w').close()"}
    for word, meaning in words.items():
        code = code.replace(word, meaning)
    return kernel.run(BEGIN.format(flag=str(flag)) + code)


def _said_in(kernel: Recorded, cells: list[str]) -> list[str]:
    """The cells that show it."""
    return [cell for cell in cells if any(_says(item) for item in kernel.items(cell))]


def _says(item: Message | Mark) -> bool:
    shown = ("stream", "display_data", "execute_result", "error")
    return isinstance(item, Message) and item.msg_type in shown and "said" in str(item.content)


@pytest.mark.parametrize("name", LATE)
def test_what_goes_on_is_at_home_where_it_was_begun(kernel: Recorded, name: str, tmp_path: Path) -> None:
    first = _filled(kernel, LATE[name], tmp_path / "go")
    second = _filled(
        kernel, "{go}; lost = None; await asyncio.sleep(0.1); gc.collect(); print('second');", tmp_path / "go"
    )
    until_now(lambda: _said_in(kernel, [first, second]), "it is said")
    third = kernel.run("print('third')")
    assert _said_in(kernel, [first, second, third]) == [first]


@pytest.mark.parametrize("name", REUSED)
def test_what_was_made_before_is_at_home_where_it_is_used(kernel: Recorded, name: str, tmp_path: Path) -> None:
    first, second = (_filled(kernel, code, tmp_path / "go") for code in REUSED[name])
    until_now(lambda: _said_in(kernel, [first, second]), "it is said")
    third = kernel.run("print('third')")
    assert _said_in(kernel, [first, second, third]) == [second]


@pytest.mark.parametrize("name", BEGOTTEN)
def test_what_any_process_says_is_in_the_cell_that_begot_it(childless: Recorded, name: str, tmp_path: Path) -> None:
    """Pipes are kept from cell to cell as long as there is none."""
    _bury(childless)
    begin = "import ctypes, signal; later = '(' + waits + '; echo said) &'\n"
    first = _filled(childless, begin + BEGOTTEN[name], tmp_path / "go")
    others = [childless.run("import os; os.write(1, b'x');") for _ in range(3)]
    back = "os.dup2(kept, 1); os.close(kept);" if "redirection" in name else ""
    others.append(childless.run(back + "signal.signal(signal.SIGCHLD, signal.SIG_DFL);"))
    others.append(_filled(childless, "{go}; await asyncio.sleep(0.05);", tmp_path / "go"))
    until_now(lambda: _said_in(childless, [first, *others]), "it is said")
    assert _said_in(childless, [first, *others]) == [first]


def test_a_pipe_is_kept_from_cell_to_cell_until_a_process_is_begotten(childless: Recorded) -> None:
    def pipe(code: str = "") -> str:
        return childless.text(childless.run(f"import os, subprocess; print(os.fstat(1).st_ino)\n{code}"))

    _bury(childless)
    first = pipe()
    assert pipe("child = subprocess.Popen(['sleep', '600'])") == first
    assert pipe("child.kill(); child.wait();") != first
    second = pipe("os.system('true');")
    third = pipe()
    assert third != second
    assert pipe() == third


def _bury(kernel: Recorded) -> None:
    """Wait for all children, and have one more cell."""
    kernel.run("import os\ntry:\n    while True: os.waitpid(-1, 0)\nexcept ChildProcessError: pass")
    kernel.run("0")


def test_what_a_cell_has_printed_at_its_end_is_in_it_whoever_holds_it(kernel: Recorded) -> None:
    writers = {
        "shell": "os.system('echo said')",
        "descriptor": "os.write(1, b'said\\n')",
        "C": "ctypes.CDLL(None).puts(b'said')",
        "Python's own": "sys.__stdout__.write('said\\n')",
        "standard error": "os.write(2, b'said\\n')",
    }
    for name, code in writers.items():
        cells = [kernel.run(f"import ctypes, os, sys; {code};"), kernel.run("0")]
        assert _said_in(kernel, cells) == cells[:1], name


def test_characters_of_many_bytes_are_read_whole(kernel: Recorded) -> None:
    text = "é漢😀" * 20_000
    cell = kernel.run(f"import os, subprocess, sys; os.write(1, {text[:900]!r}.encode()); text = 'é漢😀' * 20_000")
    assert kernel.text(cell) == text[:900]
    cell = kernel.run("subprocess.run([sys.executable, '-c', 'print(\"é漢😀\" * 20_000)'], env={'PYTHONUTF8': '1'});")
    assert kernel.text(cell) == text + "\n"


def test_no_pipe_is_left_where_nobody_can_write_into_it(kernel: Recorded) -> None:
    kernel.run(
        "import os, subprocess\n"
        "def pipes():\n"
        "    held = [f'/proc/self/fd/{each}' for each in os.listdir('/proc/self/fd')]\n"
        "    return sum(os.readlink(each).startswith('pipe:') for each in held if os.path.lexists(each))\n"
        "children = [subprocess.Popen(['sleep', '600']) for _ in range(2)]"
    )

    def count() -> int:
        return int(kernel.text(kernel.run("print(pipes())")))

    before = count()
    for number in range(60):
        kernel.run(f"os.system('echo {number}'); os.write(2, b'x');")
    until_now(lambda: count() <= before, "the cells' pipes are closed")
    kernel.run("[child.kill() for child in children]; [child.wait() for child in children];")
    until_now(lambda: count() < before, "the children's pipes are closed")


def test_where_user_code_sends_a_descriptor_it_stays(kernel: Recorded, tmp_path: Path) -> None:
    kernel.run(f"import os; kept = os.dup(1); file = open({str(tmp_path / 'out')!r}, 'wb'); os.dup2(file.fileno(), 1)")
    cell = kernel.run("os.system('echo mine'); print('shown')")
    assert (tmp_path / "out").read_text() == "mine\n"
    assert kernel.text(cell) == "shown\n"
    kernel.run("os.dup2(kept, 1); os.close(kept); file.close()")
    assert kernel.text(kernel.run("os.system('echo again');")) == "again\n"


def test_a_fork_keeps_what_user_code_opened_where_a_pipe_was(kernel: Recorded, tmp_path: Path) -> None:
    """User code may close any descriptor; its number is then the next file's, in forks too."""
    code = (
        "import os\n"
        "pipes = get_ipython().kernel._supervisor_pipes\n"
        "number = pipes.current[2].end; os.close(number)\n"
        f"file = os.open({str(tmp_path / 'mine')!r}, os.O_RDWR | os.O_CREAT)\n"
        "os.dup2(file, number); pid = os.fork()\n"
        "if not pid: os._exit(0 if os.write(number, b'mine') == 4 else 1)\n"
        "print(os.waitpid(pid, 0)[1]); os.close(number); os.close(file)"
    )
    assert kernel.text(kernel.run(code)) == "0\n"
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert kernel.text(kernel.run("os.system('echo again >&2');"), "stderr") == "again\n"


def test_what_user_code_keeps_in_a_context_is_freed_with_it(kernel: Recorded) -> None:
    """Whatever has noted where it was at home."""
    kernel.run(
        "import asyncio, contextvars, gc, threading, weakref\nimport concurrent.futures as futures\n"
        "from multiprocessing.pool import ThreadPool\n"
        "class Large: pass\nlarge, refs = contextvars.ContextVar('large'), []\n"
        "future, pool, results = futures.Future(), ThreadPool(1), []\n"
        "def work():\n"
        "    mine = Large(); large.set(mine); refs.append(weakref.ref(mine)); future.add_done_callback(id)\n"
        "    results.append(pool.apply_async(int)); results[0].get(); threading.Thread(target=int).start()\n"
        "    asyncio.run(asyncio.sleep(0))\n"
        "async def wait():\n"
        "    mine = Large(); large.set(mine); refs.append(weakref.ref(mine)); await asyncio.sleep(0.001)\n"
        "    await asyncio.ensure_future(asyncio.sleep(0))\n"
        "await asyncio.ensure_future(wait());\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()"
    )
    cell = kernel.run("gc.collect(); print([each() for each in refs])")
    assert kernel.text(cell) == "[None, None]\n"
