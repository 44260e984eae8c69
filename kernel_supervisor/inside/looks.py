"""Looks at descriptors and at children as C does: Python's own functions let go of the interpreter, or take longer.

Runs *inside* the kernel, loaded by `pipes.py`: stdlib only, Python 3.8 and later, on Linux.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Any

_ANY_KIND, _NO_WAIT = 0x40000000, 2
"""`__WALL` and `SA_NOCLDWAIT`."""
_IGNORED = int(signal.SIG_IGN)


class Polled(ctypes.Structure):
    """What poll(2) is asked of one descriptor, and says of it."""

    _fields_ = (("number", ctypes.c_int), ("events", ctypes.c_short), ("found", ctypes.c_short))


class Ends:
    """Descriptors that are looked at without letting go of the interpreter, as `select.poll` does: the thread that has
    it then is waited for, several times as long as the look takes."""

    def __init__(self) -> None:
        self.look = ctypes.PyDLL(None).poll
        self.look.argtypes = (ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int)
        self.events: dict[int, int] = {}
        self.asked: Any = (Polled * 0)()

    def register(self, number: int, events: int) -> None:
        """Look at it from now on, for these events."""
        self.events[number] = events
        self.lay_out()

    def unregister(self, number: int) -> None:
        """Look at it no longer. Raises KeyError where it was not looked at."""
        del self.events[number]
        self.lay_out()

    def lay_out(self) -> None:
        """What is asked the next time."""
        self.asked = (Polled * len(self.events))(*(Polled(*each, 0) for each in self.events.items()))

    def ready(self) -> list[tuple[int, int]]:
        """Each of which there is something to say, and what."""
        asked = self.asked
        if self.look(asked, len(asked), 0) <= 0:
            return []
        return [(each.number, each.found) for each in asked if each.found]


class Action(ctypes.Structure):
    """What is done when a signal comes (sigaction(2), as C's library has it on Linux)."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_char * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class Births:
    """Whether this process has begotten another one, whoever did it: user code, a library of C, a thread.

    C's own functions are called: Python's take three times as long.
    """

    def __init__(self) -> None:
        library = ctypes.PyDLL(None)
        self.wait, self.act, self.used = library.waitid, library.sigaction, library.getrusage
        self.action = Action()
        self.its_action = ctypes.byref(self.action)
        self.before, self.now = b"", (ctypes.c_char * 256)()
        self.look = os.WEXITED | os.WNOHANG | os.WNOWAIT | _ANY_KIND
        self.is_known = True
        try:
            os.waitid(os.P_ALL, 0, self.look)
        except OSError as error:  # an old system knows no such look
            self.is_known = isinstance(error, ChildProcessError)
        self.count()

    def count(self) -> None:
        """From now on."""
        self.used(resource.RUSAGE_CHILDREN, self.now)
        self.before = self.now.raw

    def none(self) -> bool:
        """Whether there surely was none: none lives, and what those that are gone have used is as it was.

        Of children that the system itself takes away nothing is known.
        """
        if not self.is_known or self.wait(os.P_ALL, 0, None, self.look) == 0:
            return False
        self.act(signal.SIGCHLD, None, self.its_action)
        self.used(resource.RUSAGE_CHILDREN, self.now)
        is_taken = self.action.handler == _IGNORED or self.action.flags & _NO_WAIT
        return not is_taken and self.now.raw == self.before
