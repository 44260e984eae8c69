"""Promise: a number on record that no process has, or that cannot be one, is a process that is gone; no other error."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kernel_supervisor.core.model import ProcessIdentity
from kernel_supervisor.kernels.process import Process, identify

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="pidfds are Linux's")


@pytest.fixture
def child() -> Iterator[ProcessIdentity]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = identify(process.pid)
        assert identity is not None
        yield identity
        process.kill()


@pytest.mark.parametrize("pid", [-(2**70), -1, 0, 1, 2**22 + 1, 2**31 - 1, 2**31, 2**32 + 1, 2**63, 2**70])
def test_an_impossible_pid_is_gone(pid: int) -> None:
    known = identify(pid)
    with pytest.raises(ProcessLookupError):
        Process(known or ProcessIdentity(pid=pid, start=1, boot=""))


@pytest.mark.parametrize("number", [errno.ESRCH, errno.ENOENT, errno.EINVAL])
def test_what_the_system_says_of_a_pid_that_nobody_has_means_gone(
    number: int, child: ProcessIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pidfd_open", _failing(number))
    with pytest.raises(ProcessLookupError):
        Process(child)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENODEV])
def test_where_the_system_gives_no_pidfd_the_identity_tells(
    number: int, child: ProcessIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pidfd_open", _failing(number))
    process = Process(child)
    assert process.alive()
    process.close()
    with pytest.raises(ProcessLookupError):
        Process(ProcessIdentity(pid=child.pid, start=child.start + 1, boot=child.boot))


def _failing(number: int) -> object:
    def pidfd_open(pid: int, flags: int = 0) -> int:
        raise OSError(number, os.strerror(number))

    return pidfd_open
