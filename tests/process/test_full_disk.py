"""Promise: a full disk stops nobody's work, is said to everybody, and spoils nothing that was recorded before."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Home, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.fixture
def small_disk(home: Home) -> Iterator[Path]:
    """A disk of a few megabytes under the supervisor's home."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    home.path.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(home.path)], check=True)
    try:
        yield home.path
    finally:
        home.sweep()
        subprocess.run(["umount", "-l", str(home.path)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte free."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            while True:
                try:
                    if file.write(b"x" * size) < size:
                        break
                except OSError:
                    break
    return filler


async def test_a_full_disk_stops_nobody_and_is_told_to_everybody(home: Home, small_disk: Path) -> None:
    async with home.client() as session:
        recorded = await session.run("x = 41\nprint('recorded before')")
        filler = fill(small_disk)
        for expected in range(42, 50):
            result = await session.run(f"print('while it is full', {expected})\nx += 1\nx")
            assert result.facts["status"] == "ok", result.text
            assert f"while it is full {expected}" in result.text
            assert result.text.endswith(str(expected))
            assert "not being recorded" in result.text, result.text
        async with home.client() as other:
            assert "not being recorded" in (await other.run("x")).text
        filler.unlink()

        async def recovered() -> bool:
            return "not being recorded" not in (await session.run("x")).text

        for _ in range(300):
            if await recovered():
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("it did not recover when there was room again")
        killed = home.kill_daemon()
        old = await session.call("kernel_output", execution_id=recorded.facts["execution_id"])
        assert "recorded before" in old.text
        assert home.daemon() is None or home.daemon().pid != killed  # type: ignore[union-attr]  # just asked
        history = await session.call("kernel_history", last=100)
        codes = [entry["code"] for entry in history.facts["entries"]]
        assert len([code for code in codes if "while it is full" in code]) == 8
        fresh = await session.run("print('recorded after')\nx")
        assert "recorded after" in fresh.text
        again = await session.call("kernel_output", execution_id=fresh.facts["execution_id"])
        assert "recorded after" in again.text


async def test_what_a_hole_swallowed_is_named_in_the_log(home: Home, small_disk: Path) -> None:
    async with home.client() as session:
        await session.run("x = 1")
        filler = fill(small_disk)
        lost = await session.run("print('swallowed')")
        assert "swallowed" in lost.text, "the live output is not affected"
        filler.unlink()
        await session.run("print('after')")
        logs = list(small_disk.glob("logs/*.messages"))
        await until(lambda: any(b'"hole"' in path.read_bytes() for path in logs), "the hole is marked")


@pytest.mark.parametrize("worked_before", [True, False])
async def test_a_daemon_starts_on_a_full_disk_and_says_so(home: Home, small_disk: Path, worked_before: bool) -> None:
    async with home.client() as session:
        if worked_before:
            before = await session.run("x = 41\nprint('recorded before')")
        else:
            await session.call("kernel_list_running")
    home.kill_daemon()
    filler = fill(small_disk)
    started = home.cli("start")
    assert (started.returncode, "the daemon runs" in started.stdout) == (0, True), started.stderr
    async with home.client() as session:
        if worked_before:
            result = await session.run("x + 1")
            assert "42" in result.text
            assert "not being recorded" in result.text
            old = await session.call("kernel_output", execution_id=before.facts["execution_id"])
            assert "recorded before" in old.text
        else:
            refused = await session.call("kernel_exec", code="40 + 2")
            assert "no room is left on the disk" in refused.text, refused.text
        assert "cannot be written" in home.cli("status").stdout
        filler.unlink()
        assert "42" in (await session.run("40 + 2")).text
        await until(lambda: "cannot be written" not in home.cli("status").stdout, "the records are written again")
    assert _leftovers(small_disk) == []


async def test_a_daemon_starts_on_a_full_disk_though_its_records_need_more_room_to_be_read(
    home: Home, small_disk: Path
) -> None:
    """The latest commits stand beside the records, and SQLite makes an index of them to read those."""
    async with home.client() as session:
        before = await session.run("x = 41\nprint('recorded before')")
    home.kill_daemon()
    (home.path / "run/records.sqlite-shm").unlink()
    filler = fill(small_disk)
    started = home.cli("start")
    assert (started.returncode, "the daemon runs" in started.stdout) == (0, True), started.stderr
    async with home.client() as session:
        assert "42" in (await session.run("x + 1")).text
        old = await session.call("kernel_output", execution_id=before.facts["execution_id"])
        assert "recorded before" in old.text
        filler.unlink()
        await until(lambda: "cannot be written" not in home.cli("status").stdout, "the records are written again")


def _leftovers(disk: Path) -> list[Path]:
    return [path for path in disk.rglob("*") if path.parent.name == "0.1.0" and path.suffix != ".json"]
