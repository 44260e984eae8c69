"""Promise 3: kernels write down what they send, in every interpreter, and user code does not notice."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.inside.recorder import UNRECORDED
from kernel_supervisor.keeping import RECORDED_BYTES
from kernel_supervisor.outputs.folding import fold
from kernel_supervisor.records import messagelog
from kernel_supervisor.records.messagelog import MessageLogWriter
from kernel_supervisor.records.stream import Stream
from tests.ipykernels import built
from tests.support import until_now

pytestmark = pytest.mark.timeout(300)
RECORDER = Path(messagelog.__file__).parents[1] / "inside" / "recorder.py"
RECORDS = Path(__file__).parents[1] / "records"
VERSIONS = {"ipykernel==6.29.5": 8, "ipykernel==6.31.0": 9, "ipykernel==7.0.1": 10, "ipykernel==7.4.0": 10}
"""Each with the minor version of the first Python that has it."""


class Recorded:
    """A kernel under the recorder, driven by jupyter_client."""

    def __init__(self, client: BlockingKernelClient, log: Path, pid: int) -> None:
        self.client, self.log, self.pid = client, log, pid

    def run(self, code: str, deadline_s: float = 120) -> str:
        """Run a cell to its end; its msg_id."""
        msg_id = self.client.execute(code, stop_on_error=False)
        self.reply = self.client._recv_reply(msg_id, timeout=deadline_s)
        self.published: list[tuple[bytes, dict[str, Any]]] = []
        iopub = self.client.iopub_channel.socket
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            if not iopub.poll(1000):
                continue
            topics, message = self.client.session.recv(iopub, mode=0)
            self.published.append((b"".join(topics[:1]), message))
            is_ours = message["parent_header"].get("msg_id") == msg_id
            if is_ours and message["content"].get("execution_state") == "idle":
                return str(msg_id)
        raise AssertionError("no idle status")

    def items(self, msg_id: str) -> list[Message | Mark]:
        """What the log has of one cell."""
        return [item for _, item in messagelog.read(self.log) if item.parent_id == msg_id]

    def text(self, msg_id: str, name: str = "stdout") -> str:
        """What a cell wrote to a stream."""
        outputs = fold(self.items(msg_id)).outputs
        return "".join(output["text"] for output in outputs if output.get("name") == name)


@contextmanager
def recorded(
    folder: Path, python: str = sys.executable, *options: str, recorder: Path = RECORDER
) -> Iterator[Recorded]:
    """Start a kernel under the recorder and end it by its pid."""
    folder.mkdir(exist_ok=True)
    connection_file, log = folder / "k.json", folder / "k.messages"
    info = {"transport": "ipc", "ip": str(folder / "k-ipc"), "key": "secret", "signature_scheme": "hmac-sha256"}
    ports = {f"{name}_port": number for number, name in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)}
    connection_file.write_text(json.dumps({**info, **ports}))
    # with PYTEST_CURRENT_TEST set, ipykernel does not capture file descriptors
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTEST_CURRENT_TEST")
    env = {name: value for name, value in os.environ.items() if name not in dropped}
    env["IPYTHONDIR"] = str(folder / "ipython")
    limit = ["--limit", str(RECORDED_BYTES)]
    command = [python, str(recorder), "--log", str(log), *limit, *options, "-f", str(connection_file)]
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=stderr, stderr=stderr, start_new_session=True)
    client = BlockingKernelClient(connection_file=str(connection_file))
    client.load_connection_file()
    client.start_channels(hb=False)
    try:
        client.wait_for_ready(timeout=60)
        yield Recorded(client, log, process.pid)
    finally:
        client.stop_channels()
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Folders on paths that are short enough for sockets."""
    root = Path(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))
    yield lambda name: root / name
    shutil.rmtree(root, ignore_errors=True)


def interpreters() -> dict[int, str]:
    """Every Python ≥ 3.8 at hand that could carry an ipykernel of 2023, by its minor version."""
    found: dict[int, str] = {}
    for minor in range(8, 20):
        for place in (f"~/.pyenv/versions/3.{minor}.*/bin/python", f"/usr/bin/python3.{minor}"):
            base = Path(place).expanduser()
            for path in sorted(base.parents[2].glob(str(base.relative_to(base.parents[2])))):
                found.setdefault(minor, str(path))
    return dict(sorted(found.items()))


