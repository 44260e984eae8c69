"""Promise: whatever a cell prints, and whoever listens, the daemon holds little of it, and all of it can be read."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import Home

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
MB = 1 << 20
PRINTED = "for number in range(40):\n    print(str(number % 10) * 999_999)"


@contextmanager
def bounded(home: Home, most: int) -> Iterator[None]:
    """The daemon's resident memory grows by no more than that, at any time."""
    daemon = home.daemon()
    assert daemon is not None
    process = Path(f"/proc/{daemon.pid}")

    def resident(field: str) -> int:
        lines = (process / "status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))

    (process / "clear_refs").write_text("5")
    before = resident("VmRSS")
    yield
    grown = resident("VmHWM") - before
    assert grown <= most, f"it grew by {grown / MB:.0f} MB"


async def test_a_flood_is_told_whole_and_held_by_nobody(home: Home) -> None:
    async with home.client() as session:
        await session.run("warm = 1")
        with bounded(home, 64 * MB):
            result = await session.run(PRINTED, timeout=120)
            assert result.facts["status"] == "ok"
            assert result.facts["lines"] == 40 * 1000
            assert result.text.splitlines()[1].startswith("0000")
            assert "characters) left out: kernel_output(execution_id=2, from_line=" in result.text
            assert len(result.text) <= 12_000
            last = await session.call("kernel_output", execution_id=2, tail=1)
            assert last.text.rstrip().endswith("9999")
            found = await session.call("kernel_output", execution_id=2, grep="^7")
            assert "4 of 4 matching lines, of 40,000 lines" in found.text
            refused = await session.call("kernel_output", execution_id=2, grep="(")
            assert "not a valid regular expression" in refused.text


async def test_a_flood_at_a_terminal_comes_whole_and_is_held_by_nobody(home: Home) -> None:
    home.cli("exec", "warm = 1")
    command = home.cli_command("exec", PRINTED)
    piped = subprocess.Popen(command, env=home.env, cwd=home.project, stdout=subprocess.PIPE)
    with bounded(home, 64 * MB), piped as following:
        assert following.stdout is not None
        told = 0
        while block := following.stdout.read(MB):
            told += len(block)
        assert told == 40 * 1_000_000
    assert following.returncode == 0


async def test_one_text_is_read_whole_however_long_it_is(home: Home) -> None:
    """A kernel sends it as one message; nobody who reads has to hold it as one."""
    async with home.client() as session:
        await session.run("warm = 1")
        with bounded(home, 64 * MB):
            result = await session.run("print('a' * 30_000_000 + 'é' * 1_000_000 + '\\nend')", timeout=120)
            assert result.facts["lines"] == 31_001
            assert result.text.rstrip().splitlines()[-2] == "end", "behind that it is said what was left out"
