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
        self.shield = self.tasks = self.answers = self.life = -1
        _libc.prctl(_SUBREAPER, 1, 0, 0, 0)

    def ask(self, task: Any, seconds: float) -> Answer:
        """What a worker answers to a task. Raises LostError; the next task is another worker's then."""
        if self.shield < 0:
            self._start()
        until = time.monotonic() + seconds
        try:
            _send(self.tasks, task, b"")
            (content, goes_on), blob = _receive(self.answers, until, self.life)
        except TimeoutError:
            self._end(kill=True)
            raise LostError(None) from None
        except (OSError, EOFError, ValueError, TypeError):  # the last two: what it says is not a worker's
            raise LostError(self._end(kill=False)) from None
        if not goes_on:
            self._end(kill=True)
        return content, blob

    def close(self) -> None:
        """End the worker, and whatever objects have started in it and others."""
        if self.shield >= 0:
            self._end(kill=True)
        end_children()

    def _start(self) -> None:
        """Have a worker and the process between, which alone has the other end of `life`."""
        (tasks, self.tasks), (self.answers, answers), (self.life, life) = (os.pipe2(os.O_CLOEXEC) for _ in range(3))
        frozen = os.getpid()
        self.shield = _libc._Fork()
        if not self.shield:
            _close(self.tasks, self.answers, self.life)
            _be_child(frozen, lambda: self._wait_for_worker(tasks, answers, life))
        _close(tasks, answers, life)

    def _wait_for_worker(self, tasks: int, answers: int, life: int) -> None:
        """In the process between: say that it lives as often as the worker asks, and end as that does."""
        (asked, asking), (heard, hearing), (dead, dying) = (os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) for _ in range(3))
        signal.set_wakeup_fd(dying)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        between = os.getpid()
        worker = _libc._Fork()
        if not worker:
            _close(life, asked, hearing)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.set_blocking(heard, True)
            _be_child(between, lambda: _work(self.answer, tasks, answers, (asking, heard)))
        _close(tasks, answers, asking, heard)
        poll = select.poll()
        poll.register(asked, select.POLLIN)
        poll.register(dead, select.POLLIN)
        with contextlib.suppress(OSError):  # it ended before it heard
            while dead not in dict(poll.poll()):
                os.write(hearing, os.read(asked, 1))
        status = os.waitpid(worker, 0)[1]
        os._exit(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)

    def _end(self, *, kill: bool) -> int:
        """How it ended: minus the signal's number, or 0."""
        _close(self.tasks, self.answers, self.life)
        if kill:
            os.kill(self.shield, signal.SIGKILL)
        status = os.waitpid(self.shield, 0)[1]
        self.shield = -1
        end_children()
        return -(os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _close(*descriptors: int) -> None:
    for each in descriptors:
        os.close(each)


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


def _work(answer: Callable[[Any], Answer], tasks: int, answers: int, parent: tuple[int, int]) -> None:
    """Answer tasks as they come, in a thread with room for what is deeply nested, if there is memory for that.

    An answer is sent once the parent lives still: it would be the next one's fault else. Beside threads that an object
    has left here nothing more is done.
    """
    done = _thread.allocate_lock()
    done.acquire()

    def work() -> None:
        goes_on, threads = True, _threads()
        try:
            with contextlib.suppress(EOFError, OSError):
                while goes_on:
                    content, blob = answer(_receive(tasks, None)[0])
                    os.write(parent[0], b"?")
                    goes_on = _threads() <= threads
                    if os.read(parent[1], 1):
                        _send(answers, [content, goes_on], blob)
        finally:
            done.release()

    try:
        _thread.stack_size(_STACK)
        _thread.start_new_thread(work, ())
        sys.setrecursionlimit(_DEPTH)
    except (RuntimeError, ValueError):
        work()
    done.acquire()


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _send(descriptor: int, content: Any, blob: bytes) -> None:
    text = json.dumps(content).encode()
    rest = memoryview(_HEAD.pack(len(text), len(blob)) + text + blob)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _receive(descriptor: int, until: float | None, life: int = -1) -> Answer:
    """Raises EOFError, also where `life` ends, TimeoutError, and ValueError where it is none of ours."""
    text_size, blob_size = _HEAD.unpack(_read(descriptor, _HEAD.size, until, life))
    return json.loads(_read(descriptor, text_size, until, life)), _read(descriptor, blob_size, until, life)


def _read(descriptor: int, size: int, until: float | None, life: int) -> bytes:
    pieces, poll = bytearray(), select.poll()
    for each in (descriptor, life) if life >= 0 else (descriptor,):
        poll.register(each, select.POLLIN)
    while len(pieces) < size:
        ready = poll.poll(None if until is None else max(0.0, until - time.monotonic()) * 1000)
        if not ready:
            raise TimeoutError
        piece = os.read(descriptor, min(_PIECE, size - len(pieces))) if ready[0][0] == descriptor else b""
        if not piece:
            raise EOFError
        pieces += piece
    return bytes(pieces)
