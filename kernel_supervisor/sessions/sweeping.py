"""Sweeping: what the policy says is to go goes, once a day and after each kernel's end. People are told beforehand.

The policy is in `keep.json`, beside what it is about, since whoever starts the daemon may know other variables.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from kernel_supervisor import keeping
from kernel_supervisor.amounts import size, span
from kernel_supervisor.core.checkpoints import CheckpointId
from kernel_supervisor.core.errors import RefusedError, SupervisorError
from kernel_supervisor.core.model import Execution, SessionName
from kernel_supervisor.core.retention import Item, Kind, Plan, Policy, plan
from kernel_supervisor.core.ways import WayOn, Words
from kernel_supervisor.kernels.standarderror import shorten
from kernel_supervisor.paths import Paths, read_regular
from kernel_supervisor.sessions.forgetting import forget, kernel_of
from kernel_supervisor.sessions.stock import files, size_of_all, stock
from kernel_supervisor.sessions.supervisor import Supervisor
from kernel_supervisor.tasks import apart, happens

log = logging.getLogger(__name__)
_LARGEST = 1 << 16
_FIRST_S, _SETTLED_S, _LOOK_S = 10.0, 1.0, 600.0
"""How long after a daemon's start, and after a kernel's end; how often is looked what the clock says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much there is, and how much there may be."""

    total: int
    limit: int | None
    over: int
    """By how many bytes it is too much now."""
    trouble: str
    """Why nothing goes by itself, empty where it does."""


class Sweeping:
    """The daemon's."""

    def __init__(self, supervisor: Supervisor) -> None:
        """Nothing is swept before `keep`."""
        self._supervisor = supervisor
        supervisor.records.watchers.append(self._note_use)

    def _note_use(self, entry: Execution) -> None:
        self._supervisor.sessions.leaving.pop(entry.session, None)

    async def keep(self) -> None:
        """Sweep soon, each day, and after each kernel's end; until cancelled."""
        ended = self._supervisor.kernels.endings.next
        await happens(ended, _FIRST_S)
        while True:
            await asyncio.sleep(_SETTLED_S)
            ended, tomorrow = self._supervisor.kernels.endings.next, _clock() + keeping.SWEEP_S
            await self._sweep()
            while _clock() < tomorrow and not await happens(ended, _LOOK_S):
                pass

    async def _sweep(self) -> None:
        supervisor = self._supervisor
        await supervisor.records.forget_calls(keeping.CALLS_S)
        try:
            policy = await apart("documents", policy_of, supervisor.paths)
        except RefusedError as error:
            log.error("nothing is swept: %s", error)
            return
        there = await stock(supervisor)
        found = plan(there.items, policy, time.time(), there.besides)
        await _carry_out(supervisor, [each.item for each in found.due if each.at <= time.time()])
        await apart("documents", _shorten, supervisor.paths, there.living)
        supervisor.sessions.leaving = {SessionName(each.item.name): each for each in found.due if each.item.unsaved}
        if found.over:
            log.warning("%s more than is to be kept: what lives, or was used lately, stays", size(found.over))


