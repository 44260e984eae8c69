"""Promise: records are found wherever a version before this one had them, and are whole on a network's disk, too."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kernel_supervisor.core.model import SessionName, SessionRecord
from kernel_supervisor.paths import Paths
from kernel_supervisor.records.database import Database

pytestmark = pytest.mark.anyio
SESSION = SessionRecord(name=SessionName("work/"), directory="/work")


async def _filled(path: Path) -> None:
    records = Database(str(path))
    await records.open()
    await records.save_session(SESSION)
    await records.close()


async def _names(records: Database) -> list[SessionName]:
    return [each.name for each in await records.sessions()]


def test_they_are_never_in_a_folder_that_all_share() -> None:
    assert Paths("/home/me/state", "/home/me/state/run").records == "/home/me/state/run/records.sqlite"
    far = Paths("/home/me/state", "/var/tmp/mine")
    assert far.records == "/home/me/state/records.sqlite"
    assert "/var/tmp/mine/records.sqlite" in far.records_before


@pytest.mark.parametrize("stands", ["here", "elsewhere"])
async def test_a_networks_disk_gets_no_log_that_would_need_shared_memory(tmp_path: Path, stands: str) -> None:
    path, before = tmp_path / "records.sqlite", tmp_path / "before.sqlite"
    await _filled(path if stands == "here" else before)
    records = Database(str(path), before=[str(before)], on_network=True)
    await records.open()
    assert await _names(records) == ["work/"]
    assert not records.not_recorded
    await records.save_session(SessionRecord(name=SessionName("work/more"), directory="/work"))
    assert not [each for each in tmp_path.iterdir() if each.name.endswith(("-wal", "-shm"))]
    await records.close()
    assert not before.exists()
    again = Database(str(path), on_network=True)
    await again.open()
    assert await _names(again) == ["work/", "work/more"]
    await again.close()


async def test_what_cannot_be_moved_is_used_where_it_stands(tmp_path: Path) -> None:
    before = tmp_path / "before.sqlite"
    await _filled(before)
    records = Database(str(tmp_path / "missing/records.sqlite"), before=[str(before)])
    await records.open()
    assert await _names(records) == ["work/"]
    await records.close()
    assert before.exists()


async def test_what_stands_here_is_not_replaced_by_what_is_older(tmp_path: Path) -> None:
    path, before = tmp_path / "records.sqlite", tmp_path / "before.sqlite"
    await asyncio.gather(_filled(path), _filled(before))
    records = Database(str(path), before=[str(before)])
    await records.open()
    await records.close()
    assert before.exists()