def pairs() -> list[tuple[str, str]]:
    """Each ipykernel and each Python at hand, in as few environments as that takes."""
    left, chosen = interpreters(), []
    for requirement, oldest in VERSIONS.items():
        python = next((each for minor, each in left.items() if minor >= oldest), sys.executable)
        left = {minor: each for minor, each in left.items() if each != python}
        chosen.append((python, requirement))
    return [*chosen, *((each, "ipykernel>=6.29") for each in left.values())]


each_kernel = pytest.mark.parametrize(
    ("python", "requirement"), pairs(), ids=lambda each: each.split("/")[-3] if "/" in each else each
)


EVERYTHING = """
import multiprocessing, os, subprocess, sys
from IPython.display import display, HTML
print("out"); print("err", file=sys.stderr)
display(HTML("<b>bold</b>"))
os.system("echo from a shell")
subprocess.run(["echo", "from a subprocess"])
def work(n):
    sys.stdout.write(f"worker {n}\\n")  # one write: those of several processes mix
    sys.stdout.flush()
    return n
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(work, range(3))
pid = os.fork()
if pid == 0:
    sys.stdout.write("from a fork\\n")
    sys.stdout.flush()
    os._exit(0)
os.waitpid(pid, 0)
41 + 1
"""


def assert_everything_is_recorded(kernel: Recorded) -> None:
    who = messagelog.begins(kernel.log)
    assert who is not None
    cell = kernel.run(EVERYTHING)
    topic = b"kernel.%s.status" % who["ident"].encode()
    is_status = [message["msg_type"] == "status" for _, message in kernel.published]
    assert [each == topic for each, _ in kernel.published] == is_status, "all of them and nothing else"
    assert sum(is_status) >= 2

    def text() -> str:
        return kernel.text(cell)

    for words in ("out", "from a shell", "from a subprocess", "worker 0", "worker 2", "from a fork"):
        until_now(lambda words=words: words in text(), f"{words!r} in the log")  # type: ignore[misc]  # a lambda's default
    assert "err" in kernel.text(cell, "stderr")
    folded = fold(kernel.items(cell))
    assert folded.reply is not None
    assert folded.reply["status"] == "ok"
    data = [output["data"] for output in folded.outputs if "data" in output]
    assert {"text/html": "<b>bold</b>", "text/plain": "<IPython.core.display.HTML object>"} in data
    assert {"text/plain": "42"} in data
    failed = kernel.run("1/0")
    (error,) = [output for output in fold(kernel.items(failed)).outputs if output["output_type"] == "error"]
    assert error["ename"] == "ZeroDivisionError"


@each_kernel
def test_each_ipykernel_and_each_python_at_hand_is_recorded(
    short: Callable[[str], Path], python: str, requirement: str
) -> None:
    prefix = built(python, requirement)
    folder = short("of-" + prefix.name)
    with recorded(folder, str(prefix / "bin/python")) as kernel:
        assert_everything_is_recorded(kernel)
        assert "41 + 1" in kernel.text(kernel.run("%history"))
    assert not list(folder.rglob("history.sqlite*")), "IPython's file of all code, which others may read"


def test_who_wants_ipythons_own_history_has_it(short: Callable[[str], Path]) -> None:
    folder = short("history")
    profile = folder / "ipython/profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_config.py").write_text(f"c.HistoryManager.hist_file = {str(folder / 'mine.sqlite')!r}\n")
    with recorded(folder) as kernel:
        kernel.run("kept = 1")
        kernel.run("get_ipython().history_manager.writeout_cache()")
        with closing(sqlite3.connect(folder / "mine.sqlite")) as mine:
            assert ("kept = 1",) in mine.execute("SELECT source FROM history").fetchall()


def test_two_hundred_thousand_prints_are_recorded_whole(short: Callable[[str], Path]) -> None:
    with recorded(short("prints")) as kernel:
        cell = kernel.run("for i in range(200_000): print(i)")
        assert kernel.text(cell).split() == [str(i) for i in range(200_000)]


def test_an_output_of_a_hundred_megabytes_is_recorded_where_the_limit_admits_it(short: Callable[[str], Path]) -> None:
    with recorded(short("large"), sys.executable, "--limit", str(200 << 20)) as kernel:
        cell = kernel.run("print('x' * 100_000_000)")
        assert len(kernel.text(cell)) == 100_000_001


