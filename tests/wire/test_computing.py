"""Promise: a process is said to compute where it does all the time, not where it wakes up now and then."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from kernel_supervisor.core.model import ProcessIdentity
from kernel_supervisor.kernels.process import identify, is_computing
from tests.support import DEADLINE_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the states of threads are read from /proc")
AWAKE_NOW_AND_THEN = """
import time
while True:
    time.sleep(0.05)
    end = time.perf_counter() + 0.002
    while time.perf_counter() < end: pass
"""
IN_A_THREAD = """
import threading
threading.Thread(target=lambda: pow(7, 10**9)).start()
threading.Event().wait()
"""


@pytest.mark.parametrize(
    ("code", "computes"),
    [
        ("input()", False),
        (AWAKE_NOW_AND_THEN, False),
        ("pow(7, 10**9)", True),
        (IN_A_THREAD, True),
    ],
    ids=["idle", "awake now and then", "computing", "computing in a thread"],
)
def test_who_computes_is_told_from_who_wakes_up(code: str, computes: bool) -> None:
    command = [sys.executable, "-c", f"print('begun', flush=True)\n{code}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        identity = identify(process.pid)
        assert identity is not None
        try:
            if computes:
                asyncio.run(asyncio.wait_for(_until_it_computes(identity), DEADLINE_S))
            else:
                assert not asyncio.run(is_computing(identity))
        finally:
            process.kill()


async def _until_it_computes(identity: ProcessIdentity) -> None:
    while not await is_computing(identity):
        pass


def test_a_process_that_is_gone_computes_nothing() -> None:
    assert not asyncio.run(is_computing(ProcessIdentity(pid=2**22 + 1, start=1, boot="")))
