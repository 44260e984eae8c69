"""Promise: what a kernel's log could not take is said of its own execution, wherever that is shown, by any daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import Home, Session

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
NO_ROOM = """
import resource
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
"""
ROOM = "resource.setrlimit(resource.RLIMIT_FSIZE, limits)\n"
FAULTS = {  # the recorder looks at its log's path each 50 ms, so the cell goes on for longer
    "a limit": NO_ROOM,
    "no folder": "import os\nos.rename({folder!r}, {folder!r} + '-away')\nimport time; time.sleep(0.1)\n",
    "a folder in its place": "import os, time\nos.unlink({log!r}); os.mkdir({log!r}); time.sleep(0.1)\n",
}
SAID = "could not be recorded"


async def log_of(home: Home, session: Session) -> Path:
    await session.run("print('before')")
    (log,) = home.path.glob("logs/*.messages")
    return log


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_hole_is_said_of_its_execution_by_the_next_daemon(home: Home, fault: str) -> None:
    async with home.client() as session:
        log = await log_of(home, session)
        hole = await session.run(
            fault.format(log=str(log), folder=str(log.parent)) + "print('swallowed', flush=True)\n6 * 7"
        )
        number = hole.facts["execution_id"]
        assert "swallowed" in hole.text
        assert "42" in hole.text
        again = await session.call("kernel_output", execution_id=number)
        assert "swallowed" in again.text, "the daemon that heard it has it"
        home.kill_daemon()
        told = await session.call("kernel_output", execution_id=number)
        history = await session.call("kernel_history")
        saved = await session.call("kernel_save_notebook", path="holes.ipynb")
    followed = home.cli("output", str(number), "--follow")
    listed = home.cli("history")
    assert SAID in told.text, told.text
    (entry,) = [each for each in history.facts["entries"] if each["execution_id"] == number]
    assert entry["unrecorded"] >= 2
    assert history.text.count("not all recorded") == 1
    assert listed.stdout.count("not all recorded") == 1
    assert not saved.is_error, saved.text
    assert SAID in (home.project / "holes.ipynb").read_text()
    assert SAID in followed.stderr, followed


async def test_a_hole_is_said_of_no_other_execution(home: Home) -> None:
    async with home.client() as session:
        await log_of(home, session)
        hole = await session.run(NO_ROOM + "print('swallowed', flush=True)\n6 * 7")
        between = await session.run(ROOM + "print('between')")
        after = await session.run("print('after')")
        for daemon in ("the same", "the next"):
            told = await session.call("kernel_output", execution_id=hole.facts["execution_id"])
            assert SAID in told.text, daemon
            assert "after it had ended" not in told.text
            for each in (between, after):
                others = await session.call("kernel_output", execution_id=each.facts["execution_id"])
                assert SAID not in others.text or each is between, (daemon, others.text)
            if daemon == "the same":
                assert "swallowed" in told.text
                home.kill_daemon()