def test_what_is_beyond_the_limit_is_marked_and_the_rest_goes_on(short: Callable[[str], Path]) -> None:
    with recorded(short("limit"), sys.executable, "--limit", "10000") as kernel:
        cell = kernel.run("for i in range(20): display('x' * 1000)\nprint('late')\n1")
        items = kernel.items(cell)
        assert [item.kind for item in items if isinstance(item, Mark)] == ["limit"]
        shown = [item for item in items if isinstance(item, Message) and item.msg_type == "display_data"]
        assert 5 < len(shown) < 20
        assert fold(items).reply is not None, "how it ended is recorded all the same"
        assert kernel.text(kernel.run("print('next')")) == "next\n", "the limit is one execution's"


def test_an_execution_is_never_begun_twice(short: Callable[[str], Path]) -> None:
    with recorded(short("twice")) as kernel:
        kernel.run("n = 0")
        session = kernel.client.session
        message = session.msg("execute_request", {"code": "n += 1", "silent": False, "stop_on_error": False})
        for _ in range(3):
            kernel.client.shell_channel.socket.send_multipart(session.serialize(message))
        kernel.client._recv_reply(message["header"]["msg_id"], timeout=30)
        assert fold(kernel.items(kernel.run("n"))).outputs[0]["data"]["text/plain"] == "1"


def test_user_code_sees_what_ipykernel_launcher_shows_it(short: Callable[[str], Path]) -> None:
    code = (
        "import sys, os; print(sys.argv[0].split(os.sep)[-1], sys.argv[1], sys.path[:2], __name__, sorted(globals()))"
    )
    with recorded(short("view")) as kernel:
        ours = kernel.text(kernel.run(code))
    folder = short("view")
    plain = [sys.executable, "-m", "ipykernel_launcher", "-f", str(folder / "k.json")]
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(plain, cwd=folder, stdout=stderr, stderr=stderr, start_new_session=True)
    client = BlockingKernelClient(connection_file=str(folder / "k.json"))
    client.load_connection_file()
    client.start_channels(hb=False)
    theirs: list[str] = []
    try:
        client.wait_for_ready(timeout=60)

        def hook(message: dict[str, Any]) -> None:
            theirs.append(message["content"].get("text", ""))

        client.execute_interactive(code, output_hook=hook, timeout=60)
    finally:
        client.stop_channels()
        process.kill()
        process.wait()
    assert ours == "".join(theirs)


def test_a_long_error_is_recorded_with_its_middle_cut_and_the_others_get_it_whole(short: Callable[[str], Path]) -> None:
    length = 20_000_000
    with recorded(short("error"), sys.executable, "--owner", "ours") as kernel:
        cell = kernel.run(f"raise ValueError('<' + 'x' * {length} + '>')")
        (shown,) = [message["content"] for _, message in kernel.published if message["msg_type"] == "error"]
        for whole in (shown, kernel.reply["content"]):
            assert whole["evalue"] == f"<{'x' * length}>", "Jupyter's clients are sent all of it"
        (error, reply) = [item.content for item in kernel.items(cell) if item.msg_type in ("error", "execute_reply")]  # type: ignore[union-attr]  # no marks
        assert kernel.log.stat().st_size < 4 << 20
        for part in (error, reply):
            assert part["ename"] == "ValueError"
            assert part["evalue"].startswith("<xxx")
            assert part["evalue"].endswith("xxx>")
            assert "characters that are not recorded" in part["evalue"]
            assert part["traceback"][-1].endswith("xxx>")
        kernel.client.session.session = "ours"
        cell = kernel.run(f"raise ValueError('<' + 'x' * {length} + '>')")
        (record,) = [item.content for item in kernel.items(cell) if item.msg_type == "execute_reply"]  # type: ignore[union-attr]  # no marks
        assert kernel.reply["content"] == record, "we are sent what is recorded"
        assert record["evalue"] == reply["evalue"]
        (shown,) = [message["content"] for _, message in kernel.published if message["msg_type"] == "error"]
        assert len(shown["evalue"]) == length + 2