def _clock() -> float:
    """Seconds, those included that the machine slept."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def policy_of(paths: Paths) -> Policy:
    """What `keep.json` says, or the usual. Blocks on the disk. Raises RefusedError where it cannot be understood."""
    disk = shutil.disk_usage(paths.state).total
    usual = Policy(unused_s=keeping.UNUSED_S, total=min(keeping.TOTAL_BYTES, disk // keeping.SHARE_OF_DISK))
    try:
        given = json.loads(read_regular(paths.keep, _LARGEST))
    except FileNotFoundError as error:
        if not os.path.lexists(paths.keep):
            return usual
        raise RefusedError(f"{paths.keep} leads nowhere: {error}") from None
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise RefusedError(f"{paths.keep} cannot be read: {why}") from None
    if not isinstance(given, dict) or not {"days", "gigabytes"}.issuperset(given):
        like = {"days": round(keeping.UNUSED_S / keeping.DAY_S), "gigabytes": keeping.TOTAL_BYTES // 10**9}
        raise RefusedError(f"{paths.keep} is to be like {json.dumps(like)}")
    days, gigabytes = (_amount(paths, given, name) for name in ("days", "gigabytes"))
    return Policy(
        unused_s=(days * keeping.DAY_S if days is not None else None) if "days" in given else usual.unused_s,
        total=(int(gigabytes * 1e9) if gigabytes is not None else None) if "gigabytes" in given else usual.total,
    )


def _amount(paths: Paths, given: dict[str, Any], name: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise RefusedError(f"{paths.keep}: {name} is to be a number above 0, or null for no limit")
    return float(value)


async def due(supervisor: Supervisor, policy: Policy | None = None) -> Plan:
    """What is to go now, or by another policy. Raises RefusedError where it is not known what is to go."""
    usual = await apart("documents", policy_of, supervisor.paths)
    there = await stock(supervisor)
    return plan(there.items, usual if policy is None else policy, time.time(), there.besides)


async def prune(supervisor: Supervisor, policy: Policy | None, wanted: Collection[str]) -> list[Item]:
    """Have those go of what is due that are `wanted` by name; what went. Raises RefusedError."""
    found, now = await due(supervisor, policy), time.time()
    ready = [each.item for each in found.due if each.at <= now]
    return await _carry_out(supervisor, [each for each in ready if each.name in wanted])


async def _carry_out(supervisor: Supervisor, items: list[Item]) -> list[Item]:
    """Have these go; those that went. What is used again meanwhile stays."""
    gone = []
    for each in items:
        try:
            await _GO[each.kind](supervisor, each.name)
        except (SupervisorError, OSError) as error:
            log.info("%s stays: %s", each.name, error)
            continue
        log.info("%s %s went, %s, used last %s", each.kind, each.name, size(each.size), _date(each.last_used))
        gone.append(each)
    return gone


def _remove(path: str) -> None:
    shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


_GO: dict[Kind, Callable[[Supervisor, str], Awaitable[object]]] = {
    "session": lambda supervisor, name: forget(supervisor, SessionName(name)),
    "checkpoint": lambda supervisor, name: supervisor.checkpoints.drop([CheckpointId(name)]),
    **dict.fromkeys(("left over", "cache", "log"), lambda _, path: apart("documents", _remove, path)),
}
"""How each sort of what is kept goes: a new one that has no line here goes nowhere."""


def _shorten(paths: Paths, living: Collection[str]) -> None:
    """Bound what kernels that are gone, and daemons, wrote to their standard error; a living one's keeper does that."""
    written = [path for path, _ in files(paths.logs, deep=False) if path.endswith(".stderr")]
    for path in (*(path for path in written if kernel_of(path) not in living), f"{paths.daemon_log}.err"):
        with contextlib.suppress(OSError, ValueError):
            shorten(path)


# Being told


async def told(supervisor: Supervisor, directory: str = "") -> dict[SessionName, Words]:
    """What is to be said of histories that are to go, of a project's or of all; from now on people count as told."""
    said: dict[SessionName, Words] = {}
    for name, each in list(supervisor.sessions.leaving.items()):
        session = supervisor.sessions.known.get(name)
        if session is None or (directory and session.directory != directory):
            continue
        if supervisor.sessions.told.get(name, 0.0) <= each.item.last_used:
            await supervisor.sessions.tell(name)
        said[name] = _words(each.item, supervisor.sessions.told[name] + keeping.TOLD_S)
    return said


def _words(item: Item, at: float) -> Words:
    unused = f"session {item.name} was not used for {span(time.time() - item.last_used)}"
    goes = f"and no notebook has its history, which goes after {_date(at)} unless it is used or saved"
    return f"{unused}, {goes}", WayOn("write notebook")


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at))


async def room(supervisor: Supervisor) -> Room:
    """How much there is."""
    try:
        limit, trouble = (await apart("documents", policy_of, supervisor.paths)).total, ""
    except RefusedError as error:
        limit, trouble = None, str(error)
    total = await apart("documents", size_of_all, supervisor.paths)
    return Room(total=total, limit=limit, over=max(0, total - limit) if limit is not None else 0, trouble=trouble)
