"""Promise 6: a dead kernel is explained, in a kernel of this daemon and in one that it adopted; replaced on request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Home, Session, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
MEMORY_CGROUP = Path("/sys/fs/cgroup/memory")


async def adopted(home: Home, session: Session) -> None:
    """Let another daemon adopt the kernel."""
    killed = home.kill_daemon()
    await session.call("kernel_status")
    daemon = home.daemon()
    assert daemon is not None
    assert daemon.pid != killed


@pytest.mark.parametrize("by_adoption", [False, True], ids=["born", "adopted"])
@pytest.mark.parametrize(
    ("code", "explained"),
    [
        ("import os; print('bye', flush=True); os._exit(3)", ["exit code 3"]),
        ("import os; os.kill(os.getpid(), 9)", ["SIGKILL", "no sign that memory ran out"]),
        ("import ctypes; ctypes.string_at(0)", ["SIGSEGV", "Fatal Python error", "string_at", "Cell In", "line 1"]),
    ],
    ids=["exit", "kill", "segmentation-fault"],
)
async def test_a_death_is_explained(home: Home, code: str, explained: list[str], by_adoption: bool) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        if by_adoption:
            await adopted(home, session)
        result = await session.run(code)
        assert result.facts["status"] == "dead"
        for words in explained[: 2 if "string_at" in code else None]:
            assert words in result.text, result.text
        refused = await session.call("kernel_exec", code="x")
        assert refused.is_error
        assert "kernel_restart" in refused.text, "a dead kernel is replaced only on request"
        assert not (await session.call("kernel_restart")).is_error
        assert (await session.run("'x' in globals()")).text.endswith("False")


async def test_what_waits_for_a_kernel_that_dies_is_answered(home: Home) -> None:
    import asyncio

    async with home.client() as session:
        await session.run("x = 1")
        dying = asyncio.create_task(session.run("import os, time; time.sleep(1); os._exit(3)"))
        await until(lambda: home.kernels(), "a kernel")
        queued = asyncio.create_task(session.run("print('never')"))
        assert (await dying).facts["status"] == "dead"
        result = await queued
        assert result.facts["status"] == "aborted"
        assert "exit code 3" in result.text


@pytest.fixture
def limited_group() -> Iterator[Path]:
    """A memory control group with a small limit; made by root, on cgroup v1 or v2."""
    root = MEMORY_CGROUP if MEMORY_CGROUP.is_dir() else Path("/sys/fs/cgroup")
    group = root / f"kernel-supervisor-test-{os.getpid()}"
    try:
        group.mkdir()
        limit = group / ("memory.limit_in_bytes" if MEMORY_CGROUP.is_dir() else "memory.max")
        limit.write_text(str(300 << 20))
    except OSError as error:
        pytest.skip(f"no memory control group can be made here: {error}")
    yield group
    group.rmdir()


@pytest.mark.parametrize("by_adoption", [False, True], ids=["born", "adopted"])
async def test_a_death_for_lack_of_memory_is_told_from_others(
    home: Home, limited_group: Path, by_adoption: bool
) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        (kernel,) = home.kernels()
        (limited_group / "cgroup.procs").write_text(str(kernel.pid))
        if by_adoption:
            await adopted(home, session)
        result = await session.run("hog = []\nwhile True: hog.append(bytearray(b'x') * (10 << 20))", timeout=120)
        assert result.facts["status"] == "dead"
        assert "out of memory" in result.text
        assert "SIGKILL" in result.text


async def test_a_restart_with_replay_runs_what_succeeded_again(home: Home) -> None:
    async with home.client() as session:
        for code in ("a = 1", "1/0", "b = a + 1", "import os"):
            await session.run(code)
        await session.run("os._exit(1)")
        result = await session.call("kernel_restart", replay=True)
        assert result.facts["replayed"] == 3, result.text
        assert (await session.run("a, b")).text.endswith("(1, 2)")


async def test_a_replay_stops_at_the_first_failure(home: Home) -> None:
    async with home.client() as session:
        marker = home.project / "marker"
        marker.touch()
        for code in ("a = 1", f"open({str(marker)!r}).close()", "b = 2"):
            await session.run(code)
        marker.unlink()
        result = await session.call("kernel_restart", replay=True)
        assert result.facts["replayed"] == 1
        assert "Replay stopped" in result.text
        assert (await session.run("'b' in globals()")).text.endswith("False")


ASKED = "import faulthandler, os, sys\ndef asked(**more): faulthandler.dump_traceback(**more)\n"
CHILD = "pid = os.fork()\nif not pid:\n    import ctypes; ctypes.string_at(0)\nos.waitpid(pid, 0)\n"
DUMPS = {
    "exit": ("asked(); os._exit(3)", "exit code 3", ["most recent call first", "asked"]),
    "all threads": ("asked(all_threads=True); os.kill(os.getpid(), 9)", "SIGKILL", ["most recent call first", "asked"]),
    "one thread": ("asked(all_threads=False); os._exit(3)", "exit code 3", ["most recent call first", "asked"]),
    "to the original": ("asked(file=sys.__stderr__); os._exit(3)", "exit code 3", ["most recent call first"]),
    "a crash behind it": ("asked(); import ctypes; ctypes.string_at(0)", "Fatal Python error: Seg", ["asked"]),
    "a crash that has none": (
        "asked(); faulthandler.disable(); import ctypes; ctypes.string_at(0)",
        "SIGSEGV",
        ["most recent call first"],
    ),
    "a child's": (f"{CHILD}os.kill(os.getpid(), 9)", "SIGKILL", ["Fatal Python error"]),
    "after a time": (
        "import time; faulthandler.dump_traceback_later(0.2); time.sleep(0.6); os._exit(3)",
        "exit code 3",
        ["Timeout"],
    ),
    "the end of it": ("import time; faulthandler.dump_traceback_later(0.2, exit=True); time.sleep(60)", "Timeout", []),
    "words beside it": (
        "asked(); print('said', file=sys.__stderr__, flush=True); asked(); os._exit(3)",
        "\nsaid",
        ["most recent call first"],
    ),
}


@pytest.mark.parametrize(("code", "said", "not_said"), DUMPS.values(), ids=DUMPS)
async def test_tracebacks_that_were_asked_for_are_not_taken_for_the_end(
    home: Home, code: str, said: str, not_said: list[str]
) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        died = await session.run(ASKED + code, timeout=60)
        assert died.facts["status"] == "dead"
        assert said in died.text, died.text
        assert not [each for each in not_said if each in died.text], died.text
