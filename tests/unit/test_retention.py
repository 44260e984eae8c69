"""Promise: a sweep takes what the policy says, the oldest first, and nothing of a living kernel, whatever there is."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor.core.model import Execution, ExecutionId, KernelId, Region, SessionName, SessionRecord
from kernel_supervisor.core.retention import Item, Policy, plan
from kernel_supervisor.keeping import RECENT_S, TOLD_S
from kernel_supervisor.paths import Paths, prepare
from kernel_supervisor.sessions import sweeping
from kernel_supervisor.sessions.supervisor import Supervisor
from tests.fake_kernel import record

DAY_S = 86_400.0
NOW = time.time()
IDS = secrets.token_hex(4)
"""What no process has in its command line."""
AGES = st.floats(0, 400).map(lambda days: days * DAY_S)
POLICIES = st.builds(Policy, unused_s=st.none() | AGES, total=st.none() | st.integers(0, 5_000_000))
ITEMS = st.lists(
    st.builds(
        Item,
        kind=st.sampled_from(["session", "left over", "cache", "log"]),
        name=st.uuids().map(str),
        size=st.integers(0, 1_000_000),
        last_used=AGES.map(lambda age: NOW - age),
        stays=st.sampled_from(["", "its kernel lives"]),
        unsaved=st.booleans(),
        told_at=st.none() | AGES.map(lambda age: NOW - age),
    ),
    max_size=12,
)


@given(ITEMS, POLICIES, st.integers(0, 1_000_000))
def test_what_goes_is_old_or_in_the_way_and_nothing_that_is_needed(
    items: list[Item], policy: Policy, besides: int
) -> None:
    found = plan(items, policy, NOW, besides)
    due = [each.item for each in found.due]
    left = [each for each in items if each not in due]
    assert len({each.name for each in due}) == len(due)
    assert not [each for each in due if each.stays]
    for each in found.due:
        age = NOW - each.item.last_used
        assert age > (policy.unused_s or 0) if each.why == "unused" else age > RECENT_S
        if each.item.unsaved and each.at <= NOW:
            assert each.item.told_at is not None
            assert each.item.last_used < each.item.told_at <= NOW - TOLD_S
    if policy.unused_s is not None:
        assert all(each.stays or NOW - each.last_used <= policy.unused_s for each in left)
    weight = besides + sum(each.size for each in left)
    assert found.over == max(0, weight - (weight if policy.total is None else policy.total))
    if found.over:
        assert all(
            each.stays or not each.size or each.kind == "log" or NOW - each.last_used <= RECENT_S for each in left
        )


@given(ITEMS, POLICIES)
def test_the_oldest_session_goes_first(items: list[Item], policy: Policy) -> None:
    due = [each.item for each in plan(items, policy, NOW).due if each.why == "room" and each.item.kind == "session"]
    assert [each.last_used for each in due] == sorted(each.last_used for each in due)


@dataclass(frozen=True)
class Work:
    """A session, with a kernel that was started so often."""

    living: bool
    generations: int
    days: float
    size: int
    told: bool
    guest: bool
    """Whether the session before it ran something on this kernel, too."""


WORK = st.builds(
    Work,
    living=st.booleans(),
    generations=st.integers(1, 3),
    days=st.floats(2, 400),
    size=st.integers(0, 20_000),
    told=st.booleans(),
    guest=st.booleans(),
)


@given(st.lists(WORK, max_size=5), POLICIES)
def test_a_sweep_leaves_every_living_kernels_files_alone(works: list[Work], policy: Policy) -> None:
    with TemporaryDirectory(dir="/tmp") as folder:
        paths = Paths(folder, f"{folder}/run")
        prepare(paths)
        asyncio.run(_sweep(paths, works, policy))


async def _sweep(paths: Paths, works: list[Work], policy: Policy) -> None:
    supervisor = Supervisor(paths)
    await supervisor.records.open()
    files = [await _made(supervisor, number, work) for number, work in enumerate(works)]
    guests = {number - 1: number for number, work in enumerate(works) if work.guest and number}
    for guest, number in guests.items():
        await supervisor.records.add_execution(_entry(guest, files[number][0], works[guest].days), None)
    await supervisor.sessions.open()
    due = await sweeping.due(supervisor, policy)
    await sweeping.prune(supervisor, policy, [each.item.name for each in due.due])
    known = supervisor.sessions.known
    guested = {number for guest, number in guests.items() if _name(guest) in known}
    for number, work in enumerate(works):
        stands = [path.exists() for path in files[number]]
        if work.living:
            assert _name(number) in known
        if _name(number) in known:
            assert all(stands), "what is kept is kept whole"
        else:
            assert all(stands[:3]) if number in guested else not any(stands[:3]), "as long as somebody needs it"
            assert not any(stands[3:]), "all generations"
    await supervisor.close()


def _name(number: int) -> SessionName:
    return SessionName(f"project/s{number}")


def _entry(number: int, log: Path, days: float) -> Execution:
    return Execution(
        id=ExecutionId(0),
        session=_name(number),
        kind="code",
        source="x",
        status="ok",
        queued_at=time.time() - days * DAY_S,
        region=Region(log=str(log), start=0, end=0),
    )


async def _made(supervisor: Supervisor, number: int, work: Work) -> list[Path]:
    """Put it on record; the files of its kernel, three for each generation."""
    records, logs, kernel = supervisor.records, Path(supervisor.paths.logs), KernelId(f"{IDS}{number:04x}")
    at = time.time() - work.days * DAY_S
    await records.save_session(SessionRecord(name=_name(number), directory="/project", created_at=at, kernel_id=kernel))
    if work.told:
        await records.tell(_name(number), time.time() - TOLD_S - DAY_S)
    made = []
    for generation in range(1, work.generations + 1):
        for kind in ("messages", "stderr", "messages.tail0"):
            made.append(logs / f"{kernel}-{generation}.{kind}")
            with made[-1].open("wb") as file:
                file.truncate(work.size)
    last = logs / f"{kernel}-{work.generations}.messages"
    of_it = replace(record(last), id=kernel, session=_name(number), generation=work.generations)
    await records.save_kernel(of_it if work.living else replace(of_it, ended_at=at))
    await records.add_execution(_entry(number, made[0], work.days), None)
    return made


@pytest.mark.anyio
async def test_a_time_that_cannot_be_true_makes_nothing_old(tmp_path: Path) -> None:
    """A damaged record, or a clock that was wrong."""
    paths = Paths(str(tmp_path), str(tmp_path / "run"))
    prepare(paths)
    supervisor = Supervisor(paths)
    await supervisor.records.open()
    await supervisor.records.save_session(SessionRecord(name=_name(1), directory="/project", created_at=1.0))
    await supervisor.sessions.open()
    found = await sweeping.due(supervisor, Policy(unused_s=DAY_S, total=None))
    assert found.due == ()
    await supervisor.close()
