"""Promise: however much is shown, and whatever it is, the log stays within its limit, and of each execution the
beginning, the end, the result, the error and the reply are recorded."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.core.model import Execution, ExecutionId, Message, MessageId, Region, SessionName
from kernel_supervisor.inside import source
from kernel_supervisor.outputs.folding import Folded, fold
from kernel_supervisor.records import ends
from kernel_supervisor.records.ends import Spot
from kernel_supervisor.running.reading import messages_of
from tests.process.test_recorder import Recorded, recorded
from tests.support import Home

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def kernel() -> Iterator[Recorded]:
    with (
        tempfile.TemporaryDirectory(prefix="ks-", dir="/tmp") as folder,
        recorded(Path(folder) / "k", sys.executable, "--limit", str(LIMIT)) as kernel,
    ):
        yield kernel


def shown(kernel: Recorded, cell: str) -> Folded:
    """What is recorded of a cell, as all readers have it."""
    region = Region(log=str(kernel.log), start=0, end=kernel.log.stat().st_size)
    execution = Execution(
        id=ExecutionId(1),
        session=SessionName("s"),
        kind="code",
        source="",
        status="ok",
        msg_id=MessageId(cell),
        region=region,
        queued_at=0.0,
        client="",
    )
    return fold(messages_of(execution))


FLOODS = {
    "newlines": ("print('begun')\nprint('\\n' * 6_000_000)\nprint('end')", "6 * 7"),
    "one line": ("print('begun' + 'a' * 9_000_000 + 'end')", "6 * 7"),
    "control characters": ("print('begun' + '\\x00' * 3_000_000 + 'end')", "6 * 7"),
    "lone surrogates": ("print('begun' + '\\udc80' * 3_000_000 + 'end')", "6 * 7"),
    "many prints": ("import sys\nfor n in range(300): print('begun' + 'b' * 9000 + 'end', flush=True)", "6 * 7"),
    "standard error": ("import sys\nprint('begun' + 'e' * 9_000_000 + 'end', file=sys.stderr)", "6 * 7"),
    "displays": ("for n in range(300): display({'text/plain': 'begun' + 'd' * 9000 + 'end'}, raw=True)", "6 * 7"),
    "one display": ("display({'text/plain': 'begun' + 'd' * 9_000_000 + 'end'}, raw=True)", "6 * 7"),
    "updates": (
        "print('begun'); h = display('', display_id='u')\n"
        "for n in range(300): h.update({'text/plain': 'u' * 9000 + 'end'}, raw=True)",
        "6 * 7",
    ),
    "a long value": ("print('begun'); print('end')", "'v' * 9_000_000"),
    "errors": (
        "for n in range(300):\n    try: raise ValueError('begun' + 'x' * 99_000 + 'end')\n"
        "    except ValueError: get_ipython().showtraceback()",
        "6 * 7",
    ),
    "values": ("for n in range(300): get_ipython().displayhook('begun' + 'v' * 9000 + 'end')", "6 * 7"),
}


@pytest.mark.parametrize(("code", "value"), FLOODS.values(), ids=FLOODS)
def test_of_what_is_too_much_the_beginning_the_end_and_the_value_are_recorded(
    kernel: Recorded, code: str, value: str
) -> None:
    before = kernel.log.stat().st_size
    cell = kernel.run(f"{code}\n{value}")
    assert kernel.log.stat().st_size - before < LIMIT * 5 // 4
    beside = [str(path) for path in kernel.log.parent.glob(f"{kernel.log.name}-*.[01]*")]
    assert all(Path(path).stat().st_size <= LIMIT // 8 for path in beside)
    folded = shown(kernel, cell)
    text = json.dumps(folded.outputs)
    assert text.index("begun") < text.rindex("end")
    assert "not recorded …]" in json.dumps(folded.outputs, ensure_ascii=False), "what is missing is said in its place"
    (result,) = [each for each in folded.outputs[-1:] if each["output_type"] == "execute_result"]
    assert str(eval(value))[:9] in result["data"]["text/plain"]
    assert folded.reply is not None
    assert folded.reply["status"] == "ok"


def test_clients_of_jupyter_see_all_of_it(kernel: Recorded) -> None:
    cell = kernel.run("print('w' * 9_000_000)")
    streams = [message for _, message in kernel.published if message["msg_type"] == "stream"]
    assert sum(len(message["content"]["text"]) for message in streams) == 9_000_001
    assert shown(kernel, cell).marks


ODD = {
    "an image": ("display({'image/png': 'A' * 9_000_000}, raw=True)", "image/png that are not recorded"),
    "a page": ("display({'text/html': '<p>' * 3_000_000, 'text/plain': 'page'}, raw=True)", "page"),
    "many forms": ("display({f'x/{n}': 'f' * 999 for n in range(9000)}, raw=True)", "not recorded"),
    "its metadata": ("display({'text/plain': 'short'}, metadata={'m': 'm' * 9_000_000}, raw=True)", "short"),
    "a pager": (
        "page = {'source': 'page', 'data': {'text/plain': 'p' * 9_000_000}, 'start': 0}\n"
        "get_ipython().payload_manager.write_payload(page)",
        "ppp",
    ),
    "many payloads": (
        "for n in range(9000):\n"
        "    get_ipython().payload_manager.write_payload({'source': f's{n}', 'text': 't' * 999}, single=False)\n"
        "print('paid')",
        "paid",
    ),
    "widgets": (
        "from comm import create_comm\nc = create_comm(target_name='t')\n"
        "for n in range(9): c.send({}, buffers=[bytes(9_000_000)])\nprint('sent')",
        "sent",
    ),
    "an error": ("raise ValueError('begun' + 'x' * 9_000_000 + 'end')", "end"),
    "a chain": (
        "def f(n):\n    try: f(n - 1) if n else 1 / 0\n    except Exception: raise ValueError('x' * 9_000_000)\nf(9)",
        "ZeroDivisionError",
    ),
    "a name": ("raise type('E' * 9_000_000, (Exception,), {})('named')", "named"),
}


@pytest.mark.parametrize(("code", "said"), ODD.values(), ids=ODD)
def test_whatever_is_long_is_cut_and_what_is_left_can_be_read(kernel: Recorded, code: str, said: str) -> None:
    before = kernel.log.stat().st_size
    cell = kernel.run(code)
    assert kernel.log.stat().st_size - before < LIMIT * 5 // 4
    folded = shown(kernel, cell)
    assert said in json.dumps([folded.outputs, folded.reply], ensure_ascii=False)
    assert folded.reply is not None


def test_forks_have_room_together(kernel: Recorded) -> None:
    before = kernel.log.stat().st_size
    cell = kernel.run(
        "import multiprocessing, sys\n"
        "def work(n):\n    for _ in range(90): print('f' * 9000, flush=True)\n"
        "with multiprocessing.get_context('fork').Pool(4) as pool: pool.map(work, range(8))\n"
        "print('joined')"
    )
    assert kernel.log.stat().st_size - before < LIMIT * 3 // 2
    assert "joined" in json.dumps(shown(kernel, cell).outputs)


KILLED = """
import os, signal, sys
sys.path.insert(0, {folder!r})
import recorder, room

