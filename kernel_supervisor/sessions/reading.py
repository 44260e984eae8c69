"""What an execution has shown, read back from its kernel's message log."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence

from kernel_supervisor.core.model import Execution, Mark, Message
from kernel_supervisor.outputs.folding import Folded, Folder
from kernel_supervisor.records import messagelog
from kernel_supervisor.sessions.ticket import Ticket


def messages_of(execution: Execution, end: int | None = None) -> Iterator[Message | Mark]:
    """The recorded messages of one execution, in order; of a running one as far as there are. Blocks on the disk.

    `end` is where to stop in the log of one that runs. Of one that is over it is said where its log lacks it.
    """
    found = False
    for item in _recorded(execution, end):
        found = True
        yield item
    region, replied = execution.region, execution.status in ("ok", "error")
    if region is not None and execution.settled and not (reaches(region.log, region.end) and (found or not replied)):
        yield Mark(kind="hole", parent_id="", detail="its message log is gone, was cut off or never had it")


def _recorded(execution: Execution, end: int | None = None) -> Iterator[Message | Mark]:
    region = execution.region
    if region is None:
        return
    end = region.end if execution.settled else end
    for _, item in messagelog.read(region.log, region.start, end):
        if item.parent_id == execution.msg_id or (isinstance(item, Mark) and not item.parent_id):
            yield item


def messages_with_live(execution: Execution, end: int, live: Sequence[Message]) -> Iterator[Message | Mark]:
    """The messages of a running execution up to `end`, and those of `live` that its log could not take."""
    seen = set()
    for item in messages_of(execution, end):
        if isinstance(item, Message):
            seen.add(item.msg_id)
        yield item
    yield from (message for message in live if message.msg_id not in seen)


def _fold(execution: Execution, live: list[Message]) -> Folded:
    folder = Folder()
    for item in _recorded(execution) if live else messages_of(execution):
        folder.feed(item)
    for message in live:  # only what the log could not take is new to the folder
        folder.feed(message)
    return folder.result()


async def folded(execution: Execution, ticket: Ticket | None) -> Folded:
    """The outputs so far. `ticket` is its place in the queue, where it has one."""
    if execution.region is None and ticket is None:
        return Folded()
    return await asyncio.to_thread(_fold, execution, list(ticket.live) if ticket is not None else [])


def log_size(path: str) -> int:
    """Bytes in a message log, 0 where there is none yet."""
    try:
        return os.path.getsize(path)
    except (OSError, ValueError):
        return 0


def reaches(path: str, position: int) -> bool:
    """Whether a message log is there, and at least that long. Blocks on the disk."""
    return os.path.isfile(path) and log_size(path) >= position


async def look_in_log(ticket: Ticket) -> None:
    """Let a running execution know of what its log has of its end, and of what it asked."""
    for message in await asyncio.to_thread(_search, ticket):
        if message.msg_type == "execute_input":
            ticket.begun.set()
        else:
            ticket.hear_question(message)


def _search(ticket: Ticket) -> list[Message]:
    """Find an execution's end from where the last search stopped; the messages of its beginning and its questions."""
    assert ticket.execution.region is not None
    found = []
    for position, item in messagelog.read(ticket.execution.region.log, ticket.scanned):
        ticket.scanned = position
        if not isinstance(item, Message) or item.parent_id != ticket.execution.msg_id:
            continue
        if item.msg_type == "execute_reply":
            ticket.reply = item.content
        elif item.msg_type == "status" and item.content.get("execution_state") == "idle":
            ticket.idle = True
        elif item.channel == "stdin" or item.msg_type == "execute_input":
            found.append(item)
    return found
