"""Has a frozen process's work done by copies of it: one that hangs, crashes or kills its parent costs what it was at.

Between the frozen process and its worker is a third, in a session of its own, that only waits: an object that kills the
parent of the process in which it is saved kills that one. A worker ends with it, and it with the frozen process.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import json
import os
import select
import signal
import struct
import sys
import time
from typing import Any, Callable, Tuple

Answer = Tuple[Any, bytes]
_HEAD = struct.Struct("<IQ")
_PARENT_DIES, _SUBREAPER = 1, 36
_STACK = 512 << 20
_DEPTH = 200_000
_PIECE = 1 << 20
_libc = ctypes.PyDLL(None)


class LostError(Exception):
    """The worker did not answer: `status` is how it ended, None where its time was over."""

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class Workers:
    """One worker at a time."""

    def __init__(self, answer: Callable[[Any], Answer]) -> None:
        self.answer = answer
        self.shield = self.tasks = self.answers = -1
        self.count = 0
        _libc.prctl(_SUBREAPER, 1, 0, 0, 0)

    def ask(self, task: Any, seconds: float) -> Answer:
        """What a worker answers to a task. Raises LostError; the next task is another worker's then."""
        if self.shield < 0:
            self._start()
        until = time.monotonic() + seconds
        try:
            _send(self.tasks, task, b"")
            return _receive(self.answers, until)
        except TimeoutError:
            self._end(kill=True)
            raise LostError(None) from None
        except (OSError, EOFError, ValueError):  # ValueError: what it says is not a worker's
            raise LostError(self._end(kill=False)) from None

    def close(self) -> None:
        """End the worker, and whatever objects have started in it and others."""
        if self.shield >= 0:
            self._end(kill=False)
        end_children()

    def _start(self) -> None:
        tasks, self.tasks = os.pipe2(os.O_CLOEXEC)
        self.answers, answers = os.pipe2(os.O_CLOEXEC)
        frozen = os.getpid()
        self.count += 1
        self.shield = _libc._Fork()
        if not self.shield:
            _be_child(frozen, lambda: self._wait_for_worker(tasks, answers))
        os.close(tasks)
        os.close(answers)

    def _wait_for_worker(self, tasks: int, answers: int) -> None:
        """In the process between: end as the worker ends."""
        between = os.getpid()
        os.close(self.tasks)
        os.close(self.answers)
        worker = _libc._Fork()
        if not worker:
            _be_child(between, lambda: _work(self.answer, tasks, answers))
        os.close(tasks)
        os.close(answers)
        status = os.waitpid(worker, 0)[1]
        os._exit(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)

    def _end(self, *, kill: bool) -> int:
        """How it ended: minus the signal's number, or 0."""
        os.close(self.tasks)
        os.close(self.answers)
        if kill:
            os.kill(self.shield, signal.SIGKILL)
        status = os.waitpid(self.shield, 0)[1]
        self.shield = -1
        if kill or status:
            end_children()
        return -(os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _be_child(parent: int, work: Callable[[], None]) -> None:
    """Do some work, out of reach of what is meant for groups of processes, and end; with the parent at the latest."""
    try:
        os.setsid()
        _libc.prctl(_PARENT_DIES, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() == parent:
            work()
    finally:
        os._exit(0)


def end_children() -> None:
    """End all children, and their children, whose parent this process becomes then."""
    while True:
        for pid in _children():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except OSError:  # there is none
            return


def _children() -> list[int]:
    found, parent = [], b"%d" % os.getpid()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open("/proc/%s/stat" % name, "rb") as file:
            if file.read().rpartition(b")")[2].split()[1] == parent:
                found.append(int(name))
    return found


def _work(answer: Callable[[Any], Answer], tasks: int, answers: int) -> None:
    """Answer tasks as they come, in a thread with room for what is deeply nested, if there is memory for that."""
    done = _thread.allocate_lock()
    done.acquire()

    def work() -> None:
        try:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    task = _receive(tasks, None)[0]
                    _send(answers, *answer(task))
        finally:
            done.release()

    try:
        _thread.stack_size(_STACK)
        _thread.start_new_thread(work, ())
        sys.setrecursionlimit(_DEPTH)
    except (RuntimeError, ValueError):
        work()
    done.acquire()


def _send(descriptor: int, content: Any, blob: bytes) -> None:
    text = json.dumps(content).encode()
    data = memoryview(_HEAD.pack(len(text), len(blob)) + text + blob)
    while data:
        data = data[os.write(descriptor, data) :]


def _receive(descriptor: int, until: float | None) -> Answer:
    """Raises EOFError, TimeoutError, and ValueError where it is none of ours."""
    text_size, blob_size = _HEAD.unpack(_read(descriptor, _HEAD.size, until))
    return json.loads(_read(descriptor, text_size, until)), _read(descriptor, blob_size, until)


def _read(descriptor: int, size: int, until: float | None) -> bytes:
    pieces = bytearray()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while len(pieces) < size:
        if not poll.poll(None if until is None else max(0.0, until - time.monotonic()) * 1000):
            raise TimeoutError
        piece = os.read(descriptor, min(_PIECE, size - len(pieces)))
        if not piece:
            raise EOFError
        pieces += piece
    return bytes(pieces)
