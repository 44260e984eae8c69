"""Whether the machine or the login is about to end: then what kernels have is saved while there is time.

The service manager says so of itself while it stops what it runs: systemctl(1), `is-system-running`.
"""

from __future__ import annotations

import asyncio
import shutil

_ASKED_S = 1.0
_ENDING = b"stopping"


async def is_ending() -> bool:
    """Whether the user's service manager, or the machine's, is stopping; False where there is none that says so."""
    if shutil.which("systemctl") is None:
        return False
    return any(await asyncio.gather(_says("--user"), _says("--system")))


async def _says(which: str) -> bool:
    null, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    command = ("systemctl", which, "is-system-running")
    try:
        asked = await asyncio.create_subprocess_exec(*command, stdin=null, stdout=pipe, stderr=null)
    except OSError:
        return False
    try:
        said, _ = await asyncio.wait_for(asked.communicate(), _ASKED_S)
    except asyncio.TimeoutError:
        asked.kill()
        await asked.wait()
        return False
    return said.strip() == _ENDING
