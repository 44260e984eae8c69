"""Promise: nothing is begun in a kernel that said that it exits; what waited is told so, and one that stays goes on."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.ipykernels import built
from tests.support import Home, Session, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
WAITS = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
EXITS = {
    "exit": "exit()",
    "quit": "quit()",
    "exiter": "get_ipython().exiter()",
    "shell": "get_ipython().ask_exit()",
    "nested": "def f(): exit()\nf()\nprint('said')",
    "before an error": "exit()\n1/0",
    "with a thread": "import threading\nthreading.Thread(target=time.sleep, args=(2,)).start()\nexit()",
}
STAYS = {
    "kept": "exit(keep_kernel=True)",
    "sys.exit": "import sys; sys.exit()",
    "a thread's": "import sys, threading\nt = threading.Thread(target=sys.exit); t.start(); t.join()",
    "only said": "get_ipython().payload_manager.write_payload({'source': 'ask_exit', 'keepkernel': False})",
}


async def queued_behind(home: Home, session: Session, code: str) -> list[str]:
    """Run two cells behind that one, which they have to wait for; their results."""
    first = await session.call("kernel_exec", code=WAITS + code, timeout=0)
    behind = [asyncio.create_task(session.run(f"open('ran-{n}', 'w').close(); x", timeout=60)) for n in range(2)]
    await until(lambda: len(home.cli("history").stdout.split("ran-")) > 2, "both of them in the queue")
    (home.project / "go").touch()
    results = [(await each).text for each in behind]
    await session.call("kernel_output", execution_id=first.facts["execution_id"])
    return results


@pytest.mark.parametrize("code", EXITS.values(), ids=EXITS)
async def test_what_waits_behind_an_exit_is_not_run(home: Home, code: str) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        for text in await queued_behind(home, session, code):
            assert text.startswith("aborted"), text
            assert "it was not run" in text
            assert "exit() and quit()" in text
        assert not list(home.project.glob("ran-*"))
        assert "kernel_restart" in (await session.call("kernel_exec", code="x")).text


@pytest.mark.parametrize("code", STAYS.values(), ids=STAYS)
async def test_what_waits_behind_what_is_no_exit_is_run(home: Home, code: str) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        for text in await queued_behind(home, session, code):
            assert text.startswith("ok"), text
            assert text.endswith("41")


async def test_nothing_is_run_behind_an_exit_of_an_older_ipykernel(home: Home) -> None:
    prefix = built(sys.executable, "ipykernel==6.29.5")
    async with home.client() as session:
        made = await session.call("kernel_use_env", env_name=str(prefix))
        assert not made.is_error, made.text
        await session.run("x = 41")
        for text in await queued_behind(home, session, "exit()"):
            assert text.startswith("aborted"), text
        assert not list(home.project.glob("ran-*"))
