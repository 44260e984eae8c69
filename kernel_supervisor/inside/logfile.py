"""The file that a kernel's message log is, as long as user code leaves it to us.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import stat
import time
from typing import Any

_LOOK_S = 0.05
"""How often the log's path is looked at, at the most."""


class Held:
    """A descriptor that user code may close, and whose number it may be given for a file of its own.

    It stands behind those that user code is given, and often closes by range.
    """

    def __init__(self, fd: int) -> None:
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        try:
            self.fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max((soft if 0 < soft < 4096 else 4096) - 32, 3))
            os.close(fd)
        except OSError:  # there is no room
            self.fd = fd
        self.found = os.fstat(self.fd)
        self.who = (self.found.st_dev, self.found.st_ino)

    def look(self) -> Any:
        """What the system says of it; None where it is another's by now, or nobody's."""
        try:
            found = os.fstat(self.fd)
        except OSError:
            return None
        return found if (found.st_dev, found.st_ino) == self.who else None


class Log:
    """The message log, as long as it is the file at its path; else that is opened, or made, again."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.length = 0
        self.looked = 0.0
        self.lost = False
        self.held = Held(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def opened(self) -> Held:
        """What is at the path now, which must be a file. Raises OSError."""
        held = Held(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK))
        if stat.S_ISREG(held.found.st_mode):
            return held
        os.close(held.fd)
        raise OSError("%s is no file" % self.path)

    def is_there(self, found: Any) -> bool:
        """Whether the file that we have open is the one at the path; asked now and then where it has a name at all."""
        now = time.monotonic()
        if found.st_nlink and now - self.looked < _LOOK_S:
            return True
        try:
            there = os.path.samestat(found, os.stat(self.path))
        except OSError:
            there = False
        self.looked = now if there else 0.0
        return there

    def descriptor(self, beginning: bytes) -> int:
        """Where to write, now. Raises OSError.

        A log that was removed is made again with this `beginning`: as long as it was, so that whoever has read a part
        of it reads on.
        """
        found = self.held.look()
        if found is not None:
            self.length = found.st_size
            if self.is_there(found):
                return self.held.fd
        if not os.path.lexists(self.path):
            self.make_again(beginning)
            self.lost = True
        held = self.opened()
        self.lost = self.lost or held.who != self.held.who
        if found is not None:  # under the same number, to which another thread may be about to write
            os.dup2(held.fd, self.held.fd, inheritable=False)
            os.close(held.fd)
            held.fd = self.held.fd
        self.held = held
        return held.fd

    def make_again(self, beginning: bytes) -> None:
        """Lay a new log at the path, whole at once: a fork may do the same."""
        aside = "%s.%d" % (self.path, os.getpid())
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, beginning)
            os.ftruncate(fd, max(self.length, len(beginning)))
            with contextlib.suppress(FileExistsError):
                os.link(aside, self.path)
        finally:
            os.close(fd)
            os.unlink(aside)
