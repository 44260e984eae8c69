"""Processes of ours that convert and draw, ended whole: with what they have started."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process that was started in a session of its own, with its children, unless it is over."""
    if process.returncode is None:  # not yet waited for, so its number is still its own
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())


def end_within(seconds: float) -> None:
    """For such a process itself: end with all children after so long, should the one who waits for it be gone."""
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.alarm(int(seconds) + 5)
