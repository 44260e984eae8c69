"""What stands in the logs of kernels and not in the records, made entries again before anything is sent to anybody.

The records cannot always be written (a full disk, another process that keeps them locked), and may be removed. What
runs then is in a log all the same, with what travelled beside it. No log is read further back than where the last entry
in it begins that is known.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from kernel_supervisor.core.forms import count_of
from kernel_supervisor.core.life import status_of
from kernel_supervisor.core.model import KernelId, Message, Region
from kernel_supervisor.records import messagelog
from kernel_supervisor.records.beside import Forgotten, forgotten, number_of, seconds
from kernel_supervisor.records.database import Database
from kernel_supervisor.running.ledger import Ledger

log = logging.getLogger(__name__)
_LOG = re.compile(r"([0-9a-f]{12})-(\d{1,9})\.messages", re.ASCII)
_KINDS = ("execute_input", "execute_reply", "status")


@dataclass(slots=True, kw_only=True)
class _Found:
    """An execution in a log, and what the log has of its end."""

    forgotten: Forgotten
    end: int
    reply: Message | None = None
    idle: bool = False

    def standing(self) -> Forgotten:
        """With its end, if that is known."""
        execution, reply = self.forgotten.execution, self.reply
        if reply is None or not self.idle or execution.region is None:
            return self.forgotten
        count = count_of(reply.content)
        settled = replace(
            execution,
            status=status_of(reply.content),
            finished_at=seconds(reply.date),
            execution_count=execution.execution_count if count is None else count,
            region=replace(execution.region, end=self.end),
        )
        return replace(self.forgotten, execution=settled)


async def recover(folder: str, records: Database, ledger: Ledger) -> None:
    """Commit what the logs in `folder` have of executions of ours that are not on record; no number is given again."""
    sizes = await asyncio.to_thread(_sizes, folder)
    ends = await records.ends_in_logs(sizes)
    longer = {path: ends[path][0] for path, size in sizes.items() if size > ends[path][1]}
    found, highest = await asyncio.to_thread(_read, longer)
    for each in found:
        try:
            if await ledger.restore(each) is None:
                await records.save_begun(each.execution)
        except Exception:  # whatever stands in a log keeps no daemon from starting
            log.exception("execution %s stays forgotten", each.execution.id)
    if highest:
        await records.reserve(highest)


def _sizes(folder: str) -> dict[str, int]:
    """The message logs of kernels in a folder, with their sizes."""
    sizes = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _LOG.fullmatch(entry.name):
                with suppress(OSError):
                    sizes[entry.path] = entry.stat().st_size
    return sizes


def _read(logs: dict[str, int]) -> tuple[list[Forgotten], int]:
    """What begins in these logs from these places on, and the highest number that stands there.

    Of each log in its order: a daemon that dies meanwhile goes on behind the last that is committed.
    """
    found: list[list[Forgotten]] = []
    highest = 0
    for path, start in logs.items():
        with suppress(OSError, ValueError):
            begun, number = _begun(path, start)
            found.append([each.standing() for each in begun])
            highest = max(highest, number)
    found.sort(key=lambda of_one: of_one[0].execution.queued_at if of_one else 0.0)
    return [each for of_one in found for each in of_one], highest


def _begun(path: str, start: int) -> tuple[Iterable[_Found], int]:
    name = _LOG.fullmatch(os.path.basename(path))
    assert name is not None
    kernel_id, generation = KernelId(name[1]), int(name[2])
    found: dict[str, _Found] = {}
    highest = 0
    for entry in messagelog.scan(path, start, wanted=lambda msg_type, parent: msg_type in _KINDS):
        item = entry.item
        known = found.get(item.parent_id)
        if isinstance(item, Message):
            number = number_of(item)
            highest = max(highest, number)
            if known is None and number and item.msg_type == "execute_input":
                region = Region(log=path, start=entry.start, end=entry.start)
                standing = forgotten(item, kernel_id, generation, region)
                known = found[item.parent_id] = _Found(forgotten=standing, end=entry.end)
            elif known is not None and item.msg_type == "execute_reply":
                known.reply = item
            elif known is not None and item.content.get("execution_state") == "idle":
                known.idle = True
        if known is not None:
            known.end = entry.end
    return found.values(), highest