def append(log, done):
    ends = room.Ends(log, 1000)
    for number in range(20):
        parts = recorder.record(b"stream p", recorder.json.dumps(
            ["iopub", dict(msg_id="m%d" % number, msg_type="stream", date=""), dict(msg_id="p"), {{}},
             dict(name="stdout", text="t" * 100), []]).encode())
        ends.append("p", parts, lambda before: b"".join(
            recorder.record(*recorder.marked("before", "p", str(before)))))
        os.pwrite(done, b"%4d" % number, 0)

def dying(name, left):
    real = getattr(os, name)
    def call(*arguments, **more):
        left[0] -= 1
        if left[0] == 0:
            if name == "writev":
                real(arguments[0], [b"".join(arguments[1])[:60]])
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **more)
    setattr(os, name, call)

for at in range(1, 999):
    log = os.path.join(sys.argv[1], "%d" % at)
    open(log, "w").close()
    done = os.open(log + "-done", os.O_RDWR | os.O_CREAT)
    if not os.fork():
        left = [at]
        for name in ("open", "write", "writev", "replace", "close"):
            dying(name, left)
        append(log, done)
        os._exit(0)
    if os.wait()[1] == 0:
        break
"""


def test_whoever_writes_it_may_be_killed_at_any_write(tmp_path: Path) -> None:
    code = KILLED.format(folder=str(source("recorder").parent))
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    logs = [path for path in tmp_path.iterdir() if path.name.isdigit()]
    assert len(logs) > 60
    for log in logs:
        written = int(Path(f"{log}-done").read_text() or -1)
        items: list[Any] = [item for _, item in ends.read(str(log), "p", Spot())]
        numbers = [item.msg_id.removeprefix("m") for item in items if isinstance(item, Message)]
        found = [int(number) for number in numbers if number.isdigit()]
        assert found == list(range(20))[found[0] if found else 0 :][: len(found)], "in order, and none is missing"
        assert written == -1 or written in found, "the last that was written is there"
        assert (found[:1] > [0]) == any("not recorded" in str(item) for item in items)


async def test_a_display_whose_beginning_is_in_the_middle_is_in_the_notebook_as_it_was_last(home: Home) -> None:
    flood = "for n in range(20_000): print('m' * 100)\n"
    plain = "display({'text/plain': %r}, raw=True, display_id='d', update=%s)\n"
    code = flood + plain % ("half", False) + flood + plain % ("nearly", True) + plain % ("whole", True)
    async with home.client(env={"KERNEL_SUPERVISOR_RECORD_LIMIT": str(LIMIT)}) as session:
        await session.run(code + "6 * 7", timeout=120)
        await session.call("kernel_save_notebook", path="flood.ipynb")
    cell = json.loads((home.project / "flood.ipynb").read_text())["cells"][0]
    shown = [each["data"]["text/plain"] for each in cell["outputs"] if "data" in each]
    assert shown == [["whole"], ["42"]]


@pytest.mark.parametrize("limit", [0, 1, 1000])
async def test_the_value_and_the_error_have_room_however_low_the_limit_is(home: Home, limit: int) -> None:
    async with home.client(env={"KERNEL_SUPERVISOR_RECORD_LIMIT": str(limit)}) as session:
        told = await session.run("print('begun')\nfor n in range(9000): print(n)\nprint('end')\n6 * 7", timeout=120)
        assert "end\nOut[1]: 42" in told.text
        failed = await session.run("raise ValueError('named')")
        assert "too long to be recorded" not in told.text + failed.text


async def test_agents_and_people_are_told_what_a_flood_ended_with(home: Home) -> None:
    async with home.client(env={"KERNEL_SUPERVISOR_RECORD_LIMIT": str(LIMIT)}) as session:
        result = await session.run("print('\\n' * 6_000_000)\n6 * 7", timeout=120)
        assert "no output" not in result.text
        assert "Out[1]: 42" in result.text
        assert "the middle of its output was too much to be kept" in result.text
        failed = await session.run("print('a' * 9_000_000, 'last words')\n1/0", timeout=120)
        assert "last words" in failed.text
        assert "ZeroDivisionError" in failed.text
        last = await session.call("kernel_output", execution_id=2, grep="last words")
        assert "last words" in last.text
        saved = await session.call("kernel_save_notebook", path="flood.ipynb")
        notebook = json.loads((Path(home.project) / "flood.ipynb").read_text())
        assert "last words" in json.dumps(notebook), saved.text
    followed = home.cli("exec", "print('b' * 9_000_000, 'told')\n6 * 7")
    said = followed.stdout.splitlines()
    assert said[-1] == "42"
    assert any(line.endswith("told") for line in said)
