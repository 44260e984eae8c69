"""What runs inside a kernel sees to it that an answer meets its question, in ipykernel 6 and 7."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ipykernels import python_with
from tests.process.test_recorder import Recorded, recorded, short
from tests.support import DEADLINE_S, until_now

__all__ = ["short"]
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(params=["ipykernel==6.29.5", "ipykernel==7.4.0"])
def kernel(short: Callable[[str], Path], request: pytest.FixtureRequest) -> Iterator[Recorded]:
    with recorded(short("asks" + request.param[-5:]), python_with(request.param)) as running:
        yield running


def _asked(kernel: Recorded) -> dict[str, Any]:
    message: dict[str, Any] = kernel.client.get_stdin_msg(timeout=DEADLINE_S)
    return message


def _answer(kernel: Recorded, question: str | None, text: str) -> None:
    session = kernel.client.session
    parent = {"msg_id": question} if question else None
    kernel.client.stdin_channel.send(session.msg("input_reply", {"value": text}, parent=parent))


def test_an_answer_to_another_question_is_passed_over(kernel: Recorded) -> None:
    kernel.client.session.username = "supervisor"
    cell = kernel.client.execute("print(input('One? '), input('Two? '))", allow_stdin=True)
    one = _asked(kernel)["header"]["msg_id"]
    _answer(kernel, "of-nobody", "wrong")
    _answer(kernel, one, "first")
    over, two = _asked(kernel), _asked(kernel)
    assert over["msg_type"] == "supervisor_input_over"
    assert over["content"] == {"question": one}
    _answer(kernel, one, "first, again")
    _answer(kernel, two["header"]["msg_id"], "second")
    kernel.client._recv_reply(cell, timeout=DEADLINE_S)
    until_now(lambda: kernel.text(cell) == "first second\n", "both answers")
    kinds = [getattr(item, "msg_type", "") for item in kernel.items(cell) if getattr(item, "channel", "") == "stdin"]
    assert kinds == ["input_request", "supervisor_input_over"] * 2


def test_other_clients_ask_and_answer_as_ever(kernel: Recorded) -> None:
    cell = kernel.client.execute("print(input('One? '))", allow_stdin=True)
    assert _asked(kernel)["content"]["prompt"] == "One? "
    _answer(kernel, None, "first")
    assert kernel.client._recv_reply(cell, timeout=DEADLINE_S)["content"]["status"] == "ok"
    until_now(lambda: kernel.text(cell) == "first\n", "the answer")
    with pytest.raises(queue.Empty):
        kernel.client.get_stdin_msg(timeout=0)


INTERRUPTED = """
import os, signal
socket = get_ipython().kernel.stdin_socket
send = socket.send
def interrupted(*args, **kwargs):
    sent = send(*args, **kwargs)
    if "send" in socket.__dict__:
        del socket.send
        os.kill(os.getpid(), signal.SIGINT)
    return sent
socket.send = interrupted
input('One? ')
"""


def test_an_interrupt_while_a_question_is_sent_spoils_none(kernel: Recorded) -> None:
    """It comes behind the first of a message's frames."""
    kernel.client.session.username = "supervisor"
    cell = kernel.client.execute(INTERRUPTED, allow_stdin=True, stop_on_error=False)
    one, over = _asked(kernel), _asked(kernel)
    reply = kernel.client._recv_reply(cell, timeout=DEADLINE_S)["content"]
    assert (reply["status"], reply["ename"]) == ("error", "KeyboardInterrupt")
    assert over["content"] == {"question": one["header"]["msg_id"]}
    cell = kernel.client.execute("print(input('Two? '))", allow_stdin=True)
    two = _asked(kernel)
    assert two["content"]["prompt"] == "Two? "
    _answer(kernel, two["header"]["msg_id"], "second")
    kernel.client._recv_reply(cell, timeout=DEADLINE_S)
    until_now(lambda: kernel.text(cell) == "second\n", "the answer")


def test_a_question_without_an_answer_ends_the_input(kernel: Recorded) -> None:
    cell = kernel.client.execute(
        "import getpass\ntry: getpass.getpass()\nexcept EOFError: print('over')", allow_stdin=True
    )
    _answer(kernel, _asked(kernel)["header"]["msg_id"], "\x04")
    kernel.client._recv_reply(cell, timeout=DEADLINE_S)
    until_now(lambda: kernel.text(cell) == "over\n", "EOFError")