def test_what_is_recorded_rings_and_waits_for_nobody_who_listens(short: Callable[[str], Path]) -> None:
    folder = short("bell")
    folder.mkdir()
    with recorded(folder) as kernel, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        kernel.run("print('nobody listens')")
        bell.settimeout(60)
        bell.bind(str(folder / "k-bell"))
        kernel.run("print('rings')")
        assert bell.recv(10)
        kernel.run("for i in range(1000): display(i)")  # the queue is full, and nothing waits for it
        assert kernel.reply["content"]["status"] == "ok"


FULL = """
from IPython.display import display
print("printed")
from comm import create_comm
create_comm(target_name="test", buffers=[b"\\x00\\xff"])
1/0
"""


@each_kernel
def test_what_cannot_be_written_is_sent_to_the_supervisor_in_what_others_pass_over(
    short: Callable[[str], Path], python: str, requirement: str
) -> None:
    prefix = built(python, requirement)
    folder = short("full-" + prefix.name)
    folder.mkdir()
    (folder / "k.messages").symlink_to("/dev/full")
    with recorded(folder, str(prefix / "bin/python")) as kernel:
        assert messagelog.begins(kernel.log) is None
        cell = kernel.run(FULL)
        published = kernel.published
    stream = Stream(str(folder / "none"))
    for topic, raw in published:
        assert (topic == b"kernel.unrecorded") == (raw["msg_type"] == UNRECORDED)
        if raw["msg_type"] == UNRECORDED:
            assert not raw["parent_header"], "no client takes it for a part of its cell"
            stream.keep(received(raw))
    kept = [item for item in stream.unrecorded()[0] if isinstance(item, Message)]
    assert {item.parent_id for item in kept} == {cell}
    assert "recorder: OSError" in (folder / "stderr").read_text(), "there, and in no cell"
    plain = [message for _, message in published if message["msg_type"] != UNRECORDED]
    sent = [item.msg_id for item in kept if item.channel == "iopub"]
    assert sent == [message["header"]["msg_id"] for message in plain]
    folded = fold(kept)
    assert folded.reply is not None
    assert [item.content["execution_state"] for item in kept if item.msg_type == "status"][-1] == "idle"
    assert [output["output_type"] for output in folded.outputs] == ["stream", "error"]
    (comm,) = [item for item in kept if item.msg_type == "comm_open"]
    assert comm.buffers == (b"\x00\xff",)


def received(raw: dict[str, Any]) -> Message:
    """A message as a client has it."""
    return Message(
        channel="iopub",
        msg_type=raw["msg_type"],
        msg_id=raw["header"]["msg_id"],
        parent_id="",
        date="",
        username="",
        content=raw["content"],
        buffers=tuple(bytes(buffer) for buffer in raw["buffers"]),
    )


def test_a_log_that_the_recorder_before_this_one_writes_is_read_as_it_grows(short: Callable[[str], Path]) -> None:
    old = shutil.copytree(RECORDER.parent, short("inside"))
    shutil.copy(RECORDS / "recorder-1.py.txt", old / "recorder.py")
    with recorded(short("old"), recorder=old / "recorder.py") as kernel:
        assert messagelog.begins(kernel.log) is None
        stream = Stream(str(kernel.log))
        cell = kernel.run("print('printed by the old one')\n1/0")
        assert kernel.text(cell) == "printed by the old one\n"
        taken, position = stream.take(0)
        kinds = [
            entry.item.msg_type for entry in taken if not isinstance(entry.item, Mark) and entry.item.parent_id == cell
        ]
        assert kinds == ["status", "execute_input", "stream", "error", "execute_reply", "status"]
        writer = MessageLogWriter(kernel.log)  # one that is taken over may be written by both
        writer.append(messagelog.encode_mark(Mark(kind="gap", parent_id="", detail="a new one")))
        writer.close()
        again = kernel.run("print('again')")
        items = [item for _, item in messagelog.read(kernel.log, position, parent=again)]
        assert isinstance(items[0], Mark)
        assert fold(items[1:]).outputs[0]["text"] == "again\n"


def test_a_recorder_that_cannot_write_lets_the_kernel_go_on(short: Callable[[str], Path]) -> None:
    folder = short("open")
    folder.mkdir()
    (folder / "k.messages").mkdir()  # no file can be opened there
    with recorded(folder) as kernel:
        kernel.run("x = 41")
        assert kernel.reply["content"]["status"] == "ok"
    assert "recorder:" in (folder / "stderr").read_text()
