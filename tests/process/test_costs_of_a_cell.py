"""Promise: a cell waits for no thread of its kernel that has nothing to send; what is printed is never overtaken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from kernel_supervisor.core.model import Message
from tests.ipykernels import built
from tests.process.test_recorder import Recorded, each_kernel, recorded, short
from tests.support import until_now

pytestmark = pytest.mark.timeout(300)
__all__ = ["short"]
COUNT = """
import sys
class Counted:
    asked = []
    thread = sys.stdout.pub_thread
    schedule = thread.schedule
    @classmethod
    def counting(cls, work):
        cls.asked.append(getattr(work, "__qualname__", ""))
        cls.schedule(work)
Counted.thread.schedule = Counted.counting
"""
SAID = ["busy", "input", "result", "idle"]
"""What a cell with a value has the thread send."""


def asked(kernel: Recorded) -> list[str]:
    """For what the thread that sends outputs was asked since this was asked last; its own cell is not in it."""
    cell = kernel.run("print(*Counted.asked, sep=';'); Counted.asked.clear()")
    return kernel.text(cell).strip().split(";")


@each_kernel
def test_a_cell_with_a_value_has_its_messages_sent_and_waits_for_nothing(
    short: Callable[[str], Path], python: str, requirement: str
) -> None:
    prefix = built(python, requirement)
    with recorded(short("cost-" + prefix.name), str(prefix / "bin/python")) as kernel:
        kernel.run(COUNT)
        asked(kernel)
        kernel.run("None")  # which has what the cell before has printed behind it
        before = len(asked(kernel))
        kernel.run("1 + 1")
        kernel.run("2 + 2")
        assert len(asked(kernel)) - before == 2 * len(SAID) - (len(SAID) - 1), "one cell more, of one message more"


def test_what_is_printed_stands_before_what_comes_behind_it(short: Callable[[str], Path]) -> None:
    with recorded(short("order")) as kernel:
        for _ in range(50):
            cell = kernel.run("import sys; print('one'); print('two', file=sys.stderr); display(3); print('four'); 5")
            said = [_word(each) for each in kernel.items(cell) if isinstance(each, Message) and each.channel == "iopub"]
            assert [each for each in said if each not in ("busy", "idle", "input", "two", "")] == [
                "one",
                "3",
                "four",
                "5",
            ]
            assert said.index("two") < said.index("3")
            assert (said[0], said[-1]) == ("busy", "idle")


def _word(message: Message) -> str:
    content = message.content
    if message.msg_type == "stream":
        return str(content["text"]).strip()
    if message.msg_type == "execute_input":
        return "input"
    return str(content.get("execution_state") or content["data"]["text/plain"])


@pytest.mark.parametrize(
    "code",
    [
        "import os; print('last words', flush=True); os._exit(0)",
        "import os, threading; print('last '); print('words', end='', flush=True); os._exit(0)",
        "import os, time; print('last words'); time.sleep(1); print(flush=True); os._exit(0)",
        "import os, sys; os.write(1, b'last words'); sys.stdout.flush(); os._exit(0)",
        "import os, sys; print('last words', file=sys.__stdout__, flush=True); sys.stdout.flush(); os._exit(0)",
    ],
)
def test_what_was_flushed_is_on_record_when_the_process_ends(short: Callable[[str], Path], code: str) -> None:
    with recorded(short(f"last{len(code)}")) as kernel:
        msg_id = kernel.client.execute(code)
        iopub = kernel.client.iopub_channel.socket
        while iopub.poll(2_000):
            iopub.recv_multipart()
        assert "".join(kernel.text(msg_id).split()) == "lastwords"


def test_what_was_written_to_a_descriptor_before_a_flush_is_in_the_kernels_own_log(
    short: Callable[[str], Path],
) -> None:
    """Where the explanation of a death finds it."""
    code = "import os, sys; os.write(2, b'last words'); {}.flush(); os._exit(0)"
    for number, stream in enumerate(("sys.stderr", "sys.stdout")):
        with recorded(short(f"own{number}")) as kernel:
            kernel.client.execute(code.format(stream))
            until_now(lambda pid=kernel.pid: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "it ends")  # type: ignore[misc]  # a lambda's default
            assert kernel.log.with_name("stderr").read_bytes().endswith(b"last words"), stream


def test_a_handler_that_prints_and_flushes_within_a_flush_ends(short: Callable[[str], Path]) -> None:
    code = """
import signal, sys
told = []
def tell(*_):
    told.append(1)
    if len(told) > 40:
        signal.setitimer(signal.ITIMER_REAL, 0)
    print("tick", flush=True)
signal.signal(signal.SIGALRM, tell)
signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
while len(told) < 40:
    print("x" * 10, end="", flush=len(told) % 2 == 0)
"""
    with recorded(short("handler")) as kernel:
        assert kernel.text(kernel.run(code)).count("tick") >= 40
