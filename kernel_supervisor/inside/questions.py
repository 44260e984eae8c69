"""Sees to it that a cell's `input()` takes the answer to its own question, and says when the question is over.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. ipykernel takes whatever arrives
on its stdin socket for the answer. Here an answer that names another question is passed over: a supervisor that is in
doubt may send one again. What a client that is not ours asks for and answers is as ipykernel does it.

What `getpass()` returned is recognised by what saves variables (`checkpoints/secrets.py`): a salted hash of it is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

OVER = "supervisor_input_over"
"""Sent behind an `input_request`, on the same channel: it was answered, or its cell was interrupted."""
END_OF_FILE = "\x04"
"""The answer that raises EOFError in the cell (`ipykernel.kernelbase.Kernel._input_request`, 6.x and 7.x)."""
_OURS = "supervisor"
"""The user name in the requests of our clients."""
_INSTALLED = "_supervisor_questions"
_TYPED = "_supervisor_typed"
"""Of a kernel: a salt, and by their lengths the hashes of what was typed as passwords."""
_SHORTEST = 4
"""Less is in many a text."""


def install(kernel: Any) -> None:
    """Watch the questions of `kernel`."""
    if getattr(kernel, _INSTALLED, False):
        return
    session, asked = kernel.session, [""]
    send, receive, ask = session.send, session.recv, kernel._input_request

    def sending(stream: Any, msg_or_type: Any, *args: Any, **kwargs: Any) -> Any:
        if stream is not kernel.stdin_socket:
            return send(stream, msg_or_type, *args, **kwargs)
        with interrupted_afterwards():
            message = send(stream, msg_or_type, *args, **kwargs)
            if msg_or_type == "input_request":
                asked[0] = message["header"]["msg_id"]
            return message

    def receiving(socket: Any, *args: Any, **kwargs: Any) -> Any:
        ident, message = receive(socket, *args, **kwargs)
        if socket is kernel.stdin_socket and message is not None:
            named = (message.get("parent_header") or {}).get("msg_id")
            if named and named != asked[0]:
                return None, None  # ipykernel waits on
        return ident, message

    def asking(prompt: Any, ident: Any, parent: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            answer = ask(prompt, ident, parent, *args, **kwargs)
            if kwargs.get("password") or any(args):
                _remember(kernel, answer)
            return answer
        finally:
            question, asked[0] = asked[0], ""
            if question and parent["header"].get("username") == _OURS:
                sending(kernel.stdin_socket, OVER, {"question": question}, parent, ident=ident)

    session.send, session.recv, kernel._input_request = sending, receiving, asking
    _leave_out_ours(kernel.shell)
    setattr(kernel, _INSTALLED, True)


def _remember(kernel: Any, answer: Any) -> None:
    """Know it again, and be able to say of nothing else what it was."""
    if type(answer) is str and len(answer) >= _SHORTEST:
        if not hasattr(kernel, _TYPED):
            setattr(kernel, _TYPED, (os.urandom(16), {}))
        salt, digests = getattr(kernel, _TYPED)
        digest = hashlib.blake2b(answer.encode("utf-8", "surrogatepass"), key=salt, digest_size=16).digest()
        digests.setdefault(len(answer), set()).add(digest)


def _leave_out_ours(shell: Any) -> None:
    """Have the tracebacks that IPython shows be as without us, whatever of ours is around the user's calls."""
    find = getattr(shell, "_get_exc_info", None)
    if find is None:
        return

    def found(*args: Any, **kwargs: Any) -> Any:
        kind, error, frames = find(*args, **kwargs)
        with contextlib.suppress(Exception):  # whatever was raised is shown all the same
            _unlink(error, frames)
        return kind, error, frames

    shell._get_exc_info = found


def _unlink(error: Any, frames: Any) -> None:
    """Take our frames out of a traceback, and those of what an exception was raised from."""
    ours = os.path.dirname(_unlink.__code__.co_filename)
    seen: list[Any] = []
    while error is not None and not any(each is error for each in seen):
        while frames is not None:
            while frames.tb_next is not None and os.path.dirname(frames.tb_next.tb_frame.f_code.co_filename) == ours:
                frames.tb_next = frames.tb_next.tb_next
            frames = frames.tb_next
        seen.append(error)
        error = error.__cause__ or error.__context__
        frames = getattr(error, "__traceback__", None)


@contextlib.contextmanager
def interrupted_afterwards() -> Iterator[None]:
    """Hold a SIGINT back: half a message on a socket would spoil the next one, too."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    came = []
    signal.signal(signal.SIGINT, lambda *_: came.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if came:
        signal.raise_signal(signal.SIGINT)
