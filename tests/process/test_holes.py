"""Promise: what a kernel's log could not take is said of its own execution, wherever that is shown, by any daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import Home, Session, until

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
    "a pipe in its place": "import os, time\nos.unlink({log!r}); os.mkfifo({log!r}); time.sleep(0.1)\n",
    "a link to nowhere": "import os, time\nos.unlink({log!r}); os.symlink('no/where', {log!r}); time.sleep(0.1)\n",
    "no descriptors": "import os, resource, time\nresource.setrlimit(resource.RLIMIT_NOFILE, (3, 4096))\n"
    "os.closerange(3000, 5000)\n",
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


MIDDLE = f"""print('at the beginning', flush=True)
{NO_ROOM}
print('swallowed', flush=True)
{ROOM}
print('at the end', flush=True)
6 * 7"""


async def test_a_hole_in_the_middle_stays_said_when_there_is_room_again_and_what_is_around_it_stays(home: Home) -> None:
    async with home.client() as session:
        await log_of(home, session)
        before = await session.run("print('neighbour before')")
        hole = await session.run(MIDDLE)
        after = await session.run("print('neighbour after')")
        numbers = {name: each.facts["execution_id"] for name, each in zip("bha", (before, hole, after), strict=True)}
        for _ in range(2):
            home.kill_daemon()
            told = {name: await session.call("kernel_output", execution_id=each) for name, each in numbers.items()}
            assert SAID in told["h"].text
            assert "at the beginning" in told["h"].text
            assert "at the end" in told["h"].text
            assert "42" in told["h"].text
            assert SAID not in told["b"].text + told["a"].text
            entries = (await session.call("kernel_history")).facts["entries"]
            holed = [each["execution_id"] for each in entries if each.get("unrecorded")]
            assert holed == [numbers["h"]]
        await session.call("kernel_save_notebook", path="middle.ipynb")
    cells = json.loads((home.project / "middle.ipynb").read_text())["cells"]
    said = [SAID in json.dumps(cell) for cell in cells]
    assert said == [False, False, False, True, False], "below its own cell"
    printed = [home.cli("output", str(each)) for each in numbers.values()]
    assert [SAID in each.stdout + each.stderr for each in printed] == [False, True, False]
    assert home.cli("history").stdout.count("not all recorded") == 1


def test_a_hole_is_said_once_at_a_terminal_by_the_daemon_that_heard_it_and_by_the_next(home: Home) -> None:
    assert home.cli("exec", "1").returncode == 0
    printed = [home.cli("exec", MIDDLE), home.cli("output", "2", "--follow")]
    home.kill_daemon()
    assert home.cli("start").returncode == 0
    printed.append(home.cli("output", "2", "--follow"))
    assert [(each.stdout + each.stderr).count(SAID) for each in printed] == [2, 2, 2], "our word, with the log's reason"
    assert [each.stderr.count("note: ") for each in printed] == [1, 1, 1]


async def test_two_holes_in_two_executions_are_each_said_of_their_own(home: Home) -> None:
    async with home.client() as session:
        await log_of(home, session)
        holes, whole = [], []
        for number in range(3):
            holes.append(await session.run(NO_ROOM + f"print('swallowed {number}', flush=True)\n" + ROOM))
            whole.append(await session.run(f"print('whole {number}')"))
        home.kill_daemon()
        for each in holes:
            assert SAID in (await session.call("kernel_output", execution_id=each.facts["execution_id"])).text
        for number, each in enumerate(whole):
            told = await session.call("kernel_output", execution_id=each.facts["execution_id"])
            assert f"whole {number}" in told.text
            assert SAID not in told.text
        entries = (await session.call("kernel_history")).facts["entries"]
        assert [bool(each.get("unrecorded")) for each in entries] == [False] + [True, False] * 3


async def test_a_hole_of_a_cell_that_ends_while_no_daemon_runs_is_said(home: Home) -> None:
    gate = home.project / "gate"
    waiting = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
    async with home.client() as session:
        await log_of(home, session)
        begun = await session.run(
            waiting + NO_ROOM + "print('swallowed', flush=True)\n" + ROOM + "done = 1", timeout=0.1
        )
        with home.no_daemon():
            gate.touch()
            (log,) = home.path.glob("logs/*.messages")
            await until(lambda: b"idle" in log.read_bytes()[log.read_bytes().rfind(b"while not") :], "it has ended")
        number = begun.facts["execution_id"]
        told = await session.call("kernel_output", execution_id=number, wait=30)
        assert SAID in told.text, told.text
        entries = (await session.call("kernel_history")).facts["entries"]
        assert [each["execution_id"] for each in entries if each.get("unrecorded")] == [number]
